"""Log and snapshots together: everything a member has on disk."""

from __future__ import annotations

from dataclasses import dataclass, field

from raft.core import Entry, HardState, Snapshot
from raft.environment import FileSystem
from raft.errors import CorruptLogError
from raft.wal.log import SEGMENT_BYTES, WAL, SnapshotMark
from raft.wal.snapshot import SnapshotStore

__all__ = ["StoredState", "open_store"]


@dataclass(frozen=True, slots=True)
class StoredState:
    """Where a member left off.

    Attributes:
        is_new: there was nothing, or only the remains of a first write that was never finished; everything but the
            metadata is empty.
        metadata: what the log was made with.
        snapshot: the newest good one.
        entries: the log behind the snapshot.
        torn_path: the segment whose unfinished end was cut off, if there was one.
    """

    is_new: bool
    metadata: bytes = b""
    snapshot: Snapshot | None = None
    hard_state: HardState = field(default_factory=HardState)
    entries: tuple[Entry, ...] = ()
    torn_path: str | None = None


def open_store(
    files: FileSystem,
    wal_directory: str,
    snapshots: SnapshotStore,
    metadata: bytes,
    *,
    segment_bytes: int = SEGMENT_BYTES,
) -> tuple[WAL, StoredState]:
    """Open what is there, or make it.

    Raises:
        DataDirInUseError, CorruptLogError, OSError: as `WAL.open`; CorruptLogError also when no snapshot covers what
            the log no longer holds.
    """
    snapshots.remove_old()
    if not WAL.exists(files, wal_directory):
        wal = WAL.create(files, wal_directory, metadata, segment_bytes=segment_bytes)
        return wal, StoredState(is_new=True, metadata=metadata)
    wal, recovered = WAL.open(files, wal_directory, segment_bytes=segment_bytes)
    try:
        if recovered.hard_state.term == 0:
            # The first thing any member stores has a term in it. What is here was never acknowledged to anybody, and
            # the next entry at index 1 will replace it.
            return wal, StoredState(True, recovered.metadata, torn_path=recovered.torn_path)
        snapshot = snapshots.load_newest(_committed_marks(recovered.snapshots, recovered.hard_state))
        base = snapshot.index if snapshot else 0
        entries = tuple(entry for entry in recovered.entries if entry.index > base)
        if entries and entries[0].index != base + 1:
            raise CorruptLogError(
                wal_directory,
                0,
                f"the log begins at index {entries[0].index} and no good snapshot covers what comes before it",
            )
        hard_state = recovered.hard_state
        last = entries[-1].index if entries else base
        if hard_state.commit > last:
            raise CorruptLogError(wal_directory, 0, f"committed up to {hard_state.commit} and the log ends at {last}")
    except BaseException:
        wal.close()
        raise
    state = StoredState(
        False,
        recovered.metadata,
        snapshot,
        hard_state._replace(commit=max(hard_state.commit, base)),
        entries,
        recovered.torn_path,
    )
    return wal, state


def _committed_marks(marks: list[SnapshotMark], hard_state: HardState) -> set[tuple[int, int]]:
    """A mark may be ahead of the commit index when a crash came between a leader's snapshot and the hard state."""
    return {(mark.term, mark.index) for mark in marks if 0 < mark.index <= hard_state.commit}
