"""Compaction by the clock (etcd `server/etcdserver/api/v3compactor`).

`periodic` keeps the history of the last period: it notes the revision every so often and compacts to what was the
newest one period ago. `revision` keeps the last so many revisions, looking every five minutes.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from dataclasses import dataclass

from kvstore.environment import Clock
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import Store
from kvstore.server.background import BackgroundWork
from kvstore.server.consensus import Consensus
from kvstore.server.proposer import Proposer

__all__ = ["AutoCompaction", "Retention", "parse_duration_seconds", "parse_retention"]

REVISION_CHECK_SECONDS = 300.0
SAMPLES_PER_PERIOD = 10
HOUR_SECONDS = 3600.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retention:
    """What to keep: a period, a number of revisions, or (both 0) everything."""

    period_seconds: float = 0.0
    revisions: int = 0

    def __bool__(self) -> bool:
        return bool(self.period_seconds or self.revisions)


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": HOUR_SECONDS}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def parse_duration_seconds(text: str) -> float:
    """A duration in Go's form, `1h30m` or `100ms`, in seconds.

    Raises:
        ValueError: it is none.
    """
    rest = text.strip()
    sign = -1.0 if rest.startswith("-") else 1.0
    rest = rest.lstrip("+-")
    if rest == "0":
        return 0.0
    seconds = 0.0
    end = 0
    for match in _DURATION.finditer(rest):
        if match.start() != end:
            break
        seconds += float(match[1]) * _UNITS[match[2]]
        end = match.end()
    if not rest or end != len(rest):
        raise ValueError(f"invalid duration {text!r}")
    return sign * seconds


def parse_retention(mode: str, text: str) -> Retention:
    """`--auto-compaction-mode` and `--auto-compaction-retention` together; a bare number of a period means hours.

    Raises:
        ValueError: one of them makes no sense.
    """
    if mode == "revision":
        if not text.isdecimal():
            raise ValueError(f"invalid auto-compaction-retention {text!r}: a number of revisions is wanted")
        return Retention(revisions=int(text))
    if mode != "periodic":
        raise ValueError(f'unknown auto-compaction-mode "{mode}"')
    seconds = int(text) * HOUR_SECONDS if text.isdecimal() else parse_duration_seconds(text or "0")
    if seconds < 0:
        raise ValueError(f"invalid auto-compaction-retention {text!r}")
    return Retention(period_seconds=seconds)


class AutoCompaction(BackgroundWork):
    """Proposes compactions, on the leader."""

    def __init__(
        self, store: Store, proposer: Proposer, consensus: Consensus, clock: Clock, retention: Retention
    ) -> None:
        super().__init__()
        self._store = store
        self._proposer = proposer
        self._consensus = consensus
        self._clock = clock
        self._retention = retention

    async def _run(self) -> None:
        if self._retention.period_seconds:
            await self._run_periodic(self._retention.period_seconds)
        elif self._retention.revisions:
            await self._run_by_revision(self._retention.revisions)

    async def _run_periodic(self, period_seconds: float) -> None:
        # A period under an hour is compacted every period, a longer one every hour.
        interval = min(period_seconds, HOUR_SECONDS)
        pause = interval / SAMPLES_PER_PERIOD
        samples: deque[int] = deque(maxlen=round(period_seconds / pause) + 1)
        since_last = 0
        while True:
            samples.append(self._store.revision)
            await self._clock.sleep(pause)
            since_last += 1
            if len(samples) == samples.maxlen and since_last >= SAMPLES_PER_PERIOD:
                since_last = 0
                await self._compact(samples[0])

    async def _run_by_revision(self, revisions: int) -> None:
        while True:
            await self._clock.sleep(REVISION_CHECK_SECONDS)
            await self._compact(self._store.revision - revisions)

    async def _compact(self, revision: int) -> None:
        if not self._consensus.is_leader or revision <= max(0, self._store.compact_revision):
            return
        try:
            await self._proposer.propose("compaction", pb.CompactionRequest(revision=revision))
        except EtcdError as error:
            logger.warning("failed auto compaction", extra={"fields": {"revision": revision, "error": error.message}})
        else:
            logger.info("completed auto compaction", extra={"fields": {"revision": revision}})
