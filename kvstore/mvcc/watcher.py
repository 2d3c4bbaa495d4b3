"""One watched range, and the events that wait for its consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvstore.mvcc.event import Event

if TYPE_CHECKING:
    from kvstore.mvcc.watch import WatchStream

__all__ = ["QUEUE_BYTES_MAX", "QUEUE_EVENTS_MAX", "Watcher"]

QUEUE_EVENTS_MAX = 1024
"""Events that may wait for one watcher's consumer."""

QUEUE_BYTES_MAX = 4 << 20
"""Bytes of keys and values that may wait for one watcher's consumer."""


class Watcher:
    """One watched range of one stream.

    Attributes:
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
        "stream",
        "synced",
        "watch_id",
    )

    def __init__(self, stream: WatchStream, watch_id: int, key: bytes, end: bytes, next_revision: int) -> None:
        self.stream = stream
        self.watch_id = watch_id
        self.key = key
        self.end = end
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
