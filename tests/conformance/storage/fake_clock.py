"""A clock that moves when told to."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count


@dataclass(order=True)
class _Timer:
    due_seconds: float
    number: int
    callback: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """`Clock` whose timers run inside `advance`."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self._timers: list[_Timer] = []
        self._numbers = count()

    def now(self) -> float:
        return 1_700_000_000.0 + self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> _Timer:
        timer = _Timer(self.seconds + delay_seconds, next(self._numbers), callback)
        heapq.heappush(self._timers, timer)
        return timer

    async def sleep(self, delay_seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self.call_later(delay_seconds, lambda: None if future.done() else future.set_result(None))
        await future

    async def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer, and the loop run after each."""
        await settle()
        end_seconds = self.seconds + seconds
        while self._timers and self._timers[0].due_seconds <= end_seconds:
            timer = heapq.heappop(self._timers)
            self.seconds = max(self.seconds, timer.due_seconds)
            if not timer.cancelled:
                timer.callback()
            await settle()
        self.seconds = end_seconds
        await settle()


async def settle() -> None:
    """Let everything happen that needs no time."""
    for _ in range(20):
        await asyncio.sleep(0)
