"""get and list."""

from __future__ import annotations

from apiserver.api.selectors import (
    FieldRequirement,
    FieldSelector,
    LabelSelector,
    convert_field_selector,
    parse_field_selector,
    parse_label_selector,
)
from apiserver.api.status import bad_request
from apiserver.endpoints.negotiation import JSON, negotiate
from apiserver.endpoints.options import int_parameter, optional_bool_parameter
from apiserver.endpoints.scope import Scope
from apiserver.request import Handler, Request, Response
from apiserver.storage.interface import ListOptions
from apiserver.storage.options import validate_list_options
from apiserver.storage.warming import warm_json

__all__ = ["get_handler", "list_handler", "list_options", "selectors"]


def get_handler(scope: Scope) -> Handler:
    """GET of one object."""
    store, resource, responder = scope.store, scope.resource, scope.server.responder

    async def get(request: Request) -> Response:
        media = negotiate(request)
        resource_version = ""
        if request.query:
            resource_version = request.parameter("resourceVersion")
            if optional_bool_parameter(request, "export"):
                raise bad_request("the export parameter, deprecated since v1.14, is no longer supported")
        if request.trace is not None:
            request.trace("store")
        info = request.info
        stored = await store.get(info.namespace, info.name, resource_version)
        return responder.object(request, media, resource, 200, stored)

    return get


def list_handler(scope: Scope) -> Handler:
    """GET of a collection."""
    store, resource, responder = scope.store, scope.resource, scope.server.responder
    clock = scope.server.environment.clock

    async def list_(request: Request) -> Response:
        media = negotiate(request)
        options = list_options(request, scope)
        result = await store.list(options)
        if media.format == JSON and media.convert is None:
            await warm_json(result.items, resource, clock)
        return await responder.list(request, media, resource, result)

    return list_


def list_options(request: Request, scope: Scope) -> ListOptions:
    """ListOptions from the query.

    Raises:
        StatusError: 400 and 422, as for values, selectors and combinations that mean nothing.
    """
    namespace = request.info.namespace if scope.resource.namespaced else ""
    if not request.query:
        return ListOptions(namespace=namespace)
    limit = int_parameter(request, "limit") or 0
    int_parameter(request, "timeoutSeconds")
    labels, fields = selectors(request, scope)
    options = ListOptions(
        namespace=namespace,
        resource_version=request.parameter("resourceVersion"),
        match=request.parameter("resourceVersionMatch"),
        labels=labels,
        fields=fields,
        limit=max(limit, 0),
        continue_token=request.parameter("continue"),
    )
    validate_list_options(options, send_initial_events=optional_bool_parameter(request, "sendInitialEvents"))
    return options


def selectors(request: Request, scope: Scope) -> tuple[LabelSelector | None, FieldSelector | None]:
    """The selectors of a list or watch; a name in the path is a field selector too."""
    labels = fields = None
    if text := request.parameter("labelSelector"):
        labels = parse_label_selector(text)
    if text := request.parameter("fieldSelector"):
        fields = convert_field_selector(parse_field_selector(text), scope.resource)
    name = request.info.name
    if name:
        if fields is None or fields.empty:
            return labels, FieldSelector((FieldRequirement("metadata.name", "=", name),))
        if fields.exact("metadata.name") != name:
            raise bad_request("fieldSelector metadata.name doesn't match requested name")
    return labels, fields
