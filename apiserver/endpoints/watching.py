"""watch: a stream of events, each sent as soon as it is there.

JSON events stand one to a line; protobuf events are framed by their length. Events that came together leave together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from apiserver.api.status import StatusError
from apiserver.codec.wire import watch_frame
from apiserver.endpoints.metrics import RequestSeries
from apiserver.endpoints.negotiation import JSON, PROTOBUF, Media, negotiate_stream
from apiserver.endpoints.options import int_parameter, optional_bool_parameter
from apiserver.endpoints.reading import selectors
from apiserver.endpoints.responses import table_options
from apiserver.endpoints.scope import Scope
from apiserver.endpoints.tables import Row, TableOptions, object_table, partial_object_metadata
from apiserver.request import Handler, Request, Response
from apiserver.storage.interface import EventType, StoredObject, Watcher, WatchEvent, WatchOptions
from apiserver.storage.options import default_watch_options, validate_watch_options

__all__ = ["watch_handler"]

_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def watch_handler(scope: Scope) -> Handler:
    """GET with `watch=true`."""

    async def watch(request: Request) -> Response:
        media = negotiate_stream(request)
        seconds = _timeout_seconds(request, scope)
        options = _watch_options(request, scope, seconds)
        frames = _Frames(request, scope, media)
        series = scope.server.metrics.request_series(request.info, False)
        try:
            watcher = await scope.store.watch(options)
        except StatusError as error:
            if error.code != 410:
                raise
            return Response(200, _one_error(frames, error), media.stream_content_type)
        body = _stream(watcher, frames, scope, seconds, series)
        return Response(200, body, media.stream_content_type)

    return watch


def _watch_options(request: Request, scope: Scope, seconds: float) -> WatchOptions:
    labels, fields = selectors(request, scope)
    options = WatchOptions(
        namespace=request.info.namespace if scope.resource.namespaced else "",
        resource_version=request.parameter("resourceVersion"),
        match=request.parameter("resourceVersionMatch"),
        labels=labels,
        fields=fields,
        send_initial_events=optional_bool_parameter(request, "sendInitialEvents"),
        bookmarks=optional_bool_parameter(request, "allowWatchBookmarks") or False,
        timeout_seconds=seconds,
    )
    options = default_watch_options(options)
    validate_watch_options(options, continue_token=request.parameter("continue"))
    return options


def _timeout_seconds(request: Request, scope: Scope) -> float:
    wanted = int_parameter(request, "timeoutSeconds")
    if wanted:
        return float(wanted)
    least = scope.server.min_request_timeout_seconds
    return scope.server.environment.randomness.uniform(least, 2 * least)


async def _stream(
    watcher: Watcher, frames: _Frames, scope: Scope, seconds: float, series: RequestSeries
) -> AsyncIterator[bytes]:
    resource = scope.resource
    sizes = scope.server.metrics.watch_series(resource.group, resource.version, resource.plural).sizes
    timer = scope.server.environment.clock.call_later(seconds, watcher.stop)
    series.long_running += 1
    try:
        async for batch in watcher:
            pieces = [frames.frame(event) for event in batch]
            for piece in pieces:
                sizes.observe(len(piece))
            yield b"".join(pieces) if len(pieces) > 1 else pieces[0]
    finally:
        series.long_running -= 1
        timer.cancel()
        watcher.stop()


async def _one_error(frames: _Frames, error: StatusError) -> AsyncIterator[bytes]:
    yield frames.frame(WatchEvent(EventType.ERROR, 0, status=error.to_dict()))


class _Frames:
    """Makes frames for one watcher, who may want objects, tables or metadata, in JSON or protobuf."""

    def __init__(self, request: Request, scope: Scope, media: Media) -> None:
        self._scope = scope
        self._media = media
        self._responder = scope.server.responder
        self._resource = scope.resource
        self._table: TableOptions | None = None
        self._object: Callable[[StoredObject], bytes] = self._plain
        if media.convert is not None:
            if media.convert[0] == "Table":
                self._table = table_options(request, media)
                self._object = self._in_table
            else:
                self._object = self._partial

    def frame(self, event: WatchEvent) -> bytes:
        """One event on the wire."""
        if event.stored is not None:
            body = self._object(event.stored)
        elif event.type is EventType.BOOKMARK:
            body = self._bookmark(event)
        else:
            assert event.status is not None
            body = self._dict(event.status)
        kind = event.type.value
        if self._media.format == PROTOBUF:
            return watch_frame(kind, body)
        return b'{"type":"%b","object":%b}\n' % (kind.encode(), body)

    def _plain(self, stored: StoredObject) -> bytes:
        if self._media.format == JSON:
            return stored.json(self._resource)
        return self._responder.envelope(
            self._resource.api_version, self._resource.kind, stored.protobuf(self._resource)
        )

    def _in_table(self, stored: StoredObject) -> bytes:
        return self._table_of(stored.view(self._resource))

    def _table_of(self, view: dict[str, Any]) -> bytes:
        assert self._table is not None
        now = self._scope.server.environment.clock.now()
        body = object_table(self._resource, Row(view), self._table, now_seconds=now)
        self._table = self._table.without_columns()
        return body

    def _partial(self, stored: StoredObject) -> bytes:
        assert self._media.convert is not None
        return self._dict(partial_object_metadata(stored.view(self._resource), self._media.convert[1]))

    def _dict(self, obj: dict[str, Any]) -> bytes:
        if self._media.format == JSON:
            return orjson.dumps(obj)
        return self._responder.dict_bytes(obj, self._media)

    def _bookmark(self, event: WatchEvent) -> bytes:
        """An object of the kind with nothing but a resourceVersion."""
        metadata: dict[str, Any] = {"resourceVersion": str(event.revision)}
        if event.initial_end:
            metadata["annotations"] = {_INITIAL_EVENTS_END: "true"}
        resource = self._resource
        obj: dict[str, Any] = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        if self._media.convert is not None and self._table is None:
            return self._dict(partial_object_metadata(obj, self._media.convert[1]))
        obj = self._scope.server.codec.normalize(obj, self._scope.kind, strict=False).obj
        return self._dict(obj) if self._table is None else self._table_of(obj)
