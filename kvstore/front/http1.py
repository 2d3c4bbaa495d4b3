"""HTTP/1.1 on asyncio, parsed by httptools: health, metrics and the JSON gateway."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from http import HTTPStatus
from typing import cast
from urllib.parse import unquote

import httptools

from kvstore.environment import Clock, TimerHandle
from kvstore.front.http2 import peer_name
from kvstore.front.limits import FrontLimits
from kvstore.front.routes import Body, BodyError, HttpRequest, HttpResponse, Router

__all__ = ["Http1Protocol"]

logger = logging.getLogger(__name__)

PIPELINED_REQUESTS_MAX = 16
ANSWER_AFTER_EOF_SECONDS = 5.0
BODY_WAITING_BYTES_MAX = 256 * 1024  # above it the socket is not read until the handler has caught up
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Http1Protocol(asyncio.Protocol):
    """Requests of one connection, answered one after the other by the router.

    httptools calls the `on_…` methods while it parses. `lost` is called once, when the connection is gone.
    """

    def __init__(
        self, router: Router, limits: FrontLimits, clock: Clock, lost: Callable[[], None] = lambda: None
    ) -> None:
        self._router = router
        self._limits = limits
        self._clock = clock
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._target = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._body: Body | None = None
        self._waiting: deque[tuple[HttpRequest, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._draining = False
        self._broken = False
        self._streaming = False
        self._timer: TimerHandle | None = None
        self._await_request()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._broken:
            return
        try:
            self._head_bytes += len(data)
            self._parser.feed_data(data)
            if self._body is None and self._head_bytes > self._limits.http1_head_bytes_max:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except httptools.HttpParserUpgrade:
            self._broken = True  # an offer we do not take: the request is answered, and what follows it is not read
        except (httptools.HttpParserError, UnicodeDecodeError):
            self._refuse(HTTPStatus.BAD_REQUEST)
        self._regulate_reading()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`. A client that has said everything may still wait for its answer, or be gone."""
        if self._body is not None:
            self._body.fail(BodyError(400, "unexpected EOF"))
        if self._streaming or self._task is None:
            return False
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(ANSWER_AFTER_EOF_SECONDS, self.abort)
        return True

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        self._waiting.clear()
        self._writable.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._body is not None:
            self._body.fail(BodyError(400, "the request was broken off"))
        if self._task is not None:
            self._task.cancel()
        self._lost()

    # What the server calls.

    def drain(self) -> None:
        """Close after the request under way, unless its response may go on for ever."""
        self._draining = True
        if self._task is None or self._streaming:
            self._close()

    def abort(self) -> None:
        """Close now, whatever is still unsent."""
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # What httptools calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target = b""
        self._headers = {}

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field."""
        key, text = name.decode("ascii").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]},{text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """The head is complete: the request can be answered while its body arrives."""
        self._head_bytes = 0
        self._body = Body(self._limits.http1_body_bytes_max, self._on_consumed)
        target = self._target.decode("ascii")
        if target.startswith(("http://", "https://")):  # absolute form, as sent to proxies
            target = "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
        path, _, query = target.partition("?")
        transport = self._transport
        assert transport is not None
        request = HttpRequest(
            self._parser.get_method().decode("ascii"),
            unquote(path),
            query,
            self._headers,
            self._body,
            peer_name(transport),
            transport.get_extra_info("peercert") or None,
            transport.get_extra_info("ssl_object") is not None,
        )
        if self._headers.get("expect", "").lower() == "100-continue":
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.append((request, self._parser.should_keep_alive()))
        self._next()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._head_bytes = 0
        if self._body is not None:
            self._body.feed(data)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._head_bytes = 0
        if self._body is not None:
            self._body.finish()
            self._body = None

    # Answering.

    def _next(self) -> None:
        if self._task is None and self._waiting:
            self._task = self._loop.create_task(self._answer(*self._waiting.popleft()))

    async def _answer(self, request: HttpRequest, keep_alive: bool) -> None:
        response = await self._router.handle(request)
        keep_alive = keep_alive and not self._draining and not self._broken
        try:
            await self._write(request, response, keep_alive)
        except Exception:  # part of the response is out: all that is left is to break off
            logger.exception("the response of %s broke off", request.path)
            keep_alive = False
        self._task = None
        if self._transport is None:
            return
        # A body nobody read to its end leaves the connection in the middle of a message.
        if not keep_alive or request.body is self._body:
            self._transport.close()
            return
        self._regulate_reading()
        self._next()
        if self._task is None:
            self._await_request()

    async def _write(self, request: HttpRequest, response: HttpResponse, keep_alive: bool) -> None:
        streamed = not isinstance(response.body, bytes)
        self._send(_head(response, keep_alive, streamed))
        if isinstance(response.body, bytes):
            if request.method != "HEAD":
                self._send(response.body)
            return
        self._streaming = True
        async with aclosing(response.body) as chunks:
            async for chunk in chunks:
                self._send(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunk else b"")
                await self._writable.wait()
        self._streaming = False
        self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        if self._transport is not None and data:
            self._transport.write(data)

    def _refuse(self, status: HTTPStatus) -> None:
        """Say what was wrong with the request, after the answers that are owed, and close."""
        self._broken = True
        if self._body is not None:
            self._body.fail(BodyError(400, "malformed request body"))
            self._body = None
            return
        text = f"{status.value} {status.phrase}".encode()
        if self._task is None:
            self._send(_head(HttpResponse(status.value, text), keep_alive=False, streamed=False) + text)
            self._close()

    def _on_consumed(self, count: int) -> None:
        self._regulate_reading()

    def _regulate_reading(self) -> None:
        """Read on only while there is room for what may come."""
        if self._transport is None or self._transport.is_closing():
            return
        full = len(self._waiting) >= PIPELINED_REQUESTS_MAX or (
            self._body is not None and self._body.waiting_bytes > BODY_WAITING_BYTES_MAX
        )
        if full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _await_request(self) -> None:
        """Give the client so long for its next request."""
        self._timer = self._clock.call_later(self._limits.first_bytes_seconds, self.abort)


def _head(response: HttpResponse, keep_alive: bool, streamed: bool) -> bytes:
    fields = [("Content-Type", response.content_type), *response.headers.items()]
    if streamed:
        fields.append(("Transfer-Encoding", "chunked"))
    else:
        fields.append(("Content-Length", str(len(response.body))))  # type: ignore[arg-type]  # not streamed: bytes
    if not keep_alive:
        fields.append(("Connection", "close"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {response.status} {_PHRASES.get(response.status, '')}\r\n{lines}\r\n".encode("latin-1")
