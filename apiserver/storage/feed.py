"""The one watch that feeds every cache of the process.

All caches share a stream over `/registry/`, so that any event tells every cache how far the store is, and an idle
resource costs nothing. A second watcher on the stream follows `compact_rev_key`, to know what the store has forgotten.
A stream that breaks is taken up again at the revision it had reached; only when the store has compacted that away do
the caches start over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import Final, Protocol

from apiserver.storage.compactor import COMPACT_REVISION_KEY
from apiserver.storage.errors import from_etcd
from apiserver.storage.keys import REGISTRY_PREFIX, prefix_end
from apiserver.storage.revisions import RevisionWaiters
from kvstore.client import Client, WatchStream
from kvstore.environment import Environment
from kvstore.errors import EtcdError
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["Feed", "FeedSink", "progress_is_reliable"]

RETRY_SECONDS_MIN: Final = 0.05
RETRY_SECONDS_MAX: Final = 2.0
# Minor releases of etcd that got it right with a patch.
_PROGRESS_SINCE: Final = {(3, 4): 31, (3, 5): 13}
_REGISTRY_WATCH: Final = 1
_COMPACTION_WATCH: Final = 2


logger = logging.getLogger(__name__)


class FeedSink(Protocol):
    """What the feed tells."""

    async def receive(self, events: list[kv_pb2.Event]) -> None:
        """Events of `/registry/` in revision order; returns when the caches have them."""

    def start_over(self) -> None:
        """There is a gap in the events: what is cached is worth nothing any more."""


class Feed:
    """Runs one task from `start` to `close`.

    Attributes:
        revision: every event up to it has been received.
        progress_supported: whether the store, asked how far a stream is, tells the truth. Before 3.4.31 and 3.5.13
            etcd may answer ahead of events it has still to send (etcd-io/etcd#15220, #17507); it is not asked then.
        compacted_revision: what the store has forgotten, as far as it was written down.
    """

    def __init__(self, client: Client, environment: Environment, sink: FeedSink) -> None:
        self.revision = 0
        self.compacted_revision = 0
        self.progress_supported = False
        self.waiters = RevisionWaiters(environment.clock, self._ask_progress)
        self._client = client
        self._environment = environment
        self._sink = sink
        self._stream: WatchStream | None = None
        self._task: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._progress_task: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        """Whether events are coming, or will be."""
        return self._task is not None

    async def start(self) -> None:
        """Begin at the store's present revision. Raises `StatusError` when it cannot be reached."""
        if self._task is not None:
            return
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._begin())
        try:
            await asyncio.shield(self._starting)
        finally:
            self._starting = None

    async def close(self) -> None:
        """Stop; caches get nothing more."""
        self.waiters.close()
        tasks = [task for task in (self._task, self._starting, self._progress_task) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None

    async def _begin(self) -> None:
        try:
            self.revision = await self._client.current_revision()
            stream = await self._open()
        except EtcdError as error:
            raise from_etcd(error) from error
        self._task = asyncio.get_running_loop().create_task(self._run(stream), name="watch cache feed")

    async def _run(self, stream: WatchStream) -> None:
        while True:
            try:
                await self._follow(stream)
            except EtcdError:
                pass  # whatever ended the stream, the next one begins where it stopped
            except Exception:
                logger.exception("the watch cache could not take an event; it starts over")
                self._sink.start_over()
            finally:
                self._stream = None
                with contextlib.suppress(EtcdError):
                    await stream.close()
            stream = await self._reopen()

    async def _reopen(self) -> WatchStream:
        delay_seconds = RETRY_SECONDS_MIN
        while True:
            jitter = self._environment.randomness.uniform(0.5, 1.0)
            await self._environment.clock.sleep(delay_seconds * jitter)
            try:
                return await self._open()
            except EtcdError:
                delay_seconds = min(delay_seconds * 2, RETRY_SECONDS_MAX)

    async def _open(self) -> WatchStream:
        stream = self._client.watch()
        start = self.revision + 1
        registry = REGISTRY_PREFIX.encode()
        try:
            await stream.send(_create(_REGISTRY_WATCH, registry, prefix_end(registry), start))
            await stream.send(_create(_COMPACTION_WATCH, COMPACT_REVISION_KEY, b"", start))
            response = await self._client.range(pb.RangeRequest(key=COMPACT_REVISION_KEY))
            self.progress_supported = progress_is_reliable((await self._client.status()).version)
        except EtcdError:
            await stream.close()
            raise
        if response.kvs:
            self._compacted(response.kvs[0].value)
        self._stream = stream
        return stream

    async def _follow(self, stream: WatchStream) -> None:
        async for response in stream:
            if response.canceled or response.compact_revision:
                if response.compact_revision:
                    await self._start_over()
                return
            if not response.events:
                if not response.created and response.watch_id != _COMPACTION_WATCH:
                    self.advance(response.header.revision)
                continue
            events = list(response.events)
            if response.watch_id == _COMPACTION_WATCH:
                self._compacted(events[-1].kv.value)
                continue
            await self._sink.receive(events)
            self.advance(events[-1].kv.mod_revision)

    async def _start_over(self) -> None:
        """The store has forgotten where the feed was."""
        self._sink.start_over()
        self.advance(await self._client.current_revision())

    def advance(self, revision: int) -> None:
        """Every event up to `revision` has been received."""
        if revision > self.revision:
            self.revision = revision
            self.waiters.reached(revision)

    def _compacted(self, value: bytes) -> None:
        if value.isdigit():
            self.compacted_revision = max(self.compacted_revision, int(value))

    def _ask_progress(self) -> None:
        stream = self._stream
        if (
            stream is not None
            and self.progress_supported
            and (self._progress_task is None or self._progress_task.done())
        ):
            self._progress_task = asyncio.get_running_loop().create_task(_request_progress(stream))


def progress_is_reliable(version: str) -> bool:
    """Whether an etcd of this version may be asked for progress; of an unknown one the best is thought."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        return True
    major, minor, patch = map(int, found.groups())
    return patch >= _PROGRESS_SINCE.get((major, minor), 0) if (major, minor) >= (3, 4) else False


async def _request_progress(stream: WatchStream) -> None:
    with contextlib.suppress(EtcdError):  # the reader of the stream gets to know of it too
        await stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))


def _create(watch_id: int, key: bytes, range_end: bytes, start_revision: int) -> pb.WatchRequest:
    create = pb.WatchCreateRequest(watch_id=watch_id, key=key, range_end=range_end, start_revision=start_revision)
    return pb.WatchRequest(create_request=create)
