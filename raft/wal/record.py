"""The framing of records: bytes in, bytes out, no files.

A frame is a length field and a `walpb.Record`, padded with zeros to a multiple of 8 bytes so that a length field never
lies across a sector boundary and cannot be torn:

    byte 0..6   length of the record, little-endian
    byte 7      0, or 0x80 | number of padding bytes
    then        the record {type, crc, data} and the padding

    1e 00 00 00 00 00 00 82 | 08 02 10 ...30 bytes... | 00 00

A record's crc is the CRC-32C of the data of all records so far, this one included; it runs on from segment to segment.
A record of type CRC restates it and has no data. A length of 0 is the end: segments are made of zeros beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, unique
from typing import NamedTuple

import google_crc32c

from raft.core import Entry

__all__ = [
    "FRAME_HEADER_BYTES",
    "SECTOR_BYTES",
    "BadRecordError",
    "Frame",
    "IncompleteRecordError",
    "LengthsDisagreeError",
    "Record",
    "RecordEncoder",
    "RecordType",
    "looks_torn",
    "parse_frame_header",
    "parse_record",
]

FRAME_HEADER_BYTES = 8
SECTOR_BYTES = 512
"""The smallest piece that a disk writes whole."""

_LENGTH_MASK = (1 << 56) - 1
_PADDING = tuple(bytes(count) for count in range(8))
_TAG_TYPE, _TAG_CRC, _TAG_DATA = 0x08, 0x10, 0x1A
_VARINT_BYTES_MAX = 10


@unique
class RecordType(IntEnum):
    """What a record's data is; numbers as etcd's."""

    METADATA = 1
    ENTRY = 2
    STATE = 3
    CRC = 4
    SNAPSHOT = 5


class BadRecordError(ValueError):
    """The bytes are not a record, or not the one that was written. The message says what is wrong."""


class IncompleteRecordError(BadRecordError):
    """The bytes end before the record does."""


class LengthsDisagreeError(BadRecordError):
    """The length field and the record's own idea of its length differ.

    Attributes:
        data_offset: where in the record its data would begin.
    """

    def __init__(self, record_bytes: int, length: int, data_offset: int) -> None:
        super().__init__(f"lengths disagree: a record of {record_bytes} bytes cannot have {length} bytes of data")
        self.data_offset = data_offset


class Frame(NamedTuple):
    """A length field, taken apart; all in bytes."""

    record_bytes: int
    padding_bytes: int

    @property
    def body_bytes(self) -> int:
        """Record and padding."""
        return self.record_bytes + self.padding_bytes


class Record(NamedTuple):
    """One record as it was read. `type` may be one that we do not know."""

    type: int
    crc: int
    data: bytes


def encode_varint(value: int) -> bytes:
    """A number in protobuf's variable-length form."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 0x200000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    if 0x10000000 <= value <= 0xFFFFFFFF:  # most checksums
        return bytes(
            (value & 127 | 128, value >> 7 & 127 | 128, value >> 14 & 127 | 128, value >> 21 & 127 | 128, value >> 28)
        )
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def decode_varint(data: bytes, offset: int) -> tuple[int, int]:
    """The number at `offset` and the offset behind it; raises BadRecordError (IncompleteRecordError at the end)."""
    value = 0
    for position in range(_VARINT_BYTES_MAX):
        if offset + position >= len(data):
            raise IncompleteRecordError("a number is cut off")
        byte = data[offset + position]
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value, offset + position + 1
    raise BadRecordError("a number does not end")


class RecordEncoder:
    """Makes frames and keeps the running checksum."""

    __slots__ = ("_entry_starts", "crc")

    def __init__(self, crc: int = 0) -> None:
        self.crc = crc
        self._entry_starts: dict[int, bytes] = {}

    def encode(self, kind: RecordType, data: bytes) -> bytes:
        """The frame for one record with data."""
        self.crc = crc = google_crc32c.extend(self.crc, data)
        record = b"".join((_RECORD_STARTS[kind], encode_varint(crc), b"\x1a", encode_varint(len(data)), data))
        return frame(record)

    def encode_entries(self, entries: Sequence[Entry], frames: list[bytes]) -> None:
        """Append the frames for log entries; the same bytes as `encode(ENTRY, encode_entry(entry))`, at half the cost.

        This is the one place where every proposal is touched byte by byte, so it is written out flat.
        """
        crc = self.crc
        extend = google_crc32c.extend
        for entry in entries:
            data = entry.data
            key = entry.type << 64 | entry.term
            start = self._entry_starts.get(key)
            if start is None:
                start = b"\x08" + bytes((entry.type,)) + b"\x10" + encode_varint(entry.term) + b"\x18"
                self._entry_starts = {key: start}  # terms change seldom and never come back
            payload = b'%b%b"%b%b' % (start, encode_varint(entry.index), encode_varint(len(data)), data)
            crc = extend(crc, payload)
            checksum = encode_varint(crc)
            size = encode_varint(len(payload))
            length = 4 + len(checksum) + len(size) + len(payload)
            padding_bytes = -length % 8
            field = length | (0x80 | padding_bytes) << 56 if padding_bytes else length
            frames.append(
                b"%b\x08\x02\x10%b\x1a%b%b%b"
                % (field.to_bytes(FRAME_HEADER_BYTES, "little"), checksum, size, payload, _PADDING[padding_bytes])
            )
        self.crc = crc

    def encode_crc(self) -> bytes:
        """The frame that restates the running checksum, with which every segment begins."""
        return frame(_RECORD_STARTS[RecordType.CRC] + encode_varint(self.crc))


_RECORD_STARTS = {kind: bytes((_TAG_TYPE, kind, _TAG_CRC)) for kind in RecordType}


def frame(record: bytes) -> bytes:
    """Put the length field before a serialized record and the padding behind it."""
    length = len(record)
    padding_bytes = -length % 8
    field = length | (0x80 | padding_bytes) << 56 if padding_bytes else length
    return field.to_bytes(FRAME_HEADER_BYTES, "little") + record + _PADDING[padding_bytes]


def parse_frame_header(field: bytes) -> Frame | None:
    """Take a length field apart; None is the end of the log. Raises BadRecordError for one nobody writes."""
    value = int.from_bytes(field, "little")
    if value == 0:
        return None
    flags = value >> 56
    length = value & _LENGTH_MASK
    # Flags of 0 with a length that needs padding: writing stopped within this field.
    if flags and flags != 0x80 | -length % 8:
        raise BadRecordError("the length field is not one that anybody writes")
    return Frame(length, flags & 0x07)


def parse_record(body: bytes, record_bytes: int) -> Record:
    """Parse the record of `record_bytes` that `body` begins with; checks everything but the checksum.

    Raises:
        IncompleteRecordError: `body` ends first, and what is there agrees with `record_bytes`.
        BadRecordError: the bytes are not a record of that length.
    """
    if len(body) < 2:
        raise IncompleteRecordError("the record is cut off")
    if body[0] != _TAG_TYPE:
        raise BadRecordError("the record does not begin with its type")
    kind, offset = decode_varint(body, 1)
    if offset >= len(body):
        raise IncompleteRecordError("the record is cut off")
    if body[offset] != _TAG_CRC:
        raise BadRecordError("the record has no checksum")
    crc, offset = decode_varint(body, offset + 1)
    if offset == record_bytes:
        return Record(kind, crc, b"")
    if offset >= len(body):
        raise IncompleteRecordError("the record is cut off")
    if body[offset] != _TAG_DATA:
        raise BadRecordError("the record has no data")
    length, offset = decode_varint(body, offset + 1)
    if offset + length != record_bytes:
        raise LengthsDisagreeError(record_bytes, length, offset)
    if record_bytes > len(body):
        raise IncompleteRecordError("the record is cut off")
    return Record(kind, crc, bytes(body[offset:record_bytes]))


def looks_torn(body: bytes, body_offset: int, *, followed_by_zeros: bool) -> bool:
    """Whether a frame's body looks as if a crash had kept part of it from the disk, rather than damaged.

    A disk writes whole sectors, so a part that was not written is a sector still full of zeros. `followed_by_zeros`
    says that nothing comes behind the body; then it may also simply stop, in the middle of a sector, with zeros to its
    end.

    Args:
        body: record and padding.
        body_offset: where in the file the body begins.
        followed_by_zeros: the file ends behind the body, or has only zeros there.
    """
    start = 0
    while start < len(body):
        end = start + SECTOR_BYTES - (body_offset + start) % SECTOR_BYTES
        if not any(body[start:end]):
            return True
        start = end
    return followed_by_zeros and body.endswith(b"\0")
