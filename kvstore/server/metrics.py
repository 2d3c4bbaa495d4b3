"""Counting, as cheaply as can be: what is exported as metrics is read from the parts themselves when asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

__all__ = ["Histogram", "HistogramFamily", "MemberMetrics", "operation_name"]


class Histogram:
    """How many observations fell below each of a row of exponential bounds.

    Attributes:
        bounds: upper bounds of the buckets, in the observed unit; the last bucket has none.
        counts: observations per bucket.
        sum: of all observations.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, start: float, factor: float, count: int) -> None:
        self.bounds = [start * factor**power for power in range(count)]
        self.counts = [0] * (count + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class HistogramFamily:
    """Histograms of the same bounds by the values of some labels."""

    __slots__ = ("_bounds", "_histograms")

    def __init__(self, start: float, factor: float, count: int) -> None:
        self._bounds = (start, factor, count)
        self._histograms: dict[tuple[str, ...], Histogram] = {}

    def of(self, *labels: str) -> Histogram:
        """The histogram of these values; whoever observes often keeps it."""
        histogram = self._histograms.get(labels)
        if histogram is None:
            histogram = self._histograms[labels] = Histogram(*self._bounds)
        return histogram

    def __iter__(self) -> Iterator[tuple[tuple[str, ...], Histogram]]:
        return iter(self._histograms.items())


def operation_name(field: str) -> str:
    """A field of `InternalRaftRequest` as etcd's metrics name it: `delete_range` is `DeleteRange`."""
    return "".join(word.capitalize() for word in field.split("_"))


class MemberMetrics:
    """What must be measured where it happens; names are those of etcd's metrics, less the prefixes.

    Attributes:
        request_seconds: by type and success.
        apply_seconds: by operation and success.
        range_seconds: by success.
        round_trip_seconds: how long members took to answer, by member.
        promote_failures: promotions of learners that were refused, by reason.
        snapshots_in_progress: snapshots from the leader being installed.
    """

    def __init__(self) -> None:
        self.wal_fsync_seconds = Histogram(0.001, 2, 14)
        self.backend_commit_seconds = Histogram(0.001, 2, 14)
        self.backend_defrag_seconds = Histogram(0.1, 2, 13)
        self.backend_snapshot_seconds = Histogram(0.01, 2, 17)
        self.defrag_inflight = 0
        self.hash_seconds = Histogram(0.01, 2, 15)
        self.hash_rev_seconds = Histogram(0.01, 2, 15)
        self.compaction_pause_milliseconds = Histogram(1, 2, 13)
        self.compaction_total_milliseconds = Histogram(100, 2, 14)
        self.compaction_keys = 0
        self.compaction_last = 0.0
        self.request_seconds = HistogramFamily(0.001, 2, 14)
        self.apply_seconds = HistogramFamily(0.0001, 2, 20)
        self.range_seconds = HistogramFamily(0.0001, 2, 20)
        self.slow_applies = 0
        self.leader_changes = 0
        self.round_trip_seconds = HistogramFamily(0.0001, 2, 16)
        self.events_sent = 0
        self.lease_granted = 0
        self.lease_revoked = 0
        self.lease_expired = 0
        self.lease_ttl = Histogram(1, 2, 24)
        self.txn_count = 0
        self.snapshots_in_progress = 0
        self.promote_successes = 0
        self.promote_failures: dict[tuple[str, ...], int] = {}
