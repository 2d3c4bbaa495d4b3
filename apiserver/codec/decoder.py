"""From protobuf messages to canonical objects.

As in `apiserver.codec.encoder`, every type gets a generated function, compiled when some messages of the type have been
met. It relies on the order in which Kubernetes writes fields (ascending numbers) and so asks for each field once:

    def decode(b, p, end, o):                      # fills and returns o from b[p:end]
        t = b[p] if p < end else 0                 # the next tag; 0 at the end
        if t == 10:                                # 1 string key
            n = b[p+1]; p += 2
            if n > 127: n, p = V(b, p - 1)
            e = p + n
            o['key'] = b[p:e].decode(); p = e
            t = b[p] if p < end else 0
        else:
            o['key'] = ''
        ...
        if p != end: return unusual('...KeyToPath', b, start, end, o)
        return o

A message that has its fields in another order, or fields unknown to the tables, or is damaged is read again by
`apiserver.codec.reference`, which takes anything protobuf allows and words the errors. (The protobuf
runtime parses a fully populated pod in 45 µs, but reading its 1559 fields back out takes 620 to 920 µs.)
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from apiserver.api.scheme import Field, Scheme, Type
from apiserver.codec import values
from apiserver.codec.encoder import COMPILED_AFTER, is_union
from apiserver.codec.errors import DecodeError
from apiserver.codec.reference import ReferenceDecoder
from apiserver.codec.wire import BYTES, FIXED64, VARINT, read_signed, read_varint

__all__ = ["Decoders"]

# (data, start, end, object to fill) -> the object
Decode = Callable[[bytes, int, int, Any], Any]

_SECOND_TAG_BYTE: Final = "if t > 127: t = t & 127 | b[p+1] << 7; p += 1"
# A length of more than one byte; two bytes are by far the most frequent.
_LONG: Final = "if n > 127: n, p = (n + (b[p] << 7) - 128, p + 1) if b[p] < 128 else V(b, p - 1)"
# One entry of a map of strings whose key is shorter than 128 bytes; `strings_map` takes the others. Where the value's
# length has three bytes, two are read, and the end does not fit.
_STRINGS_ENTRY: Final = [
    "n = b[p+1]; p += 2",
    _LONG,
    "e = p + n; k = p + 2; q = k + b[p+1]; n = b[q+1]; s = q + 2",
    "if n > 127: n += (b[s] << 7) - 128; s += 1",
    "if s + n == e and b[p] == 10 and b[q] == 18 and b[p+1] < 128:",
    "    m[b[k:q].decode()] = b[s:e].decode()",
    "else:",
    "    strings_map(b, p, e, m)",
    "p = e",
]
_ZERO_SCALARS: Final = {"string": "''", "bool": "False", "int32": "0", "int64": "0", "double": "0"}


class UnusualError(Exception):
    """The message is not laid out as Kubernetes does it; the reference decoder has to read it."""


class Decoders:
    """Type name -> function from a message body to a canonical value; made on first use."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._reference = ReferenceDecoder(scheme)
        self._function_names: dict[str, str] = {}
        self._names: dict[str, Any] = {
            "V": read_varint,
            "I": read_signed,
            "B": values.decode_bytes,
            "double": lambda data, position: values.float_value(struct.unpack_from("<d", data, position)[0]),
            "strings_map": _strings_map,
            "entry": _entry,
            "unusual": self._reference.decode,
        }

    def decode(self, type_name: str, data: bytes, start: int, end: int, head: dict[str, Any]) -> dict[str, Any]:
        """Read the message in data[start:end] into an object that starts with `head` (kind and apiVersion).

        Raises DecodeError.
        """
        try:
            decoded: dict[str, Any] = self._names[self._name(type_name)](data, start, end, head.copy())
        except (UnusualError, IndexError, ValueError, struct.error):
            return self._reference.decode(type_name, data, start, end, head.copy())
        except RecursionError:
            raise DecodeError("the message is nested too deeply") from None
        return decoded

    def get(self, type_name: str) -> Decode:
        """The decoder of a type; it may raise Unusual, IndexError or ValueError. DecodeError without protobuf form."""
        decode: Decode = self._names[self._name(type_name)]
        return decode

    def _name(self, type_name: str) -> str:
        """The name generated code calls a type's decoder by. Leaves are called with their bytes alone."""
        name = self._function_names.get(type_name)
        if name is None:
            name = self._function_names[type_name] = "decode_" + type_name.replace(".", "_")
            type_ = self._scheme.type(type_name)
            if type_.json_only:
                raise DecodeError(f"{type_.short_name} has no protobuf form")
            self._names[name] = values.DECODERS.get(type_.json_form) or self._stand_in(name, type_)
        return name

    def _stand_in(self, name: str, type_: Type) -> Decode:
        """Decodes by the tables until the type has been met a few times, then compiles, and hands on to the result."""
        walk = self._reference.decode_into
        left = COMPILED_AFTER
        compiled: Decode | None = None

        def decode(data: bytes, start: int, end: int, into: Any) -> Any:
            nonlocal left, compiled
            if compiled is not None:  # somebody still holds the stand-in
                return compiled(data, start, end, into)
            left -= 1
            if left >= 0:
                return walk(type_, data[start:end], into)
            compiled = self._names[name] = self._make(type_)
            return compiled(data, start, end, into)

        return decode

    def _make(self, type_: Type) -> Decode:
        if type_.json_form.startswith("schema-or-"):
            walk = self._reference.decode_into
            return lambda data, start, end, into: walk(type_, data[start:end], into)
        if is_union(type_):
            return self._union(type_)
        source = _Source(self._scheme, self._name).function(type_)
        scope: dict[str, Any] = {}
        exec(compile(source, f"<decoder of {type_.name}>", "exec"), self._names, scope)  # noqa: S102 - our own text
        decode: Decode = scope["decode"]
        return decode

    def _union(self, type_: Type) -> Decode:
        """For types of optional messages only, of which one or two are set."""
        table = {
            (field.number or 0) << 3 | BYTES: (field.json_name, self._name(field.type_name))
            for field in type_.fields
            if field.number is not None
        }
        names = self._names

        def decode(data: bytes, start: int, end: int, into: dict[str, Any]) -> dict[str, Any]:
            position = start
            while position < end:
                tag, length = data[position], data[position + 1]
                position += 2
                if tag > 127:
                    tag, length = tag & 127 | length << 7, data[position]
                    position += 1
                if length > 127:
                    length, position = read_varint(data, position - 1)
                found = table.get(tag)
                if found is None or found[0] in into:
                    raise UnusualError
                into[found[0]] = names[found[1]](data, position, position + length, {})
                position += length
            if position != end:
                raise UnusualError
            return into

        return decode


def _is_always_written(field: Field) -> bool:
    return field.inline or (field.go_kind == "value" and not field.repeated and not field.is_map)


def _written_string(field: Field) -> list[str]:
    """Statements for a string that is always written and shown when not empty, which it often is; else nothing."""
    if field.type_name != "string" or field.go_kind != "value" or field.omitempty != "y":
        return []
    return [
        "n = b[p+1]; p += 2",
        "if n:",
        f"    {_LONG}",
        f"    e = p + n; o[{field.json_name!r}] = b[p:e].decode(); p = e",
    ]


def _strings_map(b: bytes, p: int, end: int, into: dict[str, str]) -> None:
    """One entry of a map from strings to strings."""
    if b[p] != 10:
        raise UnusualError
    n = b[p + 1]
    p += 2
    if n > 127:
        n, p = read_varint(b, p - 1)
    e = p + n
    key = b[p:e].decode()
    if b[e] != 18:
        raise UnusualError
    n = b[e + 1]
    p = e + 2
    if n > 127:
        n, p = read_varint(b, e + 1)
    if p + n != end:
        raise UnusualError
    into[key] = b[p:end].decode()


def _entry(b: bytes, p: int, end: int) -> tuple[str, int]:
    """(key, position of the value) of one map entry whose values are bytes or messages."""
    if b[p] != 10:
        raise UnusualError
    n, p = read_varint(b, p + 1)
    e = p + n
    if b[e] != 18:
        raise UnusualError
    n, start = read_varint(b, e + 1)
    if start + n != end:
        raise UnusualError
    return b[p:e].decode(), start


class _Source:
    """Writes the source of one decoder."""

    def __init__(self, scheme: Scheme, decoder_name: Callable[[str], str]) -> None:
        self._scheme = scheme
        self._decoder_name = decoder_name
        self._lines: list[str] = []

    def function(self, type_: Type) -> str:
        """`def decode(b, p, end, o)` for a type of JSON form object."""
        wide = False
        fields = [field for field in type_.fields if field.number is not None]
        # Kubernetes always writes the fields of Go values, so before the last of these the message cannot end. If one
        # does, what is read is the message around it, and the position ends up behind `end`.
        last_written = max((i for i, f in enumerate(fields) if _is_always_written(f)), default=0)
        for index, field in enumerate(fields):
            if (field.number or 0) > 15 and not wide:
                self._lines.append(_SECOND_TAG_BYTE)
                wide = True
            self._field(field, wide, may_end=index >= last_written)
        body = "\n".join("    " + line for line in self._lines)
        head = "def decode(b, p, end, o):\n    start = p\n    t = b[p] if p < end else 0\n"
        return f"{head}{body}\n    if p != end: return unusual({type_.name!r}, b, start, end, o)\n    return o\n"

    def _field(self, field: Field, wide: bool, may_end: bool) -> None:
        assert field.number is not None
        wire_type = VARINT if field.type_name in ("bool", "int32", "int64") else BYTES
        wire_type = FIXED64 if field.type_name == "double" else wire_type
        tag = field.number << 3 | (BYTES if field.is_map else wire_type)
        following = ["t = b[p] if p < end else 0" if may_end else "t = b[p]", *([_SECOND_TAG_BYTE] if wide else [])]
        self._lines.append(f"if t == {tag}:")
        if field.is_map or field.repeated:
            open_, close = ("{", "}") if field.is_map else ("[", "]")
            present = [f"m = o[{field.json_name!r}] = {open_}{close}", f"while t == {tag}:"]
            item = self._map_entry(field) if field.is_map else self._value(field, "m.append(%s)")
            present += ["    " + line for line in [*item, *following]]
        else:
            present = [*(_written_string(field) or self._value(field, self._target(field))), *following]
        self._lines += ["    " + line for line in present]
        absent = self._when_absent(field)
        if absent:
            self._lines += ["else:", "    " + absent]

    def _target(self, field: Field) -> str:
        """A statement template that puts a value where it belongs; values that JSON leaves out are not put."""
        if field.inline:
            return "%s"
        put = f"o[{field.json_name!r}] = %s"
        if field.omitempty == "omitzero":
            return f"x = %s\nif x is not None: {put % 'x'}"
        if field.omitempty == "y" and not field.is_message and field.go_kind in ("value", "bytes"):
            return f"if n: {put}"
        if field.go_kind == "pointer" and self._is_time(field):  # a pointer to the zero time reads as null
            return f"x = %s\nif x is not None: {put % 'x'}"
        return put

    def _is_time(self, field: Field) -> bool:
        return field.is_message and self._scheme.type(field.type_name).json_form in ("time", "microtime", "raw")

    def _value(self, field: Field, target: str) -> list[str]:
        """Statements that read one value behind its tag at p and put it, leaving p behind it."""
        name = field.type_name
        if name == "double":
            return ["n = 1", *(target % "double(b, p + 1)").split("\n"), "p += 9"]
        if name in ("bool", "int32", "int64"):
            read = ["n = b[p+1]; p += 2", "if n > 127: n, p = I(b, p - 1)"]
            return [*read, *(target % ("n == 1" if name == "bool" else "n")).split("\n")]
        read = ["n = b[p+1]; p += 2", _LONG, "e = p + n"]
        if name == "string":
            value = "b[p:e].decode()"
        elif name == "bytes":
            value = "B(b[p:e])"
        else:
            value = self._call(name, "p", "o" if field.inline else "{}")
        return [*read, *(target % value).split("\n"), "p = e"]

    def _map_entry(self, field: Field) -> list[str]:
        read = ["n = b[p+1]; p += 2", _LONG, "e = p + n"]
        if field.type_name == "string":
            return _STRINGS_ENTRY
        assert field.type_name == "bytes" or field.is_message, f"a map to {field.type_name} is new"
        value = "B(b[s:e])" if field.type_name == "bytes" else self._call(field.type_name, "s", "{}")
        return [*read, "k, s = entry(b, p, e)", f"m[k] = {value}", "p = e"]

    def _call(self, type_name: str, start: str, into: str, end: str = "e") -> str:
        """An expression that decodes a message."""
        if self._scheme.type(type_name).json_form in values.DECODERS:
            return f"{self._decoder_name(type_name)}(b[{start}:{end}])"
        return f"{self._decoder_name(type_name)}(b, {start}, {end}, {into})"

    def _when_absent(self, field: Field) -> str:
        """The statement for a field that is not there, but which JSON shows."""
        if field.inline:
            return f"{self._decoder_name(field.type_name)}(b, 0, 0, o)"
        put = f"o[{field.json_name!r}] = "
        is_value = field.go_kind == "value" and not field.repeated and not field.is_map
        if is_value and field.is_message:
            if field.omitempty == "omitzero":
                return ""
            return put + self._call(field.type_name, "0", "{}", "0")
        if field.omitempty != "n":
            return ""
        return put + (_ZERO_SCALARS[field.type_name] if is_value else "None")
