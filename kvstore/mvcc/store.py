"""The multi-version store: writes make revisions, reads look at one.

The index holds, in memory, which revisions every key has; the backend holds the values, by revision. A write adds to
both and to the list of events. One writer, no locks: whoever applies the log owns the store.

A revision is built by any number of `put` and `delete_range` calls and published by `commit`. Until then reads at
revision 0 see what was built (a transaction reads its own writes) and reads at any published revision do not.
"""

from __future__ import annotations

from collections.abc import Iterator

from kvstore.backend.interface import Backend
from kvstore.etcdpb import kv_pb2
from kvstore.mvcc.errors import CompactedError, FutureRevisionError
from kvstore.mvcc.event import Event, key_of
from kvstore.mvcc.histories import Histories
from kvstore.mvcc.key_index import Record, TreeIndex
from kvstore.mvcc.lease import Lessor
from kvstore.mvcc.revision import (
    REVISION_BYTES,
    TOMBSTONE_MARK,
    Revision,
    decode_revision,
    encode_revision,
)

__all__ = ["COMPACTION_KEYS_PER_STEP", "Store"]

COMPACTION_KEYS_PER_STEP = 1000
"""Default of `Store.compaction_keys_per_step`."""

_SCHEDULED = b"scheduledCompactRev"
_FINISHED = b"finishedCompactRev"


class Store:
    """Keys and values by revision.

    Attributes:
        index: the history of every key.
        backend: the values.
        lessor: told about every key that gains or loses a lease.
        revision: newest published main revision; 1 when nothing was ever written.
        compact_revision: reads below it are refused; -1 before the first compaction.
        put_count, delete_count, range_count: operations of each kind since the start.
        put_bytes: keys and values put since the start.
        compacted_count: revisions deleted by compactions since the start.
        compaction_keys_per_step: keys a compaction looks at before it lets others run.
    """

    def __init__(self, backend: Backend, lessor: Lessor) -> None:
        self.backend = backend
        self.lessor = lessor
        self.index = TreeIndex()
        self.revision = 1
        self.compact_revision = -1
        self.put_count = 0
        self.delete_count = 0
        self.range_count = 0
        self.put_bytes = 0
        self.compacted_count = 0
        self.compaction_keys_per_step = COMPACTION_KEYS_PER_STEP
        self._sub = 0
        self._events: list[Event] = []

    # --- writing

    def put(self, key: bytes, value: bytes, lease_id: int = 0) -> None:
        """Set a key in the revision being built. `lease_id` 0 detaches; another must exist."""
        main = self.revision + 1
        sub = self._sub
        self._sub = sub + 1
        self.put_count += 1
        self.put_bytes += len(key) + len(value)
        created, version, previous_main, previous_sub = self.index.put(key, main, sub)
        message = kv_pb2.KeyValue()
        message.key = key
        message.create_revision = created
        message.mod_revision = main
        message.version = version
        message.value = value
        if lease_id:
            message.lease = lease_id
            self.lessor.attach(lease_id, key)
        else:
            self.lessor.detach(key)
        stored = message.SerializeToString()
        self.backend.put_revision(encode_revision(main, sub), stored)
        if previous_main == main:
            previous = self._before(key) if created != main else None
        else:
            previous = encode_revision(previous_main, previous_sub) if previous_main else None
        self._events.append(Event(main, key, stored, False, previous))

    def delete_range(self, key: bytes, end: bytes = b"") -> int:
        """Delete a key, or every key of [key, end), in the revision being built; returns how many there were."""
        self.delete_count += 1
        records = self.index.records(key, end, self.reading_revision())
        for record in records:
            self._delete(record)
        return len(records)

    def _delete(self, record: Record) -> None:
        main = self.revision + 1
        sub = self._sub
        self._sub = sub + 1
        key = record.key
        self.index.tombstone(key, main, sub)
        self.lessor.detach(key)
        self.backend.put_revision(
            encode_revision(main, sub) + TOMBSTONE_MARK, kv_pb2.KeyValue(key=key).SerializeToString()
        )
        seen = kv_pb2.KeyValue(key=key, mod_revision=main).SerializeToString()
        previous = self._before(key) if record.main == main else encode_revision(record.main, record.sub)
        self._events.append(Event(main, key, seen, True, previous))

    def _before(self, key: bytes) -> bytes | None:
        """Where the key's value before the revision being built is stored, for a key changed twice in it."""
        return self.index.previous(key, self.revision + 1)

    def commit(self) -> int:
        """Publish the revision being built, if anything was; returns the newest revision."""
        if self._sub:
            self.revision += 1
            self._sub = 0
        return self.revision

    def take_events(self) -> list[Event]:
        """The events since the last call, in the order of history. Every one of them is published."""
        assert self._sub == 0, "events of a revision still being built"
        events = self._events
        if events:
            self._events = []
        return events

    # --- reading

    def reading_revision(self) -> int:
        """The revision a read at «now» sees: the one being built, once something was written to it."""
        return self.revision + 1 if self._sub else self.revision

    def check_revision(self, revision: int) -> int:
        """The revision a read at `revision` sees; 0 and below mean now.

        Raises:
            FutureRevisionError: it has not happened.
            CompactedError: it lies below the last compaction.
        """
        newest = self.reading_revision()
        if revision <= 0:
            return newest
        if revision > newest:
            raise FutureRevisionError
        if revision < self.compact_revision:
            raise CompactedError(self.compact_revision)
        return revision

    def newest_kv(self, key: bytes) -> kv_pb2.KeyValue | None:
        """The key as it is now, decoded."""
        record = self.index.newest(key)
        if record is None:
            return None
        stored = self.backend.get_revision(encode_revision(record.main, record.sub))
        assert stored is not None, (key, record)
        return kv_pb2.KeyValue.FromString(stored)

    def history(self, start: int) -> Iterator[Event]:
        """Every change from main revision `start` on, in order; `start` must not be compacted.

        The events know nothing of previous values; ask `index.previous` for those.
        """
        for stored, kv in self.backend.scan_revisions(encode_revision(start, 0)):
            yield _event_of(stored, kv)

    def events_at(self, revisions: list[tuple[int, int, bool]]) -> list[Event]:
        """The events of changes given as (main, sub, deleted)."""
        stored = [
            encode_revision(main, sub) + TOMBSTONE_MARK if deleted else encode_revision(main, sub)
            for main, sub, deleted in revisions
        ]
        return [_event_of(key, value) for key, value in zip(stored, self.backend.get_revisions(stored), strict=True)]

    # --- compaction

    def schedule_compaction(self, revision: int) -> Iterator[None]:
        """Refuse reads below `revision` from now on, and return the work that frees what they would have needed.

        Exhaust the iterator, a step at a time; between steps anything may be read and written. The revision is noted
        first, so that a restart takes up the work (`pending_compaction`).

        Raises:
            CompactedError: already compacted to `revision` or beyond.
            FutureRevisionError: `revision` has not happened.
        """
        if revision <= self.compact_revision:
            raise CompactedError(self.compact_revision)
        if revision > self.revision:
            raise FutureRevisionError
        self.compact_revision = revision
        self.backend.put("meta", _SCHEDULED, encode_revision(revision, 0))
        return self._compaction(revision)

    def pending_compaction(self) -> Iterator[None] | None:
        """The work a restart interrupted, if any."""
        scheduled, finished = self._noted(_SCHEDULED), self._noted(_FINISHED)
        if scheduled <= finished:
            return None
        return self._compaction(scheduled)

    def _compaction(self, revision: int) -> Iterator[None]:
        for dropped in self.index.compact(revision, self.compaction_keys_per_step):
            if dropped:
                self.compacted_count += len(dropped)
                self.backend.delete_revisions(dropped)
            yield
        if revision > self._noted(_FINISHED):
            self.backend.put("meta", _FINISHED, encode_revision(revision, 0))

    def _noted(self, name: bytes) -> int:
        stored = self.backend.get("meta", name)
        return -1 if stored is None else decode_revision(stored).main

    # --- restart

    def restore(self, histories: Histories | None = None) -> None:
        """Rebuild everything in memory from the backend, after the lessor has been restored.

        Args:
            histories: what was read of the same database before.
        """
        if histories is None:
            histories = Histories()
            for _ in histories.read(self.backend.scan_revisions(b"")):
                pass
        for key, lease_id in histories.leases.items():
            if self.lessor.exists(lease_id):
                self.lessor.attach(lease_id, key)
        self.index = TreeIndex()
        self.index.restore(histories.by_key)
        self.compact_revision = max(self._noted(_SCHEDULED), self._noted(_FINISHED))
        # A compaction may have removed the newest tombstones; their revisions must not be given out again.
        self.revision = max(1, histories.newest, self.compact_revision)
        self._sub = 0
        self._events = []

    def _check(self) -> None:
        """Assert what must hold between index, backend and lessor. Reads everything; for tests."""
        self.index._check()
        self.lessor._check()
        rows = {decode_revision(stored): kv for stored, kv in self.backend.scan_revisions(b"")}
        assert all(revision.main <= self.reading_revision() for revision in rows)
        for record in self.index.records(b"", b"\0", self.reading_revision()):
            kv = kv_pb2.KeyValue.FromString(rows[Revision(record.main, record.sub)])
            assert kv.key == record.key
            assert (kv.mod_revision, kv.create_revision, kv.version) == (record.main, record.created, record.version)
            assert self.lessor.lease_of(kv.key) == (kv.lease if self.lessor.exists(kv.lease) else 0)


def _event_of(stored: bytes, kv: bytes) -> Event:
    main = int.from_bytes(stored[:8], "big")
    key = key_of(kv)
    if len(stored) == REVISION_BYTES:
        return Event(main, key, kv, False, None)
    return Event(main, key, kv_pb2.KeyValue(key=key, mod_revision=main).SerializeToString(), True, None)
