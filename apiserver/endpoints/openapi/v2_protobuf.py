"""The OpenAPI 2.0 document in protobuf: the message `openapi.v2.Document` of google/gnostic's OpenAPIv2.proto.

Clients of the Go family ask for nothing else at `/openapi/v2`; kubectl needs it for what has no PATCH, such as reviews.

A JSON object becomes a message by a table of its keys; where a key may be anything (a path, a definition, a property),
the message holds pairs of name and value. What begins with `x-` is a vendor extension, whose value is YAML text, and
JSON is YAML.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from apiserver.codec.wire import LENGTHS, tag_bytes, write_varint

__all__ = ["swagger_protobuf"]

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_TAGS: Final = [tag_bytes(number, _BYTES) for number in range(32)]

_Encode = Callable[[Any], bytes]
"""A JSON value as the content of a message."""
_Write = Callable[[int, Any], bytes]
"""A JSON value as the field of that number."""


def swagger_protobuf(document: Mapping[str, Any]) -> bytes:
    """An OpenAPI 2.0 document, as parsed from its JSON, in protobuf.

    Raises:
        KeyError: something in it is not in the tables below.
    """
    return _document(document)


def _field(number: int, content: bytes) -> bytes:
    """A string or a message as the field of that number."""
    return _TAGS[number] + LENGTHS[len(content)] + content


def _string(number: int, value: str) -> bytes:
    return _field(number, value.encode())


def _strings(number: int, values: Iterable[str]) -> bytes:
    return b"".join(_string(number, value) for value in values)


def _boolean(number: int, value: bool) -> bytes:
    return tag_bytes(number, _VARINT) + b"\x01" if value else b""


def _integer(number: int, value: int) -> bytes:
    return tag_bytes(number, _VARINT) + write_varint(value % (1 << 64))


def _double(number: int, value: float) -> bytes:
    return tag_bytes(number, _FIXED64) + struct.pack("<d", value)


def _one(encode: _Encode) -> _Write:
    return lambda number, value: _field(number, encode(value))


def _each(encode: _Encode) -> _Write:
    return lambda number, values: b"".join(_field(number, encode(value)) for value in values)


def _pair(name: str, content: bytes) -> bytes:
    """`NamedSchema` and its like."""
    return _string(1, name) + _field(2, content)


def _pairs(encode: _Encode, number: int = 1) -> _Encode:
    """A map with free keys as the pairs of a message of their own."""

    def content(values: Mapping[str, Any]) -> bytes:
        return b"".join(_field(number, _pair(name, encode(value))) for name, value in values.items())

    return content


def _any(value: Any) -> bytes:
    """`Any`: the value as YAML."""
    return _string(2, orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE).decode())


def _message(fields: Mapping[str, tuple[int, _Write]], extensions: int) -> _Encode:
    """A JSON object with known keys; `extensions` is the field that takes those with `x-`."""

    def content(value: Mapping[str, Any]) -> bytes:
        pieces = []
        for key, item in value.items():
            if key.startswith("x-"):
                pieces.append(_field(extensions, _pair(key, _any(item))))
            else:
                number, write = fields[key]
                pieces.append(write(number, item))
        return b"".join(pieces)

    return content


def _schema(value: Mapping[str, Any]) -> bytes:
    return _schema_message(value)


def _additional_properties(value: Any) -> bytes:
    return _boolean(2, value) if isinstance(value, bool) else _field(1, _schema(value))


def _types(value: str | list[str]) -> bytes:
    return _strings(1, [value] if isinstance(value, str) else value)


_schema_message: Final = _message(
    {
        "$ref": (1, _string),
        "format": (2, _string),
        "title": (3, _string),
        "description": (4, _string),
        "default": (5, _one(_any)),
        "multipleOf": (6, _double),
        "maximum": (7, _double),
        "exclusiveMaximum": (8, _boolean),
        "minimum": (9, _double),
        "exclusiveMinimum": (10, _boolean),
        "maxLength": (11, _integer),
        "minLength": (12, _integer),
        "pattern": (13, _string),
        "maxItems": (14, _integer),
        "minItems": (15, _integer),
        "uniqueItems": (16, _boolean),
        "maxProperties": (17, _integer),
        "minProperties": (18, _integer),
        "required": (19, _strings),
        "enum": (20, _each(_any)),
        "additionalProperties": (21, _one(_additional_properties)),
        "type": (22, _one(_types)),
        "items": (23, _one(lambda value: _field(1, _schema(value)))),
        "allOf": (24, _each(_schema)),
        "properties": (25, _one(_pairs(_schema))),
        "example": (30, _one(_any)),
    },
    31,
)

_body_parameter: Final = _message(
    {
        "description": (1, _string),
        "name": (2, _string),
        "in": (3, _string),
        "required": (4, _boolean),
        "schema": (5, _one(_schema)),
    },
    6,
)
_path_parameter: Final = _message(
    {
        "required": (1, _boolean),
        "in": (2, _string),
        "description": (3, _string),
        "name": (4, _string),
        "type": (5, _string),
        "format": (6, _string),
        "uniqueItems": (18, _boolean),
    },
    22,
)
_query_parameter: Final = _message(
    {
        "required": (1, _boolean),
        "in": (2, _string),
        "description": (3, _string),
        "name": (4, _string),
        "type": (6, _string),
        "format": (7, _string),
        "uniqueItems": (20, _boolean),
    },
    23,
)
# Within NonBodyParameter, and how each place a parameter comes from is written.
_NON_BODY: Final = {"query": (3, _query_parameter), "path": (4, _path_parameter)}


def _parameter(value: Mapping[str, Any]) -> bytes:
    """`ParametersItem`: a choice of a choice of a choice."""
    if value["in"] == "body":
        return _field(1, _field(1, _body_parameter(value)))
    return _non_body_parameter(tuple(value.items()))


@lru_cache(maxsize=256)  # the same few stand at almost every operation
def _non_body_parameter(items: tuple[tuple[str, Any], ...]) -> bytes:
    value = dict(items)
    number, encode = _NON_BODY[value["in"]]
    return _field(1, _field(2, _field(number, encode(value))))


_response: Final = _message(
    {"description": (1, _string), "schema": (2, _one(lambda value: _field(1, _schema(value))))}, 5
)
_operation: Final = _message(
    {
        "tags": (1, _strings),
        "summary": (2, _string),
        "description": (3, _string),
        "operationId": (5, _string),
        "produces": (6, _strings),
        "consumes": (7, _strings),
        "parameters": (8, _each(_parameter)),
        "responses": (9, _one(_pairs(lambda value: _field(1, _response(value))))),
        "schemes": (10, _strings),
        "deprecated": (11, _boolean),
    },
    13,
)
_path: Final = _message(
    {
        "get": (2, _one(_operation)),
        "put": (3, _one(_operation)),
        "post": (4, _one(_operation)),
        "delete": (5, _one(_operation)),
        "options": (6, _one(_operation)),
        "head": (7, _one(_operation)),
        "patch": (8, _one(_operation)),
        "parameters": (9, _each(_parameter)),
    },
    10,
)
_api_key: Final = _message(
    {"type": (1, _string), "name": (2, _string), "in": (3, _string), "description": (4, _string)}, 5
)
_info: Final = _message({"title": (1, _string), "version": (2, _string), "description": (3, _string)}, 7)
_document: Final = _message(
    {
        "swagger": (1, _string),
        "info": (2, _one(_info)),
        "host": (3, _string),
        "basePath": (4, _string),
        "schemes": (5, _strings),
        "consumes": (6, _strings),
        "produces": (7, _strings),
        "paths": (8, _one(_pairs(_path, 2))),
        "definitions": (9, _one(_pairs(_schema))),
        "security": (12, _each(_pairs(lambda scopes: _strings(1, scopes)))),
        "securityDefinitions": (13, _one(_pairs(lambda value: _field(2, _api_key(value))))),
    },
    16,
)
