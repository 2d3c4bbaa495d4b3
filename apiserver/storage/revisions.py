"""Waiting for revisions: the store's present one, and that of the cache to reach it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from apiserver.api.status import too_large_resource_version
from apiserver.storage.errors import from_etcd
from kvstore.client import Client
from kvstore.environment import Clock, TimerHandle
from kvstore.errors import EtcdError

__all__ = ["FRESH_TIMEOUT_SECONDS", "RevisionReads", "RevisionWaiters"]

FRESH_TIMEOUT_SECONDS: Final = 3.0
"""How long a request waits for the cache to reach a revision (watch_cache.go `blockTimeout`)."""
_PROGRESS_DELAY_SECONDS: Final = 0.01
_PROGRESS_INTERVAL_SECONDS: Final = 0.1


class RevisionReads:
    """Linearizable reads of the store's revision, shared between requests.

    A request may use any read that began after the request did. So while one read travels, all that ask meanwhile wait
    for the next one together. An embedded store answers at once, and then nothing waits for anything.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reading = False
        self._next: asyncio.Future[int] | None = None

    async def current(self) -> int:
        """The store's revision, at least that of every write acknowledged before. Raises `StatusError`."""
        if not self._reading:
            return await self._read()
        shared = self._next
        if shared is None:
            shared = self._next = asyncio.get_running_loop().create_future()
        return await asyncio.shield(shared)

    async def _read(self) -> int:
        self._reading = True
        try:
            return await self._client.current_revision()
        except EtcdError as error:
            raise from_etcd(error) from error
        finally:
            self._reading = False
            if self._next is not None:
                shared, self._next = self._next, None
                self._task = asyncio.get_running_loop().create_task(self._read_for(shared))

    async def _read_for(self, shared: asyncio.Future[int]) -> None:
        try:
            shared.set_result(await self._read())
        except Exception as error:
            shared.set_exception(error)
            shared.exception()  # those who asked may have gone


class RevisionWaiters:
    """Requests that want the cache to have reached a revision.

    Events bring it forward by themselves; for revisions that touched nothing the cache sees, `ask_progress` makes the
    store say how far it is.
    """

    def __init__(self, clock: Clock, ask_progress: Callable[[], None]) -> None:
        self._clock = clock
        self._ask_progress = ask_progress
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._progress: TimerHandle | None = None

    async def wait(self, wanted: int, reached: Callable[[], int]) -> None:
        """Return when `reached()`, which was below, may be at `wanted`.

        Raises `StatusError` 504 "Too large resource version" when that takes too long.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (wanted, future)
        self._waiting.append(waiter)
        timer = self._clock.call_later(FRESH_TIMEOUT_SECONDS, lambda: self._time_out(waiter, reached))
        self._schedule_progress(_PROGRESS_DELAY_SECONDS)
        try:
            await future
        finally:
            timer.cancel()
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def reached(self, revision: int) -> None:
        """The cache has every event up to a revision."""
        if not self._waiting:
            return
        still = []
        for waiter in self._waiting:
            if waiter[0] > revision:
                still.append(waiter)
            elif not waiter[1].done():
                waiter[1].set_result(None)
        self._waiting = still

    def close(self) -> None:
        """Nothing will be reached any more."""
        if self._progress is not None:
            self._progress.cancel()
        for _, future in self._waiting:
            future.cancel()

    def _time_out(self, waiter: tuple[int, asyncio.Future[None]], reached: Callable[[], int]) -> None:
        if not waiter[1].done():
            waiter[1].set_exception(too_large_resource_version(waiter[0], reached(), 1))

    def _schedule_progress(self, delay_seconds: float) -> None:
        if self._progress is None:
            self._progress = self._clock.call_later(delay_seconds, self._progress_due)

    def _progress_due(self) -> None:
        self._progress = None
        if self._waiting:
            self._ask_progress()
            self._schedule_progress(_PROGRESS_INTERVAL_SECONDS)
