"""The one thread that waits for the disk."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

__all__ = ["DiskWorker", "Worker"]

T = TypeVar("T")


class Worker(Protocol):
    """Runs jobs that block, one after the other, and brings the results back to the event loop."""

    def submit(self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """Run `job` after everything submitted before; then call `done(result, error)` on the event loop."""

    async def run(self, job: Callable[[], T]) -> T:
        """Run `job` and wait for its result."""

    def stop(self) -> None:
        """Finish what was submitted; blocks meanwhile."""


class DiskWorker:
    """A `Worker` on a thread of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """See `Worker.submit`."""

        def run() -> None:
            result: T | None = None
            failure: BaseException | None = None
            try:
                result = job()
            except BaseException as error:  # handed to the owner, who decides
                failure = error
            # The loop is gone when a program ends without stopping its driver; then nobody waits for the answer.
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(done, result, failure)

        self._jobs.put(run)

    async def run(self, job: Callable[[], T]) -> T:
        """See `Worker.run`."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(result: T | None, error: BaseException | None) -> None:
            if future.done():
                return  # whoever waited has been cancelled
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # a T, for there was no error

        self.submit(job, done)
        return await future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def stop(self) -> None:
        """See `Worker.stop`."""
        self._jobs.put(None)
        self._thread.join()
