"""The log in memory: everything since the last compaction, and how far each stage has come with it.

    compacted | ...... applied ...... committed ......   |
              | ......... stable (durable here) ...... written ...... last
              ^ prev_index

`applied <= committed` and `stable <= written <= last`. Entries are handed out for application only when they are both
committed and stable, so a state machine never runs ahead of its own log.
"""

from __future__ import annotations

from collections.abc import Sequence

from raft.core.types import Entry, Snapshot
from raft.errors import LogLostError

__all__ = ["RaftLog", "entry_size"]

ENTRY_OVERHEAD_BYTES = 24
"""What an entry is counted for beside its data when messages are cut to size."""


def entry_size(entry: Entry) -> int:
    """Roughly what the entry takes up on the wire, in bytes."""
    return len(entry.data) + ENTRY_OVERHEAD_BYTES


class RaftLog:
    """Entries from `prev_index` + 1 on; the entry at `prev_index` is known by its term alone.

    Attributes:
        snapshot: the newest snapshot that can be sent to a member which has fallen behind; None without one.
        pending_snapshot: a snapshot from the leader that is not yet stored and applied here.
    """

    __slots__ = (
        "_entries",
        "applied",
        "applying",
        "committed",
        "pending_snapshot",
        "prev_index",
        "prev_term",
        "snapshot",
        "snapshot_written",
        "stable",
        "written",
    )

    def __init__(self, snapshot: Snapshot | None = None, entries: Sequence[Entry] = ()) -> None:
        self.snapshot = snapshot
        self.prev_index = snapshot.index if snapshot else 0
        self.prev_term = snapshot.term if snapshot else 0
        self._entries = list(entries)
        if self._entries and self._entries[0].index != self.prev_index + 1:
            raise LogLostError(
                f"the log begins at index {self._entries[0].index}, behind the snapshot at {self.prev_index}"
            )
        self.committed = self.applied = self.applying = self.prev_index
        self.stable = self.written = self.last_index
        self.pending_snapshot: Snapshot | None = None
        self.snapshot_written = False

    # Reading

    @property
    def first_index(self) -> int:
        """The first index whose entry is still here."""
        return self.prev_index + 1

    @property
    def last_index(self) -> int:
        """The index of the last entry."""
        return self.prev_index + len(self._entries)

    @property
    def last_term(self) -> int:
        """The term of the last entry."""
        return self._entries[-1].term if self._entries else self.prev_term

    def term(self, index: int) -> int | None:
        """The term of the entry at `index`; None when it is compacted away or not there yet."""
        offset = index - self.prev_index
        if offset == 0:
            return self.prev_term
        if 0 < offset <= len(self._entries):
            return self._entries[offset - 1].term
        return None

    def between(self, first: int, last: int) -> tuple[Entry, ...]:
        """The entries from `first` to `last`, both included."""
        base = self.prev_index + 1
        assert base <= first, f"entries from {first} are compacted; the log begins at {base}"
        return tuple(self._entries[first - base : last + 1 - base])

    def from_index(self, first: int, max_bytes: int, last: int | None = None) -> tuple[Entry, ...]:
        """Entries from `first` on, at least one if there is one, and not more than `max_bytes` of them."""
        base = self.prev_index + 1
        assert base <= first, f"entries from {first} are compacted; the log begins at {base}"
        entries = self._entries
        start = first - base
        stop = len(entries) if last is None else last + 1 - base
        position, total = start, 0
        while position < stop:
            total += len(entries[position].data) + ENTRY_OVERHEAD_BYTES
            if total > max_bytes and position > start:
                break
            position += 1
        return tuple(entries[start:position])

    def is_up_to_date(self, index: int, term: int) -> bool:
        """Whether a log ending in (`index`, `term`) is at least as complete as this one (paper, section 5.4.1)."""
        last_term = self.last_term
        return term > last_term or (term == last_term and index >= self.last_index)

    def find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """The last position at or before `index` whose term is not above `term`, with its term.

        Where two logs agree, their terms agree; terms only rise along a log. So everything with a higher term can be
        skipped when looking for the place. A position that is compacted away ends the search with term 0.

            index   1 2 3 4 5 6
            term    1 3 3 4 5 5     find_conflict_by_term(6, 3) == (3, 3)
        """
        while index > 0:
            here = self.term(index)
            if here is None:
                return index, 0
            if here <= term:
                return index, here
            index -= 1
        return 0, 0

    # Writing

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries at the end; a leader only ever does this (paper, leader append-only)."""
        self._entries.extend(entries)

    def maybe_append(self, prev_index: int, prev_term: int, entries: Sequence[Entry], commit: int) -> int | None:
        """What a follower does with an append (paper, figure 2).

        Returns the last index known to agree with the leader, or None when the entry before `entries` does not match.
        """
        if self.term(prev_index) != prev_term:
            return None
        last_new = prev_index + len(entries)
        for position, entry in enumerate(entries):
            if self.term(entry.index) != entry.term:
                self._truncate_and_append(entries[position:])
                break
        self.commit_to(min(commit, last_new))
        return last_new

    def _truncate_and_append(self, entries: Sequence[Entry]) -> None:
        first = entries[0].index
        if first <= self.committed:
            raise LogLostError(f"the leader's log contradicts the committed entry at index {first}")
        del self._entries[first - self.prev_index - 1 :]
        self.stable = min(self.stable, first - 1)
        self.written = min(self.written, first - 1)
        self._entries.extend(entries)

    def commit_to(self, index: int) -> None:
        """Raise the commit index; never lowers it."""
        if index <= self.committed:
            return
        if index > self.last_index:
            raise LogLostError(
                f"entries up to {index} were acknowledged here once and the log ends at {self.last_index}: it was lost"
                " or put back to an older state; remove this member from the cluster and add it again as a new one"
            )
        self.committed = index

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot from the leader in place of everything."""
        self.pending_snapshot = snapshot
        self.snapshot_written = False
        self._entries = []
        self.prev_index, self.prev_term = snapshot.index, snapshot.term
        self.committed = self.stable = self.written = snapshot.index

    def index_before(self, index: int, max_entries: int, max_bytes: int) -> int:
        """Where to compact to, so that not more than so many entries up to `index`, of so many bytes, stay."""
        position = index - self.prev_index
        lowest = max(0, position - max_entries)
        total = 0
        while position > lowest:
            total += entry_size(self._entries[position - 1])
            if total > max_bytes:
                break
            position -= 1
        return self.prev_index + max(position, 0)

    def compact(self, index: int) -> None:
        """Forget entries up to `index`, which must be applied."""
        if index <= self.prev_index:
            return
        assert index <= self.applied, f"compaction to {index} past the applied index {self.applied}"
        term = self.term(index)
        assert term is not None
        del self._entries[: index - self.prev_index]
        self.prev_index, self.prev_term = index, term

    # Stages

    def take_unwritten(self) -> tuple[Entry, ...]:
        """The entries that have not been handed out for storage; from now on they have."""
        if self.written == self.last_index:
            return ()
        entries = self.between(self.written + 1, self.last_index)
        self.written = self.last_index
        return entries

    def mark_stable(self) -> None:
        """Everything handed out for storage is durable.

        Entries replaced while the write was under way are not: `_truncate_and_append` has lowered `written`.
        """
        self.stable = self.written

    def take_committed(self, max_bytes: int) -> tuple[Entry, ...]:
        """The next entries to apply; from now on they are being applied."""
        last = min(self.committed, self.stable)
        if last <= self.applying or self.pending_snapshot is not None:
            return ()
        entries = self.from_index(self.applying + 1, max_bytes, last)
        self.applying = entries[-1].index
        return entries

    @property
    def has_committed(self) -> bool:
        """Whether `take_committed` would return something."""
        return self.pending_snapshot is None and min(self.committed, self.stable) > self.applying

    def applied_to(self, index: int) -> None:
        """The state machine has come as far as `index`."""
        assert self.applied <= index <= self.committed, f"applied {index} is outside {self.applied}..{self.committed}"
        if self.pending_snapshot is not None and index >= self.pending_snapshot.index:
            self.snapshot = self.pending_snapshot
            self.pending_snapshot = None
        self.applied = index
        self.applying = max(self.applying, index)
