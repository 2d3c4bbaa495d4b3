"""Looking into a stored protobuf object without decoding it.

A stored value is `k8s\\0` and a `runtime.Unknown`: field 1 its TypeMeta (1 apiVersion, 2 kind), field 2 the object.
Every object has its ObjectMeta in field 1, and that has `resourceVersion` in field 6 and `labels` in field 11
(k8s.io/apimachinery `runtime/generated.proto`, `meta/v1/generated.proto`). A list by label over ten thousand objects
reads those few bytes of each, and a client that wants protobuf gets the stored message with its revision put in.
"""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["is_protobuf", "message_with_revision", "stored_api_version", "stored_labels", "stored_string"]

MAGIC: Final = b"k8s\0"

_TYPE_META: Final = 0x0A
_RAW: Final = 0x12
_METADATA: Final = 0x0A
_RESOURCE_VERSION: Final = 0x32
_LABELS: Final = 0x5A
_KEY: Final = 0x0A
_VALUE: Final = 0x12


def is_protobuf(data: bytes) -> bool:
    """Whether a stored value has the protobuf envelope; others are JSON."""
    return data.startswith(MAGIC)


def stored_api_version(data: bytes) -> str:
    """The apiVersion an object is stored in."""
    start, end = _find(data, 4, len(data), _TYPE_META)
    start, end = _find(data, start, end, _KEY)
    return data[start:end].decode()


def stored_labels(data: bytes) -> dict[str, str]:
    """`metadata.labels` of a stored object. Raises ValueError when the bytes are no such object.

    The loop is written out, with one-byte lengths first, because a list by label runs it for every object.
    """
    start, end = _find(data, 4, len(data), _RAW)
    position, end = _find(data, start, end, _METADATA)
    labels: dict[str, str] = {}
    try:
        while position < end:
            tag = data[position]
            if tag & 7 != 2:
                position = _skip(data, position, end)[1]
                continue
            length = data[position + 1]
            position += 2
            if length > 0x7F:
                length, position = _varint(data, position - 1, end)
            if tag == _LABELS:
                _label(data, position, position + length, labels)
            elif tag > _LABELS:
                break
            position += length
    except IndexError:
        raise ValueError("a stored object is cut short") from None
    if position > end:
        raise ValueError("a stored object is cut short")
    return labels


def stored_string(data: bytes, field_numbers: tuple[int, ...]) -> str:
    """A string deep in a stored object, given the numbers (below 16) of the fields on the way; empty if absent.

    Raises ValueError when the bytes are no stored object.
    """
    start, end = _find(data, 4, len(data), _RAW)
    for number in field_numbers:
        wanted = number << 3 | 2
        while start < end and data[start] != wanted:
            if data[start] > 0x7F:  # fields are in order, and this one is behind all that are asked for
                return ""
            start = _skip(data, start, end)[1]
        if start >= end:
            return ""
        start, end = _skip(data, start, end)
    return data[start:end].decode()


def _label(data: bytes, position: int, end: int, labels: dict[str, str]) -> None:
    """One entry of the map. Keys and values are at most 63 bytes behind a prefix of at most 253."""
    key_start, key_end = _find(data, position, end, _KEY)
    value_start, value_end = _find(data, key_end, end, _VALUE)
    # The same few keys and values stand in very many objects.
    key = sys.intern(data[key_start:key_end].decode())
    labels[key] = sys.intern(data[value_start:value_end].decode())


def message_with_revision(data: bytes, revision: int) -> bytes:
    """The stored message, without envelope, with `metadata.resourceVersion` set.

    Raises ValueError when the bytes are no stored object.
    """
    raw_start, raw_end = _find(data, 4, len(data), _RAW)
    meta_start, meta_end = _find(data, raw_start, raw_end, _METADATA)
    version_start, version_end = _find(data, meta_start, meta_end, _RESOURCE_VERSION)
    digits = str(revision).encode()
    # A length below 128 is one byte, so the tag stands two bytes before an empty version.
    field_start = version_start - 2
    metadata = b"%b\x32%c%b%b" % (data[meta_start:field_start], len(digits), digits, data[version_end:meta_end])
    # Stored objects write metadata first, always.
    return b"\x0a%b%b%b" % (_encode_varint(len(metadata)), metadata, data[meta_end:raw_end])


def _find(data: bytes, position: int, end: int, wanted: int) -> tuple[int, int]:
    """Start and end of the first length-delimited field with a one-byte tag."""
    while position < end:
        tag = data[position]
        start, field_end = _skip(data, position, end)
        if tag == wanted:
            return start, field_end
        position = field_end
    raise ValueError(f"no field with tag {wanted:#x} in a stored object")


def _skip(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Start and end of the payload of the field at `position`. Every tag looked past here is one byte."""
    wire_type = data[position] & 7
    position += 1
    if wire_type == 2:
        if position < end and data[position] < 0x80:
            length, position = data[position], position + 1
        else:
            length, position = _varint(data, position, end)
        field_end = position + length
    elif wire_type == 0:
        field_end = _varint(data, position, end)[1]
    else:
        raise ValueError(f"wire type {wire_type} in a stored object")
    if field_end > end:
        raise ValueError("a stored object is cut short")
    return position, field_end


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("a stored object is cut short")


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
