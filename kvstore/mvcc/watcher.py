"""One watched range, and the events that wait for its consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvstore.mvcc.event import Event

if TYPE_CHECKING:
    from kvstore.mvcc.watch import WatchStream

__all__ = ["LAG_BYTES_MAX", "QUEUE_BYTES_MAX", "QUEUE_EVENTS_MAX", "TAKE_BYTES_MAX", "Watcher"]

QUEUE_EVENTS_MAX = 1024
"""Events that may wait for one watcher's consumer."""

QUEUE_BYTES_MAX = 4 << 20
"""Bytes of keys and values that may wait for one watcher's consumer."""

LAG_BYTES_MAX = 32 << 20
"""Bytes of events written since the oldest that waits in any queue; so much the queues of all watchers hold together,
because they share the events."""

TAKE_BYTES_MAX = 1 << 20
"""Bytes of events after which one `take` ends, at the next revision of a watcher."""


class Watcher:
    """One watched range of one stream.

    Attributes:
        start_revision: as the client gave it, 0 for what comes next. Progress is not spoken of before it is reached.
        next_revision: nothing below it is (or will again be) handed over.
        synced: whether it is fed from the writes themselves.
        queue: events that wait for the consumer; empty unless synced.
        quiet: no event was handed over since progress was last reported.
    """

    __slots__ = (
        "end",
        "fragment",
        "key",
        "next_revision",
        "no_delete",
        "no_put",
        "previous",
        "progress_notify",
        "queue",
        "queue_bytes",
        "quiet",
        "start_revision",
        "stream",
        "synced",
        "watch_id",
    )

    def __init__(self, stream: WatchStream, watch_id: int, key: bytes, end: bytes, next_revision: int) -> None:
        self.stream = stream
        self.watch_id = watch_id
        self.key = key
        self.end = end
        self.start_revision = 0
        self.next_revision = next_revision
        self.synced = False
        self.no_put = False
        self.no_delete = False
        self.previous = False
        self.progress_notify = False
        self.fragment = False
        self.queue: list[Event] = []
        self.queue_bytes = 0
        self.quiet = True

    def wants(self, event: Event) -> bool:
        """Whether the filters let the event through."""
        return not (self.no_delete if event.deleted else self.no_put)

    def fall_behind(self) -> None:
        """Drop the queue; history has it."""
        self.next_revision = self.queue[0].revision
        self.queue = []
        self.queue_bytes = 0
        self.synced = False

    def next_batch(self) -> list[Event]:
        """Take whole revisions out of the queue, up to `TAKE_BYTES_MAX` and the revision that passes it."""
        queue = self.queue
        if self.queue_bytes <= TAKE_BYTES_MAX:
            self.queue = []
            self.queue_bytes = 0
            return queue
        size_bytes = count = 0
        while count < len(queue) and (
            size_bytes <= TAKE_BYTES_MAX or queue[count].revision == queue[count - 1].revision
        ):
            size_bytes += len(queue[count].kv)
            count += 1
        self.queue = queue[count:]
        self.queue_bytes -= size_bytes
        return queue[:count]
