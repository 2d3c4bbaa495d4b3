"""Objects made from the schema tables: all members filled, or only those that must be there."""

from __future__ import annotations

from typing import Any

from apiserver.api.scheme import Field, Resource, Scheme

_DEPTH_MAX = 8
_SCALARS = {"string": "a", "int32": 1, "int64": 1, "uint32": 1, "bool": True, "bytes": "YQ=="}
_FORMS = {
    "Time": "2024-01-01T00:00:00Z",
    "MicroTime": "2024-01-01T00:00:00.000000Z",
    "Quantity": "1",
    "IntOrString": 1,
    "Duration": "1s",
    "FieldsV1": {},
    "RawExtension": {},
    "JSON": {},
    "ExtraValue": ["a"],
}


def generated(scheme: Scheme, resource: Resource, *, full: bool) -> dict[str, Any]:
    """An object of a kind. It is well-formed, not valid: names name nothing and unions have all their members."""
    metadata = {"name": "a", "uid": "11111111-2222-4333-8444-555555555555"}
    if resource.namespaced:
        metadata["namespace"] = "default"
    obj = _message(scheme, resource.type_name, (), full)
    obj.pop("status", None)
    return {**obj, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


def _message(scheme: Scheme, type_name: str, inside: tuple[str, ...], full: bool) -> dict[str, Any]:
    made = {}
    for name, field in scheme.type(type_name).by_json_name.items():
        if not inside and name in ("apiVersion", "kind", "metadata"):
            continue
        if full or field.required:
            value = _value(scheme, field, (*inside, type_name), full)
            if value is not None:
                made[name] = value
    return made


def _value(scheme: Scheme, field: Field, inside: tuple[str, ...], full: bool) -> Any:
    item = _item(scheme, field, inside, full)
    if item is None:
        return None
    return {"slice": [item], "map": {"k": item}}.get(field.go_kind, item)


def _item(scheme: Scheme, field: Field, inside: tuple[str, ...], full: bool) -> Any:
    if field.enum:
        return field.enum[0]
    short = field.type_name.rpartition(".")[2]
    form = _SCALARS.get(field.type_name, _FORMS.get(short))
    if form is not None:
        return form
    if field.type_name in inside or len(inside) > _DEPTH_MAX or not field.is_message:
        return None
    return _message(scheme, field.type_name, inside, full)
