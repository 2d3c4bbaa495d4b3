"""OpenAPI 3.0 documents of custom resources, from the schemas their definitions give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from apiserver.api.scheme import Resource, Scheme
from apiserver.endpoints.openapi.schemas import Schemas
from apiserver.endpoints.openapi.v3 import version_document

__all__ = ["custom_type_name", "custom_version_document"]

_META = "k8s.io.apimachinery.pkg.apis.meta.v1."


def custom_type_name(group: str, version: str, kind: str) -> str:
    """`com.example.v1.Widget` for `widgets.example.com`: the group turned round, as Go packages are named."""
    return ".".join([*reversed(group.split(".")), version, kind])


def custom_version_document(
    scheme: Scheme,
    schemas: Schemas,
    version: str,
    group: str,
    api_version: str,
    resources: Iterable[tuple[Resource, Mapping[str, Any] | None]],
) -> dict[str, Any]:
    """The document of a version of a group of custom resources.

    Args:
        schemas: of the built-in types, for metadata, options and status.
        version: the server's, e.g. `v1.37.0`; `api_version` is the group's.
        resources: each with its `openAPIV3Schema`; its `type_name` is what `custom_type_name` gives.
    """
    listed = list(resources)
    definitions: dict[str, dict[str, Any]] = {}
    for resource, given in listed:
        package = resource.type_name.rpartition(".")[0]
        definitions[resource.type_name] = _kind_schema(schemas, resource, given)
        definitions[f"{package}.{resource.list_kind}"] = _list_schema(schemas, resource)
    plain = [resource for resource, _ in listed]
    return version_document(scheme, schemas, version, group, api_version, plain, definitions)


def _type_meta(resource: Resource, kind: str) -> dict[str, Any]:
    form = {"group": resource.group, "kind": kind, "version": resource.version}
    return {"type": "object", "x-kubernetes-group-version-kind": [form]}


def _kind_schema(schemas: Schemas, resource: Resource, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The schema as given, with what every object has."""
    properties = {
        **((given or {}).get("properties") or {}),
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": schemas.reference(_META + "ObjectMeta"),
    }
    open_ended = {} if given else {"x-kubernetes-preserve-unknown-fields": True}
    return {**(given or {}), "properties": properties, **open_ended, **_type_meta(resource, resource.kind)}


def _list_schema(schemas: Schemas, resource: Resource) -> dict[str, Any]:
    return {
        "description": f"{resource.list_kind} is a list of {resource.kind} objects.",
        "properties": {
            "apiVersion": {"type": "string"},
            "items": {"items": schemas.reference(resource.type_name), "type": "array"},
            "kind": {"type": "string"},
            "metadata": schemas.reference(_META + "ListMeta"),
        },
        "required": ["items"],
        **_type_meta(resource, resource.list_kind),
    }
