"""Progress reports to watchers that asked for them, by the clock."""

from __future__ import annotations

from kvstore.environment import Environment
from kvstore.mvcc import WatchHub
from kvstore.server.background import BackgroundWork

__all__ = ["DEFAULT_PROGRESS_INTERVAL_SECONDS", "ProgressReporter"]

DEFAULT_PROGRESS_INTERVAL_SECONDS = 600.0
PROGRESS_INTERVAL_SECONDS_MIN = 0.1


class ProgressReporter(BackgroundWork):
    """Reports once per interval, and up to a tenth later so that members do not do so in step."""

    def __init__(self, hub: WatchHub, environment: Environment, interval_seconds: float) -> None:
        super().__init__()
        self._hub = hub
        self._environment = environment
        self._interval_seconds = max(interval_seconds, PROGRESS_INTERVAL_SECONDS_MIN)

    async def _run(self) -> None:
        jitter = self._environment.randomness.uniform(0.0, self._interval_seconds / 10)
        while True:
            await self._environment.clock.sleep(self._interval_seconds + jitter)
            self._hub.report_progress()
