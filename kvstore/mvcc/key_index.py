"""The history of one key, packed, and the tree of all keys.

A key's history is a flat `array` of records, four integers each, oldest first:

    main, sub    the revision of the change
    created      main revision of the put that began this generation; 0 in a tombstone
    version      1 for the first put of a generation, then 2, 3 …; 0 in a tombstone

A *generation* is a key's life from a put to the deletion after it: the run of records up to and including a tombstone.
Each record says what its generation was, so generations need no structure of their own, and compaction may cut the
history anywhere.

Worked example. `put(1.0); put(2.0); delete(3.0); put(4.0); delete(5.0)` on key "foo" gives five records:

    (1,0,1,1) (2,0,1,2) (3,0,0,0) | (4,0,4,1) (5,0,0,0)

`find(…, at=2)` is (2,0,1,2); at 3 the key is deleted; at 4 it lives again. Compaction keeps, of all records up to the
compact revision, only the newest, and not even that when it is a tombstone older than the compact revision:

    compact(2)   (2,0,1,2) (3,0,0,0) | (4,0,4,1) (5,0,0,0)
    compact(4)   (4,0,4,1) (5,0,0,0)
    compact(5)   (5,0,0,0)               a tombstone exactly at the compact revision stays
    compact(6)   nothing: the key leaves the tree

The tombstone at the compact revision is kept because a watcher may still start there, and because members that
compacted at different moments must agree on their hash (etcd 3.4.34 and 3.5.16 changed to this).

A record costs 32 bytes and a key with one record 112 bytes beside its name; none of it is visible to the garbage
collector.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from sortedcontainers import SortedDict, SortedSet

from kvstore.mvcc.revision import TOMBSTONE_MARK, encode_revision

__all__ = ["FROM_KEY", "History", "Record", "TreeIndex", "compact_history", "find_record"]

FROM_KEY = b"\0"
"""As a range end: every key from the start on."""

RECORD_WIDTH = 4

History: TypeAlias = "array[int]"


class Record(NamedTuple):
    """What the index knows of one key at one revision."""

    key: bytes
    main: int
    sub: int
    created: int
    version: int


def find_record(history: History, at: int) -> int:
    """Offset of the newest record with main revision ≤ `at`, -1 if there is none.

    The newest record is what nearly every caller wants, so it is tried before bisecting.
    """
    last = len(history) - RECORD_WIDTH
    if history[last] <= at:
        return last
    low, high = 0, last // RECORD_WIDTH
    while low < high:
        middle = (low + high) // 2
        if history[middle * RECORD_WIDTH] <= at:
            low = middle + 1
        else:
            high = middle
    return (low - 1) * RECORD_WIDTH


def compact_history(history: History, at: int) -> list[tuple[int, int, bool]]:
    """Drop from `history` what a compaction at `at` does not keep.

    Returns the dropped revisions as (main, sub, whether it is a tombstone), oldest first: a tombstone must leave the
    disk no earlier than what it hides. The history may end up empty.
    """
    keep = find_record(history, at)
    if keep < 0:
        return []
    if history[keep + 3] == 0 and history[keep] < at:
        keep += RECORD_WIDTH
    dropped = [
        (history[offset], history[offset + 1], history[offset + 3] == 0) for offset in range(0, keep, RECORD_WIDTH)
    ]
    del history[:keep]
    return dropped


class TreeIndex:
    """Every key that has a history, in key order.

    Two sets ride along. `_dead` holds the keys whose newest record is a tombstone, so that counting a range at the
    current revision is four bisections and no scan. `_compactable` holds the keys a compaction could shorten, so that
    its cost follows what has changed and not what is stored.
    """

    def __init__(self) -> None:
        self._tree: SortedDict[bytes, History] = SortedDict()
        self._dead: SortedSet[bytes] = SortedSet()
        self._compactable: set[bytes] = set()
        self._latest = 0

    def __len__(self) -> int:
        return len(self._tree)

    def restore(self, histories: dict[bytes, History]) -> None:
        """Replace everything by `histories`, each non-empty and in the order of history."""
        self._tree = SortedDict(histories)
        self._dead = SortedSet(key for key, history in histories.items() if history[-1] == 0)
        self._compactable = {
            key for key, history in histories.items() if len(history) > RECORD_WIDTH or history[-1] == 0
        }
        self._latest = max((history[-RECORD_WIDTH] for history in histories.values()), default=0)

    # --- writing

    def put(self, key: bytes, main: int, sub: int) -> tuple[int, int, int, int]:
        """Record a put; (main, sub) must be newer than everything recorded.

        Returns what it made of the key, (created, version), and the revision it replaced, (main, sub) or (0, 0).
        """
        self._latest = main
        history = self._tree.get(key)
        if history is None:
            self._tree[key] = array("q", (main, sub, main, 1))
            return main, 1, 0, 0
        version = history[-1]
        if version == 0:
            self._dead.remove(key)
            history.extend((main, sub, main, 1))
            return main, 1, 0, 0
        previous_main, previous_sub, created = history[-4], history[-3], history[-2]
        if len(history) == RECORD_WIDTH:
            self._compactable.add(key)
        history.extend((main, sub, created, version + 1))
        return created, version + 1, previous_main, previous_sub

    def tombstone(self, key: bytes, main: int, sub: int) -> None:
        """Record the deletion of a key that lives; (main, sub) must be newer than everything recorded."""
        self._latest = main
        history = self._tree[key]
        assert history[-1] > 0, "only a living key can be deleted"
        history.extend((main, sub, 0, 0))
        self._dead.add(key)
        self._compactable.add(key)

    # --- reading

    def get(self, key: bytes, at: int) -> Record | None:
        """The key at main revision `at`; None if it did not exist then."""
        history = self._tree.get(key)
        if history is None:
            return None
        offset = find_record(history, at)
        if offset < 0 or history[offset + 3] == 0:
            return None
        return Record(key, history[offset], history[offset + 1], history[offset + 2], history[offset + 3])

    def newest(self, key: bytes) -> Record | None:
        """The key as it is now, even if what made it so has not been published yet."""
        history = self._tree.get(key)
        if history is None or history[-1] == 0:
            return None
        return Record(key, history[-4], history[-3], history[-2], history[-1])

    def previous(self, key: bytes, main: int) -> bytes | None:
        """Stored revision of the key just before main revision `main`; None if it did not exist or is compacted."""
        record = self.get(key, main - 1)
        return None if record is None else encode_revision(record.main, record.sub)

    def revisions(self, key: bytes, end: bytes, at: int, limit: int = 0) -> list[bytes]:
        """Stored revisions of the first `limit` (0: all) keys of the range that live at `at`, in key order."""
        if not end:
            record = self.get(key, at)
            return [] if record is None else [encode_revision(record.main, record.sub)]
        tree = self._tree
        found: list[bytes] = []
        append = found.append
        newest_only = at >= self._latest
        for name in self._names(key, end):
            history = tree[name]
            offset = -RECORD_WIDTH if newest_only else find_record(history, at)
            if (offset < 0 and not newest_only) or history[offset + 3] == 0:
                continue
            append(encode_revision(history[offset], history[offset + 1]))
            if len(found) == limit:
                break
        return found

    def records(self, key: bytes, end: bytes, at: int, limit: int = 0) -> list[Record]:
        """The first `limit` (0: all) keys of the range that live at `at`, in key order."""
        if not end:
            record = self.get(key, at)
            return [] if record is None else [record]
        found: list[Record] = []
        for name in self._names(key, end):
            record = self.get(name, at)
            if record is not None:
                found.append(record)
                if len(found) == limit:
                    break
        return found

    def count(self, key: bytes, end: bytes, at: int) -> int:
        """How many keys of the range live at `at`."""
        if not end:
            return 0 if self.get(key, at) is None else 1
        if at >= self._latest:
            return _between(self._tree, key, end) - _between(self._dead, key, end)
        tree = self._tree
        living = 0
        for name in self._names(key, end):
            history = tree[name]
            offset = find_record(history, at)
            if offset >= 0 and history[offset + 3]:
                living += 1
        return living

    def changes_since(self, key: bytes, end: bytes, main: int) -> list[tuple[int, int, bool]]:
        """Every change of the range from main revision `main` on, as (main, sub, deleted), in the order of history."""
        names = self._names(key, end) if end else ((key,) if key in self._tree else ())
        found: list[tuple[int, int, bool]] = []
        for name in names:
            history = self._tree[name]
            for offset in range(len(history) - RECORD_WIDTH, -1, -RECORD_WIDTH):
                if history[offset] < main:
                    break
                found.append((history[offset], history[offset + 1], history[offset + 3] == 0))
        found.sort()
        return found

    def stored_keys(self, key: bytes, end: bytes) -> int:
        """How many keys of the range have a history, living or not: what walking the range would cost."""
        return _between(self._tree, key, end) if end else 1

    def _names(self, key: bytes, end: bytes) -> Iterator[bytes]:
        if end == FROM_KEY:
            return self._tree.irange(key)
        return self._tree.irange(key, end, inclusive=(True, False))

    # --- compaction

    def compact(self, at: int, keys_per_step: int) -> Iterator[list[bytes]]:
        """Drop what a compaction at `at` does not keep, a bounded step at a time.

        Each step yields the stored revisions to delete, per key oldest first. Writes and reads at revisions ≥ `at` may
        happen between steps and see no difference.
        """
        names = sorted(self._compactable)
        for start in range(0, len(names), keys_per_step):
            dropped: list[bytes] = []
            for name in names[start : start + keys_per_step]:
                for main, sub, deleted in self._compact_key(name, at):
                    stored = encode_revision(main, sub)
                    dropped.append(stored + TOMBSTONE_MARK if deleted else stored)
            yield dropped

    def _compact_key(self, key: bytes, at: int) -> list[tuple[int, int, bool]]:
        history = self._tree.get(key)
        if history is None:  # emptied by a compaction that ran meanwhile
            return []
        dropped = compact_history(history, at)
        if not history:
            del self._tree[key]
            self._dead.remove(key)
            self._compactable.discard(key)
        elif len(history) == RECORD_WIDTH and history[-1]:
            self._compactable.discard(key)
        return dropped

    def survives(self, key: bytes, main: int, sub: int, compacted: int) -> bool:
        """Whether a compaction at `compacted` keeps the change (main, sub) of the key."""
        history = self._tree.get(key)
        if history is None:
            return False
        offset = find_record(history, compacted)
        if offset < 0 or (history[offset], history[offset + 1]) != (main, sub):
            return main > compacted
        return history[offset + 3] > 0 or main == compacted

    def _check(self) -> None:
        """Assert what must hold between and inside the histories."""
        for key, history in self._tree.items():
            assert history, key
            assert len(history) % RECORD_WIDTH == 0, key
            records = [Record(key, *history[i : i + RECORD_WIDTH]) for i in range(0, len(history), RECORD_WIDTH)]
            for record in records:
                assert (record.created == 0) == (record.version == 0), record
                assert record.created <= record.main <= self._latest, record
            for older, newer in itertools.pairwise(records):
                assert (older.main, older.sub) < (newer.main, newer.sub), (older, newer)
                if newer.version > 1:
                    assert (newer.created, newer.version) == (older.created, older.version + 1), (older, newer)
                elif newer.version == 1:
                    assert older.version == 0, (older, newer)
                    assert newer.created == newer.main, newer
                else:
                    assert older.version > 0, (older, newer)
            assert (records[-1].version == 0) == (key in self._dead), key
            assert (len(records) > 1 or records[-1].version == 0) <= (key in self._compactable), key
        assert len(self._dead) <= len(self._tree)


def _between(names: SortedDict[bytes, History] | SortedSet[bytes], key: bytes, end: bytes) -> int:
    """How many of the sorted names lie in [key, end); a range that ends before it starts holds none."""
    stop = len(names) if end == FROM_KEY else names.bisect_left(end)
    return max(0, int(stop - names.bisect_left(key)))
