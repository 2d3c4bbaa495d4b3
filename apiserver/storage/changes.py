"""What happened to the objects of one resource, in order: the window that watches resume from and lists look back into.

Each change holds the state before and after, so that any state inside the window can be had by undoing changes from
the present one, and so that a selector can tell an object that leaves it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from apiserver.api.status import expired
from apiserver.storage.entries import Entry
from apiserver.storage.interface import EventType, WatchEvent
from apiserver.storage.selection import Selection

__all__ = ["CHANGES_MAX", "CHANGES_MIN", "FRESH_SECONDS", "Change", "ChangeLog"]

CHANGES_MIN: Final = 100
"""Changes kept however old they are."""
CHANGES_MAX: Final = 32_768
"""Changes kept however young they are."""
FRESH_SECONDS: Final = 75.0
"""How long changes are kept between the two bounds: longer than from one bookmark to the next."""
_TRIM_MIN: Final = 512


class Change:
    """One write to one key, and the events it means: each made once, for all watchers."""

    __slots__ = ("_added", "_deleted", "_modified", "current", "previous", "revision", "seconds")

    def __init__(self, revision: int, current: Entry | None, previous: Entry | None, seconds: float) -> None:
        assert current is not None or previous is not None
        self.revision = revision
        self.current = current
        self.previous = previous
        self.seconds = seconds
        self._added: WatchEvent | None = None
        self._modified: WatchEvent | None = None
        self._deleted: WatchEvent | None = None

    @property
    def key(self) -> str:
        """The storage key."""
        entry = self.current or self.previous
        assert entry is not None
        return entry.key

    def event(self, selection: Selection) -> WatchEvent | None:
        """What the change is to a watcher; an object that leaves its selector is deleted as far as it can see.

        Raises `StatusError` when the object cannot be read.
        """
        current, previous = self.current, self.previous
        if current is not None and current.problem is not None:
            raise current.problem
        if current is not None and selection.matches(current):
            return (
                self._modified_event() if previous is not None and selection.matches(previous) else self._added_event()
            )
        if previous is not None and selection.matches(previous):
            return self._deleted_event()
        return None

    def _added_event(self) -> WatchEvent:
        if self._added is None:
            self._added = WatchEvent(EventType.ADDED, self.revision, self.current)
        return self._added

    def _modified_event(self) -> WatchEvent:
        if self._modified is None:
            self._modified = WatchEvent(EventType.MODIFIED, self.revision, self.current)
        return self._modified

    def _deleted_event(self) -> WatchEvent:
        if self._deleted is None:
            assert self.previous is not None
            self._deleted = WatchEvent(EventType.DELETED, self.revision, self.previous.at_revision(self.revision))
        return self._deleted


class ChangeLog:
    """The changes of one resource since it was loaded, within bounds."""

    def __init__(self, start_revision: int) -> None:
        self._changes: list[Change] = []
        self._first = 0  # changes before this position are dropped
        self._floor = start_revision
        self._trimmed = False

    def __len__(self) -> int:
        return len(self._changes) - self._first

    @property
    def floor(self) -> int:
        """The oldest revision whose following changes are all kept."""
        return self._floor

    @property
    def extensible(self) -> bool:
        """Whether what happened before the window may be put in front of it: nothing was let go of yet."""
        return not self._trimmed

    def extend_back(self, changes: list[Change], floor: int) -> None:
        """Put the changes between `floor` and the present floor in front."""
        assert self.extensible
        assert floor < self._floor
        self._changes[:0] = changes
        self._floor = floor

    def append(self, change: Change) -> None:
        """Keep a change, which is newer than all others, and let go of old ones."""
        self._changes.append(change)
        while len(self) > CHANGES_MIN:
            oldest = self._changes[self._first]
            if len(self) <= CHANGES_MAX and change.seconds - oldest.seconds < FRESH_SECONDS:
                break
            self._floor = oldest.revision
            self._first += 1
            self._trimmed = True
        if self._first > _TRIM_MIN and self._first * 2 > len(self._changes):
            del self._changes[: self._first]
            self._first = 0

    def since(self, revision: int) -> list[Change]:
        """All changes after a revision, in order.

        Raises `StatusError` 410 Expired when some of them are gone.
        """
        if revision < self._floor:
            raise expired(f"too old resource version: {revision} ({self._floor})")
        start = bisect_right(self._changes, revision, lo=self._first, key=lambda change: change.revision)
        return self._changes[start:]

    def undo_to(self, revision: int) -> dict[str, Entry | None]:
        """What the keys changed after a revision were at it: an entry, or None where there was no object yet."""
        return {change.key: change.previous for change in self._undoing(revision)}

    def _undoing(self, revision: int) -> Iterator[Change]:
        return reversed(self.since(revision))
