"""Values whose JSON and protobuf forms differ: quantities, times, int-or-string, raw JSON, wrapped lists.

Each form has `encode_<form>(json value) -> message body` and `decode_<form>(message body) -> json value`. Encoding
expects canonical values (see `apiserver.codec`). Quantities, times and the like repeat all over a cluster, so those
functions remember their results.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import orjson

from apiserver.api import metatime
from apiserver.codec.wire import BYTES, LENGTHS, length_delimited, read_signed, read_varint, skip_field

__all__ = [
    "DECODERS",
    "EMPTY_VALUES",
    "ENCODERS",
    "decode_bytes",
    "encode_bytes",
    "float_value",
]

_REMEMBERED: Final = 4096


def _fields(data: bytes) -> dict[int, Any]:
    """Field number -> last value of a message without nested structure: an int, or bytes."""
    position, end = 0, len(data)
    found: dict[int, Any] = {}
    while position < end:
        tag, position = read_varint(data, position)
        if tag & 7 == BYTES:
            length, position = read_varint(data, position)
            found[tag >> 3] = data[position : position + length]
            position += length
        elif tag & 7 == 0:
            found[tag >> 3], position = read_signed(data, position)
        else:
            position = skip_field(data, position, tag & 7)
    if position != end:
        raise ValueError("unexpected EOF")
    return found


@lru_cache(maxsize=_REMEMBERED)
def encode_quantity(value: str | None) -> bytes:
    """{1 string}."""
    return length_delimited(1, (value or "0").encode())


@lru_cache(maxsize=_REMEMBERED)
def decode_quantity(data: bytes) -> str:
    """The text as stored; the zero quantity is written "0"."""
    text = _fields(data).get(1, b"")
    assert isinstance(text, bytes)
    return text.decode() or "0"


@lru_cache(maxsize=_REMEMBERED)
def encode_time(value: str | None) -> bytes:
    """{1 seconds, 2 nanos = 0}; the zero time is empty."""
    if value is None:
        return b""
    return b"\x08" + LENGTHS[metatime.parse_time(value)] + b"\x10\x00"


@lru_cache(maxsize=_REMEMBERED)
def decode_time(data: bytes) -> str | None:
    """RFC 3339 in whole seconds; None for the zero time."""
    if not data:
        return None
    seconds = _fields(data).get(1, 0)
    return None if seconds == metatime.ZERO_TIME_SECONDS else metatime.format_time(seconds)


@lru_cache(maxsize=_REMEMBERED)
def encode_micro_time(value: str | None) -> bytes:
    """{1 seconds, 2 nanos}; the zero time is empty."""
    if value is None:
        return b""
    seconds, micros = metatime.parse_micro_time(value)
    return b"\x08" + LENGTHS[seconds] + b"\x10" + LENGTHS[micros * 1000]


@lru_cache(maxsize=_REMEMBERED)
def decode_micro_time(data: bytes) -> str | None:
    """RFC 3339 with six digits of fraction; None for the zero time."""
    if not data:
        return None
    fields = _fields(data)
    seconds, nanos = fields.get(1, 0), fields.get(2, 0)
    if seconds == metatime.ZERO_TIME_SECONDS and nanos == 0:
        return None
    return metatime.format_micro_time(seconds, nanos // 1000)


@lru_cache(maxsize=_REMEMBERED)
def encode_duration(value: str | None) -> bytes:
    """{1 nanoseconds}."""
    return b"\x08" + LENGTHS[metatime.parse_duration(value or "0s")]


@lru_cache(maxsize=_REMEMBERED)
def decode_duration(data: bytes) -> str:
    """Go's notation."""
    return metatime.format_duration(_fields(data).get(1, 0))


@lru_cache(maxsize=_REMEMBERED)
def encode_int_or_string(value: int | str | None) -> bytes:
    """{1 type: 0 int or 1 string, 2 intVal, 3 strVal}, all written."""
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + length_delimited(3, value.encode())
    return b"\x08\x00\x10" + LENGTHS[value or 0] + b"\x1a\x00"


@lru_cache(maxsize=_REMEMBERED)
def decode_int_or_string(data: bytes) -> int | str:
    """The number or the string, as the type says."""
    fields = _fields(data)
    if fields.get(1, 0) == 0:
        return int(fields.get(2, 0))
    text = fields.get(3, b"")
    assert isinstance(text, bytes)
    return text.decode()


def encode_raw(value: Any) -> bytes:
    """{1 raw}, the value as compact JSON; null is an absent raw."""
    if value is None:
        return b""
    raw = orjson.dumps(value)
    return b"\n" + LENGTHS[len(raw)] + raw


def decode_raw(data: bytes) -> Any:
    """The JSON value in `raw`; None when there is none."""
    raw = _fields(data).get(1)
    if not raw:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"raw value is not JSON: {error}") from None


def encode_strings(value: list[str]) -> bytes:
    """{repeated 1 items}."""
    parts: list[bytes] = []
    for item in value:
        text = item.encode()
        parts += (b"\n", LENGTHS[len(text)], text)
    return b"".join(parts)


def decode_strings(data: bytes) -> list[str]:
    """The list of items."""
    position, end = 0, len(data)
    items = []
    while position < end:
        tag, position = read_varint(data, position)
        if tag == 10:
            length, position = read_varint(data, position)
            items.append(data[position : position + length].decode())
            position += length
        else:
            position = skip_field(data, position, tag & 7)
    if position != end:
        raise ValueError("unexpected EOF")
    return items


def encode_bytes(value: str) -> bytes:
    """Base64 text to bytes. Raises binascii.Error."""
    return a2b_base64(value, strict_mode=True)


def decode_bytes(data: bytes) -> str:
    """Bytes to padded base64 text."""
    return b2a_base64(data, newline=False).decode("ascii")


def float_value(value: float) -> float | int:
    """A float as JSON shows it: whole numbers without a fraction."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


# By `Type.json_form`; the forms that hold schemas of their own (schema-or-...) are made by encoder and decoder.
ENCODERS: Final[dict[str, Callable[[Any], bytes]]] = {
    "quantity": encode_quantity,
    "time": encode_time,
    "microtime": encode_micro_time,
    "duration": encode_duration,
    "int-or-string": encode_int_or_string,
    "raw": encode_raw,
    "strings": encode_strings,
}
DECODERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "quantity": decode_quantity,
    "time": decode_time,
    "microtime": decode_micro_time,
    "duration": decode_duration,
    "int-or-string": decode_int_or_string,
    "raw": decode_raw,
    "strings": decode_strings,
}
# What JSON shows for the zero value.
EMPTY_VALUES: Final[dict[str, Any]] = {
    "quantity": "0",
    "time": None,
    "microtime": None,
    "duration": "0s",
    "int-or-string": 0,
    "raw": None,
    "strings": None,
}
