"""The sending half of the gRPC transport: one link to each peer, with a lane for each kind of traffic.

    heartbeats   heartbeats, votes, reads: small, and late ones cost elections
    appends      entries and their acknowledgements, proposals
    snapshots    one call per snapshot, beside everything else

Lanes have connections of their own, so that a large append does not hold up a heartbeat behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import grpc
import grpc.aio

from raft.core import Message, MessageType, Snapshot
from raft.environment import Environment
from raft.runtime.transport import Receiver
from raft.wire import message_to_pb
from raft.wire import peer_pb2 as pb

__all__ = ["CLUSTER_KEY", "MESSAGES_METHOD", "SENDER_KEY", "SNAPSHOT_METHOD", "PeerLink", "SnapshotBodies"]

MESSAGES_METHOD: Final = "/raftpeer.Peer/Messages"
SNAPSHOT_METHOD: Final = "/raftpeer.Peer/Snapshot"
CLUSTER_KEY: Final = "raft-cluster-id"
SENDER_KEY: Final = "raft-member-id"

LANE_MESSAGES_MAX: Final = 4096
"""Messages waiting in one lane; more are dropped, and Raft repeats what matters."""
LANE_BYTES_MAX: Final = 64 << 20
ENVELOPE_BYTES_MAX: Final = 4 << 20
CHUNK_BYTES: Final = 1 << 20
RECONNECT_SECONDS_MIN: Final = 0.02
RECONNECT_SECONDS_MAX: Final = 1.0

_APPENDS = frozenset({MessageType.APP, MessageType.APP_RESP, MessageType.PROP})


class SnapshotBodies(Protocol):
    """What belongs to a snapshot and is too large for its `data`, such as the files of a database."""

    def read(self, snapshot: Snapshot) -> AsyncIterator[bytes]:
        """The body, in pieces of any size, on the sender's side."""

    async def write(self, snapshot: Snapshot, chunks: AsyncIterator[bytes]) -> None:
        """Keep the body on the receiver's side; the snapshot itself is delivered when this returns.

        `chunks` ends with an exception when the sender breaks off; then nothing of it may be used.
        """


@dataclass(frozen=True, slots=True)
class LinkContext:
    """What all links of a member share."""

    environment: Environment
    receiver: Receiver
    metadata: tuple[tuple[str, str], ...]
    open_channel: Callable[[str], grpc.aio.Channel]
    bodies: SnapshotBodies | None


def open_call(
    channel: grpc.aio.Channel, method: str, metadata: tuple[tuple[str, str], ...]
) -> grpc.aio.StreamUnaryCall[bytes, bytes]:
    """Begin a stream of bytes to a peer."""
    multicallable: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(method)
    return multicallable(metadata=metadata)


class Lane:
    """A stream of envelopes to one peer, connected as long as it can be."""

    def __init__(self, context: LinkContext, peer_id: int, address: str) -> None:
        self._context = context
        self._peer_id = peer_id
        self._address = address
        self._queue: list[Message] = []
        self._queue_bytes = 0
        self._filled = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def send(self, message: Message) -> bool:
        """Queue a message; False when the lane is full."""
        size = sum(len(entry.data) for entry in message.entries)
        if len(self._queue) >= LANE_MESSAGES_MAX or self._queue_bytes + size > LANE_BYTES_MAX:
            return False
        self._queue.append(message)
        self._queue_bytes += size
        self._filled.set()
        return True

    async def stop(self) -> None:
        """Drop what waits and disconnect."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        context, delay = self._context, RECONNECT_SECONDS_MIN
        while True:
            await self._filled.wait()
            channel = context.open_channel(self._address)
            try:
                call = open_call(channel, MESSAGES_METHOD, context.metadata)
                await call.initial_metadata()  # the peer has accepted us
                delay = RECONNECT_SECONDS_MIN
                while True:
                    await self._filled.wait()
                    await call.write(self._next_envelope())
            except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
                pass
            finally:
                await channel.close()
            self._clear()
            context.receiver.report_unreachable(self._peer_id)
            # Jitter: after a member's restart its peers should not all come at the same moment.
            await context.environment.clock.sleep(context.environment.randomness.uniform(delay / 2, delay))
            delay = min(2 * delay, RECONNECT_SECONDS_MAX)

    def _clear(self) -> None:
        self._queue.clear()
        self._queue_bytes = 0
        self._filled.clear()

    def _next_envelope(self) -> bytes:
        size = count = 0
        for message in self._queue:
            message_size = sum(len(entry.data) for entry in message.entries)
            if count and size + message_size > ENVELOPE_BYTES_MAX:
                break
            size += message_size
            count += 1
        batch, self._queue = self._queue[:count], self._queue[count:]
        self._queue_bytes -= size
        if not self._queue:
            self._filled.clear()
        return pb.Envelope(messages=[message_to_pb(message) for message in batch]).SerializeToString()


class PeerLink:
    """Everything that goes to one peer."""

    def __init__(self, context: LinkContext, peer_id: int, address: str) -> None:
        self._context = context
        self._peer_id = peer_id
        self.address = address
        self._heartbeats = Lane(context, peer_id, address)
        self._appends = Lane(context, peer_id, address)
        self._snapshots: set[asyncio.Task[None]] = set()

    def send(self, message: Message) -> None:
        """Send by the lane for its kind; a full lane drops it."""
        if message.type is MessageType.SNAP:
            task = asyncio.get_running_loop().create_task(self._send_snapshot(message))
            self._snapshots.add(task)
            task.add_done_callback(self._snapshots.discard)
            return
        lane = self._appends if message.type in _APPENDS else self._heartbeats
        if not lane.send(message):
            self._context.receiver.report_unreachable(self._peer_id)

    async def stop(self) -> None:
        """Disconnect; snapshots under way break off."""
        for task in self._snapshots:
            task.cancel()
        await asyncio.gather(*self._snapshots, return_exceptions=True)
        await self._heartbeats.stop()
        await self._appends.stop()

    async def _send_snapshot(self, message: Message) -> None:
        ok = False
        channel = self._context.open_channel(self.address)
        try:
            call = open_call(channel, SNAPSHOT_METHOD, self._context.metadata)
            async for chunk in self._chunks(message):
                await call.write(chunk.SerializeToString())
            await call.done_writing()
            await call
            ok = True
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError, OSError):
            pass
        finally:
            await channel.close()
            self._context.receiver.report_snapshot(self._peer_id, ok=ok)

    async def _chunks(self, message: Message) -> AsyncIterator[pb.SnapshotChunk]:
        snapshot = message.snapshot
        assert snapshot is not None
        yield pb.SnapshotChunk(message=message_to_pb(replace(message, snapshot=replace(snapshot, data=b""))))
        for start in range(0, len(snapshot.data), CHUNK_BYTES):
            yield pb.SnapshotChunk(data=snapshot.data[start : start + CHUNK_BYTES])
        if self._context.bodies is not None:
            async for piece in self._context.bodies.read(snapshot):
                for start in range(0, len(piece), CHUNK_BYTES):
                    yield pb.SnapshotChunk(body=piece[start : start + CHUNK_BYTES])
