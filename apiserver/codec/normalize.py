"""From parsed JSON or YAML to canonical objects.

A canonical object is what Kubernetes would print after a round through its Go types and protobuf: unknown fields are
gone; zero values are gone where `omitempty` says so and present where it does not; quantities, times and base64 have
their one form; an empty list or map is absent, or null where it is always printed.

The functions here are for good documents, which nearly all are: closures compiled per type, which check each value and
change what is not canonical in place. Whatever they do not expect (an unknown field, a wrong type, a null in a list)
makes them give up, and `apiserver.codec.explain` does the work again, slowly, with the paths and errors that users
read. Doing it twice is harmless because normalizing is idempotent.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from apiserver.api import metatime
from apiserver.api.quantity import QuantityError, canonical_quantity
from apiserver.api.scheme import Field, Scheme, Type
from apiserver.codec.errors import DecodeError
from apiserver.codec.explain import Explainer

__all__ = ["Normalized", "Normalizers"]


@dataclass(slots=True)
class Normalized:
    """A canonical object and the paths of the fields that were pruned because the schema does not know them."""

    obj: dict[str, Any]
    unknown: list[str]


class UnexpectedError(Exception):
    """The value needs a closer look."""


# What a handler returns for a value that JSON does not show.
_DROP: Final = object()
_STRINGS: Final = {str}
_INTS: Final = {int}

# Takes a value that is present, returns it, its replacement, or _DROP; raises UnexpectedError or ValueError.
Handler = Callable[[Any], Any]
# Normalizes an object in place.
Normalize = Callable[[dict[str, Any]], None]


class Normalizers:
    """Type name -> function that makes an object canonical; made on first use."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._explainer = Explainer(scheme)
        self._ready: dict[str, Normalize] = {}

    def normalize(self, type_name: str, obj: dict[str, Any], head: dict[str, Any], *, strict: bool) -> Normalized:
        """See `Codec.normalize`; `head` are the kind and apiVersion that the object is to start with."""
        unknown: list[str] = []
        try:
            if type(obj) is not dict:
                raise UnexpectedError
            if "kind" not in self._scheme.type(type_name).by_json_name:  # a few types, v1 List for one
                obj = {key: value for key, value in obj.items() if key not in head}
            self.get(type_name)(obj)
        except (UnexpectedError, ValueError):
            obj, unknown = self._explainer.normalize(type_name, obj)
        except RecursionError:
            raise DecodeError("the document is nested too deeply") from None
        return Normalized(head | obj | head, unknown if strict else [])

    def get(self, type_name: str) -> Normalize:
        """The function for a type whose JSON form is an object."""
        found = self._ready.get(type_name)
        if found is None:
            found = self._ready[type_name] = self._make(self._scheme.type(type_name))
        return found

    def _make(self, type_: Type) -> Normalize:
        plain: dict[str, type] = {}  # fields whose value is fine when it has this type and is not zero
        handlers: dict[str, Handler] = {}
        shown_when_zero: set[str] = set()
        for name, field in type_.by_json_name.items():
            if field.type_name in ("string", "bool") and not field.repeated and not field.is_map:
                plain[name] = str if field.type_name == "string" else bool
                if field.go_kind == "pointer" or field.omitempty == "n":
                    shown_when_zero.add(name)
            else:
                handlers[name] = self._handler(field)
        fills = self.fills(type_)
        filled = frozenset(fills)
        plain_type, handler_of = plain.get, handlers.get

        def normalize(obj: dict[str, Any]) -> None:
            drop: list[str] | None = None
            for name, value in obj.items():
                if type(value) is plain_type(name):
                    if value or name in shown_when_zero:
                        continue
                else:
                    handler = handler_of(name)
                    if handler is None:
                        raise UnexpectedError
                    result = handler(value)
                    if result is value:
                        continue
                    if result is not _DROP:
                        obj[name] = result
                        continue
                if drop is None:
                    drop = []
                drop.append(name)
            if drop is not None:
                for name in drop:
                    del obj[name]
            if filled and not filled <= obj.keys():
                for name, fill in fills.items():
                    if name not in obj:
                        obj[name] = fill()

        return normalize

    def fills(self, type_: Type) -> dict[str, Callable[[], Any]]:
        """JSON name -> the value of a field that is shown even when nothing was given."""
        found: dict[str, Callable[[], Any]] = {}
        for name, field in type_.by_json_name.items():
            fill = self._fill(field)
            if fill is not None:
                found[name] = fill
        return found

    def _fill(self, field: Field) -> Callable[[], Any] | None:
        single_value = field.go_kind == "value" and not field.repeated and not field.is_map
        if single_value and field.is_message:
            return None if field.omitempty == "omitzero" else self._zero(field.type_name)
        if field.omitempty != "n":
            return None
        if not single_value:
            return lambda: None
        zero = {"string": "", "bool": False, "any": None}.get(field.type_name, 0)
        return lambda: zero

    def _zero(self, type_name: str) -> Callable[[], Any]:
        """Makes the zero value of a message."""
        form = self._scheme.type(type_name).json_form
        if form != "object":
            zero = {"quantity": "0", "duration": "0s", "int-or-string": 0, "schema-or-bool": False}.get(form)
            return lambda: zero

        def make() -> dict[str, Any]:
            empty: dict[str, Any] = {}
            self.get(type_name)(empty)
            return empty

        return make

    def _handler(self, field: Field) -> Handler:
        when_empty = None if field.omitempty == "n" else _DROP
        if field.is_map:
            return self._map(field, when_empty)
        if field.repeated:
            return self._list(field, when_empty)
        if field.is_message:
            if field.go_kind == "value":
                when_null = _DROP if field.omitempty == "omitzero" else self._zero(field.type_name)
                return self._message(field.type_name, when_null)
            return self._message(field.type_name, when_empty)
        if field.type_name == "bytes":
            return _bytes(when_empty)
        if field.type_name == "any":
            return lambda value: value
        drop_zero = field.go_kind == "value" and field.omitempty == "y"
        return _double(drop_zero) if field.type_name == "double" else _int(field.type_name, drop_zero)

    def _message(self, type_name: str, when_null: Any) -> Handler:
        """A single value of a message type. `when_null` is a value, _DROP or a function that makes the value."""
        leaf = self._leaf(type_name)
        normalize: Normalize | None = None

        def handle(value: Any) -> Any:
            nonlocal normalize
            if value is None:
                return when_null() if callable(when_null) else when_null
            if leaf is not None:
                value = leaf(value)
                return when_null if value is None and when_null is _DROP else value
            if type(value) is not dict:
                raise UnexpectedError
            if normalize is None:
                normalize = self.get(type_name)
            normalize(value)
            return value

        return handle

    def _leaf(self, type_name: str) -> Handler | None:
        """The function for a type whose JSON form is no object; None for objects."""
        form = self._scheme.type(type_name).json_form
        if form.startswith("schema-or-"):
            return self._schema_or(type_name, form)
        return _LEAVES.get(form)

    def _schema_or(self, type_name: str, form: str) -> Handler:
        fields = self._scheme.type(type_name).fields
        schema_type = next(field.type_name for field in fields if field.proto_name == "schema")

        def handle(value: Any) -> Any:
            if type(value) is dict:
                self.get(schema_type)(value)
            elif form == "schema-or-bool":
                if type(value) is not bool:
                    raise UnexpectedError
            elif type(value) is not list or not value:
                raise UnexpectedError
            elif form == "schema-or-strings":
                if set(map(type, value)) != _STRINGS:
                    raise UnexpectedError
            else:
                for item in value:
                    if type(item) is not dict:
                        raise UnexpectedError
                    self.get(schema_type)(item)
            return value

        return handle

    def _element(self, field: Field) -> Handler:
        """One element of a list, or one value of a map, that is no plain string."""
        if field.is_message:
            message = self._message(field.type_name, None)

            def handle(value: Any) -> Any:
                if value is None:
                    raise UnexpectedError
                return message(value)

            return handle
        if field.type_name == "bytes":
            return _bytes("")
        return _int(field.type_name, drop_zero=False)

    def _list(self, field: Field, when_empty: Any) -> Handler:
        if field.type_name == "string":
            return _strings(when_empty)
        if field.type_name == "any":
            return lambda value: value if type(value) is list else when_empty
        element = self._element(field)

        def handle(value: Any) -> Any:
            if not value and (value is None or type(value) is list):
                return when_empty
            if type(value) is not list:
                raise UnexpectedError
            for index, item in enumerate(value):
                result = element(item)
                if result is not item:
                    value[index] = result
            return value

        return handle

    def _map(self, field: Field, when_empty: Any) -> Handler:
        if field.type_name == "string":
            return _string_map(when_empty)
        element = self._element(field)

        def handle(value: Any) -> Any:
            if not value and (value is None or type(value) is dict):
                return when_empty
            if type(value) is not dict:
                raise UnexpectedError
            for name, item in value.items():
                result = element(item)
                if result is not item:
                    value[name] = result
            return value

        return handle


def _strings(when_empty: Any) -> Handler:
    def handle(value: Any) -> Any:
        if type(value) is list and set(map(type, value)) == _STRINGS:
            return value
        if value is None or value == []:
            return when_empty
        raise UnexpectedError

    return handle


def _string_map(when_empty: Any) -> Handler:
    def handle(value: Any) -> Any:
        if type(value) is dict and set(map(type, value.values())) == _STRINGS:
            return value
        if value is None or value == {}:
            return when_empty
        raise UnexpectedError

    return handle


def _int(type_name: str, drop_zero: bool) -> Handler:
    limit = 1 << 31 if type_name == "int32" else 1 << 63

    def handle(value: Any) -> Any:
        if type(value) is not int or not -limit <= value < limit:
            raise UnexpectedError
        return _DROP if drop_zero and not value else value

    return handle


def _double(drop_zero: bool) -> Handler:
    def handle(value: Any) -> Any:
        if type(value) is float:
            return int(value) if value.is_integer() and abs(value) < 2**53 else value
        if type(value) is not int:
            raise UnexpectedError
        return _DROP if drop_zero and not value else value

    return handle


def _bytes(when_empty: Any) -> Handler:
    def handle(value: Any) -> Any:
        if not value and (value is None or type(value) is str):
            return when_empty
        if type(value) is not str:
            raise UnexpectedError
        return canonical_base64(value)

    return handle


def canonical_base64(text: str) -> str:
    """Base64 as Go's StdEncoding takes it (line breaks are passed over), in its one form. Raises ValueError."""
    if "\n" in text or "\r" in text:
        text = text.replace("\n", "").replace("\r", "")
    try:
        again = b2a_base64(a2b_base64(text, strict_mode=True), newline=False).decode("ascii")
    except Base64Error:
        raise ValueError("illegal base64 data") from None
    return text if again == text else again


def quantity(value: Any) -> str:
    """A quantity given as string or number."""
    if type(value) is str:
        text = value
    elif type(value) is int or type(value) is float:
        text = str(value)
    else:
        raise UnexpectedError
    try:
        canonical = canonical_quantity(text)
    except QuantityError:
        raise UnexpectedError from None
    return value if canonical == value else canonical


def _time(value: Any) -> str | None:
    if type(value) is not str:
        raise UnexpectedError
    return metatime.canonical_time(value)


def _micro_time(value: Any) -> str | None:
    if type(value) is not str:
        raise UnexpectedError
    return metatime.canonical_micro_time(value)


def _duration(value: Any) -> str:
    if type(value) is not str:
        raise UnexpectedError
    return metatime.format_duration(metatime.parse_duration(value))


def _int_or_string(value: Any) -> int | str:
    if type(value) is str or (type(value) is int and -(2**31) <= value < 2**31):
        return value
    raise UnexpectedError


def _string_list(value: Any) -> list[str]:
    if type(value) is list and set(map(type, value)) <= _STRINGS:
        return value
    raise UnexpectedError


_LEAVES: Final[dict[str, Handler]] = {
    "quantity": quantity,
    "time": _time,
    "microtime": _micro_time,
    "duration": _duration,
    "int-or-string": _int_or_string,
    "raw": lambda value: value,
    "strings": _string_list,
}
