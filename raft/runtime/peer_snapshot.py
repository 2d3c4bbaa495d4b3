"""Snapshots between members: one stream for each try, beside all other traffic, resumed where the last one broke.

    sender                                          receiver
    message, size and SHA-256 of the body    ──▶
                                             ◀──    offset: how much of this very body it has
    pieces of the body from there on         ──▶    written to a partial file
                                             ◀──    offset, after each piece
                                                    the whole is verified and synced, the application takes the file,
                                                    Raft gets the message
                                             ◀──    delivered

What is not acknowledged is bounded (`WINDOW_BYTES`), so that a slow disk slows the sender down, and neither memory nor
the network fills up in front of a heartbeat. Files are read, written and hashed on threads.

A try that fails is repeated from the offset that the receiver names then, by the member's next URL, after a wait with
jitter. `TRIES_MAX` tries in a row that bring nothing end it, and so does a refusal; Raft is then told that the snapshot
has failed. The partial file is for one body – its sender, term, index, size and digest; another one starts anew. It
does not outlive the process. A sender has one snapshot under way to a peer, and a receiver one altogether: the next
takes the place of the one before, unless it is older.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO, Final, Protocol, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from raft.core import Message, MessageType, Snapshot
from raft.environment import Environment, FileSystem
from raft.errors import RaftError
from raft.runtime.peer_channel import SNAPSHOT_METHOD, Connector, Metadata
from raft.runtime.peer_guard import PeerGuard, Streams, sender_of
from raft.runtime.peer_stats import TransportStats
from raft.runtime.peer_url import PeerURL
from raft.runtime.transport import Receiver
from raft.wire import WireError, message_from_pb, message_to_pb
from raft.wire import peer_pb2 as pb

__all__ = ["FileBody", "SnapshotBodies", "SnapshotBody", "SnapshotReceiver", "SnapshotSender"]

logger = logging.getLogger(__name__)

PIECE_BYTES: Final = 256 << 10
WINDOW_BYTES: Final = 1 << 20
TRIES_MAX: Final = 8
RETRY_SECONDS_MIN: Final = 0.05
RETRY_SECONDS_MAX: Final = 2.0
STALL_SECONDS: Final = 60.0
"""Without any acknowledgement for so long, a try has failed. The last one waits for the disk and the application."""
PARTIAL_NAME: Final = "receiving.part"
DIGEST_BYTES: Final = 32

_FINAL_REFUSALS: Final = frozenset(
    {
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]


class SnapshotBody(Protocol):
    """What belongs to one snapshot and is too large for its `data`, on the sender's side: it must not change meanwhile.

    Attributes:
        snapshot: what it belongs to; it may be newer than the snapshot that was asked for.
        size: in bytes.
        digest: SHA-256 of all of it.
    """

    snapshot: Snapshot
    size: int
    digest: bytes

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes from `offset`. Called on a thread; raises OSError."""

    def close(self) -> None:
        """It is not needed any more. Called on a thread."""


class SnapshotBodies(Protocol):
    """The application's side of snapshots.

    Attributes:
        directory: where a body is put together, on the file system where it will stay.
    """

    directory: str

    async def open(self, snapshot: Snapshot) -> SnapshotBody:
        """The body of a snapshot that is to be sent, or of a newer one; OSError or RaftError if there is none."""

    async def accept(self, snapshot: Snapshot, path: str) -> None:
        """Take over the file at `path`: a whole, verified and synced body. The snapshot is delivered when this returns.

        The file may be moved away or read; what is left at `path` is removed. Raises OSError or RaftError to refuse.
        """


class FileBody:
    """A file as a `SnapshotBody`."""

    def __init__(self, files: FileSystem, path: str, snapshot: Snapshot) -> None:
        """Reads all of it, for its digest: to be called on a thread. Raises OSError."""
        self.snapshot = snapshot
        self._file = files.open(path, "rb")
        self.size = 0
        digest = hashlib.sha256()
        try:
            while piece := self._file.read(PIECE_BYTES):
                digest.update(piece)
                self.size += len(piece)
        except BaseException:
            self._file.close()
            raise
        self.digest = digest.digest()

    def read(self, offset: int, count: int) -> bytes:
        """See `SnapshotBody.read`."""
        self._file.seek(offset)
        pieces = []
        while count:
            piece = self._file.read(count)
            if not piece:
                raise OSError("the file has become shorter")
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """See `SnapshotBody.close`."""
        self._file.close()


async def _on_thread(job: Callable[..., T], *arguments: Any) -> T:
    """Run a job on a thread; who is cancelled still waits for its end, so that no two touch a file at once."""
    task = asyncio.ensure_future(asyncio.to_thread(job, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


class SnapshotSender:
    """Sends snapshots to one peer, one at a time."""

    def __init__(
        self,
        environment: Environment,
        peer_id: int,
        urls: Sequence[PeerURL],
        *,
        connector: Connector,
        metadata: Metadata,
        receiver: Receiver,
        bodies: SnapshotBodies | None,
        stats: TransportStats,
    ) -> None:
        self._environment = environment
        self._peer_id = peer_id
        self._urls = urls
        self._connector = connector
        self._metadata = metadata
        self._receiver = receiver
        self._bodies = bodies
        self._stats = stats
        self._task: asyncio.Task[None] | None = None

    def send(self, message: Message) -> None:
        """Send a snapshot instead of the one under way, if any, of which nothing is reported then."""
        before = self._task
        if before is not None:
            before.cancel()
        self._task = asyncio.get_running_loop().create_task(self._send(message, before))

    async def stop(self) -> None:
        """Break off, and say so."""
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])
            if task.cancelled():
                self._receiver.report_snapshot(self._peer_id, ok=False)

    async def _send(self, message: Message, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            is_delivered = await self._deliver(message)
        except (OSError, RaftError) as error:
            logger.warning("the snapshot for member %x cannot be read: %s", self._peer_id, error)
            is_delivered = False
        except Exception:  # without a report that member would get nothing more
            logger.exception("the snapshot for member %x cannot be sent", self._peer_id)
            is_delivered = False
        peer = self._stats.of(self._peer_id)
        peer.snapshots_sent += is_delivered
        peer.snapshot_send_failures += not is_delivered
        self._receiver.report_snapshot(self._peer_id, ok=is_delivered)

    async def _deliver(self, message: Message) -> bool:
        assert message.snapshot is not None
        body = None if self._bodies is None else await self._bodies.open(message.snapshot)
        try:
            if body is not None:
                message = replace(message, snapshot=body.snapshot)
            transfer = self._environment.randomness.below(1 << 63)
            first = pb.SnapshotPiece(message=message_to_pb(message), transfer=transfer)
            if body is not None:
                first.body_size, first.body_digest = body.size, body.digest
            return await self._try_all(first.SerializeToString(), body)
        finally:
            if body is not None:
                await _on_thread(body.close)

    async def _try_all(self, first: bytes, body: SnapshotBody | None) -> bool:
        environment = self._environment
        tries = fruitless = furthest = 0
        delay = RETRY_SECONDS_MIN
        while True:
            attempt = _Attempt(self._connector, self._metadata, body)
            is_final = False
            try:
                return await attempt.run(self._urls[tries % len(self._urls)], first)
            except grpc.aio.AioRpcError as error:
                reason = f"{error.code().name}: {error.details()}"
                is_final = error.code() in _FINAL_REFUSALS
            except (grpc.aio.UsageError, asyncio.InvalidStateError, TimeoutError, DecodeError, ValueError) as error:
                reason = str(error) or type(error).__name__
            finally:
                self._stats.of(self._peer_id).sent_bytes += attempt.sent_bytes
            logger.warning("a snapshot for member %x breaks off: %s", self._peer_id, reason)
            tries += 1
            if attempt.received > furthest:
                fruitless, delay, furthest = 0, RETRY_SECONDS_MIN, attempt.received
            fruitless += 1
            if is_final or fruitless >= TRIES_MAX:
                return False
            await environment.clock.sleep(environment.randomness.uniform(delay / 2, delay))
            delay = min(2 * delay, RETRY_SECONDS_MAX)


class _Attempt:
    """One stream."""

    def __init__(self, connector: Connector, metadata: Metadata, body: SnapshotBody | None) -> None:
        self._connector = connector
        self._metadata = metadata
        self._body = body
        self.sent_bytes = 0
        self.received = 0  # bytes that the receiver has written, those of earlier tries included

    async def run(self, url: PeerURL, first: bytes) -> bool:
        try:
            channel = await self._connector.open(url)
        except OSError as error:  # unlike one of the body's, this one may pass
            raise ValueError(str(error)) from error
        try:
            multicallable: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(SNAPSHOT_METHOD)
            call = multicallable(metadata=self._metadata)
            await self._write(call, first)
            progress = await self._read(call)
            if self._body is not None and not progress.delivered:
                await self._send_body(call, self._body, progress.offset)
            while not progress.delivered:
                progress = await self._read(call)
            return True
        finally:
            await channel.close()

    async def _send_body(self, call: grpc.aio.StreamStreamCall[bytes, bytes], body: SnapshotBody, offset: int) -> None:
        sent = self.received = offset
        while self.received < body.size:
            if sent < body.size and sent - self.received < WINDOW_BYTES:
                piece = await _on_thread(body.read, sent, min(PIECE_BYTES, body.size - sent))
                await self._write(call, pb.SnapshotPiece(body=piece).SerializeToString())
                sent += len(piece)
            else:
                self.received = (await self._read(call)).offset
        await call.done_writing()

    async def _write(self, call: grpc.aio.StreamStreamCall[bytes, bytes], data: bytes) -> None:
        async with asyncio.timeout(STALL_SECONDS):
            await call.write(data)
        self.sent_bytes += len(data)

    async def _read(self, call: grpc.aio.StreamStreamCall[bytes, bytes]) -> pb.SnapshotProgress:
        async with asyncio.timeout(STALL_SECONDS):
            data = await call.read()
        if isinstance(data, bytes):
            return pb.SnapshotProgress.FromString(data)
        await _raise_status(call)
        raise ValueError("the receiver has ended the stream before its time")


async def _raise_status(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
    """A stream has ended; raises AioRpcError when that was an error."""
    code = await call.code()
    if code is not grpc.StatusCode.OK:
        raise grpc.aio.AioRpcError(
            code, await call.initial_metadata(), await call.trailing_metadata(), await call.details()
        )


class _Partial:
    """A body that is being put together. Only one thread at a time uses it."""

    def __init__(self, files: FileSystem, path: str, key: tuple[object, ...]) -> None:
        self._file: BinaryIO = files.open(path, "wb")
        self._files = files
        self._digest = hashlib.sha256()
        self.key = key
        self.offset = 0

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = self._file.write(view)
            view = view[written:]
        self._digest.update(data)
        self.offset += len(data)

    def finish(self) -> bytes:
        """Make it durable and close it; the digest."""
        self._files.fsync(self._file)
        self._file.close()
        return self._digest.digest()

    def close(self) -> None:
        self._file.close()


class SnapshotReceiver:
    """Takes snapshots from peers, one at a time."""

    def __init__(
        self,
        environment: Environment,
        member_id: int,
        *,
        receiver: Receiver,
        bodies: SnapshotBodies | None,
        guard: PeerGuard,
        streams: Streams,
        stats: TransportStats,
    ) -> None:
        self._files = environment.files
        self._member_id = member_id
        self._receiver = receiver
        self._bodies = bodies
        self._guard = guard
        self._streams = streams
        self._stats = stats
        self._path = "" if bodies is None else f"{bodies.directory}/{PARTIAL_NAME}"
        self._partial: _Partial | None = None
        self._newest: tuple[int, int] | None = None  # term and index of the stream that is open
        self._delivered: tuple[int, int] | None = None  # sender and transfer of the last one

    def start(self) -> None:
        """Remove what an earlier process has left; raises OSError."""
        if self._bodies is not None:
            self._files.makedirs(self._bodies.directory)
            self._remove_partial()

    def stop(self) -> None:
        """Give up what is unfinished, once no stream is open any more."""
        self._discard()

    async def take(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """The gRPC method."""
        pieces = aiter(requests)
        try:
            first = pb.SnapshotPiece.FromString(await anext(pieces))
            message = message_from_pb(first.message)
        except (DecodeError, WireError, StopAsyncIteration) as error:
            await self._guard.reject(context, grpc.StatusCode.INVALID_ARGUMENT, f"not a snapshot: {error}")
            raise AssertionError from error
        if message.type is not MessageType.SNAP or message.snapshot is None or message.to != self._member_id:
            await self._guard.reject(context, grpc.StatusCode.INVALID_ARGUMENT, "not a snapshot for this member")
        if (self._bodies is not None) != first.HasField("body_size") or (
            first.HasField("body_size") and len(first.body_digest) != DIGEST_BYTES
        ):
            await self._guard.reject(context, grpc.StatusCode.INVALID_ARGUMENT, "not the body that is expected")
        assert message.snapshot is not None
        rank = (message.term, message.snapshot.index)
        if self._newest is not None and rank < self._newest:
            await self._guard.reject(context, grpc.StatusCode.FAILED_PRECONDITION, "a newer snapshot is being received")

        async def work() -> None:
            self._newest = rank
            try:
                await self._take(message, first, pieces, context)
            finally:
                self._newest = None

        await self._streams.run(SNAPSHOT_METHOD, context, work)

    async def _take(
        self, message: Message, first: pb.SnapshotPiece, pieces: AsyncIterator[bytes], context: Context
    ) -> None:
        peer = self._stats.of(sender_of(context))
        transfer = (message.sender, first.transfer)
        if self._delivered != transfer:
            try:
                if self._bodies is not None:
                    await self._take_body(message, first, pieces, context)
            except (OSError, RaftError) as error:
                self._discard()
                peer.snapshot_receive_failures += 1
                logger.warning("a snapshot from member %x cannot be kept: %s", message.sender, error)
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"the snapshot cannot be kept: {error}")
            except BaseException:
                peer.snapshot_receive_failures += 1
                raise
            self._delivered = transfer
            peer.snapshots_received += 1
            self._receiver.receive(message)
        await context.write(pb.SnapshotProgress(delivered=True).SerializeToString())

    async def _take_body(
        self, message: Message, first: pb.SnapshotPiece, pieces: AsyncIterator[bytes], context: Context
    ) -> None:
        assert message.snapshot is not None
        assert self._bodies is not None
        snapshot, size = message.snapshot, first.body_size
        partial = self._resume((message.sender, snapshot.term, snapshot.index, size, first.body_digest))
        peer = self._stats.of(sender_of(context))
        while True:
            await context.write(pb.SnapshotProgress(offset=partial.offset).SerializeToString())
            if partial.offset == size:
                break
            try:
                piece = pb.SnapshotPiece.FromString(await anext(pieces)).body
            except StopAsyncIteration:
                await context.abort(grpc.StatusCode.ABORTED, "the body is not complete")
            except DecodeError as error:
                await self._guard.reject(context, grpc.StatusCode.INVALID_ARGUMENT, f"not a piece: {error}")
            if not piece or partial.offset + len(piece) > size:
                await self._guard.reject(context, grpc.StatusCode.INVALID_ARGUMENT, "a piece of the wrong size")
            peer.received_bytes += len(piece)
            await _on_thread(partial.write, piece)
        self._partial = None
        try:
            if await _on_thread(partial.finish) != first.body_digest:
                await context.abort(grpc.StatusCode.DATA_LOSS, "the body is not what its digest says")
            await self._bodies.accept(snapshot, self._path)
        finally:
            self._remove_partial()

    def _resume(self, key: tuple[object, ...]) -> _Partial:
        if self._partial is None or self._partial.key != key:
            self._discard()
            self._partial = _Partial(self._files, self._path, key)
        return self._partial

    def _discard(self) -> None:
        if self._partial is not None:
            self._partial.close()
            self._partial = None
            self._remove_partial()

    def _remove_partial(self) -> None:
        with suppress(FileNotFoundError):
            self._files.remove(self._path)
