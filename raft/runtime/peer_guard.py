"""Who may call on the peer port: one check in front of every method, our own and those that were added.

    another cluster's id           FAILED_PRECONDITION "cluster ID mismatch"
    no cluster id                  the same, but for methods that a joining member calls
    a removed member               PERMISSION_DENIED
    a certificate that won't do    PERMISSION_DENIED

Every refusal is counted; the log has one line for a caller and a reason until that caller is let in, or another reason
comes up: whoever is turned away tries again every second.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Hashable, Sequence
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

from raft.runtime.peer_channel import ACCEPTED, CLUSTER_KEY, REMOVED_REASON, SENDER_KEY
from raft.runtime.peer_stats import TransportStats
from raft.runtime.peer_tls import CertificateCheck

__all__ = ["GuardedHandlers", "MethodHandlers", "PeerGuard", "Streams", "sender_of"]

logger = logging.getLogger(__name__)

STREAMS_MAX: Final = 256
"""Streams of messages and snapshots that come in at once: three for each member, with room."""
CALLERS_MAX: Final = 256
"""Callers of whom it is remembered that their refusal was logged."""

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]


def sender_of(context: Context) -> int:
    """The id that the caller gives as its own; 0 when it gives none."""
    try:
        return int(str(dict(context.invocation_metadata() or ()).get(SENDER_KEY, "0")), 16)
    except ValueError:
        return 0


class PeerGuard:
    """Turns away who does not belong here, and counts."""

    def __init__(
        self,
        cluster_id: int,
        *,
        certificates: CertificateCheck | None,
        is_removed: Callable[[int], bool],
        open_methods: Collection[str],
        stats: TransportStats,
    ) -> None:
        self._cluster_id = f"{cluster_id:x}"
        self._certificates = certificates
        self._is_removed = is_removed
        self._open_methods = frozenset(open_methods)
        self._stats = stats
        self._logged: dict[tuple[int, str], str] = {}

    async def check(self, context: Context, method: str) -> None:
        """Abort the call unless the caller may make it."""
        cluster = dict(context.invocation_metadata() or ()).get(CLUSTER_KEY)
        if cluster != self._cluster_id and not (cluster is None and method in self._open_methods):
            await self.reject(context, grpc.StatusCode.FAILED_PRECONDITION, "cluster ID mismatch")
        if self._is_removed(sender_of(context)):
            await self.reject(context, grpc.StatusCode.PERMISSION_DENIED, REMOVED_REASON)
        refusal = None if self._certificates is None else await self._certificates.refusal(context)
        if refusal is not None:
            await self.reject(context, grpc.StatusCode.PERMISSION_DENIED, refusal)
        if self._logged:
            self._logged.pop(_caller(context), None)
        context.set_trailing_metadata(ACCEPTED)

    async def reject(self, context: Context, code: grpc.StatusCode, reason: str) -> None:
        """Abort a call, and count it."""
        self._stats.rejected += 1
        caller = _caller(context)
        if self._logged.get(caller) != reason:
            while len(self._logged) >= CALLERS_MAX:
                del self._logged[next(iter(self._logged))]
            self._logged[caller] = reason
            logger.warning("a call from member %x at %s is refused: %s", sender_of(context), context.peer(), reason)
        await context.abort(code, reason)


def _caller(context: Context) -> tuple[int, str]:
    """Who calls, whatever port from."""
    return sender_of(context), context.peer().rpartition(":")[0]


class MethodHandlers(grpc.GenericRpcHandler):
    """Methods by name; bytes in, bytes out."""

    def __init__(self, handlers: dict[str, Any]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """See `grpc.GenericRpcHandler.service`."""
        return self._handlers.get(handler_call_details.method)


class GuardedHandlers(grpc.GenericRpcHandler):
    """Other handlers, behind the guard. Their methods are coroutines or asynchronous generators."""

    def __init__(self, guard: PeerGuard, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._guard = guard
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """See `grpc.GenericRpcHandler.service`."""
        for handlers in self._handlers:
            handler: Any = handlers.service(handler_call_details)
            if handler is not None:
                return self._behind_guard(handler, handler_call_details.method)
        return None

    def _behind_guard(self, handler: Any, method: str) -> Any:
        shapes = (handler.request_streaming, handler.response_streaming)
        kind = "_".join("stream" if is_streaming else "unary" for is_streaming in shapes)
        inner = getattr(handler, kind)
        guard = self._guard

        async def call(request: Any, context: Context) -> Any:
            await guard.check(context, method)
            return await inner(request, context)

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            await guard.check(context, method)
            async for response in inner(request, context):
                yield response

        make = getattr(grpc, f"{kind}_rpc_method_handler")
        behaviour = stream if inspect.isasyncgenfunction(inner) else call
        return make(behaviour, handler.request_deserializer, handler.response_serializer)


class Streams:
    """Long calls that come in: one for each key, the newest, and only so many altogether."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    def end(self, keys: Collection[Hashable]) -> None:
        """End the calls that have one of these keys."""
        for key in keys:
            if (task := self._tasks.get(key)) is not None:
                task.cancel()

    async def run(self, key: Hashable, context: Context, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do `work` for a call, unless there are too many; it is cancelled when a newer call has the same key."""
        while (before := self._tasks.get(key)) is not None:
            before.cancel()
            await asyncio.wait([before])
            if self._tasks.get(key) is before:
                del self._tasks[key]
        if len(self._tasks) >= STREAMS_MAX:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many streams")
        task: asyncio.Task[T] = asyncio.get_running_loop().create_task(work())
        self._tasks[key] = task
        try:
            await asyncio.wait([task])
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            if self._tasks.get(key) is task:
                del self._tasks[key]
        if task.cancelled():
            await context.abort(grpc.StatusCode.ABORTED, "a newer stream takes the place of this one, or none may")
        return task.result()
