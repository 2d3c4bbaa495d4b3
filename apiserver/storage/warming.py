"""Making the bytes of very many objects without keeping the event loop from everything else.

After a restart nothing is decoded yet. The first list of ten thousand pods then decodes for a second, in which no other
request would be answered and no heartbeat of the store would leave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from apiserver.api.scheme import Resource
from apiserver.storage.entries import Entry
from apiserver.storage.interface import StoredObject
from kvstore.environment import Clock

__all__ = ["warm_json"]

SLICE_SECONDS: Final = 0.01
"""How long others wait at most."""
_CHECK_OBJECTS: Final = 8


async def warm_json(items: Iterable[StoredObject], resource: Resource, clock: Clock) -> None:
    """Make the JSON of each item, a slice at a time; afterwards `json` only hands it out.

    Raises what `json` raises.
    """
    cold = [item for item in items if isinstance(item, Entry) and not item.has_json(resource)]
    started_seconds = clock.monotonic()
    for position, item in enumerate(cold):
        item.json(resource)
        if position % _CHECK_OBJECTS == 0 and clock.monotonic() - started_seconds > SLICE_SECONDS:
            await asyncio.sleep(0)
            started_seconds = clock.monotonic()
