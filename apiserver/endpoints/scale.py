"""The `scale` subresource: the replicas of a workload as an `autoscaling/v1 Scale`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from apiserver.admission import Operation
from apiserver.api.field_errors import field_invalid
from apiserver.api.selectors import SelectorError, label_selector_from_object, label_selector_from_set
from apiserver.api.status import bad_request, conflict, invalid, not_found
from apiserver.endpoints.creating import match_namespace
from apiserver.endpoints.decoding import decode_object
from apiserver.endpoints.negotiation import Media, negotiate
from apiserver.endpoints.options import WriteOptions, write_options
from apiserver.endpoints.patching import patched, read_patch
from apiserver.endpoints.scope import MAX_BODY_BYTES, Scope
from apiserver.endpoints.updating import check_name
from apiserver.registry.interface import Object
from apiserver.registry.objects import copy_object
from apiserver.registry.store import Validation
from apiserver.request import Handler, Request, Response
from apiserver.storage.interface import Preconditions

__all__ = ["SCALE_KIND", "scale_handlers", "scale_of"]

SCALE_KIND = ("autoscaling", "v1", "Scale")
_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(workload: Object) -> Object:
    """The Scale of a deployment, replica set, stateful set or replication controller; raises 400 for a bad selector."""
    selector = (workload.get("spec") or {}).get("selector")
    try:
        if workload.get("kind") == "ReplicationController":
            text = str(label_selector_from_set(selector))
        else:
            text = str(label_selector_from_object(selector))
    except SelectorError as error:
        raise bad_request(str(error)) from None
    metadata = workload["metadata"]
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in _METADATA if name in metadata},
        "spec": {"replicas": (workload.get("spec") or {}).get("replicas", 0)},
        "status": {"replicas": (workload.get("status") or {}).get("replicas", 0), "selector": text},
    }


def scale_handlers(scope: Scope) -> dict[str, Handler]:
    """get, update and patch by verb."""
    codec = scope.server.codec

    def answer(request: Request, media: Media, workload: Object) -> Response:
        scale = codec.normalize(scale_of(workload), SCALE_KIND, strict=False).obj
        return scope.server.responder.object(request, media, scope.resource, 200, scale)

    async def get(request: Request) -> Response:
        media = negotiate(request)
        info = request.info
        stored = await scope.store.get(info.namespace, info.name, request.parameter("resourceVersion"))
        return answer(request, media, stored.view(scope.resource))

    async def update(request: Request) -> Response:
        media = negotiate(request)
        body = await request.read_body(MAX_BODY_BYTES)
        options = write_options(request, "UpdateOptions")
        wanted = decode_object(request, body, codec, SCALE_KIND, options)
        metadata = wanted.setdefault("metadata", {})
        match_namespace(metadata, request.info.namespace, True)
        check_name(metadata, request.info.name)

        async def new_scale(old: Object) -> Object:
            return copy_object(wanted)

        workload = await _write(scope, request, options, new_scale, metadata.get("uid"))
        return answer(request, media, workload)

    async def patch(request: Request) -> Response:
        options, decoded = await read_patch(request, codec, codec.scheme.type_of(*SCALE_KIND))
        media = negotiate(request)

        async def new_scale(old: Object) -> Object:
            obj = patched(request, codec, SCALE_KIND, options, decoded, old)
            check_name(obj["metadata"], request.info.name)
            return obj

        workload = await _write(scope, request, options, new_scale, None)
        return answer(request, media, workload)

    return {"get": get, "update": update, "patch": patch}


async def _write(
    scope: Scope,
    request: Request,
    options: WriteOptions,
    new_scale: Callable[[Object], Awaitable[Object]],
    uid: str | None,
) -> Object:
    """Write the replicas of a new scale into the workload."""
    admission = scope.server.admission
    resource, name = scope.resource, request.info.name

    def attributes(new: Object, old: Object) -> Any:
        return scope.attributes(
            request,
            Operation.UPDATE,
            new,
            old,
            options.to_dict("UpdateOptions"),
            namespace=request.info.namespace,
            name=name,
            dry_run=options.dry_run,
            kind=SCALE_KIND,
        )

    async def transform(old: Object, revision: int) -> Object:
        if revision == 0:
            raise not_found(resource.group, f"{resource.plural}/scale", name)
        old_scale = scale_of(old)
        scale = await new_scale(copy_object(old_scale))
        if admission.handles(Operation.UPDATE):
            await admission.admit(attributes(scale, old_scale))
        replicas = scale.get("spec", {}).get("replicas", 0)
        if replicas < 0:
            error = field_invalid("spec.replicas", replicas, "must be greater than or equal to 0")
            raise invalid("autoscaling", "Scale", name, [error])
        metadata = scale["metadata"]
        if metadata.get("uid") and metadata["uid"] != old["metadata"].get("uid"):
            have = old["metadata"].get("uid", "")
            text = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {have}"
            raise conflict(resource.group, f"{resource.plural}/scale", name, text)
        old.setdefault("spec", {})["replicas"] = replicas
        old["metadata"]["resourceVersion"] = metadata.get("resourceVersion") or ""
        return old

    validate: Validation | None = None
    if admission.handles(Operation.UPDATE):

        async def validate_scale(new: Object | None, old: Object | None) -> None:
            assert new is not None
            assert old is not None
            await admission.validate(attributes(scale_of(new), scale_of(old)))

        validate = validate_scale
    context = scope.context(request, request.info.namespace, options.dry_run)
    preconditions = Preconditions(uid=uid) if uid else None
    updated = await scope.store.update(context, name, transform, validate_update=validate, preconditions=preconditions)
    result = updated.result
    return result if isinstance(result, dict) else result.view(resource)
