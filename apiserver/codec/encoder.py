"""From canonical objects to protobuf messages.

Every type gets a function of its own, written as Python source from the schema and compiled when a value of the type is
first met. The function visits the fields in the order of their numbers and lists tag, length and content, joined at
the end; the encoded message tells its own length to the message around it. A generated function for

    message KeyToPath { 1 string key; 2 string path; 3 *int32 mode }

reads

    def encode(o):
        g = o.get
        s1 = (g('key') or '').encode()
        s2 = (g('path') or '').encode()
        parts = [b'\\n', L[len(s1)], s1, b'\\x12', L[len(s2)], s2]
        v = g('mode')
        if v is not None:
            parts += (b'\\x18', L[v])
        return b''.join(parts)

Fields of Go values are written even when zero, pointers when present, lists and maps when not empty (`Field.go_kind`).
Why not the protobuf runtime: building its messages from nested dicts took 690 µs for a fully populated pod before any
quantity, time or zero field was treated, twice the time of writing the bytes here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from apiserver.api.scheme import Field, Scheme, Type
from apiserver.codec import values
from apiserver.codec.errors import EncodeError
from apiserver.codec.wire import BYTES, FIXED64, LENGTHS, VARINT, tag_bytes

__all__ = ["Encoders"]

Encode = Callable[[Any], bytes]

# A type with nothing but this many optional messages or more (a volume source) is encoded by the keys present.
_UNION_FIELDS_MIN: Final = 6


class Encoders:
    """Type name -> function from a canonical value to a message body; made on first use."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._ready: dict[str, Encode] = {}
        # The namespace of the generated functions; a type not met yet is there as a function that compiles it.
        self._names: dict[str, Any] = {
            "L": LENGTHS,
            "B": values.encode_bytes,
            "double": struct.Struct("<d").pack,
        }

    def get(self, type_name: str) -> Encode:
        """The encoder of a type. Raises EncodeError for types without protobuf form."""
        found = self._ready.get(type_name)
        if found is None:
            found = self._ready[type_name] = self._names[self._name(type_name)] = self._make(type_name)
        return found

    def _name(self, type_name: str) -> str:
        """The name generated code calls a type's encoder by; puts a compiling stand-in there if need be."""
        name = "encode_" + type_name.replace(".", "_")
        if name not in self._names:
            self._names[name] = lambda value: self.get(type_name)(value)
        return name

    def _takes_null(self, type_name: str) -> bool:
        return self._scheme.type(type_name).json_form in values.ENCODERS

    def _make(self, type_name: str) -> Encode:
        type_ = self._scheme.type(type_name)
        if type_.json_only:
            raise EncodeError(f"{type_.short_name} has no protobuf form")
        form = type_.json_form
        if form in values.ENCODERS:
            return values.ENCODERS[form]
        if form.startswith("schema-or-"):
            return self._schema_or(type_)
        if is_union(type_):
            return self._union(type_)
        source = _Source(self._name, self._takes_null).function(type_)
        scope: dict[str, Any] = {}
        exec(compile(source, f"<encoder of {type_name}>", "exec"), self._names, scope)  # noqa: S102 - our own text
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

    def _schema_or(self, type_: Type) -> Encode:
        """JSONSchemaPropsOrBool {1 allows, 2 schema}, ...OrArray and ...OrStringArray {1 schema, 2 list}."""
        schema_field = next(field for field in type_.fields if field.proto_name == "schema")
        schema_tag = tag_bytes(schema_field.number or 0, BYTES)
        schema = self._name(schema_field.type_name)
        strings = type_.json_form == "schema-or-strings"
        names = self._names

        def encode(value: Any) -> bytes:
            if isinstance(value, bool):
                return b"\x08\x01" if value else b"\x08\x00"
            if isinstance(value, dict):
                body = names[schema](value)
                allows = b"\x08\x01" if type_.json_form == "schema-or-bool" else b""
                return b"".join((allows, schema_tag, LENGTHS[len(body)], body))
            parts: list[bytes] = []
            for item in value or ():
                body = item.encode() if strings else names[schema](item)
                parts += (b"\x12", LENGTHS[len(body)], body)
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

    def function(self, type_: Type) -> str:
        """`def encode(o)` for a type of JSON form object."""
        for field in type_.fields:
            if field.number is not None:
                self._field(field)
        self._flush()
        if not self._started:
            return "def encode(o):\n    return b''\n"
        body = "\n".join("    " + line for line in self._lines)
        return f"def encode(o):\n    g = o.get\n{body}\n    return b''.join(parts)\n"

    def _flush(self) -> None:
        """Put the parts collected into the list."""
        if not self._pending:
            return
        joined = ", ".join(self._pending)
        self._lines.append(f"parts += ({joined},)" if self._started else f"parts = [{joined}]")
        self._started = True
        self._pending = []

    def _branch(self, condition: str, lines: list[str]) -> None:
        """Lines that write parts only under a condition."""
        self._flush()
        if not self._started:
            self._lines.append("parts = []")
            self._started = True
        self._lines.append(condition)
        self._lines += ["    " + line for line in lines]

    def _field(self, field: Field) -> None:
        if field.is_map or field.repeated:
            self._lines.append(f"v = g({field.json_name!r})")
            self._branch("if v:", _map_lines(self, field) if field.is_map else self._list_lines(field))
        elif field.go_kind == "value" or field.inline:
            self._always(field)
        else:
            self._lines.append(f"v = g({field.json_name!r})")
            setup, parts = self.value(field, "v")
            self._branch("if v is not None:", [*setup, f"parts += ({', '.join(parts)},)"])

    def _always(self, field: Field) -> None:
        """A field that is written whether set or not. Its variable must outlive later fields, hence the number."""
        read = f"g({field.json_name!r})"
        name = f"v{field.number}"
        number = field.number or 0
        if field.type_name == "string":
            self._lines.append(f"{name} = ({read} or '').encode()")
            self._pending += [repr(tag_bytes(number, BYTES)), f"L[len({name})]", name]
        elif field.type_name == "bool":
            tag = tag_bytes(number, VARINT)
            self._pending.append(f"{tag + bytes([1])!r} if {read} else {tag + bytes([0])!r}")
        elif field.type_name in ("int32", "int64"):
            self._pending += [repr(tag_bytes(number, VARINT)), f"L[{read} or 0]"]
        else:
            assert field.is_message, f"a value of type {field.type_name} is new"
            encode = self._encoder_name(field.type_name)
            if field.inline:
                self._lines.append(f"{name} = {encode}(o)")
            else:
                empty = "" if self._takes_null(field.type_name) else " or {}"
                self._lines.append(f"{name} = {encode}({read}{empty})")
            self._pending += [repr(tag_bytes(number, BYTES)), f"L[len({name})]", name]

    def value(self, field: Field, variable: str) -> tuple[list[str], list[str]]:
        """(statements, parts) that write one present value of the field's (element) type, tag included."""
        number = field.number or 0
        return self.tagged(field.type_name, number, variable)

    def tagged(self, type_name: str, number: int, variable: str) -> tuple[list[str], list[str]]:
        """As `value`, for a type and number."""
        if type_name == "bool":
            tag = tag_bytes(number, VARINT)
            return [], [f"{tag + bytes([1])!r} if {variable} else {tag + bytes([0])!r}"]
        if type_name in ("int32", "int64"):
            return [], [repr(tag_bytes(number, VARINT)), f"L[{variable}]"]
        if type_name == "double":
            return [], [repr(tag_bytes(number, FIXED64)), f"double({variable})"]
        if type_name == "string":
            convert = f"b = {variable}.encode()"
        elif type_name == "bytes":
            convert = f"b = B({variable})"
        else:
            convert = f"b = {self._encoder_name(type_name)}({variable})"
        return [convert], [repr(tag_bytes(number, BYTES)), "L[len(b)]", "b"]

    def _list_lines(self, field: Field) -> list[str]:
        setup, parts = self.value(field, "x")
        return ["for x in v:", *("    " + line for line in setup), f"    parts += ({', '.join(parts)},)"]


def _map_lines(source: _Source, field: Field) -> list[str]:
    """Entries sorted by key, each with both key and value."""
    setup, parts = source.tagged(field.type_name, 2, "v[k]")
    return [
        "for k in sorted(v):",
        *("    " + line for line in setup),
        "    k = k.encode()",
        f"    e = b''.join((b'\\n', L[len(k)], k, {', '.join(parts)}))",
        f"    parts += ({tag_bytes(field.number or 0, BYTES)!r}, L[len(e)], e)",
    ]
