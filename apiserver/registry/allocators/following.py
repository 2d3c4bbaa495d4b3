"""Keeps an allocator informed of the objects that hold what it gives out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from apiserver.api.status import StatusError
from apiserver.registry.interface import Object, Reader

__all__ = ["Following"]

Observer = Callable[[Sequence[tuple[Object, bool]], bool], None]
"""Is given objects, each with whether it is gone, and whether these are all there are (the first batch)."""


class Following:
    """Follows one resource from its first use on, and anew when the watch broke.

    Args:
        group, resource: what is followed.
        observe: is told; runs on the event loop and does not wait.
    """

    def __init__(self, group: str, resource: str, observe: Observer) -> None:
        self._group, self._resource = group, resource
        self._observe = observe
        self._task: asyncio.Task[None] | None = None
        self._loaded: asyncio.Future[None] | None = None

    async def ready(self, reader: Reader) -> bool:
        """Return when the present objects have been told of; whether they just have been.

        Raises:
            StatusError: they cannot be read.
        """
        fresh = self._task is None or self._task.done()
        if fresh:
            loop = asyncio.get_running_loop()
            self._loaded = loop.create_future()
            self._task = loop.create_task(self._follow(reader, self._loaded), name=f"follow-{self._resource}")
        assert self._loaded is not None, "made together with the task"
        await asyncio.shield(self._loaded)
        return fresh

    async def _follow(self, reader: Reader, loaded: asyncio.Future[None]) -> None:
        try:
            async for batch in reader.follow(self._group, self._resource):
                self._observe(batch, not loaded.done())
                if not loaded.done():
                    loaded.set_result(None)
        except StatusError as error:
            if not loaded.done():
                loaded.set_exception(error)
        finally:
            if not loaded.done():
                loaded.set_result(None)
