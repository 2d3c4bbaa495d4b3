"""Keeping up with the objects of a store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from apiserver.api.status import StatusError
from apiserver.registry.store import Store
from apiserver.storage import EventType, WatchOptions
from kvstore.environment import Clock

__all__ = ["follow"]

_LOG = logging.getLogger("apiserver.controllers")
RETRY_SECONDS = 0.2
TRIES_MAX = 10

Handle = Callable[[dict[str, Any], bool], Awaitable[None]]


async def follow(store: Store, handle: Handle, clock: Clock) -> None:
    """Call `handle` for every object, with whether it is gone: once for what is there, then for every change.

    One at a time. What fails is tried again a few times, later than what came after it. Ends when cancelled.
    """
    while True:
        try:
            await _watch(store, handle, clock)
        except StatusError as error:
            _LOG.info("the watch of %s begins again: %s", store.resource.plural, error.message)
        await clock.sleep(RETRY_SECONDS)


async def _watch(store: Store, handle: Handle, clock: Clock) -> None:
    watcher = await store.watch(WatchOptions(resource_version="0"))
    retries: set[asyncio.Task[None]] = set()
    try:
        async for batch in watcher:
            for event in batch:
                if event.stored is None:
                    continue
                obj, gone = event.stored.view(store.resource), event.type is EventType.DELETED
                if not await _handled(handle, obj, gone):
                    task = asyncio.get_running_loop().create_task(_again(handle, obj, gone, clock))
                    retries.add(task)
                    task.add_done_callback(retries.discard)
    finally:
        watcher.stop()
        for task in retries:
            task.cancel()


async def _handled(handle: Handle, obj: dict[str, Any], gone: bool) -> bool:
    try:
        await handle(obj, gone)
    except StatusError as error:
        _LOG.info("%s %s: %s", obj.get("kind", ""), obj["metadata"]["name"], error.message)
        return False
    except Exception:  # one object must not stop the work on all others
        _LOG.exception("%s %s", obj.get("kind", ""), obj["metadata"]["name"])
        return False
    return True


async def _again(handle: Handle, obj: dict[str, Any], gone: bool, clock: Clock) -> None:
    delay = RETRY_SECONDS
    for _ in range(TRIES_MAX):
        await clock.sleep(delay)
        if await _handled(handle, obj, gone):
            return
        delay *= 2
