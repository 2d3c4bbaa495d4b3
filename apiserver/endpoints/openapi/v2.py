"""The OpenAPI 2.0 ("Swagger") document: the whole API in one, for clients that know nothing newer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apiserver.api.scheme import Resource, Scheme
from apiserver.endpoints.openapi.names import tag
from apiserver.endpoints.openapi.operations import Operation, Parameter, operations_of
from apiserver.endpoints.openapi.schemas import Schemas

__all__ = ["swagger_document"]

_MEDIA_TYPES = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]
_STREAMS = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"]
_STATUS_TEXTS = {200: "OK", 201: "Created", 202: "Accepted"}


def swagger_document(scheme: Scheme, schemas: Schemas, version: str, resources: Iterable[Resource]) -> dict[str, Any]:
    """All operations on these resources and their types; ready for `orjson`.

    Args:
        version: the server's, e.g. `v1.37.0`.
    """
    paths: dict[str, dict[str, Any]] = {}
    types: set[str] = set()
    for resource in resources:
        for operation in operations_of(scheme, resource):
            types.update(name for name in (operation.request, operation.response) if name)
            path = paths.setdefault(operation.path, {"parameters": list(map(_parameter, operation.path_parameters))})
            path[operation.method] = _operation(operation, tag(resource.group, resource.version), schemas)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": dict(sorted(paths.items())),
        "definitions": schemas.closure(types),
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        "security": [{"BearerToken": []}],
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    form: dict[str, Any] = {"uniqueItems": True, "type": parameter.type, "name": parameter.name}
    form["in"] = parameter.location
    return form | ({"required": True} if parameter.required else {})


def _operation(operation: Operation, tag_name: str, schemas: Schemas) -> dict[str, Any]:
    parameters = list(map(_parameter, operation.parameters))
    if operation.request:
        body: dict[str, Any] = {"name": "body", "in": "body", "schema": schemas.reference(operation.request)}
        if operation.method != "delete":
            body["required"] = True
        parameters.insert(0, body)
    schema: dict[str, Any] = schemas.reference(operation.response) if operation.response else {"type": "string"}
    produces = _MEDIA_TYPES + (_STREAMS if operation.streams else []) if operation.response else ["*/*"]
    responses = {str(code): {"description": _STATUS_TEXTS[code], "schema": schema} for code in operation.statuses}
    kind = {"group": operation.group, "kind": operation.kind, "version": operation.version}
    return {
        "consumes": list(operation.consumes),
        "produces": produces,
        "schemes": ["https"],
        "tags": [tag_name],
        "operationId": operation.operation_id,
        **({"parameters": parameters} if parameters else {}),
        "responses": {**responses, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": kind,
    }
