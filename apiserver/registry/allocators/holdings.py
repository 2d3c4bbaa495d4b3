"""Who holds which items (addresses, ports): what the stored objects say, and what this process knows beyond that.

The objects are heard of through a watch, which is always a little behind. So an item that was just given out is
reserved until it is seen with its owner, and one that was given back counts as free although it is still seen there:

    reserve(80, owner=A)            80 is taken
    observe(A, [80])                80 is taken, now because A has it
    release(80, owner=A)            80 is free at once
    observe(A, [80])                still free: news from before the release
    observe(A, None)                A is gone, and so is the memory of the release

All methods run on the event loop without waiting, so that a check and the reservation after it cannot be parted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, TypeVar, cast

from kvstore.environment import Clock

__all__ = ["Holdings"]

Item = TypeVar("Item", str, int)

# How long knowledge lasts that no watch confirms. Watches are behind by milliseconds; this is for when one breaks.
KEEP_SECONDS: Final = 60.0


class Holdings(Generic[Item]):
    """Items and their owners, by uid. `item in holdings` tells whether an item is taken."""

    def __init__(self) -> None:
        self._owners: dict[Item, set[str]] = {}
        self._items: dict[str, tuple[Item, ...]] = {}
        self._reserved: dict[Item, tuple[str, float]] = {}  # owner, and until when on the monotonic clock
        self._released: dict[tuple[Item, str], float] = {}

    def __contains__(self, item: object) -> bool:
        if item in self._reserved:
            return True
        owners = self._owners.get(cast("Item", item), ())
        return any((item, owner) not in self._released for owner in owners)

    def observe(self, owner: str, items: Iterable[Item] | None) -> None:
        """What an owner has according to the store; None when it is gone."""
        now = tuple(dict.fromkeys(items or ()))
        for item in self._items.pop(owner, ()):
            owners = self._owners[item]
            owners.discard(owner)
            if not owners:
                del self._owners[item]
            if item not in now:
                self._released.pop((item, owner), None)
        for item in now:
            self._owners.setdefault(item, set()).add(owner)
            if self._reserved.get(item, ("", 0.0))[0] == owner:
                del self._reserved[item]
        if now:
            self._items[owner] = now

    def forget_observed(self) -> None:
        """Begin anew with what the store says."""
        self._owners.clear()
        self._items.clear()

    def reserve(self, owner: str, items: Iterable[Item], clock: Clock) -> None:
        """Hold items for a write that is on its way."""
        until = clock.monotonic() + KEEP_SECONDS
        for item in items:
            self._reserved[item] = owner, until
            self._released.pop((item, owner), None)

    def cancel(self, owner: str, items: Iterable[Item]) -> None:
        """The write failed."""
        for item in items:
            if self._reserved.get(item, ("", 0.0))[0] == owner:
                del self._reserved[item]

    def release(self, owner: str, items: Iterable[Item], clock: Clock) -> None:
        """The owner is gone, or gave the items up."""
        items = list(items)
        self.cancel(owner, items)
        until = clock.monotonic() + KEEP_SECONDS
        for item in items:  # also where the owner was not seen with it yet
            self._released[item, owner] = until

    def expire(self, clock: Clock) -> None:
        """Forget what was known for too long without being confirmed."""
        now = clock.monotonic()
        for item in [item for item, (_, until) in self._reserved.items() if until <= now]:
            del self._reserved[item]
        for key in [key for key, until in self._released.items() if until <= now]:
            del self._released[key]
