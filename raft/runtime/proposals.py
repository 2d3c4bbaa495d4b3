"""Proposals on their way into the log."""

from __future__ import annotations

from raft.core import NO_NODE, RawNode
from raft.errors import ProposalDroppedError

__all__ = ["ProposalQueue"]


class ProposalQueue:
    """Collects proposals and hands them to the node in batches; without a leader they wait.

    Attributes:
        dropped: proposals that were not taken, since the start.
    """

    def __init__(self, max_waiting_bytes: int, max_batch_bytes: int) -> None:
        self._max_waiting_bytes = max_waiting_bytes
        self._max_batch_bytes = max_batch_bytes
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, data: bytes) -> None:
        """Let a proposal wait for its turn; too much at once is dropped."""
        self._waiting_bytes += len(data)
        if self._waiting_bytes > self._max_waiting_bytes and self._waiting:
            self._waiting_bytes -= len(data)
            self.dropped += 1
            return
        self._waiting.append(data)

    def drain(self, node: RawNode) -> bool:
        """Propose what waits, as far as one batch goes; True when more is waiting for the next."""
        if not self._waiting or node.leader == NO_NODE:
            return False
        batch, more = self._take(self._max_batch_bytes if node.is_leader else node.config.max_size_per_message_bytes)
        try:
            node.propose(batch)
        except ProposalDroppedError:
            self.dropped += len(batch)
        return more

    def _take(self, limit: int) -> tuple[list[bytes], bool]:
        if self._waiting_bytes <= limit:
            batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
            return batch, False
        size = count = 0
        for data in self._waiting:
            if count and size + len(data) > limit:
                break
            size += len(data)
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._waiting_bytes -= size
        return batch, bool(self._waiting)
