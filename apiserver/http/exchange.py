"""One request and its answer on a connection, as an ASGI application sees them.

It does what uvicorn's `RequestResponseCycle` does, in fewer steps: the head of an answer waits for the first piece of
the body so that both leave in one write (one TLS record, one system call); nothing is allocated for what most requests
do not have (a body, a reader that waits).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apiserver.http.protocol import APIProtocol

__all__ = ["PAUSE_READING_BYTES", "ASGIApp", "Exchange"]

ASGIMessage = dict[str, Any]
ASGIApp = Callable[
    [dict[str, Any], Callable[[], Awaitable[ASGIMessage]], Callable[[ASGIMessage], Awaitable[None]]], Awaitable[None]
]

PAUSE_READING_BYTES = 64 * 1024
"""So much of a body is taken from the socket before somebody asks for it."""

_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode() for status in map(int, HTTPStatus)
}
_WITHOUT_BODY = frozenset({204, 304})
_LOG = logging.getLogger("apiserver.http")


class Exchange:
    """One request and its answer.

    Attributes:
        complete: the answer has been handed to the transport whole.
        body_complete: the request has been received whole.
        keep_alive: the connection serves another request afterwards.
    """

    __slots__ = (
        "_body",
        "_body_read",
        "_chunked",
        "_head",
        "_protocol",
        "_reader",
        "_remaining",
        "body_complete",
        "complete",
        "disconnected",
        "expects_continue",
        "keep_alive",
        "response_started",
        "scope",
    )

    def __init__(self, protocol: APIProtocol, scope: dict[str, Any], keep_alive: bool, expects_continue: bool) -> None:
        self._protocol = protocol
        self.scope = scope
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.disconnected = False
        self.complete = False
        self.response_started = False
        self.body_complete = False
        self._body: bytearray | bytes | None = None
        self._body_read = False
        self._reader: asyncio.Future[None] | None = None
        self._head: list[bytes] | None = None
        self._chunked = False
        self._remaining = 0

    # What the protocol tells

    def whole_body(self, data: bytes) -> None:
        """The request is here whole."""
        self._body = data
        self.body_complete = True

    def body_received(self, data: bytes) -> bool:
        """Take a piece of the body; True when reading should pause until it is asked for."""
        if self.complete:
            return False
        if self._body is None:
            self._body = bytearray()
        assert isinstance(self._body, bytearray)
        self._body += data
        self._wake()
        return len(self._body) > PAUSE_READING_BYTES

    def message_completed(self) -> None:
        """The whole request is here."""
        self.body_complete = True
        self._wake()

    def connection_lost(self) -> None:
        """The client has gone."""
        self.disconnected = True
        self._wake()

    def _wake(self) -> None:
        reader = self._reader
        if reader is not None:
            self._reader = None
            if not reader.done():
                reader.set_result(None)

    # What the application asks for

    async def run(self, app: ASGIApp) -> None:
        """Run the application; an answer it does not finish costs the connection."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._protocol.abort()
            raise
        except Exception:
            _LOG.exception("the application failed outside its own error handling")
            self._protocol.abort()
        else:
            if not self.complete and not self.disconnected:
                self._protocol.abort()

    async def receive(self) -> ASGIMessage:
        """ASGI `receive`: pieces of the body, then `http.disconnect` once the client has gone or been answered."""
        protocol = self._protocol
        if self.expects_continue:
            self.expects_continue = False
            protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.disconnected or self.complete):
            body, self._body = self._body, None
            if body is not None or (self.body_complete and not self._body_read):
                self._body_read = self.body_complete
                return {"type": "http.request", "body": bytes(body or b""), "more_body": not self.body_complete}
            protocol.flow.resume_reading()
            self._reader = protocol.loop.create_future()
            await self._reader
        return {"type": "http.disconnect"}

    async def send(self, message: ASGIMessage) -> None:
        """ASGI `send`."""
        flow = self._protocol.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.whole":
            self._send_whole(message["status"], message["headers"], message["body"])
        elif kind == "http.response.body":
            self._send_body(message.get("body", b""), message.get("more_body", False))
        else:
            self._start(message["status"], message["headers"])

    def _send_whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A whole answer in one write."""
        assert not self.response_started
        self.response_started = True
        protocol = self._protocol
        parts = self._head_lines(status, headers)
        if status in _WITHOUT_BODY:
            parts.append(b"\r\n")
        else:
            parts.append(b"content-length: %d\r\n\r\n" % len(body))
            if self.scope["method"] != "HEAD":
                parts.append(body)
        protocol.transport.write(b"".join(parts))
        self.complete = True
        if self._reader is not None:
            self._wake()
        protocol.exchange_completed(self)

    def _head_lines(self, status: int, headers: list[tuple[bytes, bytes]]) -> list[bytes]:
        """Everything before the empty line, except what says how long the body is."""
        self.expects_continue = False
        if not self.body_complete or self._protocol.closing:
            self.keep_alive = False
        lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode()]
        lines += [b"%b: %b\r\n" % header for header in headers]
        lines.append(self._protocol.date_header())
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        return lines

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of an answer that comes in pieces; it leaves with the first of them."""
        assert not self.response_started
        self.response_started = True
        length = next((value for name, value in headers if name == b"content-length"), None)
        framing = b""
        if status in _WITHOUT_BODY or self.scope["method"] == "HEAD":
            self._remaining = 0
        elif length is not None:
            self._remaining = int(length)
        elif self.scope["http_version"] == "1.1":
            self._chunked = True
            framing = b"transfer-encoding: chunked\r\n"
        else:  # HTTP/1.0: the end of the connection is the end of the body
            self.keep_alive = False
            self._remaining = -1
        self._head = [*self._head_lines(status, headers), framing, b"\r\n"]

    def _send_body(self, body: bytes, more: bool) -> None:
        assert self.response_started
        if self.complete:
            return
        pieces, self._head = self._head or [], None
        if self._chunked:
            if body:
                pieces += [b"%x\r\n" % len(body), body, b"\r\n"]
            if not more:
                pieces.append(b"0\r\n\r\n")
        elif body and self._remaining:
            if self._remaining > 0:
                assert len(body) <= self._remaining, "more body than Content-Length says"
                self._remaining -= len(body)
            pieces.append(body)
        if pieces:
            self._protocol.transport.write(b"".join(pieces) if len(pieces) > 1 else pieces[0])
        if not more:
            assert self._remaining <= 0, "less body than Content-Length says"
            self.complete = True
            self._wake()
            self._protocol.exchange_completed(self)
