"""The ASGI application: scope and messages on one side, `Request`, `Handler` and `Response` on the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote_plus

from apiserver.api.status import bad_request, request_entity_too_large
from apiserver.http.heads import header_map
from apiserver.request import Handler, Request, Response
from kvstore.environment import Clock

__all__ = ["ASGIApplication"]

_LOG = logging.getLogger("apiserver.http")
_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]


class ASGIApplication:
    """Runs a handler for each request, and streams what it streams.

    Args:
        handler: the whole chain; expected to turn its own errors into responses.
        clock: for the time a request came in.
    """

    def __init__(self, handler: Handler, clock: Clock) -> None:
        self._handler = handler
        self._clock = clock
        self._streams: dict[asyncio.Task[Any], bool] = {}

    async def __call__(self, scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
        """ASGI entry point for `http` scopes."""
        request = self._request(scope, receive)
        try:
            response = await self._handler(request)
        except Exception:
            _LOG.exception("a request failed outside the handler chain")
            response = Response(500, b"Internal Server Error\n", "text/plain; charset=utf-8")
        named = response.headers
        if response.content_type:
            named = [("content-type", response.content_type), *named]
        headers = [_HEADERS.get(header) or _header(header) for header in named]
        body = response.body
        if isinstance(body, bytes):
            if "http.response.whole" in scope.get("extensions", ()):
                message = {"type": "http.response.whole", "status": response.status, "headers": headers, "body": body}
                await send(message)
                return
            headers.append((b"content-length", b"%d" % len(body)))
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        else:
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            await self._stream(body, request, send)

    def _request(self, scope: dict[str, Any], receive: _Receive) -> Request:
        client = scope["client"]
        query = scope["query_string"]
        extensions = scope.get("extensions") or {}
        reader = _BodyReader(receive, scope["headers"])
        request = Request(
            scope["method"],
            scope["path"],
            scope["raw_path"].decode("latin-1"),
            _parse_query(query) if query else {},
            extensions.get("headers") or header_map(scope["headers"]),
            client[0] if client else "",
            extensions.get("client_certificate"),
            reader.read,
            reader.disconnected,
        )
        request.received_seconds = self._clock.now()
        request.header_list = scope["headers"]
        return request

    async def _stream(self, body: AsyncIterator[bytes], request: Request, send: _Send) -> None:
        """Send chunks as they come, until the stream, the client or the server ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._streams[task] = False
        gone = asyncio.ensure_future(request.disconnected())
        gone.add_done_callback(lambda _: self._end_stream(task))
        ended = True
        try:
            await send({"type": "http.response.body", "body": b"", "more_body": True})  # the head must not wait
            async for chunk in body:
                if chunk:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except asyncio.CancelledError:
            if not self._streams[task]:  # not ours: somebody cancelled the whole request
                raise
            task.uncancel()
        except Exception:
            _LOG.exception("a stream broke off")
            ended = False
        finally:
            del self._streams[task]
            gone.cancel()
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        if ended:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _end_stream(self, task: asyncio.Task[Any]) -> None:
        if self._streams.get(task) is False:
            self._streams[task] = True
            task.cancel()

    def end_streams(self) -> None:
        """End every running stream properly (the server is going down)."""
        for task in list(self._streams):
            self._end_stream(task)


class _BodyReader:
    """Reads a request's body on demand."""

    __slots__ = ("_headers", "_receive", "_whole")

    def __init__(self, receive: _Receive, headers: list[tuple[bytes, bytes]]) -> None:
        self._receive = receive
        self._headers = headers
        self._whole: bytes | None = None

    async def read(self, limit_bytes: int) -> bytes:
        """See `Request.read_body`."""
        if self._whole is not None:
            return self._whole
        for name, value in self._headers:
            if name == b"content-length" and int(value) > limit_bytes:
                raise request_entity_too_large(f"limit is {limit_bytes}")
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise bad_request("unexpected EOF")
            pieces.append(message["body"])
            size += len(message["body"])
            if size > limit_bytes:
                raise request_entity_too_large(f"limit is {limit_bytes}")
            if not message["more_body"]:
                break
        self._whole = b"".join(pieces) if len(pieces) != 1 else pieces[0]
        return self._whole

    async def disconnected(self) -> None:
        """See `Request.disconnected`; what is left of the body is thrown away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


_HEADERS: dict[tuple[str, str], tuple[bytes, bytes]] = {}
"""Headers that do not differ from answer to answer, as they go out."""
_HEADERS_MAX = 256
_REPEATED = frozenset({"cache-control", "content-encoding", "content-type", "vary", "x-content-type-options"})


def _header(header: tuple[str, str]) -> tuple[bytes, bytes]:
    """A header on the wire. A line break in a value would let a caller write headers of its own."""
    name, value = header
    if "\r" in value or "\n" in value:
        value = value.replace("\r", " ").replace("\n", " ")
    encoded = (name.lower().encode("latin-1"), value.encode("utf-8"))
    if name in _REPEATED and len(_HEADERS) < _HEADERS_MAX:
        _HEADERS[header] = encoded
    return encoded


def _parse_query(query: bytes) -> dict[str, list[str]]:
    """The parameters of a query string, in order (WHATWG form encoding, as Go's net/url reads it)."""
    result: dict[str, list[str]] = {}
    for part in query.decode("latin-1").split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        if "%" in name or "+" in name:
            name = unquote_plus(name)
        if "%" in value or "+" in value:
            value = unquote_plus(value)
        if name in result:
            result[name].append(value)
        else:
            result[name] = [value]
    return result
