"""HTTP requests that are not gRPC: their values, and the table that finds who answers them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any, Protocol

from kvstore.environment import Clock

__all__ = [
    "ANY_METHOD",
    "NOSNIFF",
    "Body",
    "BodyError",
    "HttpGuard",
    "HttpHandler",
    "HttpRequest",
    "HttpResponse",
    "Router",
]

logger = logging.getLogger(__name__)

ANY_METHOD = "*"

NOSNIFF = {"X-Content-Type-Options": "nosniff"}
"""What Go adds to every answer that is an error."""

NOT_FOUND_TEXT = b"404 page not found\n"  # Go's, which is what people grep for


class BodyError(Exception):
    """The body cannot be had: `status` says why (413 too large, 400 broken off)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Body:
    """The body of a request, as it arrives.

    Args:
        bytes_max: more is refused with `BodyError`, as soon as it is known.
        consumed: told how many bytes the reader has taken, so that the connection can let more in.
    """

    def __init__(self, bytes_max: int, consumed: Callable[[int], None] = lambda count: None) -> None:
        self.waiting_bytes = 0
        self._bytes_max = bytes_max
        self._consumed = consumed
        self._total_bytes = 0
        self._chunks: deque[bytes] = deque()
        self._finished = False
        self._error: BodyError | None = None
        self._reader: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        """More has arrived."""
        if self._error is not None or not data:
            return
        self._total_bytes += len(data)
        if self._total_bytes > self._bytes_max:
            self.fail(BodyError(413, "http: request body too large"))
            return
        self._chunks.append(data)
        self.waiting_bytes += len(data)
        self._wake()

    def finish(self) -> None:
        """That was all."""
        self._finished = True
        self._wake()

    def fail(self, error: BodyError) -> None:
        """There will be no more, and what there is is worthless."""
        if not self._finished:
            self._error = self._error or error
            self._chunks.clear()
            self._wake()

    async def read(self) -> bytes:
        """All of it. Raises `BodyError`."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Piece by piece. Raises `BodyError`."""
        while True:
            if self._error is not None:
                raise self._error
            if self._chunks:
                chunk = self._chunks.popleft()
                self.waiting_bytes -= len(chunk)
                self._consumed(len(chunk))
                yield chunk
            elif self._finished:
                return
            else:
                self._reader = asyncio.get_running_loop().create_future()
                await self._reader

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request; header names in lower case, `path` decoded and without the query."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Body
    peer: str = ""
    peer_certificate: Mapping[str, Any] | None = None
    secure: bool = False


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One response. A body that is an async generator is sent as it comes and closed when the client goes away."""

    status: int
    body: bytes | AsyncGenerator[bytes, None]
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


HttpHandler = Callable[[HttpRequest], Awaitable[HttpResponse]]


class HttpGuard(Protocol):
    """Stands before the handlers; `kvstore.front.access` is the one there is."""

    async def handle(self, request: HttpRequest, handler: HttpHandler) -> HttpResponse:
        """Answer, with the handler's help or without."""


class Router:
    """Handlers by exact path, or by prefix for those that look at the path themselves.

    Args:
        clock: for the Date field.
        guard: runs before every handler and may answer in its place.
    """

    def __init__(self, clock: Clock, guard: HttpGuard) -> None:
        self._clock = clock
        self._guard = guard
        self._routes: dict[str, dict[str, HttpHandler]] = {}
        self._prefixes: dict[str, HttpHandler] = {}

    def add(self, method: str, path: str, handler: HttpHandler) -> None:
        """Answer `method` on `path` with `handler`."""
        self._routes.setdefault(path, {})[method] = handler

    def add_prefix(self, prefix: str, handler: HttpHandler) -> None:
        """Answer every method on every path that begins with `prefix` with `handler`."""
        self._prefixes[prefix] = handler

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """The response to a request: 404, 405, 413 and 500 included; never raises but for cancellation."""
        try:
            response = await self._guard.handle(request, self._answer)
        except BodyError as error:
            response = HttpResponse(error.status, error.message.encode() + b"\n")
        except Exception:
            logger.exception("the handler of %s failed", request.path)
            response = HttpResponse(500, b"internal error\n")
        date = formatdate(self._clock.now(), usegmt=True)
        return replace(response, headers={**response.headers, "Date": date})

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        handler = self._find(request)
        return handler if isinstance(handler, HttpResponse) else await handler(request)

    def _find(self, request: HttpRequest) -> HttpHandler | HttpResponse:
        methods = self._routes.get(request.path)
        if methods is None:
            for prefix, handler in self._prefixes.items():
                if request.path.startswith(prefix):
                    return handler
            return HttpResponse(404, NOT_FOUND_TEXT, headers=NOSNIFF)
        found = methods.get(request.method) or methods.get(ANY_METHOD)
        if found is None:
            headers = {"Allow": ", ".join(sorted(methods)), **NOSNIFF}
            return HttpResponse(405, b"Method Not Allowed\n", headers=headers)
        return found
