"""Compactions in the background, one after the other, a slice at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from kvstore.environment import Clock

__all__ = ["PAUSE_SECONDS", "Compactor"]

PAUSE_SECONDS = 0.01
"""Between two slices, so that a large compaction does not crowd out requests."""

logger = logging.getLogger(__name__)


class Compactor:
    """Does the work that compactions hand in, in order."""

    def __init__(self, clock: Clock, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._last: asyncio.Task[None] | None = None

    def start(self, revision: int, work: Iterator[None]) -> None:
        """Take in the work of the compaction at `revision`."""
        task = asyncio.get_running_loop().create_task(self._run(self._last, revision, work))
        self._last = task

    async def finished(self) -> None:
        """Return when everything handed in so far is done."""
        if self._last is not None:
            await asyncio.shield(self._last)

    async def stop(self) -> None:
        """Leave the rest to the next start."""
        if self._last is not None:
            self._last.cancel()
            await asyncio.wait([self._last])

    async def _run(self, before: asyncio.Task[None] | None, revision: int, work: Iterator[None]) -> None:
        if before is not None:
            await before
        started = self._clock.monotonic()
        for _ in work:
            await self._clock.sleep(self._pause_seconds)
        logger.info(
            "finished scheduled compaction",
            extra={"fields": {"compact-revision": revision, "took": f"{self._clock.monotonic() - started:.6f}s"}},
        )
