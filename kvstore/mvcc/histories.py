"""What a store keeps in memory of its database: the history of every key, and the leases keys hang on."""

from __future__ import annotations

import gc
from array import array
from collections.abc import Iterable, Iterator

from kvstore.etcdpb import kv_pb2
from kvstore.mvcc.key_index import History
from kvstore.mvcc.revision import unpack_revision

__all__ = ["Histories"]

ROWS_PER_STEP = 1_000
"""Some milliseconds' worth."""
KEYS_FROZEN_MIN = 10_000


class Histories:
    """Read a step at a time, from a database that does not change meanwhile.

    Attributes:
        by_key: each key's history.
        leases: the lease of each key that has one.
        newest: the newest main revision.
    """

    def __init__(self) -> None:
        self.by_key: dict[bytes, History] = {}
        self.leases: dict[bytes, int] = {}
        self.newest = 0

    def read(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[None]:
        """Read the rows of the key bucket, in order; others may run between two steps.

        The collector is paused until the end, and if there is much never looks at it again: what is made here stays,
        and each look would take as long as many steps.
        """
        upcoming = iter(rows)
        collecting = gc.isenabled()
        gc.disable()
        try:
            while self._read_step(upcoming) == ROWS_PER_STEP:
                yield
            if len(self.by_key) >= KEYS_FROZEN_MIN:
                gc.freeze()
        finally:
            if collecting:
                gc.enable()

    def _read_step(self, rows: Iterator[tuple[bytes, bytes]]) -> int:
        histories, leases = self.by_key, self.leases
        parse = kv_pb2.KeyValue.FromString
        count = newest = 0
        for count, (stored, value) in enumerate(rows, start=1):
            newest, _, sub = unpack_revision(stored)
            kv = parse(value)
            key = kv.key
            # A tombstone's record has no creation revision and no version, and so become zeros here by themselves.
            record = (newest, sub, kv.create_revision, kv.version)
            if key in histories:
                histories[key].extend(record)
            else:
                histories[key] = array("q", record)
            lease_id = kv.lease
            if lease_id:
                leases[key] = lease_id
            elif leases:
                leases.pop(key, None)
            if count == ROWS_PER_STEP:
                break
        self.newest = newest or self.newest
        return count
