"""Objects, lists and errors as HTTP responses in the form the client asked for.

Most answers are bytes that the storage keeps already: an object in its version, a list as its items' bytes joined.
Nothing is decoded to be encoded again.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from apiserver.api.scheme import Column, Resource
from apiserver.api.status import StatusError
from apiserver.codec import Codec
from apiserver.codec.wire import ENVELOPE_TAIL, LENGTHS, envelope_head
from apiserver.codec.yaml import dump_yaml
from apiserver.endpoints.negotiation import JSON, PROTOBUF, Media, negotiate_error
from apiserver.endpoints.tables import (
    Printer,
    Row,
    TableOptions,
    list_table,
    object_table,
    parse_include_object,
    partial_object_metadata,
    partial_object_metadata_list,
)
from apiserver.endpoints.tables.printers import DEFAULT_PRINTER
from apiserver.registry.objects import copy_object
from apiserver.registry.store import Result
from apiserver.request import Request, Response
from apiserver.storage.interface import ListResult, StoredObject
from kvstore.environment import Clock

__all__ = ["ErrorWriter", "Responder", "StoredDict"]

ErrorWriter = Callable[[Request, StatusError], Response]

GZIP_BYTES_MIN: Final = 128 * 1024
"""Shorter answers are not worth compressing (kube-apiserver's threshold)."""
_GZIP_LEVEL: Final = 1
_GZIP_WINDOW: Final = 31  # zlib's code for a gzip header and the largest window


class Responder:
    """Writes responses.

    Args:
        clock: for the ages in tables.
    """

    def __init__(self, codec: Codec, clock: Clock) -> None:
        self._codec = codec
        self._clock = clock
        self._heads: dict[tuple[str, str], bytes] = {}

    # Errors

    def error(self, request: Request, error: StatusError) -> Response:
        """A Status in the form the client asked for, JSON if that cannot be."""
        headers: list[tuple[str, str]] = []
        if error.retry_after_seconds:
            headers.append(("retry-after", str(error.retry_after_seconds)))
        if error.code in (401, 403):
            headers.append(("x-content-type-options", "nosniff"))
        media = negotiate_error(request)
        return Response(error.code, self.dict_bytes(error.to_dict(), media), media.content_type, headers)

    # Objects

    def object(self, request: Request, media: Media, resource: Resource, status: int, result: Result) -> Response:
        """One object, or a Status."""
        return Response(status, self._object_bytes(request, media, resource, result), media.content_type)

    def _object_bytes(self, request: Request, media: Media, resource: Resource, result: Result) -> bytes:
        target = media.convert
        if target is None:
            if isinstance(result, dict):
                return self.dict_bytes(result, media)
            return self.stored_bytes(result, resource, media)
        options = table_options(request, media) if target[0] == "Table" else None
        if isinstance(result, dict):
            if result.get("kind") == "Status":
                return self.dict_bytes(result, media)
            if options is not None and result.get("kind") != resource.kind:
                options = _with_own_printer(options, str(result.get("kind")))
            result = StoredDict(result, self._codec)
        if options is not None:
            table = object_table(resource, _row(result, resource), options, now_seconds=self._clock.now())
            return _json_like(table, media)
        if target[0] == "PartialObjectMetadataList":
            raise _not_acceptable(
                f"you requested PartialObjectMetadataList, but the requested object is not a list ({resource.kind})"
            )
        return self.dict_bytes(partial_object_metadata(result.view(resource), target[1]), media)

    def stored_bytes(self, stored: StoredObject, resource: Resource, media: Media) -> bytes:
        """A stored object as it is."""
        if media.format == JSON:
            body = stored.json(resource)
            return pretty(body) if media.pretty else body + b"\n"
        if media.format == PROTOBUF:
            return self.envelope(resource.api_version, resource.kind, stored.protobuf(resource))
        return dump_yaml(stored.view(resource))

    def dict_bytes(self, obj: dict[str, Any], media: Media) -> bytes:
        """An object that is a dict."""
        if media.format == JSON:
            option = orjson.OPT_APPEND_NEWLINE
            return orjson.dumps(obj, option=option | orjson.OPT_INDENT_2 if media.pretty else option)
        if media.format == PROTOBUF:
            return self._codec.to_storage(obj)
        return dump_yaml(obj)

    def envelope(self, api_version: str, kind: str, body: bytes) -> bytes:
        """A message in its `k8s\\0` envelope."""
        head = self._heads.get((api_version, kind))
        if head is None:
            head = self._heads[api_version, kind] = envelope_head(api_version, kind)
        return b"".join((head, LENGTHS[len(body)], body, ENVELOPE_TAIL))

    # Lists

    async def list(self, request: Request, media: Media, resource: Resource, result: ListResult) -> Response:
        """A list; large ones are compressed when the client takes that."""
        metadata = list_metadata(result)
        target = media.convert
        if target is None:
            body = self._list_bytes(media, resource, result.items, metadata)
        elif target[0] == "Table":
            rows = [_row(item, resource) for item in result.items]
            options = table_options(request, media)
            table = list_table(resource, rows, options, now_seconds=self._clock.now(), metadata=metadata)
            body = _json_like(table, media)
        elif target[0] == "PartialObjectMetadata":
            raise _not_acceptable(
                f"you requested PartialObjectMetadata, but the requested object is a list ({resource.list_kind})"
            )
        else:
            views = (item.view(resource) for item in result.items)
            body = self.dict_bytes(partial_object_metadata_list(views, metadata, target[1]), media)
        headers: list[tuple[str, str]] = []
        if len(body) > GZIP_BYTES_MIN and "gzip" in request.headers.get("accept-encoding", ""):
            body = await asyncio.to_thread(_gzip, body)
            headers = [("content-encoding", "gzip"), ("vary", "Accept-Encoding")]
        return Response(200, body, media.content_type, headers)

    def _list_bytes(
        self, media: Media, resource: Resource, items: Sequence[StoredObject], metadata: dict[str, Any]
    ) -> bytes:
        kind = (resource.group, resource.version, resource.list_kind)
        if media.format == PROTOBUF:
            return self._codec.encode_list_proto(kind, metadata, (item.protobuf(resource) for item in items))
        if media.format == JSON:
            body = list_json(resource, items, metadata)
            return pretty(body) if media.pretty else body
        head = {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": metadata}
        views = [{k: v for k, v in item.view(resource).items() if k not in _TYPE_META} for item in items]
        return dump_yaml({**head, "items": views})


_TYPE_META: Final = ("kind", "apiVersion")


class StoredDict:
    """A dict with the face of a `StoredObject`, for objects that were not stored (dry run)."""

    key = ""
    revision = 0

    def __init__(self, obj: dict[str, Any], codec: Codec) -> None:
        self._obj = obj
        self._codec = codec

    @property
    def name(self) -> str:
        """metadata.name."""
        return str(self._obj["metadata"].get("name", ""))

    @property
    def namespace(self) -> str:
        """metadata.namespace."""
        return str(self._obj["metadata"].get("namespace", ""))

    @property
    def labels(self) -> dict[str, str]:
        """metadata.labels."""
        return self._obj["metadata"].get("labels") or {}

    def json(self, resource: Resource) -> bytes:
        """The object as JSON."""
        return orjson.dumps(self._obj)

    def protobuf(self, resource: Resource) -> bytes:
        """The object's message."""
        return self._codec.encode_body((resource.group, resource.version, resource.kind), self._obj)

    def view(self, resource: Resource) -> dict[str, Any]:
        """The dict."""
        return self._obj

    def object_copy(self, resource: Resource) -> dict[str, Any]:
        """A copy of it."""
        return copy_object(self._obj)


def list_json(resource: Resource, items: Sequence[StoredObject], metadata: dict[str, Any]) -> bytes:
    """A list joined from its items' JSON, which stand in it without their kind and apiVersion."""
    kind = resource.list_kind.encode()
    version = resource.api_version.encode()
    head = b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":[' % (kind, version, orjson.dumps(metadata))
    prefix = b'{"kind":"%b","apiVersion":"%b",' % (resource.kind.encode(), version)
    cut = len(prefix)
    bodies = []
    for item in items:
        body = item.json(resource)
        bodies.append(b"{" + body[cut:] if body.startswith(prefix) else body)
    return b"".join((head, b",".join(bodies), b"]}\n"))


def list_metadata(result: ListResult) -> dict[str, Any]:
    """`metav1.ListMeta`."""
    metadata: dict[str, Any] = {"resourceVersion": str(result.revision)}
    if result.continue_token:
        metadata["continue"] = result.continue_token
        if result.remaining is not None:
            metadata["remainingItemCount"] = result.remaining
    return metadata


def table_options(request: Request, media: Media) -> TableOptions:
    """How a table is asked for; raises 400 for a bad `includeObject`."""
    assert media.convert is not None
    return TableOptions(include=parse_include_object(request.parameter("includeObject")), version=media.convert[1])


_SCALE_PRINTER: Final = Printer(
    lambda scale, now: [
        scale["metadata"].get("name", ""),
        (scale.get("spec") or {}).get("replicas", 0),
        (scale.get("status") or {}).get("replicas", 0),
        now.age(scale["metadata"].get("creationTimestamp")),
    ],
    columns=(
        Column("Name", "string", "name"),
        Column("Desired", "integer"),
        Column("Available", "integer"),
        Column("Age", "string"),
    ),
)
_PLAIN_PRINTER: Final = replace(
    DEFAULT_PRINTER, columns=(Column("Name", "string", "name"), Column("Created At", "date"))
)


def _with_own_printer(options: TableOptions, kind: str) -> TableOptions:
    """For objects of subresources, which are of another kind than the resource."""
    return replace(options, printer=_SCALE_PRINTER if kind == "Scale" else _PLAIN_PRINTER)


def pretty(body: bytes) -> bytes:
    """JSON for people."""
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _row(stored: StoredObject, resource: Resource) -> Row:
    return Row(stored.view(resource))


def _json_like(table: bytes, media: Media) -> bytes:
    """A table in JSON or YAML; it has no protobuf form."""
    if media.format == JSON:
        return pretty(table) if media.pretty else table + b"\n"
    return dump_yaml(orjson.loads(table))


def _not_acceptable(message: str) -> StatusError:
    return StatusError(406, "NotAcceptable", message)


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return compressor.compress(body) + compressor.flush()
