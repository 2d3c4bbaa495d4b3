"""The zero value of a type as Kubernetes prints it: what a status is reset to."""

from __future__ import annotations

from typing import Any

from apiserver.api.scheme import Field, Scheme, Type

__all__ = ["zero_value"]

_SCALAR_ZEROS: dict[str, Any] = {"string": "", "bool": False, "int32": 0, "int64": 0, "double": 0, "bytes": None}
_FORM_ZEROS: dict[str, Any] = {"quantity": "0", "time": None, "microtime": None, "duration": "0s", "int-or-string": 0}


def zero_value(scheme: Scheme, type_name: str) -> Any:
    """A new zero value: `{}` for a DeploymentStatus, `{"replicas": 0}` for a ReplicaSetStatus.

    Fields with omitempty are left out, except messages held by value, which Go's encoder never omits.
    """
    if type_name in _SCALAR_ZEROS:
        return _SCALAR_ZEROS[type_name]
    return _zero_of_type(scheme, scheme.type(type_name))


def _zero_of_type(scheme: Scheme, of: Type) -> Any:
    if of.json_form in _FORM_ZEROS:
        return _FORM_ZEROS[of.json_form]
    if of.json_form != "object":
        return None
    zero: dict[str, Any] = {}
    for name, field in of.by_json_name.items():
        if field.omitempty == "omitzero":
            continue
        if _is_value_message(field):
            zero[name] = zero_value(scheme, field.type_name)
        elif field.omitempty == "n":
            zero[name] = _empty(field)
    return zero


def _is_value_message(field: Field) -> bool:
    return field.go_kind == "value" and field.is_message and not field.repeated and not field.is_map


def _empty(field: Field) -> Any:
    if field.repeated or field.is_map or field.go_kind != "value":
        return None  # nil without omitempty is written as null
    return _SCALAR_ZEROS.get(field.type_name)
