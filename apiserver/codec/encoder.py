"""From canonical objects to protobuf messages.

Every type gets a function of its own, written as Python source from the schema and compiled when some values of the
type have been met. The function visits the fields in the order of their numbers and lists what they add, joined at the
end; the encoded message tells its own length to the message around it. The generated function for

    message KeyToPath { 1 string key; 2 string path; 3 *int32 mode }

reads

    def encode(o):
        parts = [
            P10[len(b := v.encode())] + b if 'key' in o and (v := o['key']) else b'\\n\\x00',
            P18[len(b := v.encode())] + b if 'path' in o and (v := o['path']) else b'\\x12\\x00',
        ]
        if 'mode' in o and (v := o['mode']) is not None:
            parts += (P24[v],)
        return b''.join(parts)

where P10[n] is the tag 10 followed by the varint n. Fields of Go values are written even when zero, pointers when
present, lists and maps when not empty (`Field.go_kind`). Why not the protobuf runtime: building its messages from
nested dicts took 690 µs for a fully populated pod before any quantity, time or zero field was treated. (`'key' in o`
and `o['key']` are instructions of their own in CPython, three times as fast as a call of `o.get`.)
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from apiserver.api.scheme import Field, Scheme, Type
from apiserver.codec import values
from apiserver.codec.errors import EncodeError
from apiserver.codec.reference import ReferenceEncoder
from apiserver.codec.wire import BYTES, FIXED64, LENGTHS, VARINT, Prefixes, tag_bytes

__all__ = ["COMPILED_AFTER", "Encoders", "is_union"]

Encode = Callable[[Any], bytes]

# Compiling the function of a type takes as long as walking the tables for so many values of it. Most types of a small
# cluster never get there, which keeps their cost out of the start-up.
COMPILED_AFTER: Final = 16

# A type with nothing but this many optional messages or more (a volume source) is encoded by the keys present.
_UNION_FIELDS_MIN: Final = 6


class Encoders:
    """Type name -> function from a canonical value to a message body; made on first use."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._reference = ReferenceEncoder(scheme)
        # The namespace of the generated functions; a type not compiled yet has a stand-in there.
        self._names: dict[str, Any] = {
            "B": values.encode_bytes,
            "double": struct.Struct("<d").pack,
        }

    def get(self, type_name: str) -> Encode:
        """The encoder of a type. Raises EncodeError for types without protobuf form."""
        encode: Encode = self._names[self._name(type_name)]
        return encode

    def _name(self, type_name: str) -> str:
        """The name generated code calls a type's encoder by."""
        name = "encode_" + type_name.replace(".", "_")
        if name not in self._names:
            type_ = self._scheme.type(type_name)
            if type_.json_only:
                raise EncodeError(f"{type_.short_name} has no protobuf form")
            self._names[name] = values.ENCODERS.get(type_.json_form) or self._stand_in(name, type_)
        return name

    def _stand_in(self, name: str, type_: Type) -> Encode:
        """Encodes by the tables until the type has been met a few times, then compiles, and hands on to the result."""
        walk = self._reference.encode_value
        left = COMPILED_AFTER
        compiled: Encode | None = None

        def encode(value: Any) -> bytes:
            nonlocal left, compiled
            if compiled is not None:  # somebody still holds the stand-in
                return compiled(value)
            left -= 1
            if left >= 0:
                return walk(type_, value)
            compiled = self._names[name] = self._make(type_)
            return compiled(value)

        return encode

    def _takes_null(self, type_name: str) -> bool:
        return self._scheme.type(type_name).json_form in values.ENCODERS

    def _make(self, type_: Type) -> Encode:
        if type_.json_form.startswith("schema-or-"):
            return lambda value: self._reference.encode_value(type_, value)
        if is_union(type_):
            return self._union(type_)
        writer = _Source(self._name, self._takes_null)
        source = writer.function(type_)
        for tag in writer.tags:
            self._names.setdefault(f"P{tag}", Prefixes(LENGTHS[tag]))
        scope: dict[str, Any] = {}
        exec(compile(source, f"<encoder of {type_.name}>", "exec"), self._names, scope)  # noqa: S102 - our own text
        encode: Encode = scope["encode"]
        return encode

    def _union(self, type_: Type) -> Encode:
        """For types of optional messages only, of which one or two are set: look at what is there."""
        table = {
            field.json_name: (field.number or 0, tag_bytes(field.number or 0, BYTES), self._name(field.type_name))
            for field in type_.fields
            if field.number is not None
        }
        names = self._names

        def encode(value: dict[str, Any]) -> bytes:
            found = [table[key] + (key,) for key in value if key in table and value[key] is not None]
            found.sort()
            parts: list[bytes] = []
            for _, tag, name, key in found:
                body = names[name](value[key])
                parts += (tag, LENGTHS[len(body)], body)
            return b"".join(parts)

        return encode


def is_union(type_: Type) -> bool:
    """Whether a type has nothing but many optional messages."""
    return len(type_.fields) >= _UNION_FIELDS_MIN and all(
        field.go_kind == "pointer" and field.is_message and field.omitempty == "y" for field in type_.fields
    )


class _Source:
    """Writes the source of one encoder."""

    def __init__(self, encoder_name: Callable[[str], str], takes_null: Callable[[str], bool]) -> None:
        self._encoder_name = encoder_name
        self._takes_null = takes_null  # whether the encoder of a type knows what to do with None
        self._lines: list[str] = []
        self._pending: list[str] = []  # parts that are always written, not yet in `parts`
        self._started = False
        self.tags: set[int] = set()  # for which the source uses a P<tag>

    def function(self, type_: Type) -> str:
        """`def encode(o)` for a type of JSON form object."""
        for field in type_.fields:
            if field.number is not None:
                self._field(field)
        self._flush()
        if not self._started:
            return "def encode(o):\n    return b''\n"
        body = "\n".join("    " + line for line in self._lines)
        return f"def encode(o):\n{body}\n    return b''.join(parts)\n"

    def _prefix(self, number: int, wire_type: int) -> str:
        tag = number << 3 | wire_type
        self.tags.add(tag)
        return f"P{tag}"

    def _flush(self) -> None:
        """Put the parts collected into the list."""
        if not self._pending:
            return
        joined = ", ".join(self._pending)
        self._lines.append(f"parts += ({joined},)" if self._started else f"parts = [{joined}]")
        self._started = True
        self._pending = []

    def _field(self, field: Field) -> None:
        if not (field.is_map or field.repeated) and (field.go_kind == "value" or field.inline):
            self._pending += self._always(field)
            return
        self._flush()
        if not self._started:
            self._lines.append("parts = []")
            self._started = True
        if field.is_map or field.repeated:
            lines = self._map_lines(field) if field.is_map else self._list_lines(field)
            self._lines += [f"if {_given(field)}:", *("    " + line for line in lines)]
        else:
            parts = self._present(field.type_name, field.number, "v")
            self._lines += [f"if {_given(field)} is not None:", f"    parts += ({parts},)"]

    def _always(self, field: Field) -> list[str]:
        """Parts of a field that is written whether set or not."""
        number = field.number or 0
        given = _given(field)
        if field.type_name == "string":
            prefix = self._prefix(number, BYTES)
            unset = tag_bytes(number, BYTES) + b"\0"
            return [f"{prefix}[len(b := v.encode())] + b if {given} else {unset!r}"]
        if field.type_name == "bool":
            return [self._bool(number, given)]
        if field.type_name in ("int32", "int64"):
            zero = tag_bytes(number, VARINT) + b"\0"
            return [f"{self._prefix(number, VARINT)}[v] if {given} else {zero!r}"]
        assert field.is_message, f"a value of type {field.type_name} is new"
        if field.inline:
            value = "o"
        else:
            # Zero is a value of an int-or-string, so what counts is whether the field is there.
            empty = "None" if self._takes_null(field.type_name) else "{}"
            value = f"v if {given} is not None else {empty}"
        return [f"{self._prefix(number, BYTES)}[len(b := {self._encoder_name(field.type_name)}({value}))]", "b"]

    def _present(self, type_name: str, number: int | None, variable: str) -> str:
        """Parts, with commas between, of one present value of a type."""
        assert number is not None
        if type_name == "bool":
            return self._bool(number, variable)
        if type_name in ("int32", "int64"):
            return f"{self._prefix(number, VARINT)}[{variable}]"
        if type_name == "double":
            return f"{tag_bytes(number, FIXED64)!r}, double({variable})"
        if type_name == "string":
            convert = f"{variable}.encode()"
        elif type_name == "bytes":
            convert = f"B({variable})"
        else:
            convert = f"{self._encoder_name(type_name)}({variable})"
        return f"{self._prefix(number, BYTES)}[len(b := {convert})], b"

    def _bool(self, number: int, read: str) -> str:
        tag = tag_bytes(number, VARINT)
        return f"{tag + bytes([1])!r} if {read} else {tag + bytes([0])!r}"

    def _list_lines(self, field: Field) -> list[str]:
        return ["for x in v:", f"    parts += ({self._present(field.type_name, field.number, 'x')},)"]

    def _map_lines(self, field: Field) -> list[str]:
        """Entries sorted by key, each with both key and value."""
        entry = f"{self._present('string', 1, 'k')}, {self._present(field.type_name, 2, 'v[k]')}"
        prefix = self._prefix(field.number or 0, BYTES)
        return [
            "for k in sorted(v):",
            f"    e = b''.join(({entry}))",
            f"    parts += ({prefix}[len(e)], e)",
        ]


def _given(field: Field) -> str:
    """An expression for the value of a field, false when the object does not have it; binds `v`."""
    return f"{field.json_name!r} in o and (v := o[{field.json_name!r}])"
