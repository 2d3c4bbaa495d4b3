"""OpenAPI 3.0 documents: one for each group version, one for each list of groups and versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from apiserver.api.scheme import Resource, Scheme
from apiserver.endpoints.openapi.names import camel_group_version, document_name, tag
from apiserver.endpoints.openapi.operations import Operation, Parameter, operations_of
from apiserver.endpoints.openapi.schemas import Schemas

__all__ = ["group_document", "root_document", "version_document"]

_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
_VERSION_INFO = "k8s.io.apimachinery.pkg.version.Info"
_MEDIA_TYPES = ("application/json", "application/vnd.kubernetes.protobuf", "application/yaml")
_STREAMS = ("application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
_STATUS_TEXTS = {200: "OK", 201: "Created", 202: "Accepted"}
_ROOTS = {
    "api": ("getCoreAPIVersions", "core", _META + "APIVersions"),
    "apis": ("getAPIVersions", "apis", _META + "APIGroupList"),
    "version": ("getCodeVersion", "version", _VERSION_INFO),
}


class _Draft:
    """A document in the making: its paths, and the types they speak of."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._paths: dict[str, dict[str, Any]] = {}
        self._types: set[str] = set()

    def add_plain(self, path: str, operation_id: str, tag_name: str, type_name: str) -> None:
        """A GET that answers one type."""
        self._paths[f"/{path}/"] = {
            "get": {
                "operationId": operation_id,
                "responses": self._responses((200,), type_name, _MEDIA_TYPES),
                "tags": [tag_name],
            }
        }

    def add(self, operation: Operation, tag_name: str) -> None:
        """An operation on a resource."""
        path = self._paths.setdefault(operation.path, {"parameters": list(map(_parameter, operation.path_parameters))})
        media_types = _MEDIA_TYPES + (_STREAMS if operation.streams else ()) if operation.response else ("*/*",)
        form: dict[str, Any] = {"operationId": operation.operation_id}
        if operation.parameters:
            form["parameters"] = list(map(_parameter, operation.parameters))
        if operation.request:
            required = {} if operation.method == "delete" else {"required": True}
            form["requestBody"] = {"content": self._content(operation.request, operation.consumes)} | required
        form["responses"] = self._responses(operation.statuses, operation.response, media_types)
        form["tags"] = [tag_name]
        form["x-kubernetes-action"] = operation.action
        form["x-kubernetes-group-version-kind"] = {
            "group": operation.group,
            "kind": operation.kind,
            "version": operation.version,
        }
        path[operation.method] = form

    def finish(self, version: str, definitions: Mapping[str, dict[str, Any]] = MappingProxyType({})) -> dict[str, Any]:
        """The document, ready for `orjson`; `definitions` as in `Schemas.closure`."""
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": version},
            "paths": dict(sorted(self._paths.items())),
            "components": {
                "schemas": self._schemas.closure(self._types, definitions),
                "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
            },
        }

    def _content(self, type_name: str, media_types: Iterable[str]) -> dict[str, Any]:
        if not type_name:
            return {media_type: {"schema": {"type": "string"}} for media_type in media_types}
        self._types.add(type_name)
        reference = self._schemas.reference(type_name)
        return {media_type: {"schema": reference} for media_type in media_types}

    def _responses(self, statuses: Iterable[int], type_name: str, media_types: Iterable[str]) -> dict[str, Any]:
        content = self._content(type_name, media_types)
        successes = {str(code): {"description": _STATUS_TEXTS[code], "content": content} for code in statuses}
        return {**successes, "401": {"description": "Unauthorized"}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    form: dict[str, Any] = {"name": parameter.name, "in": parameter.location}
    if parameter.required:
        form["required"] = True
    return {**form, "schema": {"type": parameter.type, "uniqueItems": True}}


def version_document(
    scheme: Scheme,
    schemas: Schemas,
    version: str,
    group: str,
    api_version: str,
    resources: Iterable[Resource],
    definitions: Mapping[str, dict[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """One version of a group: all operations on its resources, and their types.

    Args:
        version: the server's, e.g. `v1.37.0`.
        api_version: the group's.
        definitions: schemas of the types that are not built in, by type name.
    """
    draft = _Draft(schemas)
    name = tag(group, api_version)
    operation_id = f"get{camel_group_version(group, api_version)}APIResources"
    draft.add_plain(document_name(group, api_version), operation_id, name, _META + "APIResourceList")
    for resource in resources:
        for operation in operations_of(scheme, resource):
            draft.add(operation, name)
    return draft.finish(version, definitions)


def group_document(schemas: Schemas, version: str, group: str) -> dict[str, Any]:
    """What is at `/apis/GROUP`."""
    draft = _Draft(schemas)
    operation_id = f"get{camel_group_version(group, '')}APIGroup"
    draft.add_plain(f"apis/{group}", operation_id, tag(group), _META + "APIGroup")
    return draft.finish(version)


def root_document(schemas: Schemas, version: str, path: str) -> dict[str, Any]:
    """What is at `/api`, `/apis` or `/version`."""
    draft = _Draft(schemas)
    draft.add_plain(path, *_ROOTS[path])
    return draft.finish(version)
