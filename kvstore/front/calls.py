"""One gRPC call each: from the data of its stream to its handler and back.

A call lives in the task that runs its handler. Three things end it early: the client resets the stream, its deadline
passes, the connection goes. Each cancels the task; only the deadline still has someone to tell.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from google.protobuf.message import DecodeError, Message

from kvstore.environment import Clock, TimerHandle
from kvstore.errors import EtcdError, StatusCode
from kvstore.front.connection import Connection
from kvstore.front.grpc import (
    FIELDS_OK,
    PREFIX_BYTES,
    TRAILERS_OK,
    MessageReader,
    frame_message,
    frame_messages,
    status_block,
    status_only_block,
)
from kvstore.front.service import CallContext, CallObserver, Kind, Method

__all__ = ["CALL_TYPES", "Call", "Driver", "StreamCall", "UnaryCall"]

logger = logging.getLogger(__name__)

_NO_MESSAGE = "cardinality violation: received no request message from non-client-streaming RPC"
_SEVERAL_MESSAGES = "cardinality violation: received multiple request messages for non-client-streaming RPC"


class Driver(Protocol):
    """What a call needs of the connection it came on."""

    connection: Connection
    loop: asyncio.AbstractEventLoop
    clock: Clock
    observer: CallObserver | None
    partial_bytes: int  # of all messages that have begun to arrive

    @property
    def crowded(self) -> bool:
        """Whether so much waits for the client that nothing should be added."""

    async def room(self) -> None:
        """Return when no longer crowded."""

    def schedule_flush(self) -> None:
        """Write what the connection has to send, once in this turn of the loop."""

    def call_over(self, stream_id: int) -> None:
        """Forget the call."""


class Call(ABC):
    """What unary and streaming calls have in common."""

    __slots__ = (
        "_headers_sent",
        "_over",
        "_partial_bytes",
        "_reader",
        "_request",
        "_started",
        "_task",
        "_timer",
        "context",
        "driver",
        "method",
        "request",
        "response",
        "stream_id",
    )

    def __init__(self, driver: Driver, stream_id: int, method: Method, context: CallContext) -> None:
        self.driver = driver
        self.stream_id = stream_id
        self.method = method
        self.context = context
        self._task: asyncio.Task[None] | None = None
        self._timer: TimerHandle | None = None
        self._reader: MessageReader | None = None
        self._partial_bytes = 0  # in the reader
        self.request: Message | None = None
        self.response: Message | None = None
        self._request: bytes | None = None  # of a unary call whose end has not been seen
        self._headers_sent = False
        self._over = False
        self._started = 0.0
        if driver.observer is not None:
            self._started = driver.clock.monotonic()
            driver.observer.call_started(method, context)

    def expire_in(self, seconds: float) -> None:
        """Give the call a deadline."""
        self._timer = self.driver.clock.call_later(seconds, self._expire)

    @abstractmethod
    def data(self, data: bytes, flow_bytes: int, end_stream: bool) -> None:
        """Data of the request."""

    def drained(self) -> None:  # noqa: B027  only streams care
        """What was sent so far has left."""

    def stop(self) -> None:  # noqa: B027  only streams care
        """The server stops: a call that will end by itself is left to do so."""

    def cancel(self) -> None:
        """The client is gone, or no longer interested."""
        if not self._over:
            self._finish(StatusCode.CANCELLED)
            self._cancel_task()

    def fail(self, error: EtcdError) -> None:
        """Answer with a status other than OK."""
        if self._over:
            return
        connection = self.driver.connection
        block = (status_block if self._headers_sent else status_only_block)(error.code, error.message)
        connection.send_end(self.stream_id, block)
        self.driver.schedule_flush()
        self._finish(error.code)

    def _expire(self) -> None:
        self.fail(EtcdError(StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded"))
        self._cancel_task()

    def _cancel_task(self) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _finish(self, code: StatusCode) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        driver = self.driver
        driver.call_over(self.stream_id)
        if self._partial_bytes:
            driver.partial_bytes -= self._partial_bytes
        if driver.observer is not None:
            driver.observer.call_finished(self.method, code, driver.clock.monotonic() - self._started, self)

    def _fail_with(self, error: BaseException) -> None:
        """Whatever the handler raised, as a status; what it did not mean to raise is logged, not told."""
        if isinstance(error, EtcdError):
            self.fail(error)
        elif isinstance(error, asyncio.CancelledError):
            self.fail(_server_stopped())
        else:
            logger.error("the handler of %s failed", self.method.path, exc_info=error)
            self.fail(EtcdError(StatusCode.INTERNAL, "internal error"))

    def _messages(self, data: bytes, end_stream: bool) -> list[bytes]:
        """The messages that `data` completes. Raises `EtcdError`."""
        if self._reader is None:
            self._reader = MessageReader(self.driver.connection.limits.receive_message_bytes_max)
        messages = self._reader.feed(data)
        if end_stream:
            self._reader.finish()
        driver, partial_bytes = self.driver, self._reader.partial_bytes
        driver.partial_bytes += partial_bytes - self._partial_bytes
        self._partial_bytes = partial_bytes
        if driver.partial_bytes > driver.connection.limits.partial_messages_bytes_max and partial_bytes:
            raise EtcdError(StatusCode.RESOURCE_EXHAUSTED, "too many messages that are not complete")
        return messages

    def _parse(self, message: bytes) -> Message:
        if self.driver.observer is not None:
            self.driver.observer.message_received(self.method, len(message))
        try:
            return self.method.request_type.FromString(message)
        except DecodeError as error:
            raise EtcdError(StatusCode.INTERNAL, f"grpc: error unmarshalling request: {error}") from None


class UnaryCall(Call):
    """One request, one response."""

    __slots__ = ()

    def data(self, data: bytes, flow_bytes: int, end_stream: bool) -> None:
        """See `Call.data`."""
        if self._over:
            return
        try:
            if (
                end_stream
                and self._reader is None
                and data[:1] == b"\x00"
                and int.from_bytes(data[1:PREFIX_BYTES], "big") == len(data) - PREFIX_BYTES
                and len(data) - PREFIX_BYTES <= self.driver.connection.limits.receive_message_bytes_max
            ):
                self._start(data[PREFIX_BYTES:])  # the whole request in one frame, as nearly all are
                return
            for message in self._messages(data, end_stream):
                if self._request is not None:
                    raise EtcdError(StatusCode.INTERNAL, _SEVERAL_MESSAGES)
                self._request = message
            if not end_stream:
                self.driver.connection.credit(self.stream_id, flow_bytes)
            elif self._request is None:
                raise EtcdError(StatusCode.INTERNAL, _NO_MESSAGE)
            else:
                self._start(self._request)
        except EtcdError as error:
            self.fail(error)

    def _start(self, message: bytes) -> None:
        request = self.request = self._parse(message)
        self._task = self.driver.loop.create_task(self._run(request))

    async def _run(self, request: Message) -> None:
        try:
            if self.driver.crowded:
                await self.driver.room()
            response = await self.method.handler(request, self.context)
            self.response = response
            payload = response.SerializeToString()
        except asyncio.CancelledError as error:
            self._fail_with(error)
            raise
        except Exception as error:
            self._fail_with(error)
        else:
            self._respond(payload)

    def _respond(self, payload: bytes) -> None:
        if self._over:
            return
        driver = self.driver
        if driver.observer is not None:
            driver.observer.message_sent(self.method, len(payload))
        driver.connection.send_response(self.stream_id, FIELDS_OK, frame_message(payload), TRAILERS_OK)
        driver.schedule_flush()
        self._finish(StatusCode.OK)


class StreamCall(Call):
    """A stream of responses, to one request or to a stream of them."""

    __slots__ = ("_queue", "_room", "_withheld_bytes")

    def __init__(self, driver: Driver, stream_id: int, method: Method, context: CallContext) -> None:
        super().__init__(driver, stream_id, method, context)
        self._queue = _RequestQueue(self)
        self._room: asyncio.Future[None] | None = None
        self._withheld_bytes = 0
        self._task = driver.loop.create_task(self._run())

    def data(self, data: bytes, flow_bytes: int, end_stream: bool) -> None:
        """See `Call.data`."""
        if self._over:
            return
        try:
            for message in self._messages(data, end_stream):
                self._queue.put(self._parse(message))
        except EtcdError as error:
            self.fail(error)
            self._cancel_task()
            return
        if end_stream:
            self._queue.end()
        elif self._queue.full:
            self._withheld_bytes += flow_bytes
        else:
            self.driver.connection.credit(self.stream_id, flow_bytes)

    def drained(self) -> None:
        """See `Call.drained`."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def stop(self) -> None:
        """See `Call.stop`: streams end when somebody ends them, so this is told to go elsewhere."""
        self.fail(_server_stopped())
        self._cancel_task()

    def taken(self) -> None:
        """The handler has taken a request out of the queue."""
        if self._withheld_bytes and not self._queue.full:
            self.driver.connection.credit(self.stream_id, self._withheld_bytes)
            self.driver.schedule_flush()
            self._withheld_bytes = 0

    async def _run(self) -> None:
        try:
            if self.driver.crowded:
                await self.driver.room()
            async with aclosing(await self._responses()) as responses:
                async for response in responses:
                    if type(response) is list:
                        await self._send(response)
                    else:
                        await self._send((response if type(response) is bytes else response.SerializeToString(),))
        except asyncio.CancelledError as error:
            self._fail_with(error)
            raise
        except Exception as error:
            self._fail_with(error)
        else:
            self._end()

    async def _responses(self) -> AsyncGenerator[Any, None]:
        handler = self.method.handler
        if self.method.kind is Kind.BIDI_STREAM:
            responses = handler(self._queue, self.context)
        else:
            request = await anext(self._queue, None)
            if request is None:
                raise EtcdError(StatusCode.INTERNAL, _NO_MESSAGE)
            if await anext(self._queue, None) is not None:
                raise EtcdError(StatusCode.INTERNAL, _SEVERAL_MESSAGES)
            responses = handler(request, self.context)
        return responses if hasattr(responses, "aclose") else _generator(responses)

    async def _send(self, messages: Sequence[bytes]) -> None:
        driver = self.driver
        connection = driver.connection
        if not self._headers_sent:
            self._headers_sent = True
            connection.send_headers(self.stream_id, FIELDS_OK)
        if driver.observer is not None:
            for message in messages:
                driver.observer.message_sent(self.method, len(message))
        backlog_bytes = connection.send_data(self.stream_id, frame_messages(messages))
        driver.schedule_flush()
        if backlog_bytes > connection.limits.stream_backlog_bytes:
            self._room = driver.loop.create_future()
            await self._room
            self._room = None
        if driver.crowded:
            await driver.room()

    def _end(self) -> None:
        if self._over:
            return
        if not self._headers_sent:
            self.driver.connection.send_headers(self.stream_id, FIELDS_OK)
        self.driver.connection.send_end(self.stream_id, TRAILERS_OK)
        self.driver.schedule_flush()
        self._finish(StatusCode.OK)


class _RequestQueue:
    """The requests of a stream, as the handler iterates them."""

    def __init__(self, call: StreamCall) -> None:
        self._call = call
        self._requests: deque[Message] = deque()
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        """Whether the client should be held up."""
        return len(self._requests) >= self._call.driver.connection.limits.queued_requests_max

    def put(self, request: Message) -> None:
        """One more has arrived."""
        self._requests.append(request)
        self._wake()

    def end(self) -> None:
        """The client has sent its last."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        while not self._requests:
            if self._ended:
                raise StopAsyncIteration
            self._waiter = self._call.driver.loop.create_future()
            await self._waiter
        request = self._requests.popleft()
        self._call.taken()
        return request


def _server_stopped() -> EtcdError:
    return EtcdError(StatusCode.UNAVAILABLE, "etcdserver: server stopped")


async def _generator(responses: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    async for response in responses:
        yield response


CALL_TYPES: dict[Kind, type[Call]] = {
    Kind.UNARY: UnaryCall,
    Kind.SERVER_STREAM: StreamCall,
    Kind.BIDI_STREAM: StreamCall,
}
