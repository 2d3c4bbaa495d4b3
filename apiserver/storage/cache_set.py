"""The caches of all resources that were ever asked for, and how they are filled."""

from __future__ import annotations

import asyncio
from functools import partial

from apiserver.api.scheme import Resource
from apiserver.storage import errors
from apiserver.storage.entries import CorruptEntry, Entry
from apiserver.storage.etcd3 import PAGE_OBJECTS_MAX, Etcd3Storage
from apiserver.storage.feed import Feed
from apiserver.storage.history import read_changes
from apiserver.storage.keys import REGISTRY_PREFIX, prefix_end
from apiserver.storage.resource_cache import ResourceCache
from kvstore.errors import EtcdError
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["CacheSet"]


class CacheSet:
    """One `ResourceCache` for each storage prefix, loaded by one read when first used and then fed.

    Attributes:
        feed: where events come from, and how far they are.
    """

    def __init__(self, storage: Etcd3Storage) -> None:
        self._storage = storage
        self._clock = storage.environment.clock
        self.feed = Feed(storage.client, storage.environment, self)
        self._caches: dict[str, ResourceCache] = {}
        # Events that arrive while a resource is being loaded, and those who wait for it.
        self._arriving: dict[str, list[kv_pb2.Event]] = {}
        self._loading: dict[str, asyncio.Task[ResourceCache]] = {}
        self._reaching: dict[str, asyncio.Task[None]] = {}
        self._receiving = False
        storage.own_writes.listener = self._own_write

    async def close(self) -> None:
        """End the feed and every watch."""
        for task in [*self._loading.values(), *self._reaching.values()]:
            task.cancel()
        await self.feed.close()
        self._storage.own_writes.watch(False)
        for cache in self._caches.values():
            cache.end_watchers()
        self._caches.clear()

    def loaded(self, resource: Resource) -> ResourceCache | None:
        """The resource's cache, if there is one."""
        return self._caches.get(resource.storage_prefix)

    def revision_of(self, cache: ResourceCache) -> int:
        """Every event of the resource up to this revision is in the cache."""
        revision = self.feed.revision
        return revision if revision > cache.revision else cache.revision

    def latest(self, cache: ResourceCache, key: str) -> Entry | None:
        """The newest state known here, which may be one of our own that the feed has not brought back yet."""
        entry = cache.get(key)
        own = self._storage.own_writes.latest(key.encode())
        if own is not None and (entry is None or own.revision > entry.revision):
            return own
        return entry

    async def fresh(self, resource: Resource, minimum: int) -> ResourceCache:
        """The resource's cache, at least at a revision.

        Raises `StatusError` 504 when the cache does not get there in time.
        """
        while True:
            cache = await self.cache(resource)
            if self.revision_of(cache) >= minimum:
                if cache.corrupt:
                    await self._reopen_corrupt(resource, cache)
                return cache
            await self.feed.waiters.wait(minimum, partial(self.revision_of, cache))

    async def cannot_wait(self, resource: Resource, minimum: int) -> bool:
        """Whether the cache is behind, and the store cannot say when it has caught up: then the store must be asked."""
        cache = await self.cache(resource)
        return not self.feed.progress_supported and self.revision_of(cache) < minimum

    async def _reopen_corrupt(self, resource: Resource, cache: ResourceCache) -> None:
        """Values that could not be opened may be by now: a key was added, the KMS is back."""
        for key in sorted(cache.corrupt):
            entry = cache.get(key)
            if not isinstance(entry, CorruptEntry):
                continue
            opened = await self._storage.reopen(resource, entry)
            if isinstance(opened, CorruptEntry):
                return
            cache.replace_corrupt(opened)

    async def cache(self, resource: Resource) -> ResourceCache:
        """The resource's cache, loaded if it was not; everybody who asks meanwhile waits for the one load."""
        prefix = resource.storage_prefix
        cache = self._caches.get(prefix)
        if cache is not None:
            return cache
        task = self._loading.get(prefix)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load(resource, prefix))
            task.add_done_callback(_retrieve)
            self._loading[prefix] = task
        return await asyncio.shield(task)

    async def reach_back(self, cache: ResourceCache, revision: int) -> None:
        """Let the cache's window begin at a revision from before it was loaded, if the store still has that.

        Many watches may ask at once after a restart; the oldest revision serves those that come while it is read.
        """
        while revision < cache.log.floor and cache.log.extensible and self.feed.progress_supported:
            task = self._reaching.get(cache.prefix)
            if task is not None:
                await asyncio.wait([task])
                continue
            task = asyncio.get_running_loop().create_task(self._extend(cache, revision))
            self._reaching[cache.prefix] = task
            task.add_done_callback(lambda _: self._reaching.pop(cache.prefix, None))
            await asyncio.shield(task)
            return

    async def _extend(self, cache: ResourceCache, revision: int) -> None:
        floor = cache.log.floor
        changes = await read_changes(self._storage, cache.resource, revision, floor)
        if changes is not None and cache.log.extensible and cache.log.floor == floor:
            cache.log.extend_back(changes, revision)

    async def _load(self, resource: Resource, prefix: str) -> ResourceCache:
        """Read everything at one revision, then catch up with the events that came meanwhile.

        No event is lost between: those up to the feed's revision were committed before the read, so it has them.
        """
        try:
            await self.feed.start()
            self._storage.own_writes.watch(True)
            arriving = self._arriving[prefix] = []
            entries, revision = await self._read_all(resource, prefix)
            cache = ResourceCache(resource, entries, revision)
            if self._arriving.get(prefix) is not arriving:  # the feed has started over, so there may be a gap
                del self._loading[prefix]
                return await self.cache(resource)
            applied = 0
            while applied < len(arriving):  # more may arrive while values are opened
                late, applied = arriving[applied:], len(arriving)
                await self._apply(cache, [event for event in late if event.kv.mod_revision > revision])
            self._caches[prefix] = cache
            return cache
        finally:
            self._arriving.pop(prefix, None)
            self._loading.pop(prefix, None)

    async def _read_all(self, resource: Resource, prefix: str) -> tuple[list[Entry], int]:
        request = pb.RangeRequest(key=prefix.encode(), range_end=prefix_end(prefix.encode()), limit=PAGE_OBJECTS_MAX)
        entries: list[Entry] = []
        try:
            while True:
                response = await self._storage.client.range(request)
                request.revision = request.revision or response.header.revision
                entries += await self._storage.open_all(resource, response.kvs)
                if not response.more:
                    return entries, request.revision
                request.key = response.kvs[-1].key + b"\0"
        except EtcdError as error:
            raise errors.from_etcd(error) from error

    # The feed's sink.

    async def receive(self, events: list[kv_pb2.Event]) -> None:
        """See `FeedSink`."""
        self._receiving = True
        try:
            by_cache: dict[str, list[kv_pb2.Event]] = {}
            for event in events:
                if event.kv.mod_revision <= self.feed.revision:
                    continue  # it was our own, and went straight in
                prefix = self._prefix_of(event.kv.key.decode())
                if prefix in self._caches:
                    by_cache.setdefault(prefix, []).append(event)
                elif prefix in self._arriving:
                    self._arriving[prefix].append(event)
                elif event.type == kv_pb2.Event.PUT:
                    self._storage.own_writes.claim(event.kv.key, event.kv.value, event.kv.mod_revision)
            for prefix, mine in by_cache.items():
                await self._apply(self._caches[prefix], mine)
        finally:
            self._receiving = False

    def _own_write(self, key: bytes, entry: Entry | None, revision: int) -> bool:
        """A write of ours that is the next thing to happen need not wait for its event."""
        if revision != self.feed.revision + 1 or self._receiving:
            return False
        text = key.decode()
        cache = self._caches.get(self._prefix_of(text))
        if cache is None:
            return False
        cache.apply(text, entry, revision, self._clock.monotonic())
        self.feed.advance(revision)
        return True

    def start_over(self) -> None:
        """See `FeedSink`."""
        caches, self._caches = self._caches, {}
        self._arriving.clear()
        self._storage.own_writes.clear()
        for cache in caches.values():
            cache.end_watchers()

    def _prefix_of(self, key: str) -> str:
        """The storage prefix of a key that some cache, loaded or loading, is about."""
        end = key.find("/", len(REGISTRY_PREFIX)) + 1
        prefix = key[:end]
        if prefix in self._caches or prefix in self._arriving:
            return prefix
        # services/specs, services/endpoints, and groups in front of resources
        return key[: key.find("/", end) + 1]

    async def _apply(self, cache: ResourceCache, events: list[kv_pb2.Event]) -> None:
        """Bring a cache and its watchers up to date."""
        claim = self._storage.own_writes.claim
        entries: list[Entry | None] = []
        foreign: list[int] = []
        for position, event in enumerate(events):
            kv, entry = event.kv, None
            if event.type == kv_pb2.Event.PUT:
                entry = claim(kv.key, kv.value, kv.mod_revision)
                if entry is None:
                    foreign.append(position)
            entries.append(entry)
        if foreign:
            opened = await self._storage.open_all(cache.resource, [events[position].kv for position in foreign])
            for position, entry in zip(foreign, opened, strict=True):
                entries[position] = entry
        seconds = self._clock.monotonic()
        for event, entry in zip(events, entries, strict=True):
            cache.apply(event.kv.key.decode(), entry, event.kv.mod_revision, seconds)


def _retrieve(task: asyncio.Task[ResourceCache]) -> None:
    """Those who waited for a load that failed may have gone away."""
    if not task.cancelled():
        task.exception()
