"""Which node port to give out (kubernetes `service/portallocator`)."""

from __future__ import annotations

from collections.abc import Container
from itertools import chain
from typing import Final

from apiserver.registry.allocators.errors import AllocationError, RangeFullError
from kvstore.environment import Randomness

__all__ = ["PortRange"]

# KEP-3668: the lower part of a range is left to those who choose a port themselves.
STATIC_BAND_MIN: Final = 16
STATIC_BAND_MAX: Final = 128
STATIC_BAND_FRACTION: Final = 32
RANDOM_TRIES: Final = 16


class PortRange:
    """The node ports of a cluster, both ends included."""

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = first, last
        size = last - first + 1
        band = min(max(STATIC_BAND_MIN, size // STATIC_BAND_FRACTION), STATIC_BAND_MAX)
        self._dynamic = first if size <= STATIC_BAND_MIN else first + band

    def check(self, wanted: int, taken: Container[int]) -> None:
        """AllocationError unless the port is in the range and free."""
        if not self._first <= wanted <= self._last:
            text = f"provided port is not in the valid range. The range of valid ports is {self._first}-{self._last}"
            raise AllocationError(text)
        if wanted in taken:
            raise AllocationError("provided port is already allocated")

    def pick(self, taken: Container[int], randomness: Randomness) -> int:
        """A free port: a random one above the static band, or failing that any. RangeFullError when none is left."""
        upper = self._last - self._dynamic + 1
        for _ in range(RANDOM_TRIES):
            port = self._dynamic + randomness.below(upper)
            if port not in taken:
                return port
        in_order = chain(range(self._dynamic, self._last + 1), range(self._first, self._dynamic))
        free = next((port for port in in_order if port not in taken), None)
        if free is None:
            raise RangeFullError
        return free
