"""patch: JSON patch, merge patch and strategic merge patch, applied to the object as it is at the time of the write.

A patch is applied again to a fresher object when somebody else was faster, so that only a patch that names a
resourceVersion of its own can conflict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from apiserver.api.field_errors import field_invalid
from apiserver.api.scheme import Type
from apiserver.api.status import StatusError, bad_request, invalid, not_found, unsupported_media_type
from apiserver.codec import Codec, DecodeError, Kind
from apiserver.endpoints.creating import match_namespace
from apiserver.endpoints.decoding import check_strict, read_json
from apiserver.endpoints.negotiation import negotiate
from apiserver.endpoints.options import WriteOptions, write_options
from apiserver.endpoints.patches import (
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_MERGE_PATCH,
    apply_json_patch,
    apply_merge_patch,
    apply_strategic_merge_patch,
    decode_json_patch,
    decode_merge_patch,
)
from apiserver.endpoints.patches.values import go_text
from apiserver.endpoints.scope import MAX_BODY_BYTES, Scope
from apiserver.endpoints.updating import Change, check_name, write_change
from apiserver.registry.interface import Object
from apiserver.registry.objects import copy_object
from apiserver.registry.strategy import Strategy
from apiserver.request import Handler, Request, Response

__all__ = ["PATCH_TYPES", "Patch", "patch_handler", "patched", "read_patch"]

PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH)


class Patch:
    """A decoded patch.

    Attributes:
        apply: from a document, which it may change, to the patched one.
        problems: strict decoding errors of the patch itself.
        text: the patch in an error text; without it, the patched object stands there.
    """

    def __init__(
        self, apply: Callable[[Object], Any], problems: list[str], text: Callable[[], str] | None = None
    ) -> None:
        self.apply = apply
        self.problems = problems
        self.text = text


async def read_patch(request: Request, codec: Codec, schema: Type) -> tuple[WriteOptions, Patch]:
    """Options and patch of a request for an object of type `schema`.

    Raises:
        StatusError: 415 for a patch type that is not served, 400 for a body that is no such patch.
    """
    patch_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if patch_type not in PATCH_TYPES:
        raise unsupported_media_type(PATCH_TYPES)
    body = await request.read_body(MAX_BODY_BYTES)
    options = write_options(request, "PatchOptions")
    try:
        document, duplicates = read_json(body, strict=options.strict)
    except DecodeError as error:
        prefix = "" if patch_type == STRATEGIC_MERGE_PATCH else "error decoding patch: "
        raise bad_request(f"{prefix}{error}") from None
    if patch_type == JSON_PATCH:
        operations, problems = decode_json_patch(document, strict=options.strict)
        problems = [f"json patch {problem}" for problem in duplicates] + problems
        return options, Patch(lambda obj: apply_json_patch(obj, operations), problems)
    merge = decode_merge_patch(document, strict=options.strict)
    if patch_type == MERGE_PATCH:
        return options, Patch(lambda obj: apply_merge_patch(obj, merge), duplicates)
    return options, Patch(
        lambda obj: apply_strategic_merge_patch(obj, merge, codec.scheme, schema), duplicates, lambda: go_text(merge)
    )


def patch_handler(scope: Scope, strategy: Strategy) -> Handler:
    """PATCH of an object; `strategy` is that of the subresource, or the kind's own."""
    codec, resource = scope.server.codec, scope.resource

    async def patch(request: Request) -> Response:
        options, decoded = await read_patch(request, codec, resource.type)
        media = negotiate(request)
        change = Change(request, scope, options, strategy)

        async def transform(old: Object, revision: int) -> Object:
            if revision == 0:  # also for kinds that an update may create
                raise not_found(resource.group, resource.plural, change.name)
            obj = patched(request, codec, scope.kind, options, decoded, old)
            metadata = obj["metadata"]
            match_namespace(metadata, change.namespace, resource.namespaced)
            check_name(metadata, change.name)
            strategy.default(change.context, obj)
            await change.admit(obj, old, revision)
            return obj

        updated = await write_change(change, transform)
        return scope.server.responder.object(request, media, resource, 200, updated.result)

    return patch


def patched(request: Request, codec: Codec, kind: Kind, options: WriteOptions, patch: Patch, old: Object) -> Object:
    """The present object with the patch applied, canonical again.

    Raises:
        StatusError: 422 when it is no object of the kind any more, and for unknown fields where they are refused.
    """
    try:
        document = patch.apply(copy_object(old))
        encoded = orjson.dumps(document).decode()
    except (orjson.JSONEncodeError, RecursionError):
        raise bad_request("error decoding patch: exceeded max depth") from None

    def refuse(error: str) -> StatusError:
        return invalid("", "", "", [field_invalid("patch", patch.text() if patch.text else encoded, error)])

    if not isinstance(document, dict):
        raise refuse("json: cannot unmarshal array into Go value of type map[string]interface {}")
    try:
        normalized = codec.normalize(document, kind, strict=options.strict)
    except DecodeError as error:
        raise refuse(str(error)) from None
    check_strict(request, options, patch.problems + normalized.unknown, refuse)
    obj = normalized.obj
    if obj.get("metadata") is None:
        obj["metadata"] = {}
    return obj
