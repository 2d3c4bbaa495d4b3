"""Proposals on their way into the log."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from raft.core import NO_NODE, ConfChange, ConfChangeV2, RawNode
from raft.errors import ProposalDroppedError

__all__ = ["ProposalQueue", "SubmittedChange"]

REMEMBERED_TERMS = 64
"""For how many terms it is remembered what was proposed in them; what is older is never reported as lost."""
CONF_CHANGES_MAX = 1000


@dataclass(slots=True)
class SubmittedChange:
    """A change of membership on its way.

    Attributes:
        term: in which it was handed over; 0 while it waits.
        is_fate_unknown: it may be in a snapshot that came from the leader.
    """

    change: ConfChange | ConfChangeV2
    term: int = 0
    is_fate_unknown: bool = False

    def lost_before(self, term: int) -> bool:
        """Whether it is lost for good, if it is not applied when the first entry of `term` is."""
        return 0 < self.term < term and not self.is_fate_unknown


class ProposalQueue:
    """Collects proposals and hands them to the node in batches. What the node does not take stays, in order.

    Proposals are numbered from 0 in the order in which they came, and handed over in that order. What is handed over in
    one term comes into the log in that term or never (see `raft.core.step`), so that a member which has applied an
    entry of a later term knows what became of it. A snapshot from the leader hides that: nobody sees what it covers
    being applied.

    Attributes:
        submitted: how many proposals were handed over so far.
        fate_unknown_below: proposals below this number may be in a snapshot that came from the leader.
        dropped: proposals that were refused because too many waited, since the start.
    """

    def __init__(self, max_waiting_bytes: int, max_batch_bytes: int) -> None:
        self._max_waiting_bytes = max_waiting_bytes
        self._max_batch_bytes = max_batch_bytes
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._changes: deque[SubmittedChange] = deque()
        self._submitted_changes: deque[SubmittedChange] = deque(maxlen=CONF_CHANGES_MAX)
        self._submitted_in: deque[tuple[int, int]] = deque(maxlen=REMEMBERED_TERMS)  # term, `submitted` at its end
        self.submitted = 0
        self.fate_unknown_below = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, data: bytes) -> int:
        """Let a proposal wait for its turn; returns its number.

        Raises:
            ProposalDroppedError: too much is waiting already. It has no number.
        """
        size = self._waiting_bytes + len(data)
        if size > self._max_waiting_bytes and self._waiting:
            self.dropped += 1
            raise ProposalDroppedError(f"{self._waiting_bytes} bytes of proposals are waiting for a leader already")
        self._waiting_bytes = size
        self._waiting.append(data)
        return self.submitted + len(self._waiting) - 1

    def add_conf_change(self, change: ConfChange | ConfChangeV2) -> SubmittedChange:
        """Let a change of membership wait for its turn. It has no number.

        Raises:
            ProposalDroppedError: too many are waiting already.
        """
        if len(self._changes) >= CONF_CHANGES_MAX:
            raise ProposalDroppedError(f"{len(self._changes)} changes of membership are waiting for a leader already")
        submitted = SubmittedChange(change)
        self._changes.append(submitted)
        return submitted

    @property
    def has_changes(self) -> bool:
        """Whether changes of membership wait."""
        return bool(self._changes)

    def drain(self, node: RawNode) -> bool:
        """Propose what waits, as far as one batch goes; True when more can be proposed at once.

        What the node does not take – without a leader, during a transfer, with too much uncommitted – waits on, and so
        does a change of membership for the one before it.
        """
        if node.leader == NO_NODE or not (self._waiting or self._changes):
            return False
        try:
            while self._changes and node.may_change_members:
                node.propose_conf_change(self._changes[0].change)
                submitted = self._changes.popleft()
                submitted.term = node.term
                self._submitted_changes.append(submitted)
            return self._drain_batch(node)
        except ProposalDroppedError:
            return False

    def _drain_batch(self, node: RawNode) -> bool:
        waiting = self._waiting
        if not waiting:
            return False
        limit = self._max_batch_bytes if node.is_leader else node.config.max_size_per_message_bytes
        if self._waiting_bytes <= limit:
            node.propose(waiting)
            self._waiting, self._waiting_bytes = [], 0
            self._note_submitted(node.term, len(waiting))
            return False
        size = count = 0
        for data in waiting:
            if count and size + len(data) > limit:
                break
            size += len(data)
            count += 1
        node.propose(waiting[:count])
        del waiting[:count]
        self._waiting_bytes -= size
        self._note_submitted(node.term, count)
        return bool(waiting)

    def _note_submitted(self, term: int, count: int) -> None:
        self.submitted += count
        terms = self._submitted_in
        if terms and terms[-1][0] == term:
            terms.pop()
        terms.append((term, self.submitted))

    def submitted_before(self, term: int) -> int:
        """How many proposals were handed over in terms older than `term`, as far as remembered."""
        for its_term, submitted in reversed(self._submitted_in):
            if its_term < term:
                return submitted
        return 0

    def restored(self, term: int) -> None:
        """A snapshot from the leader has come whose last entry is of `term`: what it covers will not be seen."""
        self.fate_unknown_below = max(self.fate_unknown_below, self.submitted_before(term + 1))
        for submitted in self._submitted_changes:
            submitted.is_fate_unknown |= submitted.term <= term
