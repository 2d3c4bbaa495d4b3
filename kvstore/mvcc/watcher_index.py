"""Which watchers a key concerns.

Three kinds of ranges are kept apart. Single keys and prefixes (a range that ends where its prefix ends) are found by
looking the key, and each of its prefixes of a length in use, up in a dictionary; what is left is compared one by one.
Nearly every watcher in practice is of the first two kinds, so the cost of an event does not grow with their number.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from kvstore.mvcc.key_index import FROM_KEY

__all__ = ["WatcherIndex", "in_range", "prefix_end"]


class Ranged(Protocol):
    """Something that watches [key, end); an empty end means the key alone."""

    key: bytes
    end: bytes


WatcherT = TypeVar("WatcherT", bound=Ranged)


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range that holds every key with this prefix.

    >>> prefix_end(b"/pods/")
    b'/pods0'
    >>> prefix_end(bytes([255]))
    b'\\x00'
    """
    stem = prefix.rstrip(b"\xff")
    if not stem:
        return FROM_KEY
    return stem[:-1] + bytes((stem[-1] + 1,))


def in_range(name: bytes, key: bytes, end: bytes) -> bool:
    """Whether the name lies in [key, end), with etcd's special ends."""
    if not end:
        return name == key
    return key <= name and (end == FROM_KEY or name < end)


class WatcherIndex(Generic[WatcherT]):
    """A set of watchers that can be asked which of them a key concerns."""

    def __init__(self) -> None:
        # Dictionaries instead of sets: the order of watchers is that of their creation, on every run.
        self._exact: dict[bytes, dict[WatcherT, None]] = {}
        self._prefixes: dict[bytes, dict[WatcherT, None]] = {}
        self._lengths: dict[int, int] = {}
        self._ranges: dict[WatcherT, None] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, watcher: WatcherT) -> None:
        """Add a watcher that is not in the index."""
        self._size += 1
        if not watcher.end:
            self._exact.setdefault(watcher.key, {})[watcher] = None
        elif _is_prefix(watcher):
            if watcher.key not in self._prefixes:
                length = len(watcher.key)
                self._lengths[length] = self._lengths.get(length, 0) + 1
            self._prefixes.setdefault(watcher.key, {})[watcher] = None
        else:
            self._ranges[watcher] = None

    def remove(self, watcher: WatcherT) -> None:
        """Remove a watcher that is in the index."""
        self._size -= 1
        if not watcher.end:
            _discard(self._exact, watcher)
        elif _is_prefix(watcher):
            if _discard(self._prefixes, watcher):
                length = len(watcher.key)
                self._lengths[length] -= 1
                if not self._lengths[length]:
                    del self._lengths[length]
        else:
            del self._ranges[watcher]

    def matching(self, key: bytes) -> list[WatcherT]:
        """The watchers whose range holds the key."""
        found: list[WatcherT] = []
        exact = self._exact.get(key)
        if exact is not None:
            found.extend(exact)
        if self._prefixes:
            prefixes = self._prefixes
            for length in self._lengths:
                if length > len(key):
                    continue
                group = prefixes.get(key[:length])
                if group is not None:
                    found.extend(group)
        if self._ranges:
            found.extend(watcher for watcher in self._ranges if in_range(key, watcher.key, watcher.end))
        return found


def _is_prefix(watcher: Ranged) -> bool:
    # A prefix of 0xff bytes alone ends where «from key on» ends, but other keys lie behind it too.
    return watcher.end != FROM_KEY and watcher.end == prefix_end(watcher.key) and not watcher.key.endswith(b"\xff")


def _discard(groups: dict[bytes, dict[WatcherT, None]], watcher: WatcherT) -> bool:
    """Remove a watcher from its group; returns whether the group is gone with it."""
    group = groups[watcher.key]
    del group[watcher]
    if not group:
        del groups[watcher.key]
    return not group
