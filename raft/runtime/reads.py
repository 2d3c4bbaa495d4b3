"""Reads waiting for their read point, and for the state machine to reach it."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from raft.core import RawNode, ReadState

__all__ = ["ReadQueue"]

CONTEXT_BYTES = 8


class ReadQueue:
    """All reads of one turn share one request; an unanswered request is repeated under the same context.

    That is safe: whoever waits for a context came before its first request was sent, so any answer to any of the
    requests is new enough. A context must never be used for later reads, though, not even after a restart: the leader
    may still be busy with a request of the life before, and what it answers would be too old.
    """

    def __init__(self, prefix: bytes) -> None:
        """`prefix` tells contexts from those of other members, which meet them on the leader, and of other lives."""
        self._prefix = prefix
        self._numbers = itertools.count(1)
        self._fresh: list[asyncio.Future[int]] = []
        self._asked: dict[bytes, list[asyncio.Future[int]]] = {}
        self._reached: list[tuple[int, int, asyncio.Future[int]]] = []

    @property
    def has_unanswered(self) -> bool:
        """Whether a request is under way."""
        return bool(self._asked)

    def add(self, future: asyncio.Future[int]) -> None:
        """Let a read wait for the next request."""
        self._fresh.append(future)

    def drain(self, node: RawNode) -> None:
        """Ask for a read point for everyone who has come since the last time."""
        if not self._fresh:
            return
        waiters, self._fresh = self._fresh, []
        context = self._prefix + next(self._numbers).to_bytes(CONTEXT_BYTES, "big")
        self._asked[context] = waiters
        node.read_index(context)

    def repeat(self, node: RawNode) -> None:
        """Ask again for what is unanswered: requests and answers may get lost."""
        for context, waiters in list(self._asked.items()):
            if all(waiter.done() for waiter in waiters):
                del self._asked[context]  # everybody has given up
            else:
                node.read_index(context)

    def answered(self, state: ReadState, applied: int) -> None:
        """A read point has come."""
        for waiter in self._asked.pop(state.context, ()):
            if waiter.done():
                continue
            if state.index <= applied:
                waiter.set_result(state.index)
            else:
                heapq.heappush(self._reached, (state.index, next(self._numbers), waiter))

    def applied(self, index: int) -> None:
        """The state machine has come as far as `index`."""
        reached = self._reached
        while reached and reached[0][0] <= index:
            read_index, _, waiter = heapq.heappop(reached)
            if not waiter.done():
                waiter.set_result(read_index)

    def fail(self, error: Exception) -> None:
        """Nobody will be answered any more."""
        waiting = [*self._fresh, *itertools.chain.from_iterable(self._asked.values())]
        waiting += [waiter for _, _, waiter in self._reached]
        self._fresh, self._asked, self._reached = [], {}, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_exception(error)
