"""What this process has given out or taken back so lately that the cache may not know."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from kvstore.environment import Clock

__all__ = ["Reservations"]

Item = TypeVar("Item", str, int)

# How long a reservation outlives its write. The cache is behind by milliseconds; this is for when it stalls.
KEEP_SECONDS: Final = 60.0


class Reservations(Generic[Item]):
    """Items reserved for services that are being written, and items of services just deleted.

    All methods run on the event loop without waiting, so that a check and the reservation after it cannot be parted.
    """

    def __init__(self) -> None:
        self._reserved: dict[Item, float] = {}  # until when, on the monotonic clock
        self._released: dict[Item, float] = {}

    def taken(self, in_services: Iterable[Item], clock: Clock) -> set[Item]:
        """What may not be given out, from what the services in the cache say."""
        now = clock.monotonic()
        for table in (self._reserved, self._released):
            for item in [item for item, until in table.items() if until <= now]:
                del table[item]
        return (set(in_services) - self._released.keys()) | self._reserved.keys()

    def reserve(self, items: Iterable[Item], clock: Clock) -> None:
        """Hold items for a write that is on its way."""
        until = clock.monotonic() + KEEP_SECONDS
        for item in items:
            self._reserved[item] = until
            self._released.pop(item, None)

    def cancel(self, items: Iterable[Item]) -> None:
        """The write failed."""
        for item in items:
            self._reserved.pop(item, None)

    def release(self, items: Iterable[Item], clock: Clock) -> None:
        """The service that had the items is gone, or gave them up."""
        until = clock.monotonic() + KEEP_SECONDS
        for item in items:
            self._reserved.pop(item, None)
            self._released[item] = until
