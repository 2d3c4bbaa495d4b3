"""delete and deletecollection."""

from __future__ import annotations

from typing import Any

from apiserver.admission import Operation
from apiserver.api.field_errors import field_invalid
from apiserver.api.status import bad_request, invalid
from apiserver.endpoints.decoding import decode_options
from apiserver.endpoints.negotiation import negotiate
from apiserver.endpoints.options import delete_options_from_query, validate_delete_options
from apiserver.endpoints.reading import list_options
from apiserver.endpoints.scope import MAX_BODY_BYTES, Scope
from apiserver.registry.interface import Object
from apiserver.registry.store import Validation
from apiserver.request import Handler, Request, Response

__all__ = ["delete_collection_handler", "delete_handler", "read_delete_options"]

_UNSAFE = "ignoreStoreReadErrorWithClusterBreakingPotential"


def delete_handler(scope: Scope) -> Handler:
    """DELETE of one object."""

    async def delete(request: Request) -> Response:
        media = negotiate(request)
        options = await read_delete_options(request, scope)
        namespace = request.info.namespace if scope.resource.namespaced else ""
        context = scope.context(request, namespace, bool(options.get("dryRun")))
        validate = _validation(scope, request, options, namespace, request.info.name)
        deleted = await scope.store.delete(context, request.info.name, options, validate)
        status = 202 if not deleted.finished and options.get("orphanDependents") is False else 200
        return scope.server.responder.object(request, media, scope.resource, status, deleted.result)

    return delete


def delete_collection_handler(scope: Scope) -> Handler:
    """DELETE of a collection: answers with what was found."""

    async def delete_collection(request: Request) -> Response:
        media = negotiate(request)
        selection = list_options(request, scope)
        options = await read_delete_options(request, scope)
        if options.get(_UNSAFE):
            text = "is not allowed with DELETECOLLECTION, try again after removing the option"
            raise invalid("meta.k8s.io", "DeleteOptions", "", [field_invalid(_UNSAFE, True, text)])
        namespace = request.info.namespace if scope.resource.namespaced else ""
        context = scope.context(request, namespace, bool(options.get("dryRun")))
        validate = _validation(scope, request, options, namespace, "")
        result = await scope.store.delete_collection(context, selection, options, validate)
        return await scope.server.responder.list(request, media, scope.resource, result)

    return delete_collection


async def read_delete_options(request: Request, scope: Scope) -> dict[str, Any]:
    """DeleteOptions from the body, or from the query when there is none; validated."""
    body = await request.read_body(MAX_BODY_BYTES)
    options = decode_options(request, body, scope.server.codec) if body else delete_options_from_query(request)
    options["kind"] = "DeleteOptions"
    options["apiVersion"] = "meta.k8s.io/v1"
    validate_delete_options(options)
    if options.get(_UNSAFE):
        raise bad_request(f"{_UNSAFE} is not supported")
    return options


def _validation(
    scope: Scope, request: Request, options: dict[str, Any], namespace: str, name: str
) -> Validation | None:
    """Admission of a delete: mutating plugins are asked too, since some refuse there."""
    admission = scope.server.admission
    if not admission.handles(Operation.DELETE):
        return None

    async def validate(new: Object | None, old: Object | None) -> None:
        own_name = name or (old or {}).get("metadata", {}).get("name", "")
        attributes = scope.attributes(
            request,
            Operation.DELETE,
            None,
            old,
            options,
            namespace=namespace or (old or {}).get("metadata", {}).get("namespace", ""),
            name=own_name,
            dry_run=bool(options.get("dryRun")),
        )
        await admission.admit(attributes)
        await admission.validate(attributes)

    return validate
