"""HashKV: one number that members with equal histories agree on.

CRC-32C over the name of the key bucket and then every stored revision and value up to a revision, without what a
compaction drops (etcd `server/storage/mvcc/hash.go`). A tombstone exactly at the compact revision is left out, because
some etcd releases delete it and others do not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import google_crc32c

from kvstore.backend.interface import KEY_BUCKET
from kvstore.mvcc.errors import CompactedError, FutureRevisionError
from kvstore.mvcc.event import key_of
from kvstore.mvcc.revision import decode_revision, is_tombstone
from kvstore.mvcc.store import Store

__all__ = ["KeyValueHasher", "hash_key_values", "hash_rows"]


class KeyValueHasher:
    """A hash in the making.

    Call `step` until it is done; between steps anything may be read, written and compacted.

    Args:
        revision: hash up to it; 0 means the newest.

    Raises:
        CompactedError, FutureRevisionError: the revision cannot be read.
    """

    def __init__(self, store: Store, revision: int) -> None:
        if revision > store.revision:
            raise FutureRevisionError
        self._store = store
        self.revision = revision or store.revision
        self._begin()

    def _begin(self) -> None:
        self.compact_revision = self._store.compact_revision
        if self.revision < self.compact_revision:
            raise CompactedError(self.compact_revision)
        self.value = hash_rows(iter(()), KEY_BUCKET.encode())
        self._next = b""

    def step(self, rows: int) -> bool:
        """Go over at most so many more revisions; returns whether the hash is complete.

        A compaction since the last step takes away what was hashed already, so it starts again.

        Raises:
            CompactedError: the compaction passed the revision.
        """
        if self.compact_revision != self._store.compact_revision:
            self._begin()
        piece: list[bytes] = []
        done = True
        for stored, kv in itertools.islice(self._store.backend.scan_revisions(self._next), rows):
            done = False
            main, sub = decode_revision(stored)
            if main > self.revision:
                done = True
                break
            self._next = stored + b"\0"
            if self._counts(stored, kv, main, sub):
                piece += (stored, kv)
        self.value = hash_rows(iter(piece), crc=self.value)
        return done

    def _counts(self, stored: bytes, kv: bytes, main: int, sub: int) -> bool:
        compacted = self.compact_revision
        if main > compacted:
            return True
        if main == compacted and is_tombstone(stored):
            return False
        return self._store.index.survives(key_of(kv), main, sub, compacted)


def hash_rows(rows: Iterator[bytes], name: bytes = b"", crc: int = 0) -> int:
    """CRC-32C of a name and rows, joined, going on from `crc`."""
    if name:
        crc = google_crc32c.extend(crc, name)
    for row in rows:
        crc = google_crc32c.extend(crc, row)
    return int(crc)


def hash_key_values(store: Store, revision: int = 0) -> int:
    """The hash up to a revision (0: the newest), in one go.

    Raises:
        CompactedError, FutureRevisionError: the revision cannot be read.
    """
    hasher = KeyValueHasher(store, revision)
    while not hasher.step(1000):
        pass
    return hasher.value
