"""The normalizer for documents that are not quite right.

It does what `apiserver.codec.normalize` does, by walking the tables, and knows at each step where it is: unknown fields
are reported by path and pruned, wrong types are answered with the text of Go's JSON decoder as users know it:

    json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32
"""

from __future__ import annotations

from typing import Any, Final

from apiserver.api import metatime
from apiserver.api.quantity import canonical_quantity
from apiserver.api.scheme import Field, Scheme, Type
from apiserver.codec.errors import DecodeError

__all__ = ["Explainer"]

# As many as sigs.k8s.io/json reports.
_MAX_UNKNOWN: Final = 100
_INT_LIMITS: Final = {"int32": 1 << 31, "int64": 1 << 63}


class _Absent:
    """Stands for a value that JSON does not show."""


_ABSENT: Final = _Absent()


class Explainer:
    """Normalizes with paths and error texts."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme

    def normalize(self, type_name: str, document: Any) -> tuple[dict[str, Any], list[str]]:
        """(canonical object, paths of unknown fields). Raises DecodeError."""
        if not isinstance(document, dict):
            go_type = _go_name(type_name)
            raise DecodeError(f"json: cannot unmarshal {_json_word(document)} into Go value of type {go_type}")
        walk = _Walk(self._scheme)
        return walk.object(self._scheme.type(type_name), document, "", ()), walk.unknown


class _Walk:
    """One document. `path` is where we are, with indexes; `names` the field names on the way, as Go's errors say."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self.unknown: list[str] = []

    def object(self, type_: Type, document: dict[str, Any], path: str, names: tuple[str, ...]) -> dict[str, Any]:
        """The canonical form of an object."""
        result: dict[str, Any] = {}
        for name, value in document.items():
            field = type_.by_json_name.get(name)
            below = f"{path}.{name}" if path else str(name)
            if field is None:
                if len(self.unknown) < _MAX_UNKNOWN:
                    self.unknown.append(f'unknown field "{below}"')
                continue
            canonical = self._field(type_, field, value, below, (*names, name))
            if canonical is not _ABSENT:
                result[name] = canonical
        for name, field in type_.by_json_name.items():
            if name not in result:
                zero = self._when_not_given(field)
                if zero is not _ABSENT:
                    result[name] = zero
        return result

    def _field(self, owner: Type, field: Field, value: Any, path: str, names: tuple[str, ...]) -> Any:
        """The canonical value of a field that is given, or _ABSENT."""
        if value is None:
            return _ABSENT
        at = _Place(owner, field, names)
        if field.is_map:
            if not isinstance(value, dict):
                raise at.wrong(value)
            mapped = {key: self._item(at, field, item, f"{path}.{key}") for key, item in value.items()}
            return mapped or _ABSENT
        if field.repeated:
            if not isinstance(value, list):
                raise at.wrong(value)
            if field.type_name == "any":
                return value
            return [self._item(at, field, item, f"{path}[{i}]") for i, item in enumerate(value)] or _ABSENT
        canonical = self._value(at, field.type_name, value, path)
        if canonical is None:
            return _ABSENT
        if field.go_kind in ("value", "bytes") and field.omitempty == "y" and not field.is_message and not canonical:
            return _ABSENT
        return canonical

    def _item(self, at: _Place, field: Field, value: Any, path: str) -> Any:
        """An element; null is the zero value of its type."""
        if value is None:
            return self._zero(field.type_name)
        return self._value(at.element(), field.type_name, value, path)

    def _value(self, at: _Place, type_name: str, value: Any, path: str) -> Any:
        if type_name == "string":
            return at.expect(value, str)
        if type_name == "bool":
            return at.expect(value, bool)
        if type_name in _INT_LIMITS:
            return _integer(at, type_name, value)
        if type_name == "double":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise at.wrong(value)
            return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
        if type_name == "bytes":
            return _base64(at.expect(value, str))
        if type_name == "any":
            return value
        return self._message(at, type_name, value, path)

    def _message(self, at: _Place, type_name: str, value: Any, path: str) -> Any:
        type_ = self._scheme.type(type_name)
        form = type_.json_form
        if form == "object":
            if not isinstance(value, dict):
                raise at.wrong(value)
            return self.object(type_, value, path, at.names)
        if form == "raw":
            return value
        if form == "strings":
            if not isinstance(value, list):
                raise at.wrong(value)
            return ["" if item is None else at.element().expect(item, str) for item in value]
        if form.startswith("schema-or-"):
            return self._schema_or(at, type_, value, path)
        try:
            return _leaf(form, value)
        except ValueError as error:
            raise DecodeError(str(error)) from None

    def _schema_or(self, at: _Place, type_: Type, value: Any, path: str) -> Any:
        schema = next(field.type_name for field in type_.fields if field.proto_name == "schema")
        if isinstance(value, dict):
            return self.object(self._scheme.type(schema), value, path, at.names)
        if type_.json_form == "schema-or-bool":
            if isinstance(value, bool):
                return value
            raise DecodeError("boolean or JSON schema expected")
        if not isinstance(value, list):
            raise DecodeError("array or JSON schema expected")
        if type_.json_form == "schema-or-strings":
            return [at.element().expect(item, str) for item in value] or None
        items = [self._message(at, schema, {} if x is None else x, f"{path}[{i}]") for i, x in enumerate(value)]
        return items or None

    def _when_not_given(self, field: Field) -> Any:
        """What JSON shows of a field that was not given, or was null or empty."""
        single_value = field.go_kind == "value" and not field.repeated and not field.is_map
        if single_value and field.is_message:
            return _ABSENT if field.omitempty == "omitzero" else self._zero(field.type_name)
        if field.omitempty != "n":
            return _ABSENT
        return self._zero(field.type_name) if single_value else None

    def _zero(self, type_name: str) -> Any:
        """The zero value of a type."""
        scalars: dict[str, Any] = {"string": "", "bytes": "", "bool": False, "any": None}
        if type_name in scalars:
            return scalars[type_name]
        if type_name in ("int32", "int64", "double"):
            return 0
        type_ = self._scheme.type(type_name)
        forms: dict[str, Any] = {"quantity": "0", "duration": "0s", "int-or-string": 0, "schema-or-bool": False}
        if type_.json_form != "object":
            return forms.get(type_.json_form)
        return self.object(type_, {}, "", ())


class _Place:
    """Where a value stands, for error texts."""

    def __init__(self, owner: Type, field: Field, names: tuple[str, ...], in_element: bool = False) -> None:
        self._owner = owner
        self._field = field
        self._in_element = in_element
        self.names = names

    def element(self) -> _Place:
        """The place of an element of the list or map here."""
        return _Place(self._owner, self._field, self.names, in_element=True)

    def expect(self, value: Any, wanted: type) -> Any:
        """The value, if it has the type."""
        if type(value) is not wanted:
            raise self.wrong(value)
        return value

    def wrong(self, value: Any, literal: str = "") -> DecodeError:
        """The error for a value of the wrong type."""
        where = f"{self._owner.short_name}.{'.'.join(self.names)}"
        what = f"{_json_word(value)} {literal}".rstrip()
        return DecodeError(f"json: cannot unmarshal {what} into Go struct field {where} of type {self._go_type()}")

    def _go_type(self) -> str:
        element = _go_name(self._field.type_name)
        if self._in_element:
            return element
        if self._field.is_map:
            return f"map[string]{element}"
        return f"[]{element}" if self._field.repeated else element


def _integer(at: _Place, type_name: str, value: Any) -> int:
    limit = _INT_LIMITS[type_name]
    if type(value) is int and -limit <= value < limit:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise at.wrong(value, str(value))
    raise at.wrong(value)


def _leaf(form: str, value: Any) -> Any:
    """Values that have a JSON decoder of their own in Go, which words errors without the place. Raises ValueError."""
    if form == "quantity":
        if isinstance(value, dict | list | bool):
            raise ValueError(f"unable to parse quantity: a string or a number is wanted, not {_json_word(value)}")
        return canonical_quantity(str(value))
    if form == "int-or-string":
        if type(value) is str or (type(value) is int and -(2**31) <= value < 2**31):
            return value
        literal = f" {value}" if isinstance(value, int | float) and not isinstance(value, bool) else ""
        raise ValueError(f"json: cannot unmarshal {_json_word(value)}{literal} into Go value of type int32")
    if type(value) is not str:
        raise ValueError(f"json: cannot unmarshal {_json_word(value)} into Go value of type string")
    if form == "time":
        return metatime.canonical_time(value)
    if form == "microtime":
        return metatime.canonical_micro_time(value)
    assert form == "duration", f"the JSON form {form} is new"
    return metatime.format_duration(metatime.parse_duration(value))


def _base64(text: str) -> str:
    from apiserver.codec.normalize import canonical_base64

    try:
        return canonical_base64(text)
    except ValueError as error:
        raise DecodeError(str(error)) from None


def _json_word(value: Any) -> str:
    """What Go's decoder calls a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    if value is None:
        return "null"
    return "string" if isinstance(value, str) else "number"


def _go_name(type_name: str) -> str:
    """A type as Go prints it: v1.PodSpec, int32, []uint8."""
    if type_name == "bytes":
        return "[]uint8"
    if type_name == "double":
        return "float64"
    if "." not in type_name:
        return "interface {}" if type_name == "any" else type_name
    package, _, name = type_name.rpartition(".")
    return f"{package.rpartition('.')[2]}.{name}"
