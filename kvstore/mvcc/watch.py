"""Watchers: every change of a range, in order, each exactly once, from any revision not compacted.

A watcher is *synced* when everything up to the newest revision has been handed to it or waits in its queue; then it
is fed from the writes themselves. Otherwise it is behind, holds nothing but the revision it wants next, and reads
history, a bounded batch each time its consumer asks. A synced watcher whose queue is full falls behind: its queue is
dropped and read again from history later. So a consumer that does not consume costs a few words of memory, delays no
write, and misses nothing, unless a compaction removes what it had yet to see, which cancels it. The same becomes of
whoever holds on to an event while many bytes are written after it, so that all queues together are bounded too.

All events of one revision are handed over together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kvstore.mvcc.catch_up import read_history
from kvstore.mvcc.event import Event
from kvstore.mvcc.store import Store
from kvstore.mvcc.watcher import LAG_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_EVENTS_MAX, TAKE_BYTES_MAX, Watcher
from kvstore.mvcc.watcher_index import WatcherIndex

__all__ = ["NO_WATCH_ID", "WatchHub", "WatchReply", "WatchStream"]

REPLY_OVERHEAD_BYTES = 128
"""What a reply counts for besides its events."""

NO_WATCH_ID = -1
"""In replies that concern no watcher, or all of a stream."""

DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
EMPTY_RANGE = "mvcc: watcher range is empty"


@dataclass(frozen=True, slots=True)
class WatchReply:
    """One answer to a watch stream; `revision` is what its header says.

    `events` carry their serialised form; `previous` says whether the watcher wants previous values with them.
    """

    watch_id: int
    revision: int
    created: bool = False
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: int = 0
    events: Sequence[Event] = ()
    previous: bool = False
    fragment: bool = False


class WatchHub:
    """Every watch stream of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watchers: WatcherIndex[Watcher] = WatcherIndex()
        self._streams: dict[WatchStream, None] = {}
        # Watchers with something in their queue, longest first, and how much had been written when that began.
        self._waiting: dict[Watcher, int] = {}
        self._written_bytes = 0

    def open(self, wake: Callable[[], None]) -> WatchStream:
        """A new stream. `wake` is called when it has something to `take` and had nothing before."""
        stream = WatchStream(self, self._store, wake)
        self._streams[stream] = None
        return stream

    def notify(self, events: Sequence[Event]) -> None:
        """Hand published events to the watchers they concern. Whole revisions, in order, each once."""
        matching = self._watchers.matching
        if not self._watchers:
            return
        woken: dict[WatchStream, None] = {}
        for event in events:
            size_bytes = len(event.kv)
            self._written_bytes += size_bytes
            for watcher in matching(event.key):
                if not watcher.synced or event.revision < watcher.next_revision or not watcher.wants(event):
                    continue
                if not watcher.queue:
                    self._waiting[watcher] = self._written_bytes
                watcher.queue.append(event)
                watcher.queue_bytes += size_bytes
                if len(watcher.queue) > QUEUE_EVENTS_MAX or watcher.queue_bytes > QUEUE_BYTES_MAX:
                    self._cut_off(watcher)
                woken[watcher.stream] = None
                watcher.stream.mark(watcher)
        self._cut_off_the_slowest()
        for stream in woken:
            stream.wake()

    def _cut_off_the_slowest(self) -> None:
        oldest_allowed = self._written_bytes - LAG_BYTES_MAX
        slow = []
        for watcher, since in self._waiting.items():
            if since >= oldest_allowed:
                break
            slow.append(watcher)
        for watcher in slow:
            self._cut_off(watcher)
            watcher.stream.mark(watcher)

    def _cut_off(self, watcher: Watcher) -> None:
        watcher.fall_behind()
        del self._waiting[watcher]

    def emptied(self, watcher: Watcher) -> None:
        """Nothing waits for the watcher any more."""
        self._waiting.pop(watcher, None)

    def report_progress(self) -> None:
        """Tell every quiet, synced watcher that asked for it how far it has come. To be called periodically."""
        for stream in self._streams:
            stream.report_progress()

    def restart(self, notified_revision: int) -> None:
        """Cancel nothing, but let every watcher read on from history: the store was replaced by a snapshot.

        Args:
            notified_revision: up to here `notify` was told of everything. Whoever has seen it all does not need history
                from before, which the snapshot may not have any more.
        """
        for stream in self._streams:
            stream.resynchronise(notified_revision)

    @property
    def watcher_count(self) -> int:
        """Watchers on all streams."""
        return len(self._watchers)

    @property
    def slow_watcher_count(self) -> int:
        """Watchers that are behind."""
        return sum(not watcher.synced for stream in self._streams for watcher in stream.watchers.values())

    @property
    def pending_event_count(self) -> int:
        """Events that wait for slow consumers."""
        return sum(len(watcher.queue) for watcher in self._waiting)

    @property
    def stream_count(self) -> int:
        """Open streams."""
        return len(self._streams)

    def _check(self) -> None:
        for stream in self._streams:
            for watch_id, watcher in stream.watchers.items():
                assert watcher.watch_id == watch_id
                assert watcher.synced or not watcher.queue, watch_id
                assert len(watcher.queue) <= QUEUE_EVENTS_MAX, watch_id
                assert watcher.queue_bytes == sum(len(event.kv) for event in watcher.queue), watch_id
                assert all(event.revision >= watcher.next_revision for event in watcher.queue), watch_id
        waiting = {watcher for stream in self._streams for watcher in stream.watchers.values() if watcher.queue}
        assert waiting == set(self._waiting)
        assert len(self._watchers) == sum(len(stream.watchers) for stream in self._streams)


class WatchStream:
    """The watchers of one client connection, and the replies that wait for it.

    Synchronous: `take` gives what there is. While `pending` is true there is more to take.
    """

    def __init__(self, hub: WatchHub, store: Store, wake: Callable[[], None]) -> None:
        self._hub = hub
        self._store = store
        self._wake = wake
        self._next_id = 0
        self._control: list[WatchReply] = []
        self._ready: dict[Watcher, None] = {}
        self._behind: dict[Watcher, None] = {}
        self._progress_requests = 0
        self.watchers: dict[int, Watcher] = {}

    # --- what the client asks

    def create(
        self,
        key: bytes,
        end: bytes,
        start_revision: int = 0,
        *,
        watch_id: int = 0,
        no_put: bool = False,
        no_delete: bool = False,
        previous: bool = False,
        progress_notify: bool = False,
        fragment: bool = False,
    ) -> None:
        """Start watching [key, end) from `start_revision` (0: from the next one on); the reply says how it went."""
        newest = self._store.revision
        reason = ""
        if end and end != b"\0" and end <= key:
            reason = EMPTY_RANGE
        elif watch_id and watch_id in self.watchers:
            reason = DUPLICATE_ID
        if reason:
            self.refuse(reason)
            return
        watcher = Watcher(self, watch_id or self._free_id(), key, end, start_revision or newest + 1)
        watcher.no_put, watcher.no_delete, watcher.previous = no_put, no_delete, previous
        watcher.progress_notify, watcher.fragment = progress_notify, fragment
        watcher.start_revision = start_revision
        self.watchers[watcher.watch_id] = watcher
        self._hub._watchers.add(watcher)
        self._reply(WatchReply(watcher.watch_id, newest, created=True))
        if watcher.next_revision > newest:
            watcher.synced = True
        else:
            self._behind[watcher] = None

    def refuse(self, reason: str) -> None:
        """Answer a request to create a watcher that cannot be."""
        self._reply(WatchReply(NO_WATCH_ID, self._store.revision, created=True, canceled=True, cancel_reason=reason))

    def cancel(self, watch_id: int) -> None:
        """Stop a watcher; what waits for it is dropped. An unknown id gets no reply."""
        watcher = self.watchers.get(watch_id)
        if watcher is not None:
            self._remove(watcher)
            self._reply(WatchReply(watch_id, self._store.revision, canceled=True))

    def request_progress(self) -> None:
        """Ask for one reply, after all events it speaks for, that says how far every watcher has come."""
        self._progress_requests += 1
        self.wake()

    def close(self) -> None:
        """Cancel everything; nothing more is to be taken."""
        for watcher in list(self.watchers.values()):
            self._remove(watcher)
        self._control.clear()
        self._progress_requests = 0
        self._hub._streams.pop(self, None)

    # --- what the client gets

    @property
    def pending(self) -> bool:
        """Whether `take` has something to do."""
        return bool(self._control or self._ready or self._behind or self._progress_requests)

    @property
    def unanswered_count(self) -> int:
        """Requests of the client whose answers wait to be taken."""
        return len(self._control) + self._progress_requests

    def take(self) -> list[WatchReply]:
        """The replies that are due, in the order to send them. Bounded work: ask again while `pending`.

        May be empty although `pending` was true, when history held nothing for a watcher.
        """
        replies = self._control
        self._control = []
        room_bytes = TAKE_BYTES_MAX
        if self._ready:
            room_bytes = self._take_ready(replies, room_bytes)
        if self._behind and room_bytes > 0:
            self._take_behind(replies, room_bytes)
        if self._progress_requests:
            replies.extend(self._progress())
        return replies

    def _take_ready(self, replies: list[WatchReply], room_bytes: int) -> int:
        """What waits in queues, as long as there is room; returns what is left of that."""
        ready, self._ready = self._ready, {}
        for watcher in ready:
            if room_bytes <= 0:
                self._ready[watcher] = None
            elif watcher.queue:
                before = watcher.queue_bytes
                replies.append(self._drain(watcher))
                room_bytes -= before - watcher.queue_bytes + REPLY_OVERHEAD_BYTES
                if watcher.queue:
                    self._ready[watcher] = None
        return room_bytes

    def _take_behind(self, replies: list[WatchReply], room_bytes: int) -> None:
        """What history has for those who are behind, in turn, as long as there is room."""
        for watcher in list(self._behind):
            if room_bytes <= 0:
                break
            reply = self._catch_up(watcher)
            if reply is not None:
                replies.append(reply)
                room_bytes -= sum(len(event.kv) for event in reply.events) + REPLY_OVERHEAD_BYTES
            if watcher in self._behind:  # others first, next time
                del self._behind[watcher]
                self._behind[watcher] = None

    def _drain(self, watcher: Watcher) -> WatchReply:
        events = watcher.next_batch()
        if not watcher.queue:
            self._hub.emptied(watcher)
        watcher.quiet = False
        newest = events[-1].revision
        watcher.next_revision = newest + 1
        return WatchReply(watcher.watch_id, newest, events=events, previous=watcher.previous, fragment=watcher.fragment)

    def _catch_up(self, watcher: Watcher) -> WatchReply | None:
        store = self._store
        if watcher.next_revision < store.compact_revision:
            self._remove(watcher)
            return WatchReply(watcher.watch_id, 0, canceled=True, compact_revision=store.compact_revision)
        events, watcher.next_revision = read_history(store, watcher)
        if watcher.next_revision > store.revision:
            watcher.synced = True
            del self._behind[watcher]
        if not events:
            return None
        watcher.quiet = False
        return WatchReply(
            watcher.watch_id, store.revision, events=events, previous=watcher.previous, fragment=watcher.fragment
        )

    def _progress(self) -> list[WatchReply]:
        """Answers to progress requests, once everything they would vouch for has been taken.

        A stream without watchers, or with one that starts in the future, is not answered; its client asks again.
        """
        newest = self._store.revision
        if self._behind or self._ready:
            return []
        asked, self._progress_requests = self._progress_requests, 0
        if not self.watchers or any(watcher.start_revision > newest for watcher in self.watchers.values()):
            return []
        return [WatchReply(NO_WATCH_ID, newest)] * asked

    # --- between hub and stream

    def mark(self, watcher: Watcher) -> None:
        """Note that the watcher's queue grew, or that it fell behind."""
        if watcher.synced:
            self._ready[watcher] = None
        else:
            self._ready.pop(watcher, None)
            self._behind[watcher] = None

    def report_progress(self) -> None:
        """See `WatchHub.report_progress`."""
        newest = self._store.revision
        for watcher in self.watchers.values():
            if not watcher.progress_notify:
                continue
            if watcher.quiet and watcher.synced and not watcher.queue and watcher.start_revision <= newest:
                self._reply(WatchReply(watcher.watch_id, newest))
            watcher.quiet = True

    def resynchronise(self, notified_revision: int) -> None:
        """See `WatchHub.restart`."""
        for watcher in self.watchers.values():
            if watcher.queue:
                watcher.fall_behind()
                self._hub.emptied(watcher)
            elif watcher.synced:
                watcher.next_revision = max(watcher.next_revision, notified_revision + 1)
            watcher.synced = False
            self._behind[watcher] = None
        self._ready.clear()
        self.wake()

    def wake(self) -> None:
        """Tell the consumer that there is something to take."""
        self._wake()

    def _reply(self, reply: WatchReply) -> None:
        self._control.append(reply)
        self.wake()

    def _free_id(self) -> int:
        while self._next_id in self.watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _remove(self, watcher: Watcher) -> None:
        del self.watchers[watcher.watch_id]
        self._ready.pop(watcher, None)
        self._behind.pop(watcher, None)
        watcher.queue = []
        watcher.queue_bytes = 0
        self._hub.emptied(watcher)
        self._hub._watchers.remove(watcher)
