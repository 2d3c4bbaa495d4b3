"""Encoding and decoding by walking the tables: several times slower than generated code, and much easier to check.

Three uses: types that are met a few times only are not worth compiling; the decoder takes whatever protobuf allows
(fields in any order, repeated, packed, unknown), so the generated ones hand it every message that is not laid out as
Kubernetes does it; and the tests hold the generated code against it.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from apiserver.api.scheme import Field, Scheme, Type
from apiserver.codec import values
from apiserver.codec.errors import DecodeError
from apiserver.codec.wire import (
    BYTES,
    FIXED64,
    LENGTHS,
    VARINT,
    length_delimited,
    read_signed,
    read_varint,
    skip_field,
    tag_bytes,
)

__all__ = ["ReferenceDecoder", "ReferenceEncoder"]

_ZERO_SCALARS: Final[dict[str, Any]] = {"string": "", "bool": False, "int32": 0, "int64": 0, "double": 0}
# As gogoproto's generated code; deeper nesting is an attack, not a document.
_MAX_DEPTH: Final = 200


class ReferenceDecoder:
    """Decodes messages by walking the schema."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._by_number: dict[str, dict[int, Field]] = {}

    def decode(self, type_name: str, data: bytes, start: int, end: int, into: dict[str, Any]) -> dict[str, Any]:
        """Read the message in data[start:end] into an object. Raises DecodeError."""
        if end > len(data):
            raise DecodeError("unexpected EOF")
        try:
            self._object(self._scheme.type(type_name), data[start:end], into, 0)
        except IndexError:
            raise DecodeError("unexpected EOF") from None
        except UnicodeDecodeError:
            raise DecodeError(f"{type_name}: a string field contains invalid UTF-8") from None
        except (ValueError, struct.error) as error:
            raise DecodeError(str(error)) from None
        return into

    def decode_into(self, type_: Type, data: bytes, into: dict[str, Any], depth: int = 0) -> Any:
        """The JSON value of a message body, whatever its form; `into` is filled when that is an object.

        Raises ValueError, IndexError or struct.error.
        """
        leaf = values.DECODERS.get(type_.json_form)
        if leaf is not None:
            return leaf(data)
        if type_.json_form.startswith("schema-or-"):
            return self._schema_or(type_, data, depth)
        return self._object(type_, data, into, depth)

    def _object(self, type_: Type, data: bytes, into: dict[str, Any], depth: int) -> dict[str, Any]:
        if depth > _MAX_DEPTH:
            raise ValueError("the message is nested too deeply")
        found = self._scan(type_, data)
        for field in type_.fields:
            if field.number is not None:
                self._put(field, found.get(field.number, ()), into, depth)
        return into

    def _scan(self, type_: Type, data: bytes) -> dict[int, list[Any]]:
        """Field number -> values in order: ints, or bytes; fields unknown to the schema are passed over."""
        fields = self._by_number.get(type_.name)
        if fields is None:
            fields = {field.number: field for field in type_.fields if field.number is not None}
            self._by_number[type_.name] = fields
        found: dict[int, list[Any]] = {}
        position, end = 0, len(data)
        while position < end:
            tag, position = read_varint(data, position)
            number, wire_type = tag >> 3, tag & 7
            field = fields.get(number)
            start = position
            position = skip_field(data, position, wire_type)
            if position > end:
                raise ValueError("unexpected EOF")
            if field is not None:
                found.setdefault(number, []).extend(_raw(type_, field, wire_type, data, start, position))
        return found

    def _put(self, field: Field, found: Any, into: dict[str, Any], depth: int) -> None:
        """Put what JSON shows of one field, given the values found on the wire."""
        name = field.json_name
        if field.inline:
            self._object(self._scheme.type(field.type_name), b"".join(found), into, depth + 1)
        elif field.is_map or field.repeated:
            if found:
                into[name] = (
                    dict(self._entry(field, entry, depth) for entry in found)
                    if field.is_map
                    else [self._element(field.type_name, value, depth) for value in found]
                )
            elif field.omitempty == "n":
                into[name] = None
        elif field.is_message:
            self._put_message(field, found, into, depth)
        else:
            self._put_scalar(field, found, into)

    def _put_message(self, field: Field, found: Any, into: dict[str, Any], depth: int) -> None:
        if not found and field.go_kind != "value":
            if field.omitempty == "n":
                into[field.json_name] = None
            return
        # A message field given several times is the concatenation of its parts.
        value = self._element(field.type_name, b"".join(found), depth)
        shown_null = field.go_kind == "value" and field.omitempty != "omitzero"
        if value is not None or shown_null or field.omitempty == "n":
            into[field.json_name] = value

    def _put_scalar(self, field: Field, found: Any, into: dict[str, Any]) -> None:
        if field.go_kind == "value":
            value = self._element(field.type_name, found[-1], 0) if found else _ZERO_SCALARS[field.type_name]
            if value or field.omitempty != "y":
                into[field.json_name] = value
        elif found:
            value = self._element(field.type_name, found[-1], 0)
            if field.go_kind != "bytes" or value or field.omitempty != "y":
                into[field.json_name] = value
        elif field.omitempty == "n":
            into[field.json_name] = None

    def _element(self, type_name: str, value: Any, depth: int) -> Any:
        if type_name == "string":
            return value.decode()
        if type_name == "bytes":
            return values.decode_bytes(value)
        if type_name == "bool":
            return value != 0
        if type_name in ("int32", "int64"):
            return value
        if type_name == "double":
            return values.float_value(struct.unpack("<d", value)[0])
        return self.decode_into(self._scheme.type(type_name), value, {}, depth + 1)

    def _entry(self, field: Field, data: bytes, depth: int) -> tuple[str, Any]:
        """(key, value) of one map entry; either may be missing, which stands for empty."""
        parts: dict[int, bytes] = {}
        position, end = 0, len(data)
        while position < end:
            tag, position = read_varint(data, position)
            start = position
            position = skip_field(data, position, tag & 7)
            if position > end:
                raise ValueError("unexpected EOF")
            if tag & 7 == BYTES:
                parts[tag >> 3] = data[read_varint(data, start)[1] : position]
        return parts.get(1, b"").decode(), self._element(field.type_name, parts.get(2, b""), depth)

    def _schema_or(self, type_: Type, data: bytes, depth: int) -> Any:
        """JSONSchemaPropsOrBool, ...OrArray, ...OrStringArray: the schema if there is one, else the alternative."""
        found = self._scan(type_, data)
        for field in type_.fields:
            if field.proto_name == "schema" and field.number in found:
                return self._element(field.type_name, b"".join(found[field.number]), depth)
        if type_.json_form == "schema-or-bool":
            return bool(found.get(1, [0])[-1])
        items = found.get(2)
        if items is None:
            return None
        alternative = next(field for field in type_.fields if field.number == 2)
        return [self._element(alternative.type_name, item, depth) for item in items]


def _raw(type_: Type, field: Field, wire_type: int, data: bytes, start: int, end: int) -> list[Any]:
    """The values of one occurrence of a field: one, or several when packed."""
    scalar = not field.is_map and field.type_name in ("bool", "int32", "int64")
    if scalar and wire_type == VARINT:
        return [_narrow(field, read_signed(data, start)[0])]
    if scalar and wire_type == BYTES and field.repeated:
        _, position = read_varint(data, start)
        packed = []
        while position < end:
            value, position = read_signed(data, position)
            packed.append(_narrow(field, value))
        return packed
    if not scalar and wire_type == (FIXED64 if field.type_name == "double" else BYTES):
        return [data[start:end] if wire_type == FIXED64 else data[read_varint(data, start)[1] : end]]
    raise ValueError(f"proto: wrong wireType = {wire_type} for field {field.proto_name} of {type_.short_name}")


def _narrow(field: Field, value: int) -> int:
    """An int32 is the low half of what the wire says."""
    if field.type_name != "int32" or -(2**31) <= value < 2**31:
        return value
    return (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)


class ReferenceEncoder:
    """Encodes canonical values by walking the schema."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme

    def encode_value(self, type_: Type, value: Any) -> bytes:
        """The message body of a value of a message type. What is not canonical raises whatever it runs into."""
        leaf = values.ENCODERS.get(type_.json_form)
        if leaf is not None:
            return leaf(value)
        if type_.json_form.startswith("schema-or-"):
            return self._schema_or(type_, value)
        return b"".join(self._field(field, value) for field in type_.fields if field.number is not None)

    def _field(self, field: Field, obj: dict[str, Any]) -> bytes:
        """Everything one field adds to a message; nothing when it is not written."""
        assert field.number is not None
        if field.inline:
            return length_delimited(field.number, self.encode_value(self._scheme.type(field.type_name), obj))
        value = obj.get(field.json_name)
        if field.is_map:
            entries = sorted((value or {}).items())
            return b"".join(length_delimited(field.number, self._entry(field, *entry)) for entry in entries)
        if field.repeated:
            return b"".join(self._single(field.type_name, field.number, item) for item in value or ())
        if value is None:
            if field.go_kind != "value":
                return b""
            value = self._zero(field.type_name)
        return self._single(field.type_name, field.number, value)

    def _zero(self, type_name: str) -> Any:
        """What stands for a value that is not given."""
        if type_name in _ZERO_SCALARS:
            return _ZERO_SCALARS[type_name]
        return None if self._scheme.type(type_name).json_form in values.ENCODERS else {}

    def _entry(self, field: Field, key: str, value: Any) -> bytes:
        return self._single("string", 1, key) + self._single(field.type_name, 2, value)

    def _single(self, type_name: str, number: int, value: Any) -> bytes:
        """One value with its tag."""
        if type_name in ("bool", "int32", "int64"):
            return tag_bytes(number, VARINT) + LENGTHS[int(value)]
        if type_name == "double":
            return tag_bytes(number, FIXED64) + struct.pack("<d", value)
        if type_name == "string":
            return length_delimited(number, value.encode())
        if type_name == "bytes":
            return length_delimited(number, values.encode_bytes(value))
        return length_delimited(number, self.encode_value(self._scheme.type(type_name), value))

    def _schema_or(self, type_: Type, value: Any) -> bytes:
        """JSONSchemaPropsOrBool {1 allows, 2 schema}, ...OrArray and ...OrStringArray {1 schema, 2 list}."""
        by_name = {field.proto_name: field for field in type_.fields}
        schema = by_name["schema"]
        assert schema.number is not None
        if type_.json_form == "schema-or-bool":
            allows = self._single("bool", 1, value if isinstance(value, bool) else isinstance(value, dict))
            return allows + (self._single(schema.type_name, schema.number, value) if isinstance(value, dict) else b"")
        if isinstance(value, dict):
            return self._single(schema.type_name, schema.number, value)
        alternative = next(field for field in type_.fields if field is not schema)
        return b"".join(self._single(alternative.type_name, alternative.number or 0, item) for item in value or ())
