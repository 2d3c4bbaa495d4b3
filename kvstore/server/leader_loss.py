"""Streams of clients that insist on a leader end when there has been none for a while (metadata `hasleader: true`).

As etcd (`server/etcdserver/api/v3rpc/interceptor.go`): three election timeouts, so that an election in between goes
unnoticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

from kvstore.environment import Clock, TimerHandle
from kvstore.server import catalogue

__all__ = ["LeaderLoss"]

ELECTION_TIMEOUTS: Final = 3

_Request = TypeVar("_Request")


class LeaderLoss:
    """Tells who wants to know that there is no leader, and has not been for some time."""

    def __init__(self, clock: Clock, election_timeout_seconds: float) -> None:
        self._clock = clock
        self._patience_seconds = ELECTION_TIMEOUTS * election_timeout_seconds
        self._timer: TimerHandle | None = None
        self._listeners: dict[Callable[[], None], None] = {}

    def leader_is(self, leader_id: int) -> None:
        """Who leads now; 0 when nobody does."""
        if leader_id and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif not leader_id and self._timer is None:
            self._timer = self._clock.call_later(self._patience_seconds, self._tell)

    def stop(self) -> None:
        """Tell nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        self._timer = None
        for listener in list(self._listeners):
            listener()

    async def bound(self, requests: AsyncIterator[_Request]) -> AsyncIterator[_Request]:
        """The same requests, which end with an error when the leader is lost.

        Raises:
            EtcdError: no leader.
        """
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not lost.done():
                lost.set_result(None)

        self._listeners[tell] = None
        upcoming = asyncio.ensure_future(_next(requests))
        try:
            while True:
                either: tuple[asyncio.Future[Any], ...] = (upcoming, lost)
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if lost.done():
                    raise catalogue.NO_LEADER.error()
                found = upcoming.result()
                if not found:
                    return
                yield found[0]
                upcoming = asyncio.ensure_future(_next(requests))
        finally:
            del self._listeners[tell]
            upcoming.cancel()


async def _next(requests: AsyncIterator[_Request]) -> tuple[_Request, ...]:
    """The next request, or nothing at the end: a task cannot end with StopAsyncIteration."""
    try:
        return (await anext(requests),)
    except StopAsyncIteration:
        return ()
