"""Keeps what an authorizer knows of the cluster's objects up to date."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Protocol

from apiserver.api.status import StatusError
from kvstore.environment import Clock

__all__ = ["Follow", "Follower", "Knowledge"]

Object = dict[str, Any]

Follow = Callable[[str, str], AsyncIterator[Sequence[tuple[Object, bool]]]]
"""All objects of a resource in one batch, then batches of those that changed, each with whether it is gone; ends when
the watch breaks."""

RETRY_SECONDS: Final = 0.2
_LOG = logging.getLogger("apiserver.authorization")


class Knowledge(Protocol):
    """What is told of objects; runs on the event loop and does not wait."""

    def replace(self, resource: str, objects: Sequence[Object]) -> None:
        """These are all objects of the resource."""

    def apply(self, resource: str, obj: Object, gone: bool) -> None:
        """An object is new, has changed, or is gone."""


class Follower:
    """Follows resources until cancelled; a watch that breaks is begun anew.

    Args:
        resources: group and plural name of each.
    """

    def __init__(
        self, follow: Follow, clock: Clock, resources: Sequence[tuple[str, str]], knowledge: Knowledge
    ) -> None:
        self._follow = follow
        self._clock = clock
        self._knowledge = knowledge
        self._known = {resource: asyncio.Event() for resource in resources}

    async def ready(self) -> None:
        """Return when everything that is there has been told."""
        for known in self._known.values():
            await known.wait()

    async def run(self) -> None:
        """Follow all resources."""
        async with asyncio.TaskGroup() as group:
            for resource, known in self._known.items():
                group.create_task(self._keep_following(*resource, known), name=f"authorization-{resource[1]}")

    async def _keep_following(self, group: str, plural: str, known: asyncio.Event) -> None:
        while True:
            try:
                await self._once(group, plural, known)
            except StatusError as error:
                _LOG.warning("the watch of %s for authorization begins again: %s", plural, error.message)
            known.set()  # a resource that is not served has nothing to tell
            await self._clock.sleep(RETRY_SECONDS)

    async def _once(self, group: str, plural: str, known: asyncio.Event) -> None:
        first = True
        async for batch in self._follow(group, plural):
            if first:
                self._knowledge.replace(plural, [obj for obj, _ in batch])
                known.set()
                first = False
                continue
            for obj, gone in batch:
                self._knowledge.apply(plural, obj, gone)
