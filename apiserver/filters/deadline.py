"""A deadline for every request that is not long-running: 60 s, or less if the client says `?timeout=10s`.

One timer for all requests in flight: it is set for the earliest deadline, so that the usual request, which ends long
before, costs little more than two dictionary operations (k8s.io/apiserver `filters/request_deadline.go`,
`server/filters/timeout.go`).
"""

from __future__ import annotations

import asyncio

from apiserver.api.metatime import parse_duration
from apiserver.api.status import bad_request, timeout
from apiserver.filters.request_info import is_long_running
from apiserver.request import Handler, Request, Response
from kvstore.environment import Clock, TimerHandle

__all__ = ["REQUEST_TIMEOUT_SECONDS", "with_deadline"]

REQUEST_TIMEOUT_SECONDS = 60.0
_NEVER = float("inf")


class _Deadlines:
    """The tasks in flight and when they must be done.

    Attributes:
        tasks: those that have not been cancelled for taking too long.
        timer_at: when they are looked at next.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.tasks: dict[asyncio.Task[object], float] = {}
        self.timer_at = _NEVER
        self._timer: TimerHandle | None = None

    def arm(self, deadline: float) -> None:
        """Look at the tasks at `deadline`."""
        if self._timer is not None:
            self._timer.cancel()
        self.timer_at = deadline
        self._timer = self._clock.call_later(max(0.0, deadline - self._clock.monotonic()), self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.timer_at = _NEVER
        now = self._clock.monotonic()
        for task in [task for task, deadline in self.tasks.items() if deadline <= now]:
            del self.tasks[task]
            task.cancel()
        if self.tasks:
            self.arm(min(self.tasks.values()))


def with_deadline(handler: Handler, clock: Clock, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS) -> Handler:
    """End requests that take too long with 504."""
    deadlines = _Deadlines(clock)
    tasks = deadlines.tasks

    async def filtered(request: Request) -> Response:
        if is_long_running(request.info):
            return await handler(request)
        seconds = timeout_seconds
        if "timeout" in request.query:
            seconds = _wanted_seconds(request, timeout_seconds)
        task = asyncio.current_task()
        assert task is not None
        request.deadline_seconds = deadline = clock.monotonic() + seconds
        tasks[task] = deadline
        if deadline < deadlines.timer_at:
            deadlines.arm(deadline)
        try:
            return await handler(request)
        except asyncio.CancelledError:
            if task in tasks:
                raise
            task.uncancel()
            raise timeout("request did not complete within the allotted timeout") from None
        finally:
            tasks.pop(task, None)

    return filtered


def _wanted_seconds(request: Request, maximum_seconds: float) -> float:
    text = request.parameter("timeout")
    if not text:
        return maximum_seconds
    try:
        seconds = parse_duration(text) / 1e9
    except ValueError as error:
        raise bad_request(f"invalid timeout specified in the request URL - {error}") from None
    return seconds if 0 < seconds < maximum_seconds else maximum_seconds
