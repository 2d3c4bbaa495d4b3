"""Make an object fit a type: fields the type does not have go, fields it always shows come."""

from __future__ import annotations

from typing import Any

from apiserver.api.scheme import Field, Scheme, Type

__all__ = ["fit"]


def fit(scheme: Scheme, type_: Type, value: Any) -> Any:
    """A canonical value of the type, made from one of a similar type; the value given is not changed."""
    if type_.json_form != "object" or not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for name, item in value.items():
        field = type_.by_json_name.get(name)
        if field is None:
            continue
        fitted = _field(scheme, field, item)
        if fitted or _is_shown_empty(field, fitted):
            result[name] = fitted
    for name, field in type_.by_json_name.items():
        if name not in result and _is_shown_empty(field, None):
            result[name] = _empty(scheme, field)
    return result


def _field(scheme: Scheme, field: Field, value: Any) -> Any:
    if not field.is_message or value is None:
        return value
    type_ = scheme.type(field.type_name)
    if field.is_map:
        return {key: fit(scheme, type_, item) for key, item in value.items()}
    if field.repeated:
        return [fit(scheme, type_, item) for item in value]
    return fit(scheme, type_, value)


def _is_single_value(field: Field) -> bool:
    return field.go_kind == "value" and not field.repeated and not field.is_map


def _is_shown_empty(field: Field, value: Any) -> bool:
    """Whether JSON shows the field with an empty value (None: no value at all)."""
    if _is_single_value(field) and field.is_message:
        return field.omitempty != "omitzero"
    if field.omitempty == "n":
        return True
    return field.go_kind == "pointer" and value is not None


def _empty(scheme: Scheme, field: Field) -> Any:
    if not _is_single_value(field):
        return None
    if not field.is_message:
        return {"string": "", "bool": False}.get(field.type_name, 0)
    type_ = scheme.type(field.type_name)
    if type_.json_form == "object":
        return fit(scheme, type_, {})
    return {"quantity": "0", "duration": "0s", "int-or-string": 0}.get(type_.json_form)
