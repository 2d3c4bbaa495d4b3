"""Hashes of the key space by revision, computed when asked for or kept from a compaction.

What is kept is the hash at a compact revision: from then on nothing can change below it, so members that have compacted
to the same revision can be compared at leisure, however far each has come since. (etcd hashes what a compaction saw
before it deleted anything, with the compact revision before; a hash here is of what it left, under its own.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from kvstore.mvcc import CompactedError, Store
from kvstore.mvcc.hash import KeyValueHasher
from kvstore.server.metrics import Histogram

__all__ = ["KEPT_MAX", "Hashes", "KeyValueHash"]

KEPT_MAX = 10
"""Hashes of compactions that are kept, the newest."""

_ROWS_PER_STEP = 2000


@dataclass(frozen=True, slots=True)
class KeyValueHash:
    """The hash of every revision up to `revision` that a compaction at `compact_revision` leaves."""

    value: int
    compact_revision: int
    revision: int


class Hashes:
    """The hashes of one member.

    Args:
        monotonic: seconds, never going back.
        seconds: observes how long each took to compute.
    """

    def __init__(self, store: Store, monotonic: Callable[[], float], seconds: Histogram) -> None:
        self._store = store
        self._monotonic = monotonic
        self._seconds = seconds
        self._kept: dict[int, KeyValueHash] = {}

    @property
    def kept(self) -> list[KeyValueHash]:
        """Those of compactions, newest first."""
        return [self._kept[revision] for revision in sorted(self._kept, reverse=True)]

    async def at(self, revision: int) -> KeyValueHash:
        """The hash up to a revision; 0 means the newest. Others get their turn while it is computed.

        Raises:
            CompactedError, FutureRevisionError: the revision cannot be read.
        """
        return self._kept.get(revision) or await self._compute(revision)

    async def keep(self) -> KeyValueHash | None:
        """Compute and keep the hash at the compact revision; None when there is none, or a compaction overtook it."""
        revision = self._store.compact_revision
        if revision <= 0:
            return None
        if revision not in self._kept:
            try:
                computed = await self._compute(revision)
            except CompactedError:
                return None
            self._kept[computed.revision] = computed
            for old in sorted(self._kept)[:-KEPT_MAX]:
                del self._kept[old]
        return self._kept.get(revision)

    async def _compute(self, revision: int) -> KeyValueHash:
        started = self._monotonic()
        hasher = KeyValueHasher(self._store, revision)
        while not hasher.step(_ROWS_PER_STEP):  # noqa: ASYNC110  nobody is waited for: others get their turn
            await asyncio.sleep(0)
        self._seconds.observe(self._monotonic() - started)
        return KeyValueHash(hasher.value, hasher.compact_revision, hasher.revision)
