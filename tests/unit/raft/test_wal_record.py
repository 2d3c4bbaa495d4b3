"""Frames and records: bytes both ways."""

from __future__ import annotations

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.core import Entry, EntryType
from raft.wal.record import (
    FRAME_HEADER_BYTES,
    BadRecordError,
    IncompleteRecordError,
    LengthsDisagreeError,
    RecordEncoder,
    RecordType,
    decode_varint,
    encode_varint,
    looks_torn,
    parse_frame_header,
    parse_record,
)
from raft.wire import encode_entry
from raft.wire import wal_pb2 as pb

UINT64 = st.integers(0, 2**64 - 1)


@given(UINT64)
def test_varints_round_trip(value: int) -> None:
    encoded = encode_varint(value)
    assert decode_varint(encoded, 0) == (value, len(encoded))
    for cut in range(len(encoded)):
        with pytest.raises(IncompleteRecordError):
            decode_varint(encoded[:cut], 0)


def test_an_endless_varint_is_refused() -> None:
    with pytest.raises(BadRecordError):
        decode_varint(b"\xff" * 11, 0)


@given(st.sampled_from(list(RecordType)), st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_a_frame_holds_the_protobuf_record(kind: RecordType, data: bytes, crc: int) -> None:
    encoder = RecordEncoder(crc)
    frame = encoder.encode(kind, data)
    assert len(frame) % 8 == 0
    header = parse_frame_header(frame[:FRAME_HEADER_BYTES])
    assert header is not None
    assert FRAME_HEADER_BYTES + header.body_bytes == len(frame)
    body = frame[FRAME_HEADER_BYTES:]
    record = parse_record(body, header.record_bytes)
    assert (record.type, record.data) == (kind, data)
    assert record.crc == encoder.crc == google_crc32c.extend(crc, data)
    message = pb.Record.FromString(body[: header.record_bytes])
    assert (message.type, message.crc, message.data) == (kind, record.crc, data)


@given(
    st.lists(
        st.builds(Entry, UINT64, st.integers(0, 3) | UINT64, st.binary(max_size=300), st.sampled_from(EntryType)),
        max_size=5,
    )
)
def test_the_fast_way_writes_the_same_bytes(entries: list[Entry]) -> None:
    fast, plain = RecordEncoder(7), RecordEncoder(7)
    frames: list[bytes] = []
    fast.encode_entries(entries, frames)
    assert frames == [plain.encode(RecordType.ENTRY, encode_entry(entry)) for entry in entries]
    assert fast.crc == plain.crc


def test_the_worked_example_of_the_module() -> None:
    frame = RecordEncoder().encode(RecordType.ENTRY, bytes(20))
    assert frame[:8].hex(" ") == "1e 00 00 00 00 00 00 82"
    assert len(frame) == 8 + 30 + 2


def test_zero_is_the_end_and_other_fields_are_checked() -> None:
    assert parse_frame_header(bytes(8)) is None
    for field in ("0400000000000085", "0400000000000004", "1000000000000081"):
        with pytest.raises(BadRecordError):
            parse_frame_header(bytes.fromhex(field))


def test_lengths_must_agree() -> None:
    body = RecordEncoder().encode(RecordType.ENTRY, b"data")[FRAME_HEADER_BYTES:]
    with pytest.raises(LengthsDisagreeError):
        parse_record(body, 99)


@pytest.mark.parametrize(
    "body", [b"", b"\x08", b"\x08\x02", b"\x08\x02\x10", b"\x08\x02\x10\x01", b"\x08\x02\x10\x01\x1a"]
)
def test_a_prefix_of_a_record_is_incomplete(body: bytes) -> None:
    with pytest.raises(IncompleteRecordError):
        parse_record(body, 99)


@pytest.mark.parametrize("body", [b"\x09\x02", b"\x08\x02\x11\x01", b"\x08\x02\x10\x01\x1b"])
def test_other_bytes_are_no_record(body: bytes) -> None:
    with pytest.raises(BadRecordError) as caught:
        parse_record(body, 99)
    assert not isinstance(caught.value, IncompleteRecordError)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_parsing_anything_gives_a_record_or_the_documented_error(body: bytes, record_bytes: int) -> None:
    try:
        record = parse_record(body, record_bytes)
    except BadRecordError:
        return
    assert len(record.data) <= record_bytes


def test_torn_means_sectors_of_zeros_or_zeros_to_the_end() -> None:
    whole = b"x" * 1500
    assert not looks_torn(whole, 8, followed_by_zeros=False)
    assert not looks_torn(whole, 8, followed_by_zeros=True)
    missing = whole[:504] + bytes(512) + whole[1016:]
    assert looks_torn(missing, 8, followed_by_zeros=False)
    assert not looks_torn(missing, 9, followed_by_zeros=False)  # no sector begins and ends there
    assert looks_torn(whole[:-1] + b"\0", 8, followed_by_zeros=True)
    assert not looks_torn(whole[:-1] + b"\0", 8, followed_by_zeros=False)
