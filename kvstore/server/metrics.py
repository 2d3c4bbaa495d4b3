"""Counting, as cheaply as can be: what is exported as metrics is read from the parts themselves when asked for."""

from __future__ import annotations

from bisect import bisect_left

__all__ = ["Histogram", "MemberMetrics"]


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


class MemberMetrics:
    """What must be measured where it happens."""

    def __init__(self) -> None:
        self.wal_fsync_seconds = Histogram(0.001, 2, 14)
        self.backend_commit_seconds = Histogram(0.001, 2, 14)
        self.leader_changes = 0
