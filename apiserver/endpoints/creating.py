"""create: POST to a collection."""

from __future__ import annotations

from typing import Any

from apiserver.admission import Operation
from apiserver.api.status import bad_request
from apiserver.endpoints.decoding import decode_object
from apiserver.endpoints.negotiation import negotiate
from apiserver.endpoints.options import write_options
from apiserver.endpoints.owners import deduplicate_owner_references
from apiserver.endpoints.scope import MAX_BODY_BYTES, Scope
from apiserver.registry.interface import Object
from apiserver.request import Handler, Request, Response

__all__ = ["create_handler", "match_namespace", "wipe_system_fields"]


def create_handler(scope: Scope) -> Handler:
    """One new object."""
    server, store, resource = scope.server, scope.store, scope.resource
    admission = server.admission
    mutates = admission.handles(Operation.CREATE)

    async def create(request: Request) -> Response:
        media = negotiate(request)
        options = write_options(request, "CreateOptions")
        body = await request.read_body(MAX_BODY_BYTES)
        obj = decode_object(request, body, server.codec, scope.kind, options)
        metadata = obj.get("metadata")
        if metadata is None:
            metadata = obj["metadata"] = {}
        namespace = request.info.namespace if resource.namespaced else ""
        wipe_system_fields(metadata)
        match_namespace(metadata, namespace, resource.namespaced)
        deduplicate_owner_references(request, metadata, after_admission=False)
        context = scope.context(request, namespace, options.dry_run)
        trace = request.trace or _no_trace
        trace("default")
        store.strategy.default(context, obj)
        if not mutates:
            trace("store")
            result = await store.create(context, obj)
            return server.responder.object(request, media, resource, 201, result)
        attributes = scope.attributes(
            request,
            Operation.CREATE,
            obj,
            None,
            options.to_dict(),
            namespace=namespace or _own_namespace(scope, metadata),
            name=metadata.get("name", ""),
            dry_run=options.dry_run,
        )
        trace("admit")
        await admission.admit(attributes)
        deduplicate_owner_references(request, metadata, after_admission=True)

        async def validate(new: Object | None, old: Object | None) -> None:
            trace("validate admission")
            attributes.obj = new
            attributes.name = (new or {})["metadata"].get("name", "")
            await admission.validate(attributes)

        trace("store")
        result = await store.create(context, obj, validate)
        return server.responder.object(request, media, resource, 201, result)

    return create


def _no_trace(stage: str) -> None:
    """Nobody follows this request."""


def _own_namespace(scope: Scope, metadata: dict[str, Any]) -> str:
    """Admission sees a namespace as being inside of itself."""
    if scope.resource.plural == "namespaces" and not scope.resource.group:
        return str(metadata.get("name", ""))
    return ""


def wipe_system_fields(metadata: dict[str, Any]) -> None:
    """Take out what only the server may set (rest.WipeObjectMetaSystemFields)."""
    for field in ("creationTimestamp", "uid", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
        metadata.pop(field, None)


def match_namespace(metadata: dict[str, Any], namespace: str, namespaced: bool) -> None:
    """The object is in the namespace of the request; raises 400 when it says otherwise."""
    if not namespaced:
        metadata.pop("namespace", None)
    elif not metadata.get("namespace"):
        metadata["namespace"] = namespace
    elif metadata["namespace"] != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
