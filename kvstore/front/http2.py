"""HTTP/2 on asyncio: one `Connection`, its transport, and the calls that run on it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, cast
from urllib.parse import unquote

from kvstore.environment import Clock, TimerHandle
from kvstore.errors import EtcdError, StatusCode
from kvstore.front.calls import CALL_TYPES, Call
from kvstore.front.connection import Connection
from kvstore.front.events import (
    CallReceived,
    DataReceived,
    Event,
    RequestReceived,
    StreamDrained,
    StreamReset,
)
from kvstore.front.frames import ErrorCode
from kvstore.front.grpc import encode_field, parse_timeout, status_only_block
from kvstore.front.head import RequestHead
from kvstore.front.limits import FrontLimits
from kvstore.front.routes import Body, BodyError, HttpRequest, HttpResponse, Router
from kvstore.front.service import CallContext, CallObserver, MethodTable

__all__ = ["Http2Protocol", "peer_name"]

logger = logging.getLogger(__name__)


class _NoCall(EtcdError):
    """A request that is not what gRPC takes for a call; grpc-go says so in HTTP's terms too."""

    def __init__(self, http_status: int, message: str) -> None:
        super().__init__(StatusCode.INTERNAL, message)
        self.http_status = http_status


class Http2Protocol(asyncio.Protocol):
    """Requests of one HTTP/2 connection: gRPC to the method table, everything else to the router.

    `lost` is called once, when the connection is gone.
    """

    def __init__(
        self,
        methods: MethodTable,
        router: Router,
        limits: FrontLimits,
        clock: Clock,
        observer: CallObserver | None = None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.connection = Connection(limits)
        self.loop = asyncio.get_running_loop()
        self.clock = clock
        self.observer = observer
        self._methods = methods
        self._router = router
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self.partial_bytes = 0
        self._calls: dict[int, Call | _HttpCall] = {}
        self._waiting_for_room: deque[asyncio.Future[None]] = deque()
        self._flush_scheduled = False
        self._peer = ""
        self._peer_certificate: Mapping[str, Any] | None = None
        self._secure = False
        self._heard = True
        self._keepalive: TimerHandle | None = None
        self._await_silence()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)
        self._peer = peer_name(transport)
        self._secure = transport.get_extra_info("ssl_object") is not None
        self._peer_certificate = transport.get_extra_info("peercert") or None
        self._flush()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._heard = True
        self._handle(self.connection.receive(data, self.clock.monotonic()))
        self._flush()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`. A client that does not read is not read from either, so nothing piles up for it."""
        self.connection.pause()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._handle(self.connection.resume())
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        self.schedule_flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        if self._keepalive is not None:
            self._keepalive.cancel()
        self._cancel_all()
        self._lost()

    # What calls and the server call.

    def schedule_flush(self) -> None:
        """See `Driver.schedule_flush`: responses of one turn of the loop leave in one write."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self.loop.call_soon(self._flush)

    @property
    def crowded(self) -> bool:
        """See `Driver.crowded`."""
        return self.connection.backlog_bytes > self.connection.limits.connection_backlog_bytes

    async def room(self) -> None:
        """See `Driver.room`. One at a time is let go on: it may fill the place again."""
        while self.crowded:
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiting_for_room.append(waiter)
            await waiter
        self.schedule_flush()

    def call_over(self, stream_id: int) -> None:
        """See `Driver.call_over`."""
        self._calls.pop(stream_id, None)

    def drain(self) -> None:
        """Take no new requests, end the streams, and close when the rest is answered."""
        self.connection.drain()
        for call in list(self._calls.values()):
            call.stop()
        self._flush()

    def abort(self) -> None:
        """Close now, whatever is still unsent."""
        self._cancel_all()
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        self._flush_scheduled = False
        transport = self._transport
        if transport is None:
            return
        output = self.connection.take_output()
        if output:
            transport.write(output)
            if self.connection.has_more_output:
                self._handle(self.connection.proceed())
                self.schedule_flush()
        if self._waiting_for_room and not self.crowded:
            self._let_one_go_on()
        if self.connection.ended or self.connection.drained:
            transport.close()

    def _let_one_go_on(self) -> None:
        waiting = self._waiting_for_room
        while waiting:
            waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, CallReceived):
                call = self._begin(event.stream_id, event.head, event.timeout)
                if call is not None:
                    call.data(event.data, 0, True)
            elif isinstance(event, DataReceived):
                call = self._calls.get(event.stream_id)
                if call is not None:
                    call.data(event.data, event.flow_bytes, event.end_stream)
                else:
                    self.connection.credit(event.stream_id, event.flow_bytes)
            elif isinstance(event, RequestReceived):
                call = self._begin(event.stream_id, event.head, event.timeout)
                if call is not None and event.end_stream:
                    call.data(b"", 0, True)
            elif isinstance(event, StreamReset):
                call = self._calls.get(event.stream_id)
                if call is not None:
                    call.cancel()
            elif isinstance(event, StreamDrained):
                call = self._calls.get(event.stream_id)
                if call is not None:
                    call.drained()
            else:
                self._cancel_all()

    def _begin(self, stream_id: int, head: RequestHead, timeout: bytes | None) -> Call | _HttpCall | None:
        """What answers a new request; None when it is answered already."""
        call: Call | _HttpCall
        if head.is_grpc:
            try:
                call = self._open(stream_id, head, timeout)
            except _NoCall as error:
                self.connection.send_end(stream_id, status_only_block(error.code, error.message, error.http_status))
                return None
            except EtcdError as error:
                self.connection.send_end(stream_id, status_only_block(error.code, error.message))
                return None
        else:
            call = _HttpCall(self, stream_id, head, self._router, self._peer, self._peer_certificate, self._secure)
        self._calls[stream_id] = call
        return call

    def _open(self, stream_id: int, head: RequestHead, timeout: bytes | None) -> Call:
        """Begin a gRPC call. Raises `EtcdError` when it is refused at the door."""
        method = self._methods.get(head.path)
        if head.method != "POST":
            raise _NoCall(
                405,
                f'http2Server.operateHeaders parsed a :method field "{head.method}" which should be POST',
            )
        if method is None:
            raise self._methods.unknown(head.path)
        if head.encoding != "identity":
            raise EtcdError(
                StatusCode.UNIMPLEMENTED, f'grpc: Decompressor is not installed for grpc-encoding "{head.encoding}"'
            )
        context = CallContext(head.metadata, self._peer, self._peer_certificate)
        if timeout is None:
            return CALL_TYPES[method.kind](self, stream_id, method, context)
        try:
            seconds = parse_timeout(timeout)
        except EtcdError as error:
            raise _NoCall(400, error.message) from None
        context.deadline = self.clock.monotonic() + seconds
        call = CALL_TYPES[method.kind](self, stream_id, method, context)
        call.expire_in(seconds)
        return call

    def _cancel_all(self) -> None:
        for call in list(self._calls.values()):
            call.cancel()
        self._calls.clear()

    # Keepalive: a peer that has been silent for long is asked, and given up when it stays silent.

    def _await_silence(self) -> None:
        self._keepalive = self.clock.call_later(self.connection.limits.ping_interval_seconds, self._on_interval)

    def _on_interval(self) -> None:
        if self._heard:
            self._heard = False
            self._await_silence()
            return
        self.connection.ping()
        self._flush()
        self._keepalive = self.clock.call_later(self.connection.limits.ping_timeout_seconds, self._on_no_answer)

    def _on_no_answer(self) -> None:
        if self._heard:
            self._await_silence()
        elif self._transport is not None:
            self._transport.abort()


class _HttpCall:
    """A request that is not gRPC, on a stream of its own: what curl sends to an https port."""

    def __init__(
        self,
        driver: Http2Protocol,
        stream_id: int,
        head: RequestHead,
        router: Router,
        peer: str,
        peer_certificate: Mapping[str, Any] | None,
        secure: bool,
    ) -> None:
        self._driver = driver
        self._stream_id = stream_id
        self._body = Body(driver.connection.limits.http1_body_bytes_max, self._consumed)
        self._room: asyncio.Future[None] | None = None
        self._streaming = False
        path, _, query = head.path.decode(errors="replace").partition("?")
        request = HttpRequest(
            head.method,
            unquote(path),
            query,
            {"host": head.authority, **head.metadata},
            self._body,
            peer,
            peer_certificate,
            secure,
        )
        self._task = driver.loop.create_task(self._run(router, request))

    def data(self, data: bytes, flow_bytes: int, end_stream: bool) -> None:
        """Data of the request's body."""
        self._body.feed(data)
        if end_stream:
            self._body.finish()

    def drained(self) -> None:
        """What was sent so far has left."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def stop(self) -> None:
        """The server stops: a response that may go on for ever does not."""
        if self._streaming:
            self._driver.connection.reset(self._stream_id, ErrorCode.CANCEL)
            self.cancel()

    def cancel(self) -> None:
        """The client is gone."""
        self._body.fail(BodyError(400, "the request was broken off"))
        self._driver.call_over(self._stream_id)
        self._task.cancel()

    def _consumed(self, count: int) -> None:
        self._driver.connection.credit(self._stream_id, count)
        self._driver.schedule_flush()

    async def _run(self, router: Router, request: HttpRequest) -> None:
        if self._driver.crowded:
            await self._driver.room()
        response = await router.handle(request)
        connection = self._driver.connection
        connection.send_headers(self._stream_id, _response_fields(response))
        try:
            if request.method != "HEAD":
                await self._send_body(response.body)
            connection.send_end(self._stream_id)
        except Exception:  # the headers are out: all that is left is to break off
            logger.exception("the response of %s broke off", request.path)
            connection.reset(self._stream_id, ErrorCode.INTERNAL_ERROR)
        self._driver.schedule_flush()
        self._driver.call_over(self._stream_id)

    async def _send_body(self, body: bytes | AsyncGenerator[bytes, None]) -> None:
        connection = self._driver.connection
        if isinstance(body, bytes):
            connection.send_data(self._stream_id, body)
            return
        self._streaming = True
        async with aclosing(body):
            async for chunk in body:
                backlog_bytes = connection.send_data(self._stream_id, chunk)
                self._driver.schedule_flush()
                if backlog_bytes > connection.limits.stream_backlog_bytes:
                    self._room = self._driver.loop.create_future()
                    await self._room


def _response_fields(response: HttpResponse) -> bytes:
    fields = [(":status", str(response.status)), ("content-type", response.content_type)]
    if isinstance(response.body, bytes):
        fields.append(("content-length", str(len(response.body))))
    fields.extend((name.lower(), value) for name, value in response.headers.items())
    return b"".join(encode_field(name.encode(), value.encode()) for name, value in fields)


def peer_name(transport: asyncio.BaseTransport) -> str:
    """`host:port` of the other side, the socket's path, or nothing."""
    address = transport.get_extra_info("peername")
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return address if isinstance(address, str) else ""
