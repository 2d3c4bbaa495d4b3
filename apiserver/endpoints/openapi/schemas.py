"""Schemas of the API's types, made from the schema tables, in the two dialects clients read.

OpenAPI 3.0 (`/openapi/v3`) carries everything: defaults, enums and the `x-kubernetes-*` extensions that say how lists
and maps merge. OpenAPI 2.0 (`/openapi/v2`) is the older form: no defaults, no `oneOf`, references elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any

import orjson

from apiserver.api.scheme import Field, Scheme, Type
from apiserver.endpoints.openapi.names import schema_name

__all__ = ["Dialect", "Schemas"]


class Dialect(Enum):
    """Which OpenAPI; the value is where schemas are referred to."""

    V2 = "#/definitions/"
    V3 = "#/components/schemas/"


_SCALARS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "any": {"type": "object"},
}
_ZEROS: dict[str, Any] = {"string": "", "bool": False, "int32": 0, "int64": 0, "double": 0}

# Types whose JSON is not that of an object with their fields.
_FORMS: dict[str, dict[str, Any]] = {
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "date-time"},
    "duration": {"type": "string"},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "int-or-string": {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"},
    "raw": {"type": "object"},
    "schema-or-array": {},
    "schema-or-bool": {},
    "schema-or-strings": {},
}
_FORMS_V2: dict[str, dict[str, Any]] = {
    "quantity": {"type": "string"},
    "int-or-string": {"type": "string", "format": "int-or-string"},
}
_ANY_JSON = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON"
_STRINGS = {"type": "array", "items": {"type": "string", "default": ""}}
_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
_PATCH = _META + "Patch"


class Schemas:
    """Makes each type's schema once, as bytes that any number of documents share."""

    def __init__(self, scheme: Scheme, dialect: Dialect) -> None:
        self._scheme = scheme
        self._dialect = dialect
        self._encoded: dict[str, bytes] = {}
        self._kinds: dict[str, list[tuple[str, str, str]]] | None = None

    def reference(self, type_name: str) -> dict[str, str]:
        """A reference to a type's schema."""
        return {"$ref": self._dialect.value + schema_name(type_name)}

    def closure(
        self, type_names: Iterable[str], definitions: Mapping[str, dict[str, Any]] = MappingProxyType({})
    ) -> dict[str, Any]:
        """Schema name -> schema of these types and of all they are made of, sorted; ready for `orjson`.

        `definitions` are schemas of types that are not built in, by type name; they refer to metadata only.
        """
        pending = [name for name in type_names if name not in definitions]
        if definitions:
            pending += [f"{_META}ObjectMeta", f"{_META}ListMeta"]
        found: dict[str, Any] = {schema_name(name): value for name, value in definitions.items()}
        while pending:
            name = pending.pop()
            if schema_name(name) not in found:
                found[schema_name(name)] = orjson.Fragment(self._encode(name))
                pending.extend(self._referred(name))
        return dict(sorted(found.items()))

    def _encode(self, type_name: str) -> bytes:
        encoded = self._encoded.get(type_name)
        if encoded is None:
            encoded = self._encoded[type_name] = orjson.dumps(self.schema(type_name))
        return encoded

    def _referred(self, type_name: str) -> Iterator[str]:
        if type_name == _PATCH:
            return
        kind = self._scheme.type(type_name)
        if kind.json_form == "object":
            for field in kind.by_json_name.values():
                if field.is_message and self._scheme.type(field.type_name).json_form != "strings":
                    yield field.type_name

    def schema(self, type_name: str) -> dict[str, Any]:
        """The schema of a type."""
        if type_name == _PATCH:
            return {"description": "The body of a PATCH request.", "type": "object"}
        kind = self._scheme.type(type_name)
        if kind.json_form == "strings":
            return self._strings()
        if kind.json_form != "object":
            return self._form(kind)
        return self._object(kind)

    def _form(self, kind: Type) -> dict[str, Any]:
        if kind.name == _ANY_JSON:
            return {}
        if self._dialect is Dialect.V2 and kind.json_form in _FORMS_V2:
            return _FORMS_V2[kind.json_form]
        return _FORMS[kind.json_form]

    def _strings(self) -> dict[str, Any]:
        return _STRINGS if self._dialect is Dialect.V3 else {"type": "array", "items": {"type": "string"}}

    def _object(self, kind: Type) -> dict[str, Any]:
        schema: dict[str, Any] = {}
        kinds = self._group_version_kinds(kind.name)
        if kinds:
            schema["description"] = self._description(kinds)
        fields = sorted(kind.by_json_name.items())
        schema["properties"] = {name: self._property(field) for name, field in fields}
        required = [name for name, field in kind.by_json_name.items() if field.required]
        if required:
            schema["required"] = required
        schema["type"] = "object"
        if kinds:
            forms = [{"group": group, "kind": name, "version": version} for group, version, name in kinds]
            schema["x-kubernetes-group-version-kind"] = forms
        if kind.map_type:
            schema["x-kubernetes-map-type"] = kind.map_type
        return schema

    def _description(self, kinds: list[tuple[str, str, str]]) -> str:
        group, version, name = kinds[0]
        resource = self._scheme.resource_for_kind(group, version, name)
        if resource is None:
            item = name.removesuffix("List")
            return (
                f"{name} is a list of {item} objects." if item != name else f"{name} is a kind of the Kubernetes API."
            )
        where = "in a namespace" if resource.namespaced else "cluster-scoped"
        return (
            f"{name} is the kind of the resource {resource.plural} ({resource.api_version}); its objects are {where}."
        )

    def _group_version_kinds(self, type_name: str) -> list[tuple[str, str, str]]:
        """(group, version, kind) for each of which documents of this type may stand alone."""
        if self._kinds is None:
            self._kinds = {}
            for key in self._scheme.kinds():
                self._kinds.setdefault(self._scheme.type_of(*key).name, []).append(key)
        return sorted(self._kinds.get(type_name, ()))

    def _property(self, field: Field) -> dict[str, Any]:
        value = self._value(field, in_container=field.repeated or field.is_map)
        if field.is_map:
            value = {"additionalProperties": value, "type": "object"}
        elif field.repeated:
            value = {"items": value, "type": "array"}
        else:
            value = self._with_default(value, field)
        extensions = _extensions(field)
        if extensions and "$ref" in value and self._dialect is Dialect.V3:
            value = {"allOf": [value]}  # nothing may stand beside a reference in OpenAPI 3.0
        return value | extensions

    def _value(self, field: Field, *, in_container: bool) -> dict[str, Any]:
        """The schema of the field's value, or of its elements."""
        v3 = self._dialect is Dialect.V3
        if field.is_message:
            kind = self._scheme.type(field.type_name)
            if kind.json_form == "strings":
                return self._strings()
            reference: dict[str, Any] = self.reference(field.type_name)
            if in_container and v3 and kind.json_form == "object":
                return {"allOf": [reference], "default": {}}
            return reference
        value = dict(_SCALARS[field.type_name])
        if field.format:
            value["format"] = field.format
        if field.enum:
            value["enum"] = sorted(field.enum)
        if in_container and v3 and field.type_name in _ZEROS:
            value["default"] = _ZEROS[field.type_name]
        return value

    def _with_default(self, value: dict[str, Any], field: Field) -> dict[str, Any]:
        """Add the declared default, or the zero value where Kubernetes always writes one."""
        if self._dialect is Dialect.V2:
            return value
        default = field.default
        if default is None and field.go_kind == "value":
            if not field.is_message:
                default = _ZEROS.get(field.type_name) if field.omitempty == "n" else None
            elif self._scheme.type(field.type_name).json_form == "object":
                default = {}
        if default is None:
            return value
        return {"allOf": [value], "default": default} if "$ref" in value else {**value, "default": default}


def _extensions(field: Field) -> dict[str, Any]:
    extensions: dict[str, Any] = {}
    if field.list_map_keys:
        extensions["x-kubernetes-list-map-keys"] = list(field.list_map_keys)
    if field.list_type:
        extensions["x-kubernetes-list-type"] = field.list_type
    if field.map_type:
        extensions["x-kubernetes-map-type"] = field.map_type
    if field.patch_merge_key:
        extensions["x-kubernetes-patch-merge-key"] = field.patch_merge_key
    if field.patch_strategy:
        extensions["x-kubernetes-patch-strategy"] = field.patch_strategy
    return extensions
