"""When the log may be shortened: every so many entries or bytes, once the database holds what they did."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from kvstore.apply import StateMachine
from kvstore.backend import LMDBBackend

__all__ = ["DEFAULT_CATCH_UP_ENTRIES", "DEFAULT_SNAPSHOT_COUNT", "Snapshotter"]

DEFAULT_SNAPSHOT_COUNT = 10_000
"""Entries applied between two snapshots."""

SNAPSHOT_BYTES = 128 << 20
"""Bytes of entries applied between two snapshots: the log since the last one is held in memory."""

DEFAULT_CATCH_UP_ENTRIES = 5_000
"""Entries kept before a snapshot, so that a member slightly behind need not fetch the whole database."""

logger = logging.getLogger(__name__)


class Snapshotter:
    """Flushes the database and then tells the log that it may forget.

    Args:
        save: called with an index that is safe in the database; records the snapshot in the log.
        last_index: where the newest snapshot was taken.
    """

    def __init__(
        self,
        state_machine: StateMachine,
        backend: LMDBBackend,
        save: Callable[[int], Awaitable[None]],
        *,
        snapshot_count: int,
        last_index: int,
    ) -> None:
        self._state_machine = state_machine
        self._backend = backend
        self._save = save
        self._snapshot_count = snapshot_count
        self._last_index = last_index
        self._last_bytes = 0
        self._task: asyncio.Task[None] | None = None

    def applied(self) -> None:
        """To be called after entries were applied: takes a snapshot if it is time."""
        machine = self._state_machine
        due = (
            machine.applied_index - self._last_index > self._snapshot_count
            or machine.applied_bytes - self._last_bytes > SNAPSHOT_BYTES
        )
        if due and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._take())
            self._task.add_done_callback(self._taken)

    async def _take(self) -> None:
        index, applied_bytes = self._state_machine.applied_index, self._state_machine.applied_bytes
        await self._backend.flush()
        await self._save(index)
        self._last_index, self._last_bytes = index, applied_bytes
        logger.info("saved snapshot", extra={"fields": {"snapshot-index": index}})

    def _taken(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("failed to save snapshot", extra={"fields": {"error": str(error)}})

    async def pause(self) -> None:
        """Wait for a snapshot under way."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def restored(self, index: int) -> None:
        """The database was replaced by one at `index`, which the log has noted as a snapshot."""
        self._last_index = index

    async def stop(self) -> None:
        """Wait for a snapshot under way."""
        await self.pause()
