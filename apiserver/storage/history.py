"""What happened before a cache was loaded, read from the store's own history.

A client may come with a revision older than the cache: it spoke to this server before a restart, or to another one. As
long as the store has not compacted that revision away, the changes between can still be had, so that the client's
watch goes on and it need not list everything again.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Final

from apiserver.api.scheme import Resource
from apiserver.storage.changes import CHANGES_MAX, Change
from apiserver.storage.etcd3 import Etcd3Storage
from apiserver.storage.keys import collection_prefix, prefix_end
from kvstore.client import WatchStream
from kvstore.errors import EtcdError
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["HISTORY_TIMEOUT_SECONDS", "read_changes"]

HISTORY_TIMEOUT_SECONDS: Final = 3.0


async def read_changes(storage: Etcd3Storage, resource: Resource, after: int, up_to: int) -> list[Change] | None:
    """The changes of a resource after one revision up to another, both of the past; None when they are not to be had.

    They are not when the store has forgotten or does not answer in time, or when they are more than a cache keeps.
    """
    stream = storage.client.watch()
    prefix = collection_prefix(resource).encode()
    reading = asyncio.get_running_loop().create_task(_read(stream, prefix, after, up_to))
    timer = storage.environment.clock.call_later(HISTORY_TIMEOUT_SECONDS, partial(_cancel, reading))
    try:
        await asyncio.wait([reading])
    finally:
        timer.cancel()
        reading.cancel()
        with contextlib.suppress(EtcdError):
            await stream.close()
    if reading.cancelled() or isinstance(reading.exception(), EtcdError):
        return None
    events = reading.result()
    return await _changes(storage, resource, events) if events is not None else None


def _cancel(reading: asyncio.Task[list[kv_pb2.Event] | None]) -> None:
    reading.cancel()


async def _read(stream: WatchStream, prefix: bytes, after: int, up_to: int) -> list[kv_pb2.Event] | None:
    """Events until the store says, by a later event or on request, that it has sent all."""
    create = pb.WatchCreateRequest(key=prefix, range_end=prefix_end(prefix), start_revision=after + 1, prev_kv=True)
    await stream.send(pb.WatchRequest(create_request=create))
    await stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
    events: list[kv_pb2.Event] = []
    async for response in stream:
        if response.canceled or response.compact_revision or len(events) > CHANGES_MAX:
            return None
        events += [event for event in response.events if event.kv.mod_revision <= up_to]
        last = response.events[-1].kv.mod_revision if response.events else 0
        told = response.header.revision if not response.events and not response.created else 0
        if max(last, told) >= up_to:
            return events
        if response.created or response.events:
            # A request that came while the watcher was catching up is not answered.
            await stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
    return None


async def _changes(storage: Etcd3Storage, resource: Resource, events: list[kv_pb2.Event]) -> list[Change]:
    now = storage.environment.clock.monotonic()
    changes = []
    for event in events:
        current = previous = None
        if event.type == kv_pb2.Event.PUT:
            current = (await storage.open_all(resource, [event.kv]))[0]
        if event.HasField("prev_kv"):
            previous = (await storage.open_all(resource, [event.prev_kv]))[0]
        if current is not None or previous is not None:
            changes.append(Change(event.kv.mod_revision, current, previous, now))
    return changes
