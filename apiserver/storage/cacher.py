"""The watch cache: reads and watches answered from memory, writes passed through (k8s.io/apiserver `storage/cacher`).

A resource is loaded by one read when it is first used and then follows the feed. A read of the most recent state asks
the store for its revision and waits until the cache has come that far; with an embedded store both cost microseconds.
Lists at an older revision undo the changes since, as far back as the window reaches; beyond it the store is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apiserver.api.scheme import Resource
from apiserver.api.status import StatusError
from apiserver.storage import errors
from apiserver.storage.cache_set import CacheSet
from apiserver.storage.cache_watchers import BOOKMARK_INTERVAL_SECONDS, CacheWatcher, ErrorWatcher
from apiserver.storage.continue_token import encode_continue
from apiserver.storage.entries import Entry
from apiserver.storage.etcd3 import Etcd3Storage
from apiserver.storage.interface import (
    EventType,
    ListOptions,
    ListResult,
    Preconditions,
    UpdateFunction,
    Watcher,
    WatchEvent,
    WatchOptions,
)
from apiserver.storage.keys import collection_prefix
from apiserver.storage.options import ListPlan, parse_resource_version, plan_list
from apiserver.storage.revisions import RevisionReads
from apiserver.storage.selection import Selection

__all__ = ["Cacher"]


class Cacher:
    """`Storage` with everything that was ever asked for in memory.

    Args:
        storage: what it wraps.
        bookmark_interval_seconds: how often a watch that allows bookmarks gets one.

    `close` ends every watch and the feed.
    """

    def __init__(self, storage: Etcd3Storage, bookmark_interval_seconds: float = BOOKMARK_INTERVAL_SECONDS) -> None:
        self._storage = storage
        self._clock = storage.environment.clock
        self._bookmark_interval_seconds = bookmark_interval_seconds
        self._revisions = RevisionReads(storage.client)
        self._caches = CacheSet(storage)

    async def close(self) -> None:
        """End the feed and every watch."""
        await self._caches.close()

    # Writes.

    async def create(self, resource: Resource, key: str, obj: dict[str, Any], *, ttl_seconds: int = 0) -> Entry:
        """See `Storage.create`."""
        await self._caches.cache(resource)
        return await self._storage.create(resource, key, obj, ttl_seconds=ttl_seconds)

    async def update(
        self,
        resource: Resource,
        key: str,
        change: UpdateFunction,
        *,
        preconditions: Preconditions | None = None,
        create: bool = False,
        ttl_seconds: int | None = None,
    ) -> Entry:
        """See `Storage.update`; begins with the cached state, which the transaction checks."""
        cached = self._caches.latest(await self._caches.cache(resource), key)
        return await self._storage.update(
            resource,
            key,
            change,
            preconditions=preconditions,
            create=create,
            ttl_seconds=ttl_seconds,
            cached=cached,
        )

    async def delete(
        self,
        resource: Resource,
        key: str,
        *,
        preconditions: Preconditions | None = None,
        check: Callable[[Entry], None] | None = None,
    ) -> Entry:
        """See `Storage.delete`; begins with the cached state, which the transaction checks."""
        cached = self._caches.latest(await self._caches.cache(resource), key)
        return await self._storage.delete(resource, key, preconditions=preconditions, check=check, cached=cached)

    # Reads.

    async def get(self, resource: Resource, key: str, *, resource_version: str = "") -> Entry:
        """See `Storage.get`."""
        consistent = resource_version == ""
        minimum = await self._revisions.current() if consistent else parse_resource_version(resource_version)
        cache = self._caches.loaded(resource)
        if cache is None or self._caches.revision_of(cache) < minimum or cache.corrupt:
            if consistent and await self._caches.cannot_wait(resource, minimum):
                return await self._storage.get(resource, key)
            cache = await self._caches.fresh(resource, minimum)
        entry = cache.get(key)
        if entry is None:
            raise errors.not_found(resource, key)
        return entry

    async def list(self, resource: Resource, options: ListOptions) -> ListResult:
        """See `Storage.list`."""
        prefix = collection_prefix(resource, options.namespace)
        plan = plan_list(options, prefix)
        selection = Selection(resource, options.namespace, options.labels, options.fields)
        minimum = plan.exact or plan.minimum
        if plan.consistent:
            minimum = await self._revisions.current()
            if await self._caches.cannot_wait(resource, minimum):
                return await self._storage.list(resource, options)
        cache = await self._caches.fresh(resource, minimum)
        if plan.exact == 0 or plan.exact == self._caches.revision_of(cache):
            revision = self._caches.revision_of(cache)
            page = cache.page(prefix, plan.start_key, selection, plan.limit)
        elif plan.exact < max(cache.log.floor, self._caches.feed.compacted_revision):
            return await self._storage.list(resource, options)
        else:
            revision = plan.exact
            page = cache.page_at(revision, prefix, plan.start_key, selection, plan.limit)
        return _list_result(*page, plan=plan, prefix=prefix, revision=revision, selection=selection)

    async def watch(self, resource: Resource, options: WatchOptions) -> Watcher:
        """See `Storage.watch`. What cannot be watched is the first and only event, as from kube-apiserver."""
        version = parse_resource_version(options.resource_version)
        try:
            return await self._watch(resource, options, version)
        except StatusError as error:
            return ErrorWatcher(error.to_dict())

    async def count(self, resource: Resource) -> int:
        """See `Storage.count`."""
        return len(await self._caches.fresh(resource, await self._revisions.current()))

    async def current_revision(self) -> int:
        """See `Storage.current_revision`."""
        return await self._revisions.current()

    async def _watch(self, resource: Resource, options: WatchOptions, version: int) -> Watcher:
        initial = options.send_initial_events
        minimum = version
        if options.resource_version == "":
            minimum = await self._revisions.current()
        # A watch from a revision to come waits for its events, not for the revision.
        wait_for = minimum if initial or version == 0 else 0
        if options.resource_version == "" and await self._caches.cannot_wait(resource, minimum):
            return await self._storage.watch(resource, options)
        cache = await self._caches.fresh(resource, wait_for)
        if version > 0 and not initial and version < cache.log.floor:
            await self._caches.reach_back(cache, version)
            cache = await self._caches.fresh(resource, wait_for)
        selection = Selection(resource, options.namespace, options.labels, options.fields)
        now = self._caches.revision_of(cache)
        start = max(version, now)
        if initial or (initial is None and version == 0):
            events = list(cache.present_events(selection))
            if initial and options.bookmarks:
                events.append(WatchEvent(EventType.BOOKMARK, now, initial_end=True))
            first = iter(events)
        elif version == 0:
            first = iter(())
        else:
            first = cache.events_since(version, selection)
        watcher = CacheWatcher(selection, start, first, cache.discard_watcher)
        cache.add_watcher(watcher)
        if options.bookmarks:
            watcher.keep_bookmarking(
                self._clock,
                self._bookmark_interval_seconds,
                options.timeout_seconds,
                lambda: self._caches.revision_of(cache),
            )
        return watcher


def _list_result(
    items: list[Entry],
    more: bool,
    count: int,
    *,
    plan: ListPlan,
    prefix: str,
    revision: int,
    selection: Selection,
) -> ListResult:
    if not more:
        return ListResult(items, revision)
    token = encode_continue(items[-1].key + "\0", prefix, revision)
    remaining = count - plan.limit if selection.everything else None
    return ListResult(items, revision, token, remaining)
