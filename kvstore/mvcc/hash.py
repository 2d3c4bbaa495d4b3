"""HashKV: one number that members with equal histories agree on.

CRC-32C over the name of the key bucket and then every stored revision and value up to a revision, without what a
compaction drops (etcd `server/storage/mvcc/hash.go`). A tombstone exactly at the compact revision is left out, because
some etcd releases delete it and others do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c

from kvstore.backend.interface import KEY_BUCKET
from kvstore.mvcc.errors import CompactedError, FutureRevisionError
from kvstore.mvcc.event import key_of
from kvstore.mvcc.revision import decode_revision, is_tombstone
from kvstore.mvcc.store import Store

__all__ = ["KeyValueHash", "hash_key_values", "hash_rows"]


@dataclass(frozen=True, slots=True)
class KeyValueHash:
    """A hash and what it covers."""

    hash: int
    compact_revision: int
    revision: int


def hash_key_values(store: Store, revision: int) -> KeyValueHash:
    """The hash up to `revision`; 0 means the newest.

    Raises:
        CompactedError, FutureRevisionError: the revision cannot be read.
    """
    newest, compacted = store.revision, store.compact_revision
    if revision > newest:
        raise FutureRevisionError
    if 0 < revision < compacted:
        raise CompactedError(compacted)
    upto = revision or newest
    return KeyValueHash(hash_rows(_rows(store, upto, compacted)), compacted, upto)


def hash_rows(rows: Iterator[bytes]) -> int:
    """CRC-32C of the key bucket's name and the rows, joined."""
    crc = google_crc32c.extend(0, KEY_BUCKET.encode())
    for row in rows:
        crc = google_crc32c.extend(crc, row)
    return int(crc)


def _rows(store: Store, upto: int, compacted: int) -> Iterator[bytes]:
    for stored, kv in store.backend.scan_revisions(b""):
        main, sub = decode_revision(stored)
        if main > upto:
            return
        if main <= compacted and not store.index.survives(key_of(kv), main, sub, compacted):
            continue
        if main == compacted and is_tombstone(stored):
            continue
        yield stored + kv
