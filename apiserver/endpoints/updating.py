"""update: PUT of an object, or of a subresource that shows the whole object (status and its like)."""

from __future__ import annotations

from typing import Any

from apiserver.admission import Operation
from apiserver.api.status import bad_request
from apiserver.endpoints.creating import match_namespace
from apiserver.endpoints.decoding import decode_object
from apiserver.endpoints.negotiation import negotiate
from apiserver.endpoints.options import WriteOptions, write_options
from apiserver.endpoints.owners import deduplicate_owner_references
from apiserver.endpoints.scope import MAX_BODY_BYTES, Scope
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.objects import copy_object
from apiserver.registry.store import Updated, Validation
from apiserver.registry.strategy import Strategy
from apiserver.request import Handler, Request, Response
from apiserver.storage.interface import Preconditions

__all__ = ["Change", "check_name", "update_handler", "write_change"]


class Change:
    """One update on its way to the store: what admission and the store are told alike.

    Attributes:
        namespace, name: of the object, as in the request.
        mutation: makes the wanted object out of the present one; may be called again.
    """

    def __init__(self, request: Request, scope: Scope, options: WriteOptions, strategy: Strategy) -> None:
        self.request = request
        self.scope = scope
        self.options = options
        self.strategy = strategy
        self.namespace = request.info.namespace if scope.resource.namespaced else ""
        self.name = request.info.name
        self.context: OperationContext = scope.context(request, self.namespace, options.dry_run)

    async def admit(self, obj: Object, old: Object, revision: int) -> None:
        """Mutating admission: of a create when there is no object yet."""
        admission = self.scope.server.admission
        operation = Operation.UPDATE if revision else Operation.CREATE
        if admission.handles(operation):
            if self.request.trace is not None:
                self.request.trace("admit")
            await admission.admit(self._attributes(operation, obj, old if revision else None))
            deduplicate_owner_references(self.request, obj["metadata"], after_admission=True)

    def validation(self, operation: Operation) -> Validation | None:
        """Validating admission, for the store to call; a create needs the right to create besides."""
        admission = self.scope.server.admission

        async def validate(new: Object | None, old: Object | None) -> None:
            if admission.handles(operation):
                await admission.validate(self._attributes(operation, new, old))

        if operation is Operation.CREATE:
            return self.scope.authorized_create(self.request, validate)
        return validate if admission.handles(operation) else None

    def _attributes(self, operation: Operation, obj: Object | None, old: Object | None) -> Any:
        kind = "UpdateOptions" if operation is Operation.UPDATE else "CreateOptions"
        return self.scope.attributes(
            self.request,
            operation,
            obj,
            old,
            self.options.to_dict(kind),
            namespace=self.namespace,
            name=self.name,
            dry_run=self.options.dry_run,
        )


def update_handler(scope: Scope, strategy: Strategy) -> Handler:
    """PUT of the whole object; `strategy` is that of the subresource, or the kind's own."""

    async def update(request: Request) -> Response:
        media = negotiate(request)
        body = await request.read_body(MAX_BODY_BYTES)
        options = write_options(request, "UpdateOptions")
        wanted = decode_object(request, body, scope.server.codec, scope.kind, options)
        change = Change(request, scope, options, strategy)
        metadata = wanted.get("metadata")
        if metadata is None:
            metadata = wanted["metadata"] = {}
        match_namespace(metadata, change.namespace, scope.resource.namespaced)
        check_name(metadata, change.name)
        deduplicate_owner_references(request, metadata, after_admission=False)
        strategy.default(change.context, wanted)

        async def transform(old: Object, revision: int) -> Object:
            obj = copy_object(wanted)
            await change.admit(obj, old, revision)
            return obj

        uid = metadata.get("uid")
        updated = await write_change(change, transform, Preconditions(uid=uid) if uid else None)
        status = 201 if updated.created else 200
        return scope.server.responder.object(request, media, scope.resource, status, updated.result)

    return update


async def write_change(change: Change, transform: Any, preconditions: Preconditions | None = None) -> Updated:
    """Hand a change to the store."""
    if change.request.trace is not None:
        change.request.trace("store")
    return await change.scope.store.update(
        change.context,
        change.name,
        transform,
        validate_create=change.validation(Operation.CREATE),
        validate_update=change.validation(Operation.UPDATE),
        preconditions=preconditions,
        strategy=change.strategy,
    )


def check_name(metadata: dict[str, Any], name: str) -> None:
    """The object must be the one of the URL; raises 400."""
    own = metadata.get("name")
    if not own:
        raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if own != name:
        raise bad_request(f"the name of the object ({own}) does not match the name on the URL ({name})")
