"""Declarative validation: the `+k8s:` tags of the API types (KEP-5073), compiled to one closure for each type.

Enforced are tags without a lifecycle prefix and those of beta, as kube-apiserver 1.37 does; alpha tags only shadow
hand-written rules there. On update what did not change is not validated again (ratcheting). Tags under feature gates
count when the gate is on by default.

The required and enum columns of OpenAPI are documentation: the server does not enforce them beyond these tags and the
rules of each kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from apiserver.api.field_errors import (
    FieldError,
    duplicate,
    field_forbidden,
    field_invalid,
    not_supported,
    too_long,
    too_many,
)
from apiserver.api.field_errors import required as field_required
from apiserver.api.scheme import Field, Scheme, Type
from apiserver.api.validation.formats import FORMATS

__all__ = ["SchemaValidator", "SchemaValidators"]

Object = dict[str, Any]
Check = Callable[[list[FieldError], str, Any, Any], None]
"""Appends what is wrong with a value at a path; the last argument is the old value, None on create."""

_TAG: Final = re.compile(r'(?:type:)?k8s:(?:beta\(since: ?"[0-9.]+"\)=\+k8s:)?(.*)', re.DOTALL)
_GATED: Final = re.compile(r'(ifEnabled|ifDisabled)\("?([A-Za-z0-9]+)"?\)=\+k8s:(.*)')
_GATES_ON: Final = frozenset({"HPAScaleToZero"})

# The tables read the enumeration from one file where the type has it in another.
_ENUMS: Final = {("k8s.io.api.discovery.v1.EndpointSlice", "addressType"): ("FQDN", "IPv4", "IPv6")}

_UPDATE_TEXTS: Final = {
    "NoSet": "field cannot be set once created",
    "NoUnset": "field cannot be cleared once set",
    "NoModify": "field cannot be modified once set",
}


class SchemaValidator:
    """The compiled tags of one type."""

    def __init__(self, check: Check | None) -> None:
        self._check = check

    def validate(self, obj: Object, path: str = "") -> list[FieldError]:
        """What is wrong with a new object."""
        errors: list[FieldError] = []
        if self._check is not None:
            self._check(errors, path, obj, None)
        return errors

    def validate_update(self, obj: Object, old: Object, path: str = "") -> list[FieldError]:
        """What is wrong with what changed, or with the change."""
        errors: list[FieldError] = []
        if self._check is not None and obj != old:
            self._check(errors, path, obj, old)
        return errors


class SchemaValidators:
    """Validators of the types of one scheme, compiled on first use."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._checks: dict[str, Check | None] = {}

    def for_type(self, type_name: str) -> SchemaValidator:
        """The validator of a kind."""
        return SchemaValidator(self._of_type(type_name))

    def _of_type(self, type_name: str) -> Check | None:
        if type_name not in self._checks:
            self._checks[type_name] = None  # what a recursive type sees of itself: schemas have no tags
            self._checks[type_name] = self._compile(self._scheme.type(type_name))
        return self._checks[type_name]

    def _compile(self, of: Type) -> Check | None:
        if of.json_form != "object":
            return None
        checks: dict[str, Check] = {}
        demanded: dict[str, Check] = {}
        members = []
        for name, field in of.by_json_name.items():
            tags = list(_enforced_tags(field))
            if "unionMember" in tags:
                members.append(name)
            check = self._of_field(of, name, field, tags)
            if check is not None:
                checks[name] = check
                if "required" in tags or any(tag.startswith(("update=", "immutable")) for tag in tags):
                    demanded[name] = check
        if not checks and not members:
            return None
        return _object_check(checks, demanded, members)

    def _of_field(self, of: Type, name: str, field: Field, tags: list[str]) -> Check | None:
        own = list(_value_checks(field, tags, _ENUMS.get((of.name, name), field.enum)))
        inner = self._of_type(field.type_name) if field.is_message else None
        if inner is not None:
            own.append(_elements(inner, field))
        subfields = [tag for tag in tags if tag.startswith("subfield(")]
        own += [_subfield(tag) for tag in subfields if "format" in tag]
        update = [tag.removeprefix("update=") for tag in tags if tag.startswith("update=")]
        is_required, is_immutable = "required" in tags, "immutable" in tags
        if not own and not update and not is_required and not is_immutable:
            return None
        return _field_check(own, update, is_required=is_required, is_immutable=is_immutable)


def _enforced_tags(field: Field) -> Iterator[str]:
    for marker in field.markers:
        match = _TAG.fullmatch(marker.split(" #")[0].strip())
        if match is None:
            continue
        tag = match.group(1)
        if tag.startswith("alpha("):
            continue
        gated = _GATED.fullmatch(tag)
        if gated is not None:
            condition, gate, tag = gated.groups()
            if (gate in _GATES_ON) != (condition == "ifEnabled"):
                continue
        yield tag


def _object_check(checks: dict[str, Check], demanded: dict[str, Check], members: list[str]) -> Check:
    present, absent = tuple(checks.items()), tuple(demanded.items())

    def check(errors: list[FieldError], path: str, obj: Object, old: Object | None) -> None:
        before = old or {}
        prefix = f"{path}." if path else ""
        for name, check_value in present:
            value = obj.get(name)
            if value is not None:
                old_value = before.get(name)
                if old is None or value != old_value:
                    check_value(errors, prefix + name, value, old_value if old is not None else _CREATE)
        for name, check_value in absent:
            if obj.get(name) is None and (old is None or before.get(name) is not None):
                check_value(errors, prefix + name, None, before.get(name) if old is not None else _CREATE)
        if members:
            _check_union(errors, path, obj, old, members)

    return check


_CREATE: Final = object()
"""The old value on create, told from an old value that was absent."""


def _field_check(own: list[Check], update: list[str], *, is_required: bool, is_immutable: bool) -> Check:
    def check(errors: list[FieldError], path: str, value: Any, old: Any) -> None:
        if old is not _CREATE:
            if is_immutable and not (_is_unset(value) and _is_unset(old)):
                errors.append(field_invalid(path, None, "field is immutable"))
                return
            for constraint in update:
                _check_update(errors, path, value, old, constraint)
        if _is_unset(value):
            if is_required:
                errors.append(field_required(path))
            return
        for check_value in own:
            check_value(errors, path, value, None if old is _CREATE else old)

    return check


def _is_unset(value: Any) -> bool:
    """Go's zero value, nil, or an empty list or map; an empty message is a value."""
    return value is None or value in ("", []) or (value == 0 and not isinstance(value, bool))


def _check_update(errors: list[FieldError], path: str, value: Any, old: Any, constraint: str) -> None:
    was, is_now = not _is_unset(old), not _is_unset(value)
    broken = {
        "NoSet": not was and is_now,
        "NoUnset": was and not is_now,
        "NoModify": was and is_now and value != old,
    }
    if broken.get(constraint):
        errors.append(field_invalid(path, None, _UPDATE_TEXTS[constraint]))
    elif constraint == "NoAddItem":
        for index, item in enumerate(value or ()):
            if not any(_same_item(item, other) for other in old or ()):
                errors.append(field_forbidden(f"{path}[{index}]", "item may not be added"))
    elif constraint == "NoRemoveItem":
        for item in old or ():
            if not any(_same_item(item, other) for other in value or ()):
                errors.append(field_forbidden(path, "item may not be removed"))


def _same_item(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict) and "name" in one:
        return bool(one["name"] == other.get("name"))
    return bool(one == other)


def _check_union(errors: list[FieldError], path: str, obj: Object, old: Object | None, members: list[str]) -> None:
    given = [name for name in members if not _is_unset(obj.get(name))]
    if len(given) == 1:
        return
    if old is not None and given == [name for name in members if not _is_unset(old.get(name))]:
        return
    listed = ", ".join(f"`{name}`" for name in members)
    if given:
        shown = ", ".join(f"`{name}`" for name in given)
        errors.append(field_invalid(path, f"{{{shown}}}", f"must specify exactly one of: {listed}"))
    else:
        errors.append(field_invalid(path, "", f"must specify one of: {listed}"))


def _value_checks(field: Field, tags: list[str], enum: tuple[str, ...]) -> Iterator[Check]:
    """The checks of a value that is there, in the order of cost."""
    keys = tuple(tag.removeprefix("listMapKey=") for tag in tags if tag.startswith("listMapKey="))
    for tag in tags:
        word, _, argument = tag.partition("=")
        match word:
            case "maxItems" | "maxProperties":
                yield _max_items(int(argument))
            case "minimum":
                yield _minimum(int(argument))
            case "maximum":
                yield _maximum(int(argument.split()[0]))
            case "maxLength":
                yield _max_length(int(argument))
            case "maxBytes":
                yield _max_bytes(int(argument))
            case "format":
                yield _format(argument)
            case "monotonic":
                yield _check_monotonic
            case "listType" | "unique" if argument in ("map", "set"):
                yield _unique(keys if argument == "map" else ())
            case "eachVal" if argument.startswith("+k8s:format="):
                yield _each(_format(argument.removeprefix("+k8s:format=")), values=True)
            case "eachKey" if argument.startswith("+k8s:format="):
                yield _each(_format(argument.removeprefix("+k8s:format=")), values=False)
            case "enum" if enum:
                yield _each(_enum(enum), values=True) if field.repeated else _enum(enum)


def _enum(enum: tuple[str, ...]) -> Check:
    allowed = frozenset(enum)

    def check(errors: list[FieldError], path: str, value: Any, _old: Any) -> None:
        if value not in allowed:
            errors.append(not_supported(path, value, enum))

    return check


def _max_items(limit: int) -> Check:
    def check(errors: list[FieldError], path: str, value: Any, _old: Any) -> None:
        if len(value) > limit:
            errors.append(too_many(path, len(value), limit))

    return check


def _minimum(limit: int) -> Check:
    def check(errors: list[FieldError], path: str, value: Any, _old: Any) -> None:
        if value < limit:
            errors.append(field_invalid(path, value, f"must be greater than or equal to {limit}"))

    return check


def _maximum(limit: int) -> Check:
    def check(errors: list[FieldError], path: str, value: Any, _old: Any) -> None:
        if value > limit:
            errors.append(field_invalid(path, value, f"must be less than or equal to {limit}"))

    return check


def _max_length(limit: int) -> Check:
    unit = "character" if limit == 1 else "characters"

    def check(errors: list[FieldError], path: str, value: Any, _old: Any) -> None:
        if len(value) > limit:
            errors.append(FieldError("FieldValueTooLong", path, None, f"may not be more than {limit} {unit}"))

    return check


def _max_bytes(limit: int) -> Check:
    def check(errors: list[FieldError], path: str, value: Any, _old: Any) -> None:
        if len(value.encode()) > limit:
            errors.append(too_long(path, limit))

    return check


def _format(name: str) -> Check:
    check_format = FORMATS[name.strip('"')]

    def check(errors: list[FieldError], path: str, value: Any, _old: Any) -> None:
        check_format(errors, path, value)

    return check


def _check_monotonic(errors: list[FieldError], path: str, value: Any, old: Any) -> None:
    if old is not None and value < old:
        errors.append(field_invalid(path, value, f"may not be decreased from {old}"))


def _unique(keys: tuple[str, ...]) -> Check:
    def check(errors: list[FieldError], path: str, items: Any, _old: Any) -> None:
        if len(items) < 2:
            return
        seen = set()
        for index, item in enumerate(items):
            identity = tuple(item.get(key) for key in keys) if keys else item
            if identity in seen:
                errors.append(duplicate(f"{path}[{index}]", item))
            seen.add(identity)

    return check


def _each(check_one: Check, *, values: bool) -> Check:
    """A check of every element of a list, or of every value or key of a map."""

    def check(errors: list[FieldError], path: str, value: Any, _old: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if values:
                    check_one(errors, f"{path}[{key}]", item, None)
                else:
                    check_one(errors, path, key, None)
        else:
            for index, item in enumerate(value):
                check_one(errors, f"{path}[{index}]", item, None)

    return check


def _subfield(tag: str) -> Check:
    name, _, rest = tag.removeprefix("subfield(").partition(")=+k8s:")
    check_format = _format(rest.removeprefix("format="))

    def check(errors: list[FieldError], path: str, value: Any, old: Any) -> None:
        member = value.get(name)
        if member and (old is None or old.get(name) != member):
            check_format(errors, f"{path}.{name}", member, None)

    return check


def _elements(inner: Check, field: Field) -> Check:
    """The check of a message for a field that holds one, a list of them or a map."""
    if field.is_map:

        def check(errors: list[FieldError], path: str, value: Any, old: Any) -> None:
            before = old or {}
            for key, item in value.items():
                if old is None or item != before.get(key):
                    inner(errors, f"{path}[{key}]", item, before.get(key))

    elif field.repeated:
        keys = field.list_map_keys

        def check(errors: list[FieldError], path: str, value: Any, old: Any) -> None:
            for index, item in enumerate(value):
                before = _counterpart(item, old, keys) if old else None
                if before is None or before != item:
                    inner(errors, f"{path}[{index}]", item, before)

    else:
        return inner
    return check


def _counterpart(item: Object, old: list[Object], keys: tuple[str, ...]) -> Object | None:
    """The old element that an element continues: by the list's keys, or else an equal one."""
    if keys:
        return next((other for other in old if all(other.get(key) == item.get(key) for key in keys)), None)
    return next((other for other in old if other == item), None)
