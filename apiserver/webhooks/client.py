"""POSTs of JSON to one service over HTTP/1.1, on connections that are kept for the next call."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import httptools
import orjson

from apiserver.webhooks.connection import Connection

__all__ = ["WebhookClient", "WebhookError"]

RESPONSE_BYTES_MAX: Final = 1024 * 1024
IDLE_CONNECTIONS_MAX: Final = 8


class WebhookError(Exception):
    """A call failed.

    Attributes:
        status: of the answer; 0 when there was none.
        transient: whether trying again may help.
        timed_out: whether the answer, or its sender's own sources, took too long.
    """

    def __init__(self, message: str, status: int = 0, *, transient: bool = False, timed_out: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.transient = transient
        self.timed_out = timed_out or status == 504


class _Answer:
    """Gathers one response (httptools' callbacks)."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.done = False
        self.keep = False
        self.retry_after = False
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self.retry_after = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.done = True
        self.keep = self.parser.should_keep_alive()


_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class WebhookClient:
    """Calls one service; several calls may be under way, each on a connection of its own."""

    def __init__(self, connection: Connection, timeout_seconds: float = 30.0) -> None:
        self._connection = connection
        self._timeout_seconds = timeout_seconds
        self._idle: list[_Streams] = []

    async def close(self) -> None:
        """Close what is kept."""
        idle, self._idle = self._idle, []
        for _, writer in idle:
            await _close(writer)

    async def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send an object and return the one that comes back.

        Raises:
            WebhookError: no connection, no answer in time, a status other than 2xx, or no JSON object.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status, answer, retry = await self._exchange(orjson.dumps(body))
        except TimeoutError as error:
            raise WebhookError(f"no answer within {self._timeout_seconds:g} s", timed_out=True) from error
        if not 200 <= status < 300:
            transient = retry or status in (429, 500, 504)
            raise WebhookError(f"the answer has the status {status}", status, transient=transient)
        try:
            result = orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise WebhookError("the answer is not JSON", status) from error
        if not isinstance(result, dict):
            raise WebhookError("the answer is not an object", status)
        return result

    async def _exchange(self, body: bytes) -> tuple[int, bytes, bool]:
        while self._idle:  # a kept connection may have been closed by the other side meanwhile
            streams = self._idle.pop()
            try:
                return await self._on(streams, body)
            except WebhookError as error:
                if error.status or not error.transient:
                    raise
        where = self._connection
        try:
            streams = await asyncio.open_connection(
                where.host, where.port, ssl=where.tls, server_hostname=where.server_name if where.tls else None
            )
        except OSError as error:
            reset = isinstance(error, ConnectionResetError)
            raise WebhookError(f"cannot connect to {where.host}:{where.port}: {error}", transient=reset) from error
        return await self._on(streams, body)

    async def _on(self, streams: _Streams, body: bytes) -> tuple[int, bytes, bool]:
        reader, writer = streams
        answer = _Answer()
        kept = False
        try:
            writer.write(self._head(len(body)) + body)
            await writer.drain()
            while not answer.done:
                data = await reader.read(65536)
                if not data:
                    raise WebhookError("the connection was closed before the answer was complete", transient=True)
                answer.parser.feed_data(data)
                if len(answer.body) > RESPONSE_BYTES_MAX:
                    raise WebhookError(f"the answer is larger than {RESPONSE_BYTES_MAX} bytes")
            kept = answer.keep and len(self._idle) < IDLE_CONNECTIONS_MAX
            return answer.parser.get_status_code(), bytes(answer.body), answer.retry_after
        except httptools.HttpParserError as error:
            raise WebhookError("the answer is not HTTP") from error
        except OSError as error:
            raise WebhookError(f"the connection broke: {error}", transient=True) from error
        finally:
            if kept:
                self._idle.append(streams)
            else:
                writer.close()

    def _head(self, length: int) -> bytes:
        where = self._connection
        host = f"[{where.host}]" if ":" in where.host else where.host
        lines = [
            f"POST {where.path} HTTP/1.1",
            f"Host: {host}:{where.port}",
            "Content-Type: application/json",
            "Accept: application/json",
            f"Content-Length: {length}",
            *(f"{name}: {value}" for name, value in where.headers),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
