"""Virtual time, and what stands in for a process: its event loop, its clock and its disk thread."""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Event = tuple[int, int, Callable[..., None], tuple[Any, ...]]


class Timeline:
    """Events in the order of their time, in milliseconds.

    All events of one millisecond happen before what they ask to be called soon, so that members meet several messages
    in one turn of their loops.

    Attributes:
        failure: what has gone wrong where nobody could raise it; ends the run.
    """

    def __init__(self) -> None:
        self.now = 0
        self.failure: BaseException | None = None
        self.running: Life | None = None
        self.soon: deque[tuple[Life, Callable[..., None], tuple[Any, ...]]] = deque()
        self._events: list[Event] = []
        self._sequence = itertools.count()

    def at(self, delay_ms: int, call: Callable[..., None], *arguments: Any) -> None:
        """Call later."""
        heapq.heappush(self._events, (self.now + delay_ms, next(self._sequence), call, arguments))

    def run(self, limit_ms: int, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass, at most `limit_ms`; True as soon as `until` is."""
        try:
            return self._run(self.now + limit_ms, until)
        finally:
            self.running = None
            asyncio.events._set_running_loop(None)

    def _run(self, end: int, until: Callable[[], bool] | None) -> bool:
        events, soon = self._events, self.soon
        while True:
            while soon:
                life, call, arguments = soon.popleft()
                life.call(call, *arguments)
            if self.failure is not None:
                raise self.failure
            if until is not None and until():
                return True
            if not events or events[0][0] > end:
                self.now = end
                return False
            self.now = now = events[0][0]
            while events and events[0][0] == now:
                _, _, event_call, arguments = heapq.heappop(events)
                event_call(*arguments)


class Life(asyncio.AbstractEventLoop):
    """The event loop of one process from its start to its end, as far as the driver uses one.

    A paused process (SIGSTOP) does everything late; a dead one nothing any more.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.dead = False
        self.paused = False
        self._deferred: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def call(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Call now, or when the process goes on."""
        if self.dead:
            return
        if self.paused:
            self._deferred.append((callback, arguments))
        else:
            if self.timeline.running is not self:
                self.timeline.running = self
                asyncio.events._set_running_loop(self)
            callback(*arguments)

    def resume(self) -> None:
        """Go on, with what has piled up first."""
        self.paused = False
        deferred, self._deferred = self._deferred, []
        for callback, arguments in deferred:
            self.call(callback, *arguments)

    def later(self, delay_ms: int, callback: Callable[..., None], *arguments: Any) -> None:
        """Call after a while of real time."""
        self.timeline.at(delay_ms, self.call, callback, *arguments)

    def start(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine; what it raises ends the run. A dead process leaves it where it is."""
        self._step(function())

    def _step(self, coroutine: Coroutine[Any, Any, None], _: Any = None) -> None:
        try:
            future = coroutine.send(None)
        except StopIteration:
            return
        except Exception as error:
            self.timeline.failure = error
            return
        future._asyncio_future_blocking = False  # what a task does with what it is to wait for
        future.add_done_callback(functools.partial(self._step, coroutine))

    def run_at_once(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that does not wait for anything."""
        self.timeline.running = self
        asyncio.events._set_running_loop(self)
        try:
            coroutine.send(None)
        except StopIteration as result:
            return result.value  # type: ignore[no-any-return]
        finally:
            self.timeline.running = None
            asyncio.events._set_running_loop(None)
        raise AssertionError("it waits")

    # asyncio

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        self.timeline.soon.append((self, callback, args))

    call_soon_threadsafe = call_soon

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **_: Any) -> Any:
        """Begins at once, unlike a real task; what is left of it when the process dies warns nobody."""
        future = self.create_future()

        async def run() -> None:
            try:
                future.set_result(await coro)
            except Exception as error:
                future.set_exception(error)

        self._step(run())
        return future

    def time(self) -> float:
        return self.timeline.now / 1000

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A process that dies leaves futures behind; what matters goes through `start`."""


class Timer:
    """What `call_later` returns."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        if self._callback is not None:
            self._callback()


class SimClock:
    """A `raft.environment.Clock` that runs fast or slow: `speed` seconds of ours are one of its own."""

    def __init__(self, life: Life, speed: float) -> None:
        self._life = life
        self._speed = speed

    def now(self) -> float:
        return self.monotonic()

    def monotonic(self) -> float:
        return self._life.timeline.now / 1000 / self._speed

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        self._life.later(round(delay_seconds * 1000 * self._speed), timer.fire)
        return timer

    async def sleep(self, delay_seconds: float) -> None:
        future = self._life.create_future()
        self.call_later(delay_seconds, lambda: future.set_result(None))
        await future


class SimWorker:
    """A `raft.runtime.worker.Worker`: each job takes effect, as a whole, at the end of the time that it takes.

    Attributes:
        jobs: what a crash finds half done, and not begun.
    """

    def __init__(self, life: Life, latency_ms: Callable[[], int]) -> None:
        self._life = life
        self._latency_ms = latency_ms
        self.jobs: deque[tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]] = deque()
        self.starting = True

    def submit(self, job: Callable[[], Any], done: Callable[[Any, BaseException | None], None]) -> None:
        self.jobs.append((job, done))
        if len(self.jobs) == 1:
            self._life.later(self._latency_ms(), self._finish)

    def _finish(self) -> None:
        job, done = self.jobs.popleft()
        result, failure = None, None
        try:
            result = job()
        except Exception as error:  # as on a thread
            failure = error
        if self.jobs:
            self._life.later(self._latency_ms(), self._finish)
        done(result, failure)

    async def run(self, job: Callable[[], T]) -> T:
        if self.starting:  # reading the disk takes no time
            return job()
        future = self._life.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.submit(job, done)
        return await future  # type: ignore[no-any-return]

    def stop(self) -> None:
        pass
