"""Watchers of one resource, and which of them a change concerns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

from apiserver.api.status import StatusError
from apiserver.storage.changes import Change
from apiserver.storage.interface import EventType, WatchEvent
from apiserver.storage.selection import Selection
from kvstore.environment import Clock, TimerHandle

__all__ = ["BOOKMARK_INTERVAL_SECONDS", "WATCHER_EVENTS_MAX", "CacheWatcher", "Dispatcher", "ErrorWatcher"]

WATCHER_EVENTS_MAX: Final = 8192
"""Events that may wait for a watcher's reader; one that is slower has its watch ended."""
INITIAL_BATCH_EVENTS_MAX: Final = 200
"""Initial events handed to the reader at a time, so that their bytes need not all be in memory at once."""
BOOKMARK_INTERVAL_SECONDS: Final = 60.0
_BOOKMARK_BEFORE_END_SECONDS: Final = 2.0


class CacheWatcher:
    """`Watcher` of the cache: first the events that bring its reader up to date, then those that happen.

    Args:
        selection: what the watcher sees.
        start_revision: events up to this one are not for it.
        initial: the events to begin with.
        forget: called once when the watch ends.
    """

    def __init__(
        self,
        selection: Selection,
        start_revision: int,
        initial: Iterator[WatchEvent],
        forget: Callable[[CacheWatcher], None],
    ) -> None:
        self.selection = selection
        self._start_revision = start_revision
        self._initial: Iterator[WatchEvent] | None = initial
        self._forget = forget
        self._queue: list[WatchEvent] = []
        self._ended = False
        self._wake: asyncio.Future[None] | None = None
        self._bookmark_timer: TimerHandle | None = None

    def __aiter__(self) -> AsyncIterator[Sequence[WatchEvent]]:
        """See `Watcher`."""
        return self

    async def __anext__(self) -> Sequence[WatchEvent]:
        """The next batch."""
        if self._initial is not None:
            batch = self._initial_batch(self._initial)
            if batch:
                return batch
            self._initial = None
        while not self._queue:
            if self._ended:
                raise StopAsyncIteration
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None
        batch, self._queue = self._queue, []
        return batch

    def offer(self, event: WatchEvent) -> None:
        """Queue an event for the reader; ends the watch when too many wait."""
        if event.revision <= self._start_revision or self._ended:
            return
        if len(self._queue) >= WATCHER_EVENTS_MAX:
            self.end()
            return
        self._queue.append(event)
        self._wake_reader()

    def fail(self, revision: int, error: StatusError) -> None:
        """Tell the reader why the watch cannot go on, and end it."""
        self.offer(WatchEvent(EventType.ERROR, revision, status=error.to_dict()))
        self.end()

    def end(self) -> None:
        """No more events; the reader still gets what is queued. Idempotent."""
        if self._ended:
            return
        self._ended = True
        if self._bookmark_timer is not None:
            self._bookmark_timer.cancel()
        self._forget(self)
        self._wake_reader()

    def stop(self) -> None:
        """See `Watcher`."""
        self._queue.clear()
        self._initial = None
        self.end()

    def keep_bookmarking(
        self, clock: Clock, interval_seconds: float, timeout_seconds: float | None, revision: Callable[[], int]
    ) -> None:
        """Tell the reader now and then how far it is, and once shortly before its time is up."""
        end_seconds = None
        if timeout_seconds is not None:
            end_seconds = clock.monotonic() + timeout_seconds - _BOOKMARK_BEFORE_END_SECONDS

        def schedule() -> None:
            delay_seconds = interval_seconds
            if end_seconds is not None:
                left_seconds = end_seconds - clock.monotonic()
                if left_seconds <= 0:
                    return
                delay_seconds = min(delay_seconds, left_seconds)
            self._bookmark_timer = clock.call_later(delay_seconds, due)

        def due() -> None:
            # Unlike an event, a bookmark may repeat the revision the watch began at.
            if revision() >= self._start_revision and len(self._queue) < WATCHER_EVENTS_MAX:
                self._queue.append(WatchEvent(EventType.BOOKMARK, revision()))
                self._wake_reader()
            schedule()

        schedule()

    def _wake_reader(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _initial_batch(self, initial: Iterator[WatchEvent]) -> list[WatchEvent]:
        batch = []
        for event in initial:
            batch.append(event)
            if len(batch) == INITIAL_BATCH_EVENTS_MAX:
                break
        return batch


class ErrorWatcher:
    """A watch that could not be started: its one event says why (cacher.go `errWatcher`)."""

    def __init__(self, status: dict[str, Any]) -> None:
        self._status: dict[str, Any] | None = status

    async def __aiter__(self) -> AsyncIterator[Sequence[WatchEvent]]:
        """See `Watcher`."""
        status, self._status = self._status, None
        if status is not None:
            yield [WatchEvent(EventType.ERROR, 0, status=status)]

    def stop(self) -> None:
        """See `Watcher`."""
        self._status = None


# Watchers in the order of their coming; a dict, because sets have no order.
_Group = dict[CacheWatcher, None]


class Dispatcher:
    """Finds the watchers of a change without asking all of them.

    A watcher that is bound to a namespace or a name stands in the group of that scope; one that is bound to a value of
    the indexed field (a kubelet: `spec.nodeName`) stands in the group of the value.
    """

    def __init__(self, indexed_field: str, field_value: Callable[[Change], tuple[str, ...]]) -> None:
        self._indexed_field = indexed_field
        self._field_value = field_value
        self._by_scope: dict[tuple[str, str], _Group] = {}
        self._by_value: dict[str, _Group] = {}

    def add(self, watcher: CacheWatcher) -> None:
        """Dispatch to a watcher from now on."""
        groups, name = self._place(watcher)
        groups.setdefault(name, {})[watcher] = None

    def discard(self, watcher: CacheWatcher) -> None:
        """Dispatch to it no more."""
        groups, name = self._place(watcher)
        group = groups.get(name)
        if group is not None:
            group.pop(watcher, None)
            if not group:
                del groups[name]

    def watchers(self) -> list[CacheWatcher]:
        """All of them."""
        groups = [*self._by_scope.values(), *self._by_value.values()]
        return [watcher for group in groups for watcher in group]

    def dispatch(self, change: Change) -> None:
        """Offer the change to whom it concerns."""
        for group in self._groups_of(change):
            for watcher in list(group):
                try:
                    event = change.event(watcher.selection)
                except StatusError as error:
                    watcher.fail(change.revision, error)
                    continue
                if event is not None:
                    watcher.offer(event)

    def _groups_of(self, change: Change) -> list[_Group]:
        entry = change.current or change.previous
        assert entry is not None
        groups = []
        if self._by_scope:
            namespace, name = entry.namespace, entry.name
            scopes = [("", ""), ("", name)]
            if namespace:
                scopes += [(namespace, ""), (namespace, name)]
            groups = [group for scope in scopes if (group := self._by_scope.get(scope))]
        if self._by_value:
            groups += [group for value in self._field_value(change) if (group := self._by_value.get(value))]
        return groups

    def _place(self, watcher: CacheWatcher) -> tuple[dict[Any, _Group], Any]:
        """The table and the name of the group a watcher stands in."""
        selection = watcher.selection
        value = selection.exact_field(self._indexed_field) if self._indexed_field else None
        if value is not None:
            return self._by_value, value
        return self._by_scope, (selection.namespace, selection.name)
