"""Reads waiting for the proof that their leader still leads (Ongaro's thesis, section 6.4).

Reads are numbered from 1 in the order they arrive in a term. Each heartbeat carries the number of the newest read; when
a quorum has answered heartbeats carrying n or more, every read up to n is confirmed. One round therefore serves any
number of reads, and an answer that is lost is made up for by any later one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from raft.core.quorum import UNBOUNDED_INDEX, committed_index
from raft.core.types import ConfState, Message

__all__ = ["ReadOnlyQueue"]

CONTEXT_BYTES = 8


class ReadOnlyQueue:
    """The reads of one leader in one term."""

    __slots__ = ("_acks", "_confirmed", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[tuple[Message, int]] = deque()
        self._acks: dict[int, int] = {}
        self._confirmed = 0

    def add(self, request: Message, commit: int) -> None:
        """Let `request` wait; it may be answered with `commit`, the commit index at its arrival."""
        self._waiting.append((request, commit))

    def context(self) -> bytes:
        """What the next heartbeat carries: the number of the newest read; empty when none waits."""
        if not self._waiting:
            return b""
        return (self._confirmed + len(self._waiting)).to_bytes(CONTEXT_BYTES, "little")

    def acknowledge(self, member_id: int, context: bytes) -> None:
        """A member has answered the heartbeat that carried `context`."""
        if len(context) == CONTEXT_BYTES:
            number = int.from_bytes(context, "little")
            self._acks[member_id] = max(self._acks.get(member_id, 0), number)

    def take_confirmed(self, configuration: ConfState) -> Sequence[tuple[Message, int]]:
        """The reads that a quorum has confirmed by now, with the index to answer."""
        number = committed_index(configuration, lambda member_id: self._acks.get(member_id, 0))
        assert number < UNBOUNDED_INDEX, "a leader without voters cannot confirm reads"
        confirmed = []
        while self._waiting and self._confirmed < number:
            confirmed.append(self._waiting.popleft())
            self._confirmed += 1
        return confirmed
