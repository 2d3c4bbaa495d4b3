"""Reading history for a watcher that is behind, a bounded batch at a time."""

from __future__ import annotations

from kvstore.etcdpb import kv_pb2
from kvstore.mvcc.event import Event
from kvstore.mvcc.store import Store
from kvstore.mvcc.watcher import Watcher
from kvstore.mvcc.watcher_index import in_range

__all__ = ["CATCH_UP_BYTES", "CATCH_UP_KEYS", "CATCH_UP_REVISIONS", "CATCH_UP_SCAN", "event_wire", "read_history"]

CATCH_UP_REVISIONS = 1000
"""Revisions in one reply from history."""

CATCH_UP_BYTES = 1 << 20
"""Bytes after which a reply from history ends, at the next revision."""

VALUES_PER_READ = 16
"""Values read at once; each may be as large as a request."""

CATCH_UP_SCAN = 4000
"""Changes of any key looked at for one reply from history."""

CATCH_UP_KEYS = 5000
"""Up to so many keys in its range, a watcher far behind reads their histories instead of the store's."""


def read_history(store: Store, watcher: Watcher) -> tuple[list[Event], int]:
    """A batch of what the watcher has missed, and the revision it wants next.

    A range of few keys far behind is read key by key, anything else by walking the store's history.
    """
    start, newest = watcher.next_revision, store.revision
    if start > newest:
        return [], start
    keys = store.index.stored_keys(watcher.key, watcher.end)
    if keys <= CATCH_UP_KEYS and keys < newest - start:
        return _read_by_key(store, watcher)
    events: list[Event] = []
    revisions = size_bytes = 0
    last = start - 1
    for scanned, event in enumerate(store.history(start)):
        if event.revision != last:
            if revisions >= CATCH_UP_REVISIONS or size_bytes >= CATCH_UP_BYTES or scanned >= CATCH_UP_SCAN:
                return events, event.revision
            last = event.revision
        if in_range(event.key, watcher.key, watcher.end) and watcher.wants(event):
            if not events or events[-1].revision != event.revision:
                revisions += 1
            size_bytes += len(event.kv)
            events.append(_with_previous(store, watcher, event))
    return events, newest + 1


def _read_by_key(store: Store, watcher: Watcher) -> tuple[list[Event], int]:
    changes = store.index.changes_since(watcher.key, watcher.end, watcher.next_revision)
    events: list[Event] = []
    position = size_bytes = 0
    while position < min(len(changes), CATCH_UP_REVISIONS) and size_bytes < CATCH_UP_BYTES:
        end = _end_of_revision(changes, min(position + VALUES_PER_READ, CATCH_UP_REVISIONS))
        for event in store.events_at(changes[position:end]):
            if watcher.wants(event):
                size_bytes += len(event.kv)
                events.append(_with_previous(store, watcher, event))
        position = end
    return events, changes[position][0] if position < len(changes) else store.revision + 1


def _end_of_revision(changes: list[tuple[int, int, bool]], position: int) -> int:
    """The first position from this one on where a revision ends: one may well have more changes than a batch should."""
    while position < len(changes) and changes[position][0] == changes[position - 1][0]:
        position += 1
    return min(position, len(changes))


def _with_previous(store: Store, watcher: Watcher, event: Event) -> Event:
    if watcher.previous and (event.deleted or kv_pb2.KeyValue.FromString(event.kv).version > 1):
        event.previous = store.index.previous(event.key, event.revision)
    return event


def event_wire(store: Store, event: Event, previous: bool) -> bytes:
    """The serialised `mvccpb.Event`, with the value it replaced if asked for and not compacted."""
    if not previous or event.previous is None or event.revision - 1 < store.compact_revision:
        return event.wire()
    if event.has_wire_with_previous:
        return event.wire_with_previous(b"")
    return event.wire_with_previous(store.backend.get_revision(event.previous))
