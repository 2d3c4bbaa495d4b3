"""Protobuf's wire format, as far as Kubernetes uses it, and the frames around messages.

    stored value   6b 38 73 00 ("k8s\\0"), then runtime.Unknown:
                   1 typeMeta {1 apiVersion, 2 kind}, 2 raw (the object's message), 3 contentEncoding, 4 contentType;
                   all four are always present, the last two normally empty
    watch frame    4 bytes length, big-endian, then a meta.v1.WatchEvent: 1 type, 2 object {1 raw}, where raw holds a
                   complete stored value

Field numbers ascend, map entries are sorted by key, integers are plain varints (negative ones take ten bytes).
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ENVELOPE_TAIL",
    "LENGTHS",
    "MAGIC",
    "Prefixes",
    "Varints",
    "envelope_head",
    "length_delimited",
    "read_signed",
    "read_varint",
    "skip_field",
    "tag_bytes",
    "watch_frame",
    "write_varint",
]

MAGIC: Final = b"k8s\0"
ENVELOPE_TAIL: Final = b"\x1a\x00\x22\x00"  # contentEncoding and contentType, both empty

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_VARINT_BYTES_MAX: Final = 10
_CACHED_BELOW: Final = 1 << 14


def write_varint(value: int) -> bytes:
    """A varint; negative values as two's complement in 64 bits."""
    if value < 0:
        value += 1 << 64
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class Varints(dict[int, bytes]):
    """Integer -> its varint; the small ones, which lengths and most numbers are, are remembered."""

    def __missing__(self, value: int) -> bytes:
        encoded = write_varint(value)
        if 0 <= value < _CACHED_BELOW:
            self[value] = encoded
        return encoded


class Prefixes(dict[int, bytes]):
    """Integer -> a field's tag and the integer: the start of a field of that length, or the whole of a number."""

    def __init__(self, tag: bytes) -> None:
        super().__init__()
        self._tag = tag

    def __missing__(self, value: int) -> bytes:
        encoded = self._tag + LENGTHS[value]
        if 0 <= value < _CACHED_BELOW:
            self[value] = encoded
        return encoded


LENGTHS: Final = Varints()


def tag_bytes(number: int, wire_type: int) -> bytes:
    """What stands before a field's value."""
    return write_varint(number << 3 | wire_type)


def length_delimited(number: int, data: bytes) -> bytes:
    """A whole field of bytes."""
    return tag_bytes(number, BYTES) + LENGTHS[len(data)] + data


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """(value, position behind it). Raises IndexError at the end of the data, ValueError beyond ten bytes."""
    value = shift = 0
    for _ in range(_VARINT_BYTES_MAX):
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
    raise ValueError("integer overflow")


def read_signed(data: bytes, position: int) -> tuple[int, int]:
    """(value as a signed 64-bit integer, position behind it); errors as read_varint."""
    value, position = read_varint(data, position)
    return (value - (1 << 64) if value >> 63 else value), position


def skip_field(data: bytes, position: int, wire_type: int) -> int:
    """The position behind a field's value. Raises IndexError or ValueError."""
    if wire_type == VARINT:
        return read_varint(data, position)[1]
    if wire_type == FIXED64:
        return position + 8
    if wire_type == FIXED32:
        return position + 4
    if wire_type == BYTES:
        length, position = read_varint(data, position)
        return position + length
    raise ValueError(f"illegal wireType {wire_type}")


def envelope_head(api_version: str, kind: str) -> bytes:
    """Everything of a stored value up to and including the tag of `raw`; its length and the object follow."""
    type_meta = length_delimited(1, api_version.encode()) + length_delimited(2, kind.encode())
    return MAGIC + length_delimited(1, type_meta) + tag_bytes(2, BYTES)


def watch_frame(event_type: str, envelope: bytes) -> bytes:
    """One event of a protobuf watch stream, length included."""
    event = length_delimited(1, event_type.encode()) + length_delimited(2, length_delimited(1, envelope))
    return len(event).to_bytes(4, "big") + event
