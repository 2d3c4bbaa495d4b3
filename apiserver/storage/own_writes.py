"""What this process has just written, for the watch cache to recognise when it comes back as an event.

The object and its encoding are already in memory when a write leaves; decoding them again from the event would double
the cost of every write. So each put is announced before it is sent. The event may arrive before or after the answer
to the write; either way the feed finds the entry by key and value, and both share it. An answer whose revision is the
very next one for the cache goes straight in, and its event finds it there.
"""

from __future__ import annotations

from collections.abc import Callable

from apiserver.storage.entries import Entry

__all__ = ["OwnWrites"]

Listener = Callable[[bytes, Entry | None, int], bool]
"""Takes key, new state (None: deleted) and revision of a write of ours; whether it needs no event any more."""


class OwnWrites:
    """Puts under way or not yet seen by the feed, by key.

    Attributes:
        listener: told of every write that was committed.
    """

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self._by_key: dict[bytes, list[tuple[bytes, Entry]]] = {}
        self._watched = False

    def __len__(self) -> int:
        return len(self._by_key)

    def watch(self, watched: bool) -> None:
        """Whether a feed is running that will claim entries; without one nothing is kept."""
        self._watched = watched
        if not watched:
            self._by_key.clear()

    def clear(self) -> None:
        """There was a gap in the events: what has not come back will not."""
        self._by_key.clear()

    def announce(self, key: bytes, value: bytes, entry: Entry) -> None:
        """`value` is about to be put at `key`."""
        if self._watched:
            self._by_key.setdefault(key, []).append((value, entry))

    def committed(self, key: bytes, entry: Entry | None, revision: int) -> None:
        """A write of ours has happened; `entry` is None when it was a deletion."""
        if self.listener is not None and self.listener(key, entry, revision) and entry is not None:
            self.withdraw(key, entry)

    def withdraw(self, key: bytes, entry: Entry) -> None:
        """Nothing is to be claimed: the put did not happen, or nobody knows, or the cache has it already."""
        writes = self._by_key.get(key)
        if writes is None:
            return
        writes[:] = [write for write in writes if write[1] is not entry]
        if not writes:
            del self._by_key[key]

    def claim(self, key: bytes, value: bytes, revision: int) -> Entry | None:
        """The entry of an event, committed at its revision; None when the write was somebody else's."""
        writes = self._by_key.get(key)
        if writes is None:
            return None
        for position, (written, entry) in enumerate(writes):
            if entry.revision in (0, revision) and written == value:
                del writes[position]
                if not writes:
                    del self._by_key[key]
                entry.commit(revision)
                return entry
        return None

    def latest(self, key: bytes) -> Entry | None:
        """The newest entry of a key that was committed but has not come back yet."""
        newest = None
        for _, entry in self._by_key.get(key, ()):
            if entry.revision > (newest.revision if newest is not None else 0):
                newest = entry
        return newest
