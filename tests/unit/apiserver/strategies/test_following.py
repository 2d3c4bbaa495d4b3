"""An allocator's watch: loaded once, begun anew when it broke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from apiserver.api.status import StatusError, service_unavailable
from apiserver.registry.allocators import Following
from apiserver.registry.interface import Object
from tests.conformance.storage.fake_clock import settle

Batch = Sequence[tuple[Object, bool]]


class Feed:
    """A `Reader` whose changes are pushed by hand; None breaks the watch, an error is raised."""

    def __init__(self) -> None:
        self.begun = 0
        self.queue: asyncio.Queue[Batch | StatusError | None] = asyncio.Queue()

    async def follow(self, group: str, resource: str) -> AsyncIterator[Batch]:
        self.begun += 1
        while (batch := await self.queue.get()) is not None:
            if isinstance(batch, StatusError):
                raise batch
            yield batch


def named(name: str) -> Batch:
    return [({"metadata": {"name": name}}, False)]


async def test_everybody_waits_for_the_first_batch_and_nobody_for_the_next():
    feed, told = Feed(), list[tuple[Batch, bool]]()
    following = Following("", "services", lambda batch, is_all: told.append((batch, is_all)))
    reader: Any = feed
    waiting = [asyncio.ensure_future(following.ready(reader)) for _ in range(3)]
    await settle()
    assert not any(task.done() for task in waiting)
    feed.queue.put_nowait(named("a"))
    assert await asyncio.gather(*waiting) == [True, False, False]
    feed.queue.put_nowait(named("b"))
    await settle()
    assert await following.ready(reader) is False
    assert told == [(named("a"), True), (named("b"), False)]
    assert feed.begun == 1


async def test_a_broken_watch_is_begun_anew_when_it_is_needed():
    feed, told = Feed(), list[bool]()
    following = Following("", "services", lambda batch, is_all: told.append(is_all))
    reader: Any = feed
    for broken in (None, service_unavailable("gone", 1)):
        feed.queue.put_nowait(named("a"))
        assert await following.ready(reader) is True
        feed.queue.put_nowait(broken)
        await settle()
    feed.queue.put_nowait(named("a"))
    assert await following.ready(reader) is True
    assert told == [True, True, True]


async def test_what_cannot_be_read_is_the_callers_error_and_the_next_one_tries_again():
    feed = Feed()
    following = Following("", "services", lambda batch, is_all: None)
    reader: Any = feed
    feed.queue.put_nowait(service_unavailable("the store is away", 1))
    with pytest.raises(StatusError, match="the store is away"):
        await following.ready(reader)
    feed.queue.put_nowait(named("a"))
    assert await following.ready(reader) is True


async def test_a_caller_that_gives_up_does_not_stop_the_others():
    feed = Feed()
    following = Following("", "services", lambda batch, is_all: None)
    reader: Any = feed
    first = asyncio.ensure_future(following.ready(reader))
    second = asyncio.ensure_future(following.ready(reader))
    await settle()
    first.cancel()
    feed.queue.put_nowait(named("a"))
    assert await second is False
