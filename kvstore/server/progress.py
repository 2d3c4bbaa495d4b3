"""Progress reports to watchers that asked for them, by the clock."""

from __future__ import annotations

import asyncio

from kvstore.environment import Environment
from kvstore.mvcc import WatchHub

__all__ = ["DEFAULT_PROGRESS_INTERVAL_SECONDS", "ProgressReporter"]

DEFAULT_PROGRESS_INTERVAL_SECONDS = 600.0
PROGRESS_INTERVAL_SECONDS_MIN = 0.1


class ProgressReporter:
    """Reports once per interval, and up to a tenth later so that members do not do so in step."""

    def __init__(self, hub: WatchHub, environment: Environment, interval_seconds: float) -> None:
        self._hub = hub
        self._environment = environment
        self._interval_seconds = max(interval_seconds, PROGRESS_INTERVAL_SECONDS_MIN)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        jitter = self._environment.randomness.uniform(0.0, self._interval_seconds / 10)
        while True:
            await self._environment.clock.sleep(self._interval_seconds + jitter)
            self._hub.report_progress()
