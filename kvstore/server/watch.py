"""The Watch service: many watchers on one stream.

`WatchSession` is the stream without its transport: requests go in, responses come out when asked for. The gRPC method
and the in-process client drive one each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import Event, WatchReply, encode_varint, event_wire
from kvstore.server import catalogue
from kvstore.server.context import CallContext, wants_leader
from kvstore.server.core import MemberCore

__all__ = ["WatchService", "WatchSession"]

# Fields of `WatchResponse`: the header, the watcher's id, whether more of the revision follows, events.
_HEADER_TAG = b"\x0a"
_WATCH_ID_TAG = b"\x10"
_FRAGMENT = b"\x38\x01"
_EVENTS_TAG = b"\x5a"

UNANSWERED_MAX = 1024
"""Answers to a client's requests that may wait for it before no more of its requests are read."""

# What refusals are called inside a text, by grpc-go.
_CODE_NAMES = {
    StatusCode.INVALID_ARGUMENT: "InvalidArgument",
    StatusCode.PERMISSION_DENIED: "PermissionDenied",
    StatusCode.UNAUTHENTICATED: "Unauthenticated",
}


class WatchSession:
    """One watch stream of one client.

    Args:
        wake: called whenever `take` may have something new.
        on_close: told when the client closes the stream.

    Attributes:
        answered: set by `take`.
    """

    def __init__(self, core: MemberCore, wake: Callable[[], None], on_close: Callable[[WatchSession], None]) -> None:
        self._on_close = on_close
        self._store = core.store
        self._headers = core.headers
        self._fragment_bytes = core.request_bytes_max
        self._wake = wake
        self._stream = core.hub.open(wake)
        self._metrics = core.metrics
        self._ended: EtcdError | None = None
        self._last_header: tuple[int, int, bytes] = (0, 0, b"")  # revision, term, and what they make
        self._last_event: tuple[Event | None, bool, bytes] = (None, False, b"")  # event, with previous value, and wire
        self.answered = asyncio.Event()

    @property
    def pending(self) -> bool:
        """Whether `take` has something to do."""
        return self._ended is not None or self._stream.pending

    def handle(self, request: pb.WatchRequest) -> None:
        """Do what the client asks; answers come by `take`. A request that asks nothing is ignored."""
        kind = request.WhichOneof("request_union")
        if kind == "create_request":
            self._create(request.create_request)
        elif kind == "cancel_request":
            self._stream.cancel(request.cancel_request.watch_id)
        elif kind == "progress_request":
            self._stream.request_progress()

    def refuse(self, reason: str) -> None:
        """Answer a create request with a watcher that is cancelled at once."""
        self._stream.refuse(reason)

    def _create(self, request: pb.WatchCreateRequest) -> None:
        if request.start_revision < 0:
            self._stream.refuse(catalogue.COMPACTED.text)
            return
        self._stream.create(
            request.key or b"\0",
            request.range_end,
            request.start_revision,
            watch_id=request.watch_id,
            no_put=pb.WatchCreateRequest.NOPUT in request.filters,
            no_delete=pb.WatchCreateRequest.NODELETE in request.filters,
            previous=request.prev_kv,
            progress_notify=request.progress_notify,
            fragment=request.fragment,
        )

    def take(self) -> list[pb.WatchResponse]:
        """The responses that are due, in order. A bounded amount; ask again while `pending`.

        Raises:
            EtcdError: the store has ended the stream.
        """
        return [pb.WatchResponse.FromString(wire) for wire in self.take_serialized()]

    def take_serialized(self) -> list[bytes]:
        """The same as `take`, for the wire: events are serialised once for all watchers, and only joined here."""
        if self._ended is not None:
            raise self._ended
        wires: list[bytes] = []
        for reply in self._stream.take():
            if reply.events:
                self._metrics.events_sent += len(reply.events)
                self._add_events(reply, wires)
            else:
                wires.append(self._response(reply).SerializeToString())
        self.answered.set()
        return wires

    @property
    def crowded(self) -> bool:
        """Whether the client asks more than it takes answers: no more requests should be handled until `answered`."""
        return self._stream.unanswered_count >= UNANSWERED_MAX

    def end(self, error: EtcdError) -> None:
        """End the stream from the store's side."""
        self._ended = error
        self._wake()

    def close(self) -> None:
        """End the stream from the client's side."""
        self._stream.close()
        self._on_close(self)

    def _add_events(self, reply: WatchReply, wires: list[bytes]) -> None:
        """One response, or several fragments; joined from parts, because there may be one for each of many watchers."""
        watch_id = reply.watch_id
        head = self._header_wire(reply.revision)
        if watch_id:
            head += _WATCH_ID_TAG + encode_varint(watch_id)
        if not reply.fragment:
            wires.append(head + self._events_wire(reply))
            return
        pieces = fragments(
            [event_wire(self._store, event, reply.previous) for event in reply.events], self._fragment_bytes
        )
        for piece in pieces[:-1]:
            wires.append(head + _FRAGMENT + _joined(piece))
        wires.append(head + _joined(pieces[-1]))

    def _header_wire(self, revision: int) -> bytes:
        term = self._headers.raft_term
        if self._last_header[:2] != (revision, term):
            header = pb.ResponseHeader()
            self._headers.fill(header, revision)
            wire = header.SerializeToString()
            self._last_header = revision, term, _HEADER_TAG + encode_varint(len(wire)) + wire
        return self._last_header[2]

    def _events_wire(self, reply: WatchReply) -> bytes:
        """All events of a reply; kept while replies have the same single event."""
        store, previous = self._store, reply.previous
        if len(reply.events) > 1:
            return _joined([event_wire(store, event, previous) for event in reply.events])
        event = reply.events[0]
        if self._last_event[0] is not event or self._last_event[1] != previous:
            self._last_event = event, previous, _joined((event_wire(store, event, previous),))
        return self._last_event[2]

    def _response(self, reply: WatchReply) -> pb.WatchResponse:
        response = pb.WatchResponse()
        self._headers.fill(response.header, reply.revision)
        response.watch_id = reply.watch_id
        if reply.created:
            response.created = True
        if reply.canceled:
            response.canceled = True
            response.cancel_reason = reply.cancel_reason
            response.compact_revision = reply.compact_revision
        return response


def fragments(wires: Sequence[bytes], limit_bytes: int) -> list[list[bytes]]:
    """Serialised events in runs below a size, or of one event each where that is larger by itself."""
    pieces: list[list[bytes]] = [[]]
    size_bytes = 0
    for wire in wires:
        if pieces[-1] and size_bytes + len(wire) >= limit_bytes:
            pieces.append([])
            size_bytes = 0
        pieces[-1].append(wire)
        size_bytes += len(wire)
    return pieces


def _joined(wires: Sequence[bytes]) -> bytes:
    parts: list[bytes] = []
    for wire in wires:
        parts += (_EVENTS_TAG, encode_varint(len(wire)), wire)
    return b"".join(parts)


class WatchService:
    """etcdserverpb.Watch."""

    def __init__(self, core: MemberCore) -> None:
        self._core = core
        self._sessions: dict[WatchSession, None] = {}

    def open(self, wake: Callable[[], None]) -> WatchSession:
        """A stream without transport, on which nobody is asked whether they may watch: for the process itself."""
        session = WatchSession(self._core, wake, lambda closed: self._sessions.pop(closed, None))
        self._sessions[session] = None
        return session

    def end_all(self, error: EtcdError) -> None:
        """End every stream, because the member stops."""
        for session in list(self._sessions):
            session.end(error)

    async def watch(self, requests: AsyncIterator[pb.WatchRequest], context: CallContext) -> AsyncIterator[list[bytes]]:
        """Watch.Watch, in runs of serialised responses.

        A client with nothing more to ask still gets what it asked for.
        """
        if wants_leader(context):
            self._core.require_leader()
            requests = self._core.leader_loss.bound(requests)
        woken = asyncio.Event()
        session = self.open(woken.set)
        reader = asyncio.get_running_loop().create_task(self._read(requests, session, context))
        reader.add_done_callback(lambda _: woken.set())
        try:
            while True:
                woken.clear()
                while session.pending:
                    if wires := session.take_serialized():
                        yield wires
                    if session.pending:  # reading history in batches must leave others their turn
                        await asyncio.sleep(0)
                if reader.done() and not reader.cancelled() and (error := reader.exception()) is not None:
                    raise error
                await woken.wait()
        finally:
            reader.cancel()
            session.close()

    async def _read(
        self, requests: AsyncIterator[pb.WatchRequest], session: WatchSession, context: CallContext
    ) -> None:
        auth = self._core.auth
        async for request in requests:
            refusal = None
            if auth.enabled and request.HasField("create_request") and request.create_request.start_revision >= 0:
                refusal = await self._refusal(request.create_request, context)
            if refusal is None:
                session.handle(request)
            else:
                session.refuse(f"rpc error: code = {_CODE_NAMES[refusal.code]} desc = {refusal.message}")
            while session.crowded:
                session.answered.clear()
                await session.answered.wait()

    async def _refusal(self, request: pb.WatchCreateRequest, context: CallContext) -> EtcdError | None:
        """Why the caller may not watch a range. Asked once: a watcher outlives the permission it was made with."""
        try:
            await self._core.access.require_read(context, request.key or b"\0", request.range_end)
        except EtcdError as error:
            return error
        return None
