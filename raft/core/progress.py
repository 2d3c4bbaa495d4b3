"""What a leader knows about each member's log, and how fast it may send.

PROBE       where the logs agree is not known: one append at a time, the next after an answer or a heartbeat
REPLICATE   the logs agree: appends are sent ahead of the answers, as far as the window allows
SNAPSHOT    what the member needs is no longer in the log: nothing until the snapshot has arrived
"""

from __future__ import annotations

from collections import deque
from enum import Enum, unique

__all__ = ["Inflights", "Progress", "ProgressState"]


@unique
class ProgressState(Enum):
    """How appends flow to a member."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Inflights:
    """The appends sent and not yet answered: a window limited in messages and in bytes (0: no limit)."""

    __slots__ = ("_bytes", "_max_bytes", "_max_messages", "_window")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._window: deque[tuple[int, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._window)

    def add(self, last_index: int, size_bytes: int) -> None:
        """Note an append whose last entry is `last_index`; indexes only ever rise."""
        assert not self.full, "an append was sent although the window is full"
        self._window.append((last_index, size_bytes))
        self._bytes += size_bytes

    def free_up_to(self, index: int) -> None:
        """Forget the appends that end at `index` or before."""
        window = self._window
        while window and window[0][0] <= index:
            self._bytes -= window.popleft()[1]

    def clear(self) -> None:
        """Forget all of them."""
        self._window.clear()
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether nothing more may be sent."""
        return len(self._window) >= self._max_messages or 0 < self._max_bytes <= self._bytes


class Progress:
    """One member's log as its leader sees it. `match` < `next` always holds.

    Attributes:
        match: the last index known to be stored there.
        next: the first index to send.
        pending_snapshot: in SNAPSHOT, the index of the snapshot under way.
        recent_active: it has answered since the last quorum check.
        paused: in PROBE the one append is under way; in REPLICATE the window is full.
        sent_commit: the highest commit index it has been told.
    """

    __slots__ = ("inflights", "match", "next", "paused", "pending_snapshot", "recent_active", "sent_commit", "state")

    def __init__(self, next_index: int, inflights: Inflights, *, recent_active: bool = False) -> None:
        self.match = 0
        self.next = next_index
        self.state = ProgressState.PROBE
        self.pending_snapshot = 0
        self.recent_active = recent_active
        self.paused = False
        self.sent_commit = 0
        self.inflights = inflights

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.paused = False
        self.pending_snapshot = 0
        self.inflights.clear()

    def become_probe(self) -> None:
        """Go back to finding out; after a snapshot that arrived, from just behind it."""
        after_snapshot = self.pending_snapshot + 1 if self.state is ProgressState.SNAPSHOT else 0
        self._enter(ProgressState.PROBE)
        self.next = max(self.match + 1, after_snapshot)
        self.sent_commit = min(self.sent_commit, self.next - 1)

    def become_replicate(self) -> None:
        """Send ahead from just behind `match`."""
        self._enter(ProgressState.REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        """Wait for the snapshot at `index`."""
        self._enter(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1
        self.sent_commit = index

    @property
    def is_paused(self) -> bool:
        """Whether appends must wait."""
        return self.paused or self.state is ProgressState.SNAPSHOT

    def sent_entries(self, count: int, size_bytes: int) -> None:
        """Note an append of `count` entries from `next` on."""
        if self.state is ProgressState.REPLICATE:
            if count:
                self.next += count
                self.inflights.add(self.next - 1, size_bytes)
            # An append that fills the window, or an empty one sent although it is full, is a probe: one at a time.
            self.paused = self.inflights.full
        else:
            assert self.state is ProgressState.PROBE
            if count:
                self.paused = True

    def can_bump_commit(self, commit: int) -> bool:
        """Whether telling it `commit` now could move its commit index."""
        return commit > self.sent_commit and self.sent_commit < self.next - 1

    def maybe_update(self, index: int) -> bool:
        """Take note that everything up to `index` is stored there; False when that is old news."""
        if index <= self.match:
            return False
        self.match = index
        self.next = max(self.next, index + 1)
        self.paused = False
        return True

    def maybe_decrease(self, rejected: int, hint: int) -> bool:
        """Take note that the append behind `rejected` was refused and the logs may agree at `hint`.

        False when the refusal is old news: messages may be reordered and duplicated.
        """
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
        else:
            if self.next - 1 != rejected:
                return False  # probes go out one at a time, so the answer to the current one names next - 1
            self.next = max(min(rejected, hint + 1), self.match + 1)
            self.paused = False
        self.sent_commit = min(self.sent_commit, self.next - 1)
        return True

    def describe(self) -> str:
        """One line for people: state, match, next and whatever else is out of the ordinary."""
        parts = [f"{self.state.value} match={self.match} next={self.next}"]
        if self.is_paused:
            parts.append("paused")
        if self.pending_snapshot:
            parts.append(f"pending-snapshot={self.pending_snapshot}")
        if not self.recent_active:
            parts.append("inactive")
        if self.inflights:
            parts.append(f"inflight={len(self.inflights)}{'[full]' if self.inflights.full else ''}")
        return " ".join(parts)
