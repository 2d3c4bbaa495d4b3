"""Compactions in the background, one after the other, a slice at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator

from kvstore.environment import Clock
from kvstore.mvcc import Store
from kvstore.server.hashes import KeyValueHash
from kvstore.server.metrics import MemberMetrics

__all__ = ["PAUSE_SECONDS", "Compactor"]

PAUSE_SECONDS = 0.01
"""Between two slices, so that a large compaction does not crowd out requests."""

logger = logging.getLogger(__name__)


class Compactor:
    """Does the work that compactions hand in, in order.

    Attributes:
        hash: computes the hash of what a compaction left, if somebody is going to ask for it.
    """

    def __init__(
        self, clock: Clock, store: Store, metrics: MemberMetrics, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self._clock = clock
        self._store = store
        self._metrics = metrics
        self._pause_seconds = pause_seconds
        self._last: asyncio.Task[None] | None = None
        self.hash: Callable[[], Awaitable[KeyValueHash | None]] | None = None

    def start(self, revision: int, work: Iterator[None]) -> None:
        """Take in the work of the compaction at `revision`."""
        task = asyncio.get_running_loop().create_task(self._run(self._last, revision, work))
        self._last = task

    async def finished(self) -> None:
        """Return when everything handed in so far is done."""
        if self._last is not None:
            await asyncio.shield(self._last)

    async def stop(self) -> None:
        """Leave the rest to `Store.pending_compaction`."""
        last, self._last = self._last, None
        if last is not None:
            last.cancel()
            await asyncio.wait([last])

    async def _run(self, before: asyncio.Task[None] | None, revision: int, work: Iterator[None]) -> None:
        if before is not None:
            await before
        store, metrics, monotonic = self._store, self._metrics, self._clock.monotonic
        compacted_before = store.compacted_count
        started = slice_started = monotonic()
        for _ in work:
            metrics.compaction_pause_milliseconds.observe((monotonic() - slice_started) * 1000)
            await self._clock.sleep(self._pause_seconds)
            slice_started = monotonic()
        seconds = monotonic() - started
        compacted = store.compacted_count - compacted_before
        metrics.compaction_total_milliseconds.observe(seconds * 1000)
        metrics.compaction_keys += compacted
        metrics.compaction_last = self._clock.now()
        fields: dict[str, object] = {
            "compact-revision": revision,
            "took": f"{seconds:.6f}s",
            "number-of-keys-compacted": compacted,
            "current-db-size-bytes": store.backend.size_bytes(),
            "current-db-size-in-use-bytes": store.backend.size_in_use_bytes(),
        }
        if self.hash is not None and (computed := await self.hash()) is not None:
            fields["hash"] = computed.value
        logger.info("finished scheduled compaction", extra={"fields": fields})
