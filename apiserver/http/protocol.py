"""The connection: uvicorn's httptools protocol, with the client certificate kept and the common case made short.

What differs from the base class: headers and idle connections have limits; timers are swept by the server instead of
being armed and cancelled for every request; a request whose headers have been seen before skips the parser (`heads`);
answers are written by `Exchange`. The ASGI scope has three extensions:

* `client_certificate`: the peer certificate (DER) or None;
* `headers`: the headers as a dict of text;
* `http.response.whole`: the application may answer with one message of that type, which is a `http.response.start`
  with a `body` in it.

Limits follow kube-apiserver's use of Go's `net/http` (`server/secure_serving.go`): 1 MiB of headers, 32 s to send
them, 90 s idle.
"""

from __future__ import annotations

import asyncio
from collections import deque
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from apiserver.http.exchange import ASGIApp, Exchange
from apiserver.http.heads import KnownHeads, header_map
from kvstore.environment import Clock

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

__all__ = ["APIProtocol", "ConnectionLimits"]

_NEVER = float("inf")


class ConnectionLimits:
    """What one connection may cost.

    Attributes:
        header_bytes: request line and headers together.
        header_seconds: from the first byte of a request to the end of its headers.
        idle_seconds: between requests.
        linger_seconds: how long the rest of an unread body is thrown away after the answer.
        pipelined_requests: how many requests may wait behind the one being answered.
    """

    header_bytes = 1 << 20
    header_seconds = 32.0
    idle_seconds = 90.0
    linger_seconds = 5.0
    pipelined_requests = 64


class _DateHeader:
    """The `Date` header of the current second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = -1
        self._header = b""

    def __call__(self) -> bytes:
        second = int(self._clock.now())
        if second != self._second:
            self._second = second
            self._header = f"date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._header


class APIProtocol(HttpToolsProtocol):
    """One connection.

    Attributes:
        deadline: `clock.monotonic()` when the connection has waited too long in its present phase.
        closing: the server is draining; every answer closes its connection.
    """

    limits = ConnectionLimits

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.clock: Clock = app_state["clock"]
        self.date_header: _DateHeader = app_state.setdefault("date_header", _DateHeader(self.clock))
        self.closing = False
        self.deadline = _NEVER
        self._application = cast(ASGIApp, config.loaded_app)
        self._known: KnownHeads = app_state.setdefault("known_heads", KnownHeads())
        self._scope_template: dict[str, Any] = {}
        # The exchanges, and the task that serves them one after the other.
        self._waiting: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._worker: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._ended = False
        # The request being parsed.
        self._receiving: Exchange | None = None
        self._in_message = False
        self._block = b""
        self._url = b""
        self._header_list: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._expects_continue = False

    # Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        """Keep the client certificate."""
        super().connection_made(transport)
        ssl_object = transport.get_extra_info("ssl_object")
        certificate = ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None
        self._scope_template = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "extensions": {"client_certificate": certificate, "headers": {}, "http.response.whole": {}},
        }
        self.deadline = self.clock.monotonic() + self.limits.idle_seconds

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the exchanges."""
        self.connections.discard(self)
        self.deadline = _NEVER
        self.flow.resume_writing()
        for exchange in (self._current, self._receiving, *self._waiting):
            if exchange is not None:
                exchange.connection_lost()
        self._waiting.clear()
        self._end()

    def _close(self) -> None:
        """Close the transport, which flushes first, and let the worker go."""
        self.transport.close()
        self._end()

    def _end(self) -> None:
        self._ended = True
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def abort(self) -> None:
        """Close at once: an answer could not be finished, and the client must not take it for whole."""
        if not self.transport.is_closing():
            self.transport.abort()
        self._end()

    def shutdown(self) -> None:
        """The server is draining: close now if idle, else after the current answer."""
        self.closing = True
        if self._current is None:
            self._close()

    def expire(self, now: float) -> None:
        """Close a connection that has waited too long (called by the server's sweep)."""
        if self.deadline <= now and not self.transport.is_closing():
            self._close()

    # Parsing

    def data_received(self, data: bytes) -> None:
        """Take a request as known, or feed the parser."""
        if not self._in_message and self._current is None:
            known = self._known.match(data)
            if known is not None:
                method, target, head, body = known
                exchange = Exchange(self, self._scope(method, target, head.headers, head.map), True, False)
                exchange.whole_body(body)
                self.deadline = _NEVER
                self._begin(exchange)
                return
            self._block = KnownHeads.block_of(data)
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # No protocol to upgrade to: the request is answered as it stands and the connection ends with it.
            self._in_message = True
            for exchange in (self._current, *self._waiting):
                if exchange is not None:
                    exchange.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(400, "Bad Request")

    def _refuse(self, status: int, text: str) -> None:
        """Answer what cannot be parsed, in the words of Go's net/http, and close."""
        if self.transport.is_closing():
            return
        if self._current is None:
            body = f"{status} {text}".encode()
            head = b"HTTP/1.1 %b\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n" % body
            self.transport.write(head + body)
        self._close()

    def on_message_begin(self) -> None:
        """Parser callback."""
        self._in_message = True
        self._url = b""
        self._header_list = []
        self._header_bytes = 0
        self._expects_continue = False
        if self._current is None:
            self.deadline = self.clock.monotonic() + self.limits.header_seconds

    def on_url(self, url: bytes) -> None:
        """Parser callback; long URLs come in pieces."""
        self._url += url
        self._count_header_bytes(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser callback."""
        name = name.lower()
        self._header_list.append((name, value))
        self._count_header_bytes(len(name) + len(value) + 4)
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects_continue = True

    def _count_header_bytes(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > self.limits.header_bytes:
            self._refuse(431, "Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        """Parser callback: start the exchange, or queue it behind the one being answered."""
        if self.transport.is_closing():
            return
        self.deadline = _NEVER
        parser = self.parser
        version = parser.get_http_version()
        url = self._url
        if not url.startswith(b"/"):  # absolute form (RFC 9112, 3.2.2), or `*`
            parsed = httptools.parse_url(url)
            url = parsed.path or b"/"
            url = url + b"?" + parsed.query if parsed.query else url
        mapped = header_map(self._header_list)
        scope = self._scope(parser.get_method().decode("latin-1"), url, self._header_list, mapped)
        scope["http_version"] = version
        keep_alive = version == "1.1" and parser.should_keep_alive() and not parser.should_upgrade()
        if keep_alive:
            self._known.add(self._block, self._header_list, mapped)
        self._block = b""
        exchange = Exchange(self, scope, keep_alive, self._expects_continue)
        self._receiving = exchange
        if self._current is None:
            self._begin(exchange)
        elif len(self._waiting) < self.limits.pipelined_requests:
            self.flow.pause_reading()
            self._waiting.append(exchange)
        else:
            self.abort()

    def _scope(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], mapped: dict[str, str]
    ) -> dict[str, Any]:
        raw_path, _, query = target.partition(b"?")
        path = raw_path.decode("latin-1")
        scope = self._scope_template.copy()
        scope["method"] = method
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = query
        scope["headers"] = headers
        scope["extensions"] = {**scope["extensions"], "headers": mapped}
        return scope

    def on_body(self, body: bytes) -> None:
        """Parser callback."""
        if self._receiving is not None and self._receiving.body_received(body):
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """Parser callback."""
        self._in_message = False
        exchange, self._receiving = self._receiving, None
        if exchange is not None:
            exchange.message_completed()
            if exchange.complete and not exchange.keep_alive:  # what was left of its body has been thrown away
                self._close()

    # Exchanges

    def _begin(self, exchange: Exchange) -> None:
        """Hand an exchange to the worker."""
        self._current = exchange
        idle = self._idle
        if idle is not None:
            self._idle = None
            if not idle.done():
                idle.set_result(None)
        elif self._worker is None:
            self._worker = self.loop.create_task(self._serve())
            self.tasks.add(self._worker)
            self._worker.add_done_callback(self.tasks.discard)

    async def _serve(self) -> None:
        """Serve the exchanges of the connection one after the other: one task for all of them, since making a task
        costs more than waking one."""
        while not self._ended:
            exchange = self._current
            if exchange is None or exchange.complete:
                self._idle = self.loop.create_future()
                await self._idle
                continue
            await exchange.run(self._application)

    def exchange_completed(self, exchange: Exchange) -> None:
        """The answer is written: go on with the next request, wait for one, or close."""
        self._current = None
        if self.transport.is_closing():
            return
        if not exchange.keep_alive:
            if exchange.body_complete:
                self._close()
            else:  # closing with unread bytes would reset the connection before the client has read the answer
                self.deadline = self.clock.monotonic() + self.limits.linger_seconds
                self.flow.resume_reading()
            return
        if self._waiting:
            self._begin(self._waiting.popleft())
            return
        self.flow.resume_reading()
        self.deadline = self.clock.monotonic() + self.limits.idle_seconds
