"""Files that change while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from apiserver.app.reloading import follow_files
from kvstore.environment import RealFileSystem


class SteppingClock:
    """Every sleep waits for a step of the test."""

    def __init__(self) -> None:
        self.asleep = asyncio.Event()
        self.steps: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(self, delay_seconds: float) -> None:
        self.asleep.set()
        await self.steps.get()

    async def step(self) -> None:
        """One look at the files."""
        await self.asleep.wait()
        self.asleep.clear()
        self.steps.put_nowait(None)
        await self.asleep.wait()


async def test_changes_are_told_once(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("1")
    second.write_text("1")
    changes: list[str] = []

    async def changed() -> None:
        changes.append(first.read_text())

    clock: Any = SteppingClock()
    task = asyncio.create_task(follow_files([str(first), str(second)], changed, RealFileSystem(), clock))
    await clock.step()
    assert changes == []
    first.write_text("2")
    await clock.step()
    await clock.step()
    assert changes == ["2"]
    second.unlink()  # half-way through being replaced
    await clock.step()
    assert changes == ["2"]
    second.write_text("1")
    await clock.step()
    assert changes == ["2"], "the same content is no change"
    second.write_text("2")
    await clock.step()
    assert len(changes) == 2
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
