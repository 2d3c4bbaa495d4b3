"""gRPC's frames, deadlines and statuses as bytes."""

from __future__ import annotations

import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from kvstore.errors import EtcdError, StatusCode
from kvstore.front.grpc import MessageReader, encode_field, frame_message, parse_timeout, status_only_block


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 50), max_size=30))
def test_messages_survive_any_division(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(frame_message, messages))
    reader = MessageReader(300)
    read: list[bytes] = []
    for cut in cuts:
        read += reader.feed(data[:cut])
        data = data[cut:]
    read += reader.feed(data)
    reader.finish()
    assert read == messages


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (
            b"\x00\x00\x00\x00\x0b",
            StatusCode.RESOURCE_EXHAUSTED,
            "grpc: received message larger than max (11 vs. 10)",
        ),
        (
            b"\x01\x00\x00\x00\x01a",
            StatusCode.INTERNAL,
            "grpc: compressed flag set with identity or empty encoding",
        ),
        (b"\x07\x00\x00\x00\x01a", StatusCode.INTERNAL, "grpc: received unexpected payload format 7"),
    ],
)
def test_messages_that_are_refused(data: bytes, code: StatusCode, text: str) -> None:
    with pytest.raises(EtcdError) as caught:
        MessageReader(10).feed(data)
    assert (caught.value.code, caught.value.message) == (code, text)


def test_a_message_cut_short() -> None:
    reader = MessageReader(10)
    assert reader.feed(b"\x00\x00\x00\x00\x02a") == []
    with pytest.raises(EtcdError, match="unexpected EOF"):
        reader.finish()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4999m", 4.999), (b"99999999u", 99.999999), (b"1n", 1e-9)],
)
def test_timeouts(value: bytes, seconds: float) -> None:
    assert parse_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"1", b"S", b"123456789S", b"-1S", b"1s", b"1S ", b"1.5S"])
def test_malformed_timeouts(value: bytes) -> None:
    with pytest.raises(EtcdError, match="malformed grpc-timeout"):
        parse_timeout(value)


def test_status_messages_are_percent_encoded() -> None:
    block = status_only_block(StatusCode.NOT_FOUND, "100% größer\n")
    assert Decoder().decode(block) == [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", "5"),
        ("grpc-message", "100%25 gr%C3%B6%C3%9Fer%0A"),
    ]


@given(st.binary(min_size=1, max_size=300), st.binary(max_size=40_000))
def test_fields_decode_and_leave_the_table_alone(name: bytes, value: bytes) -> None:
    decoder = Decoder(max_header_list_size=1 << 20)
    assert decoder.decode(encode_field(name, value), raw=True) == [(name, value)]
    assert not decoder.header_table.dynamic_entries
