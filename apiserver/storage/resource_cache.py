"""The objects of one resource as they are now, a window back into how they were, and who watches them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from sortedcontainers import SortedDict

from apiserver.api.scheme import Resource
from apiserver.api.selectors import field_getter
from apiserver.storage.cache_watchers import CacheWatcher, Dispatcher
from apiserver.storage.changes import Change, ChangeLog
from apiserver.storage.entries import CorruptEntry, Entry
from apiserver.storage.interface import EventType, WatchEvent
from apiserver.storage.keys import collection_prefix
from apiserver.storage.selection import Selection

__all__ = ["ResourceCache"]

INDEXED_FIELDS: Final[dict[tuple[str, str], tuple[str, tuple[int, ...]]]] = {("", "pods"): ("spec.nodeName", (2, 10))}
"""The field by which lists and watches of a resource are looked up: each kubelet asks for the pods of its node.
With the numbers of its fields in the stored message, so that nothing need be decoded for the index."""


class ResourceCache:
    """State of one storage prefix; synchronous, and consistent between any two calls.

    Attributes:
        loaded_revision: of the load; older events are in it already.
        revision: of the newest change, or of the load; the feed may be further.
        corrupt: keys whose value could not be opened.
        log: changes since then.
    """

    def __init__(self, resource: Resource, entries: Iterable[Entry], revision: int) -> None:
        self.resource = resource
        self.prefix = resource.storage_prefix
        self.loaded_revision = revision
        self.revision = revision
        self.log = ChangeLog(revision)
        self._entries: SortedDict[str, Entry] = SortedDict((entry.key, entry) for entry in entries)
        self.corrupt = {key for key, entry in self._entries.items() if isinstance(entry, CorruptEntry)}
        self._indexed_field, self._indexed_numbers = INDEXED_FIELDS.get((resource.group, resource.plural), ("", ()))
        self._index: dict[str, dict[str, Entry]] | None = None
        self._dispatcher = Dispatcher(self._indexed_field, self._field_values)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Entry | None:
        """The present state of an object."""
        return self._entries.get(key)

    # Changes.

    def apply(self, key: str, current: Entry | None, revision: int, seconds: float) -> None:
        """One write, and what it means to the watchers. Deleting what is not there changes nothing."""
        if revision <= self.loaded_revision:
            return
        previous = self._entries.get(key)
        self.revision = max(self.revision, revision)
        self.corrupt.discard(key)
        if isinstance(current, CorruptEntry):
            self.corrupt.add(key)
        if current is not None:
            self._entries[key] = current
        elif previous is not None:
            del self._entries[key]
        else:
            return
        change = Change(revision, current, previous, seconds)
        if self._index is not None:
            self._reindex(key, current, previous)
        self.log.append(change)
        self._dispatcher.dispatch(change)

    def replace_corrupt(self, entry: Entry) -> None:
        """A value that could not be opened can be now; nothing has happened to the object."""
        present = self._entries.get(entry.key)
        if present is not None and present.revision == entry.revision:
            self._entries[entry.key] = entry
            self.corrupt.discard(entry.key)
            self._index = None

    def add_watcher(self, watcher: CacheWatcher) -> None:
        """Tell a watcher of changes from now on."""
        self._dispatcher.add(watcher)

    def discard_watcher(self, watcher: CacheWatcher) -> None:
        """Tell it no more."""
        self._dispatcher.discard(watcher)

    def end_watchers(self) -> None:
        """The history has a gap now: every watch ends, and its reader begins again."""
        for watcher in self._dispatcher.watchers():
            watcher.end()

    # Watching.

    def present_events(self, selection: Selection) -> Iterator[WatchEvent]:
        """Synthetic ADDED events of what is there now, in key order; made as they are read.

        Raises `StatusError` at once for an object that cannot be read.
        """
        entries = self._present(collection_prefix(self.resource, selection.namespace), selection)
        selected = []
        for entry in entries:
            if entry.problem is not None:
                raise entry.problem
            if selection.matches(entry):
                selected.append(entry)
        return (WatchEvent(EventType.ADDED, entry.revision, entry) for entry in selected)

    def events_since(self, revision: int, selection: Selection) -> Iterator[WatchEvent]:
        """What happened after a revision, as a watcher sees it.

        Raises `StatusError` 410 Expired at once when that is no longer known.
        """
        changes = self.log.since(revision)
        return (event for change in changes if (event := change.event(selection)) is not None)

    # Listing.

    def page(self, prefix: str, start_key: str, selection: Selection, limit: int) -> tuple[list[Entry], bool, int]:
        """Present objects below a prefix from `start_key` on.

        Returns them, whether there are more, and how many there are from `start_key` on, selected or not.
        """
        count = 0
        if limit:
            count = self._entries.bisect_left(_end(prefix)) - self._entries.bisect_left(start_key)
        first = start_key == prefix
        candidates = self._present(prefix, selection) if first else self._range(start_key, prefix)
        return *_take(candidates, selection, limit), count

    def page_at(
        self, revision: int, prefix: str, start_key: str, selection: Selection, limit: int
    ) -> tuple[list[Entry], bool, int]:
        """The same, as it was at a revision inside the window (`log.floor`)."""
        undone = self.log.undo_to(revision)
        end = _end(prefix)
        undone = {key: entry for key, entry in undone.items() if start_key <= key < end}
        kept = (entry for entry in self._range(start_key, prefix) if entry.key not in undone)
        restored = sorted((entry for entry in undone.values() if entry is not None), key=lambda entry: entry.key)
        count = self._entries.bisect_left(end) - self._entries.bisect_left(start_key)
        count += len(restored) - sum(key in self._entries for key in undone)
        candidates = heapq.merge(kept, restored, key=lambda entry: entry.key) if restored else kept
        return *_take(candidates, selection, limit), count

    def _present(self, prefix: str, selection: Selection) -> Iterable[Entry]:
        """Candidates for a list of everything below a prefix, by the narrowest way there is."""
        if selection.name and (selection.namespace or not self.resource.namespaced):
            entry = self._entries.get(collection_prefix(self.resource, selection.namespace) + selection.name)
            return [entry] if entry is not None and entry.key.startswith(prefix) else []
        value = selection.exact_field(self._indexed_field) if self._indexed_field else None
        if value is not None:
            found = self._built_index().get(value, {})
            return [found[key] for key in sorted(found) if key.startswith(prefix)]
        if prefix == self.prefix:
            return self._entries.values()
        return self._range(prefix, prefix)

    def _range(self, start_key: str, prefix: str) -> Iterator[Entry]:
        entries = self._entries
        return (entries[key] for key in entries.irange(start_key, _end(prefix), inclusive=(True, False)))

    # The index.

    def _built_index(self) -> dict[str, dict[str, Entry]]:
        if self._index is None:
            self._index = {}
            for entry in self._entries.values():
                self._index.setdefault(self._field_value(entry), {})[entry.key] = entry
        return self._index

    def _reindex(self, key: str, current: Entry | None, previous: Entry | None) -> None:
        assert self._index is not None
        if previous is not None:
            self._index.get(self._field_value(previous), {}).pop(key, None)
        if current is not None:
            self._index.setdefault(self._field_value(current), {})[key] = current

    def _field_value(self, entry: Entry) -> str:
        if entry.problem is not None:
            return ""
        value = entry.stored_string(self._indexed_numbers)
        if value is None:
            value = field_getter(self.resource, entry.view(self.resource))(self._indexed_field)
        return value

    def _field_values(self, change: Change) -> tuple[str, ...]:
        entries = [entry for entry in (change.current, change.previous) if entry is not None]
        return tuple(dict.fromkeys(map(self._field_value, entries)))


def _end(prefix: str) -> str:
    return prefix[:-1] + "0"


def _take(candidates: Iterable[Entry], selection: Selection, limit: int) -> tuple[list[Entry], bool]:
    """Up to `limit` selected entries, and whether there is any candidate behind the last.

    The candidates are below the prefix of the list, so their namespace is right already.
    """
    if selection.everything:
        taken = list(islice(candidates, limit + 1 if limit else None))
        more = 0 < limit < len(taken)
        return (taken[:limit], True) if more else (taken, False)
    if not limit:
        return list(filter(selection.selects, candidates)), False
    walk = iter(candidates)
    taken = list(islice(filter(selection.selects, walk), limit))
    return taken, len(taken) == limit and next(walk, None) is not None
