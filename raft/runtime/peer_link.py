"""The sending half of the gRPC transport: one link to each peer, with a lane for each kind of traffic.

    heartbeats   heartbeats, votes, reads: small, and late ones cost elections
    appends      entries and their acknowledgements, proposals
    snapshots    one at a time, a stream for each try (`peer_snapshot`)

Lanes have connections of their own, so that a large append does not hold up a heartbeat behind it. A lane connects as
soon as there is one, and again, after a wait with jitter, whenever it breaks, each time by the peer's next URL. What
waits in it meanwhile is bounded, and dropped when a connection fails: Raft repeats what matters.

The heartbeats' connection also carries a ping every few seconds. Its answers give the round trip time; none, and the
connection is taken for dead. The peer counts as connected while this lane is.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import grpc
import grpc.aio

from raft.core import Message, MessageType
from raft.environment import Environment
from raft.runtime.peer_channel import (
    ACCEPTED,
    LANE_KEY,
    MESSAGES_METHOD,
    PING_METHOD,
    REMOVED_REASON,
    TO_KEY,
    URLS_KEY,
    Connector,
    Metadata,
    is_being_cancelled,
)
from raft.runtime.peer_snapshot import SnapshotBodies, SnapshotSender
from raft.runtime.peer_stats import TransportStats
from raft.runtime.peer_url import PeerURL
from raft.runtime.transport import Receiver
from raft.wire import fill_message_pb
from raft.wire import peer_pb2 as pb

__all__ = ["LinkContext", "PeerLink"]

logger = logging.getLogger(__name__)

LANE_MESSAGES_MAX: Final = 4096
"""Messages waiting in one lane; more are dropped, and Raft repeats what matters."""
LANE_BYTES_MAX: Final = 64 << 20
ENVELOPE_BYTES_MAX: Final = 1 << 20
ENVELOPE_MESSAGES_MAX: Final = 256
"""An envelope is made, and read, in one turn of the event loop: neither side should miss a heartbeat over one."""
CONNECT_SECONDS: Final = 5.0
RECONNECT_SECONDS_MIN: Final = 0.02
RECONNECT_SECONDS_MAX: Final = 1.0
PING_SECONDS: Final = 4.0
PING_TIMEOUT_SECONDS: Final = 5.0

_APPENDS = frozenset({MessageType.APP, MessageType.APP_RESP, MessageType.PROP})


@dataclass(frozen=True, slots=True)
class LinkContext:
    """What all links of a member share."""

    environment: Environment
    receiver: Receiver
    metadata: Metadata
    connector: Connector
    bodies: SnapshotBodies | None
    stats: TransportStats
    on_round_trip: Callable[[int, float], None] | None
    on_removed: Callable[[], None]
    own_urls: str


class Lane:
    """A stream of envelopes to one peer, connected as long as it can be."""

    def __init__(self, context: LinkContext, peer_id: int, urls: Sequence[PeerURL], name: str) -> None:
        self._context = context
        self._peer_id = peer_id
        self._urls = urls
        self._name = name
        own = ((URLS_KEY, context.own_urls),) if context.own_urls else ()
        self._metadata = (*context.metadata, (TO_KEY, f"{peer_id:x}"), (LANE_KEY, name), *own)
        self._stats = context.stats.of(peer_id)
        self._queue: deque[tuple[Message, int]] = deque()
        self._queue_bytes = 0
        self._filled = asyncio.Event()  # there is something to send, or the stream has ended
        self._connected_since: float | None = None
        self._reason = ""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def send(self, message: Message) -> bool:
        """Queue a message; False when the lane is full."""
        size = sum([len(entry.data) for entry in message.entries]) if message.entries else 0
        if len(self._queue) >= LANE_MESSAGES_MAX or self._queue_bytes + size > LANE_BYTES_MAX:
            self._stats.send_failures += 1
            return False
        self._queue.append((message, size))
        self._queue_bytes += size
        self._filled.set()
        return True

    async def stop(self) -> None:
        """Drop what waits and disconnect."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._name == "heartbeats":
            self._stats.connected_since = None

    async def _run(self) -> None:
        environment, delay, tries = self._context.environment, RECONNECT_SECONDS_MIN, 0
        while True:
            url = self._urls[tries % len(self._urls)]
            reason = await self._connect_and_send(url)
            since = self._connected_since
            if since is not None and environment.clock.monotonic() - since > RECONNECT_SECONDS_MAX:
                delay = RECONNECT_SECONDS_MIN  # not when a peer lets us in only to throw us out
            self._disconnected(url, reason)
            tries += 1
            # Jitter: after a member's restart its peers should not all come at the same moment.
            await environment.clock.sleep(environment.randomness.uniform(delay / 2, delay))
            delay = min(2 * delay, RECONNECT_SECONDS_MAX)

    async def _connect_and_send(self, url: PeerURL) -> str:
        """Stay connected as long as possible; returns why that was not longer."""
        try:
            channel = await self._context.connector.open(url)
        except (OSError, ValueError) as error:
            return str(error)
        pings: asyncio.Task[None] | None = None
        try:
            multicallable: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(MESSAGES_METHOD)
            call = multicallable(metadata=self._metadata)
            async with asyncio.timeout(CONNECT_SECONDS):
                answer = await call.initial_metadata()
                if ACCEPTED[0] not in tuple(answer):
                    code, details = await call.code(), await call.details()
                    if (code, details) == (grpc.StatusCode.PERMISSION_DENIED, REMOVED_REASON):
                        self._context.on_removed()
                    return f"{code.name}: {details}"
            self._connected()
            call.add_done_callback(lambda _: self._filled.set())
            if self._name == "heartbeats":
                pings = asyncio.get_running_loop().create_task(self._ping(channel, call))
            while not call.done():
                if self._queue:
                    await call.write(self._next_envelope())
                else:
                    self._filled.clear()
                    await self._filled.wait()
            return await _status(call)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        except TimeoutError:
            return "no connection in time"
        except (grpc.aio.UsageError, asyncio.InvalidStateError):
            return await _status(call)
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            return "no answer to a ping"  # gRPC says so when `_ping` has given the stream up
        except Exception as error:  # a message that cannot be written, say; the lane goes on without it
            logger.exception("the connection to member %x is begun again", self._peer_id)
            return repr(error)
        finally:
            if pings is not None:
                pings.cancel()
                await asyncio.gather(pings, return_exceptions=True)
            await channel.close()

    async def _ping(self, channel: grpc.aio.Channel, call: grpc.aio.StreamUnaryCall[bytes, bytes]) -> None:
        context = self._context
        clock = context.environment.clock
        ping: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PING_METHOD)
        try:
            while True:
                start = clock.monotonic()
                await ping(b"", timeout=PING_TIMEOUT_SECONDS, metadata=context.metadata)
                self._stats.round_trip_seconds = elapsed = clock.monotonic() - start
                if context.on_round_trip is not None:
                    context.on_round_trip(self._peer_id, elapsed)
                await clock.sleep(PING_SECONDS)
        except grpc.aio.AioRpcError:
            call.cancel()  # a connection over which nothing comes back

    def _connected(self) -> None:
        self._connected_since = self._context.environment.clock.monotonic()
        self._reason = ""
        if self._name == "heartbeats":
            self._stats.connected_since = self._connected_since
            logger.info("connected to member %x", self._peer_id)

    def _disconnected(self, url: PeerURL, reason: str) -> None:
        was_connected, self._connected_since = self._connected_since is not None, None
        if self._name == "heartbeats":
            self._stats.connected_since = None
            self._stats.disconnects += was_connected
            if reason != self._reason:  # once, and not at every try
                logger.warning("no connection to member %x at %s: %s", self._peer_id, url.text, reason)
                self._reason = reason
        lost = len(self._queue)
        self._queue.clear()
        self._queue_bytes = 0
        self._filled.clear()
        self._stats.send_failures += lost + was_connected
        if lost or was_connected:
            self._context.receiver.report_unreachable(self._peer_id)

    def _next_envelope(self) -> bytes:
        queue = self._queue
        envelope = pb.Envelope()
        add = envelope.messages.add
        message, size = queue.popleft()
        fill_message_pb(add(), message)
        count = 1
        while queue and count < ENVELOPE_MESSAGES_MAX and size + queue[0][1] <= ENVELOPE_BYTES_MAX:
            message, message_size = queue.popleft()
            fill_message_pb(add(), message)
            size += message_size
            count += 1
        self._queue_bytes -= size
        data = envelope.SerializeToString()
        self._stats.sent_messages += count
        self._stats.sent_bytes += len(data)
        return data


async def _status(call: grpc.aio.StreamUnaryCall[bytes, bytes]) -> str:
    if not call.done():
        return "the stream broke"
    return f"{(await call.code()).name}: {await call.details()}"


class PeerLink:
    """Everything that goes to one peer."""

    def __init__(self, context: LinkContext, peer_id: int, urls: Sequence[PeerURL]) -> None:
        self._context = context
        self._peer_id = peer_id
        self.urls = tuple(urls)
        self._heartbeats = Lane(context, peer_id, self.urls, "heartbeats")
        self._appends = Lane(context, peer_id, self.urls, "appends")
        self._snapshots = SnapshotSender(
            context.environment,
            peer_id,
            self.urls,
            connector=context.connector,
            metadata=context.metadata,
            receiver=context.receiver,
            bodies=context.bodies,
            stats=context.stats,
        )

    def send(self, message: Message) -> None:
        """Send by the lane for its kind; a full lane drops it."""
        if message.type is MessageType.SNAP:
            self._snapshots.send(message)
            return
        lane = self._appends if message.type in _APPENDS else self._heartbeats
        if not lane.send(message):
            self._context.receiver.report_unreachable(self._peer_id)

    async def stop(self) -> None:
        """Disconnect; a snapshot under way breaks off."""
        await asyncio.gather(self._snapshots.stop(), self._heartbeats.stop(), self._appends.stop())
