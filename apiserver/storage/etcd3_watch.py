"""A watch straight on the store, one stream for each (k8s.io/apiserver `etcd3/watcher.go`).

The server watches through the cache; this is for where there is none, and for holding the cache against.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from apiserver.api.scheme import Resource
from apiserver.api.status import StatusError
from apiserver.storage import errors
from apiserver.storage.entries import Entry
from apiserver.storage.interface import EventType, ListOptions, WatchEvent, WatchOptions
from apiserver.storage.keys import collection_prefix, prefix_end
from apiserver.storage.selection import Selection
from kvstore.client import WatchStream
from kvstore.errors import EtcdError
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb

if TYPE_CHECKING:
    from apiserver.storage.etcd3 import Etcd3Storage

__all__ = ["Etcd3Watcher", "filtered_event"]


def filtered_event(
    selection: Selection, current: Entry | None, previous: Entry | None, revision: int
) -> WatchEvent | None:
    """What a change means to a watcher with a selector: an object that leaves it is deleted as far as it can see."""
    selected = current is not None and selection.matches(current)
    was_selected = previous is not None and selection.matches(previous)
    if selected:
        return WatchEvent(EventType.MODIFIED if was_selected else EventType.ADDED, revision, current)
    if was_selected:
        assert previous is not None
        return WatchEvent(EventType.DELETED, revision, previous.at_revision(revision))
    return None


class Etcd3Watcher:
    """`Watcher` over a stream of its own, opened when the iteration starts.

    The store's flow control stands in for a bounded queue: what the reader does not take stays there.
    """

    def __init__(self, storage: Etcd3Storage, resource: Resource, options: WatchOptions, version: int) -> None:
        self._storage = storage
        self._resource = resource
        self._options = options
        self._version = version
        self._selection = Selection(resource, options.namespace, options.labels, options.fields)
        self._stream: WatchStream | None = None
        self._stopped = False
        self._closing: asyncio.Task[None] | None = None

    async def __aiter__(self) -> AsyncIterator[Sequence[WatchEvent]]:
        """See `Watcher`."""
        try:
            async for batch in self._batches():
                yield batch
        except StatusError as error:
            yield [WatchEvent(EventType.ERROR, 0, status=error.to_dict())]
        except EtcdError as error:
            if not self._stopped:
                yield [WatchEvent(EventType.ERROR, 0, status=errors.from_etcd(error).to_dict())]
        finally:
            if self._stream is not None:
                await self._stream.close()

    def stop(self) -> None:
        """See `Watcher`."""
        if self._stopped:
            return
        self._stopped = True
        stream = self._stream
        if stream is not None:
            self._closing = asyncio.get_running_loop().create_task(stream.close())

    async def _batches(self) -> AsyncIterator[Sequence[WatchEvent]]:
        start = self._version
        initial = self._options.send_initial_events
        if initial or (initial is None and start == 0):
            listed = await self._storage.list(self._resource, self._initial_list())
            start = listed.revision
            added = [WatchEvent(EventType.ADDED, item.revision, item) for item in listed.items]
            if initial and self._options.bookmarks:
                added.append(WatchEvent(EventType.BOOKMARK, start, initial_end=True))
            if added:
                yield added
        elif start == 0:
            start = await self._storage.current_revision()
        if self._stopped:
            return
        async for response in await self._open(start + 1):
            if response.compact_revision:
                raise errors.watch_expired()
            if response.canceled:
                return
            batch = [event for change in response.events if (event := await self._event(change)) is not None]
            if batch:
                yield batch

    def _initial_list(self) -> ListOptions:
        options = self._options
        version = options.resource_version if options.resource_version != "0" else ""
        match = "NotOlderThan" if version else ""
        return ListOptions(options.namespace, version, match, options.labels, options.fields)

    async def _open(self, start_revision: int) -> WatchStream:
        prefix = collection_prefix(self._resource, self._selection.namespace).encode()
        self._stream = self._storage.client.watch()
        create = pb.WatchCreateRequest(
            key=prefix, range_end=prefix_end(prefix), start_revision=start_revision, prev_kv=True
        )
        await self._stream.send(pb.WatchRequest(create_request=create))
        return self._stream

    async def _event(self, change: kv_pb2.Event) -> WatchEvent | None:
        current = previous = None
        if change.type == kv_pb2.Event.PUT:
            current = (await self._storage.open_all(self._resource, [change.kv]))[0]
        if change.HasField("prev_kv"):
            previous = (await self._storage.open_all(self._resource, [change.prev_kv]))[0]
        return filtered_event(self._selection, current, previous, change.kv.mod_revision)
