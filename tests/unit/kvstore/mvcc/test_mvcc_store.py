from __future__ import annotations

import gc

import pytest

from kvstore.backend import MemoryBackend
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import (
    CompactedError,
    FutureRevisionError,
    Lessor,
    Store,
    catch_up,
    hash_key_values,
    histories,
    range_keys,
    watch,
    watcher,
)
from kvstore.mvcc.hash import KeyValueHasher
from kvstore.mvcc.watch import WatchHub, WatchReply, WatchStream


def open_store(backend: MemoryBackend) -> Store:
    lessor = Lessor(backend, lambda: 0.0)
    lessor.restore()
    store = Store(backend, lessor)
    store.restore()
    return store


@pytest.fixture
def store() -> Store:
    return open_store(MemoryBackend())


def put(store: Store, key: bytes, value: bytes = b"v", lease: int = 0) -> int:
    store.put(key, value, lease)
    return store.commit()


def delete(store: Store, key: bytes, end: bytes = b"") -> int:
    store.delete_range(key, end)
    return store.commit()


def test_a_new_store_is_at_one_and_can_be_compacted_at_zero_once(store: Store) -> None:
    assert (store.revision, store.compact_revision) == (1, -1)
    for _ in store.schedule_compaction(0):
        pass
    with pytest.raises(CompactedError):
        store.schedule_compaction(0)
    with pytest.raises(FutureRevisionError):
        store.schedule_compaction(2)


def test_a_revision_never_comes_back_after_compaction_and_restart() -> None:
    backend = MemoryBackend()
    store = open_store(backend)
    put(store, b"a")
    delete(store, b"a")
    assert store.revision == 3
    for _ in store.schedule_compaction(3):
        pass
    again = open_store(backend)
    assert again.revision == 3
    assert put(again, b"b") == 4
    again._check()


def test_compaction_is_taken_up_by_a_restart_wherever_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvstore.mvcc.store.COMPACTION_KEYS_PER_STEP", 1)
    for steps in range(6):
        backend = MemoryBackend()
        store = open_store(backend)
        for key in (b"a", b"b", b"c"):
            put(store, key, b"old")
            put(store, key, b"new")
        delete(store, b"c")
        work = store.schedule_compaction(store.revision - 1)
        for _ in range(steps):
            next(work, None)
        again = open_store(backend)
        assert again.compact_revision == store.compact_revision
        with pytest.raises(CompactedError):
            range_keys(again, pb.RangeRequest(key=b"a", revision=2))
        pending = again.pending_compaction()
        if pending is not None:
            for _ in pending:
                pass
        assert again.pending_compaction() is None
        again._check()
        rows = [key for key, _ in backend.scan_revisions(b"")]
        assert len(rows) == 4, "two living keys, and the deleted one with its tombstone"
        assert range_keys(again, pb.RangeRequest(key=b"a", range_end=b"\0")).total == 2


def test_reads_and_writes_between_the_steps_of_a_compaction(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr("kvstore.mvcc.store.COMPACTION_KEYS_PER_STEP", 1)
    for number in range(5):
        for key in (b"a", b"b", b"c", b"d"):
            put(store, key, b"%d" % number)
    at = store.revision
    wanted = range_keys(store, pb.RangeRequest(key=b"a", range_end=b"\0", revision=at))
    digest = hash_key_values(store, at)
    hashes = set()
    for step, _ in enumerate(store.schedule_compaction(at)):
        assert range_keys(store, pb.RangeRequest(key=b"a", range_end=b"\0", revision=at)) == wanted
        hashes.add(hash_key_values(store, at))
        put(store, b"abcd"[step % 4 :][:1], b"meanwhile")
        store._check()
    assert len(hashes) == 1, "the hash knows what compaction will drop"
    assert digest not in hashes


def test_hash_in_steps_survives_a_compaction(store: Store) -> None:
    for number in range(50):
        put(store, b"k%d" % (number % 7), b"%d" % number)
    hasher = KeyValueHasher(store, 40)
    assert not hasher.step(10)
    for _ in store.schedule_compaction(30):
        pass
    while not hasher.step(10):
        pass
    assert (hasher.value, hasher.compact_revision) == (hash_key_values(store, 40), 30)
    late = KeyValueHasher(store, 40)
    late.step(5)
    for _ in store.schedule_compaction(45):
        pass
    with pytest.raises(CompactedError):
        late.step(5)
    with pytest.raises(FutureRevisionError):
        KeyValueHasher(store, 100)


def test_hash_is_that_of_etcd(store: Store) -> None:
    """The number etcd 3.5.1 gives after the same requests."""
    put(store, b"a", b"1")
    put(store, b"a", b"2")
    put(store, b"b", b"3")
    delete(store, b"a")
    store.put(b"c", b"4")
    store.put(b"d", b"5")
    store.commit()
    assert hash_key_values(store) == 2513340206


class Consumer:
    """A watch stream and what was taken from it."""

    def __init__(self, hub: WatchHub) -> None:
        self.wakes = 0
        self.stream: WatchStream = hub.open(self.wake)

    def wake(self) -> None:
        self.wakes += 1

    def take_all(self) -> list[WatchReply]:
        replies: list[WatchReply] = []
        while self.stream.pending:
            replies += self.stream.take()
        return replies

    def revisions(self) -> list[int]:
        return [event.revision for reply in self.take_all() for event in reply.events]


def publish(store: Store, hub: WatchHub) -> None:
    hub.notify(store.take_events())


def test_a_slow_watcher_holds_a_bounded_queue_and_misses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "QUEUE_EVENTS_MAX", 10)
    hub = WatchHub(store)
    consumer = Consumer(hub)
    consumer.stream.create(b"a", b"z")
    consumer.take_all()
    longest = 0
    for number in range(500):
        put(store, b"k%d" % (number % 3))
        publish(store, hub)
        longest = max(longest, len(consumer.stream.watchers[0].queue))
        hub._check()
    assert longest <= 10
    assert hub.slow_watcher_count == 1
    assert consumer.revisions() == list(range(2, 502))
    assert hub.slow_watcher_count == 0
    put(store, b"k")
    publish(store, hub)
    assert consumer.revisions() == [502]


def test_a_watcher_of_large_values_is_bounded_by_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "QUEUE_BYTES_MAX", 1000)
    hub = WatchHub(store)
    consumer = Consumer(hub)
    consumer.stream.create(b"k", b"")
    consumer.take_all()
    for _ in range(20):
        put(store, b"k", bytes(300))
        publish(store, hub)
        assert consumer.stream.watchers[0].queue_bytes <= 1000
    assert consumer.revisions() == list(range(2, 22))


def test_all_queues_together_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Watchers of one key each hold one event each; many of them may still not hold much."""
    monkeypatch.setattr(watch, "LAG_BYTES_MAX", 10_000)
    hub = WatchHub(store)
    slow, quick = Consumer(hub), Consumer(hub)
    for number in range(100):
        for consumer in (slow, quick):
            consumer.stream.create(b"k%03d" % number, b"")
            consumer.take_all()
    seen = []
    for number in range(100):
        put(store, b"k%03d" % number, bytes(1000))
        publish(store, hub)
        seen += quick.revisions()
        held = {id(event): len(event.kv) for w in slow.stream.watchers.values() for event in w.queue}
        assert sum(held.values()) <= 12_000
        hub._check()
    assert hub.slow_watcher_count >= 85
    assert sorted(slow.revisions()) == seen == list(range(2, 102))
    hub._check()


def test_one_take_is_bounded_and_takes_no_revision_apart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (watch, watcher):
        monkeypatch.setattr(module, "TAKE_BYTES_MAX", 5_000)
    monkeypatch.setattr(catch_up, "CATCH_UP_BYTES", 3_000)
    monkeypatch.setattr(catch_up, "VALUES_PER_READ", 2)
    hub = WatchHub(store)
    waiting, reading = Consumer(hub), Consumer(hub)
    for number in range(3):
        waiting.stream.create(b"k", b"l", watch_id=number + 1)
    waiting.take_all()
    for _ in range(20):
        for name in (b"k1", b"k2"):
            store.put(name, bytes(1000))
        store.commit()
        publish(store, hub)
    for number in range(3):
        reading.stream.create(b"k", b"l", 2, watch_id=number + 1)
    for consumer in (waiting, reading):
        seen: dict[int, list[int]] = {1: [], 2: [], 3: []}
        while consumer.stream.pending:
            replies = consumer.stream.take()
            hub._check()
            assert sum(len(event.kv) for reply in replies for event in reply.events) < 12_000
            for reply in replies:
                revisions = [event.revision for event in reply.events]
                assert all(revisions.count(revision) == 2 for revision in revisions)
                seen[reply.watch_id] += revisions
        assert all(revisions == [r for r in range(2, 22) for _ in range(2)] for revisions in seen.values())


def test_progress_is_vouched_for_only_when_everything_was_taken(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (watch, watcher):
        monkeypatch.setattr(module, "TAKE_BYTES_MAX", 500)
    hub = WatchHub(store)
    consumer = Consumer(hub)
    for _ in range(3):
        consumer.stream.create(b"k", b"")
    consumer.take_all()
    put(store, b"k", bytes(1000))
    publish(store, hub)
    consumer.stream.request_progress()
    replies = consumer.take_all()
    assert [len(reply.events) for reply in replies] == [1, 1, 1, 0]
    assert replies[-1].watch_id == -1


def test_one_stream_s_slow_watcher_does_not_hold_up_another(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "QUEUE_EVENTS_MAX", 5)
    hub = WatchHub(store)
    slow, quick = Consumer(hub), Consumer(hub)
    for consumer in (slow, quick):
        consumer.stream.create(b"k", b"")
        consumer.take_all()
    for number in range(50):
        put(store, b"k")
        publish(store, hub)
        assert quick.revisions() == [number + 2]
    assert slow.revisions() == list(range(2, 52))


def test_catching_up_is_done_in_bounded_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catch_up, "CATCH_UP_REVISIONS", 7)
    for _ in range(50):
        store.put(b"a", b"v")
        store.put(b"b", b"v")
        store.commit()
    store.take_events()
    hub = WatchHub(store)
    for keys_limit in (0, 100):
        monkeypatch.setattr(catch_up, "CATCH_UP_KEYS", keys_limit)
        consumer = Consumer(hub)
        consumer.stream.create(b"a", b"c", 2)
        sizes = []
        seen = []
        for reply in consumer.take_all():
            revisions = [event.revision for event in reply.events]
            seen += revisions
            sizes.append(len(revisions))
            assert all(revisions.count(revision) == 2 for revision in revisions), "a revision was torn apart"
        assert seen == [revision for revision in range(2, 52) for _ in range(2)]
        assert max(sizes) <= 14


def test_history_of_other_keys_is_walked_in_bounded_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catch_up, "CATCH_UP_SCAN", 10)
    monkeypatch.setattr(catch_up, "CATCH_UP_KEYS", 0)
    for _ in range(100):
        put(store, b"other")
    put(store, b"mine")
    store.take_events()
    consumer = Consumer(WatchHub(store))
    consumer.stream.create(b"mine", b"", 2)
    takes = 0
    events = 0
    while consumer.stream.pending:
        events += sum(len(reply.events) for reply in consumer.stream.take())
        takes += 1
    assert events == 1
    assert takes >= 10


def test_a_watcher_overtaken_by_compaction_is_cancelled(store: Store) -> None:
    hub = WatchHub(store)
    for _ in range(5):
        put(store, b"k")
    store.take_events()
    consumer = Consumer(hub)
    consumer.stream.create(b"k", b"", 2)
    for _ in store.schedule_compaction(4):
        pass
    created, cancelled = consumer.take_all()
    assert created.created
    assert (cancelled.canceled, cancelled.compact_revision, cancelled.revision) == (True, 4, 0)
    assert not consumer.stream.watchers
    hub._check()


def test_progress_on_request_waits_for_what_it_vouches_for(store: Store) -> None:
    hub = WatchHub(store)
    consumer = Consumer(hub)
    for _ in range(3):
        put(store, b"k")
    store.take_events()
    consumer.stream.create(b"k", b"", 2)
    consumer.stream.request_progress()
    replies = consumer.take_all()
    assert [(reply.watch_id, reply.revision) for reply in replies] == [(0, 4), (0, 4), (-1, 4)]
    assert replies[1].events
    assert not replies[2].events


def test_progress_reports_go_to_quiet_watchers_that_asked(store: Store) -> None:
    hub = WatchHub(store)
    consumer = Consumer(hub)
    consumer.stream.create(b"k", b"", progress_notify=True)
    consumer.stream.create(b"k", b"")
    consumer.stream.create(b"x", b"", progress_notify=True, start_revision=99)
    consumer.take_all()
    hub.report_progress()
    assert [(reply.watch_id, reply.revision) for reply in consumer.take_all()] == [(0, 1)]
    put(store, b"k")
    publish(store, hub)
    consumer.take_all()
    hub.report_progress()
    assert consumer.take_all() == [], "an event said as much"
    hub.report_progress()
    assert [(reply.watch_id, reply.revision) for reply in consumer.take_all()] == [(0, 2)]


def test_closing_a_stream_leaves_nothing_behind(store: Store) -> None:
    hub = WatchHub(store)
    consumer = Consumer(hub)
    for end in (b"", b"l", b"\0", b"z"):
        consumer.stream.create(b"k", end)
    assert hub.watcher_count == 4
    consumer.stream.close()
    assert (hub.watcher_count, hub.stream_count) == (0, 0)
    put(store, b"k")
    publish(store, hub)
    assert not consumer.stream.pending


def test_keys_come_back_to_their_leases_after_a_restart() -> None:
    backend = MemoryBackend()
    store = open_store(backend)
    store.lessor.grant(7, 60)
    put(store, b"a", lease=7)
    put(store, b"b", lease=7)
    put(store, b"b")
    again = open_store(backend)
    assert again.lessor.lookup(7).keys == {b"a"}
    assert again.lessor.lookup(7).ttl == 60
    again._check()


def test_a_key_changed_twice_in_a_revision_has_its_value_before_it_as_previous(store: Store) -> None:
    hub = WatchHub(store)
    consumer = Consumer(hub)
    consumer.stream.create(b"k", b"", previous=True)
    put(store, b"k", b"1")
    store.put(b"k", b"2")
    store.delete_range(b"k")
    store.commit()
    publish(store, hub)
    events = [event for reply in consumer.take_all() for event in reply.events]
    stored = [event.previous and store.backend.get_revision(event.previous) for event in events]
    previous = [kv and kv_pb2.KeyValue.FromString(kv).value for kv in stored]
    assert previous == [None, b"1", b"1"]


def test_a_quiet_watcher_outlives_a_snapshot_that_begins_where_it_is(store: Store) -> None:
    """It has seen everything, though nothing of that was for it."""
    hub = WatchHub(store)
    consumer = Consumer(hub)
    consumer.stream.create(b"k", b"")
    consumer.take_all()
    for _ in range(5):
        put(store, b"elsewhere")
    publish(store, hub)
    for _ in store.schedule_compaction(store.revision):
        pass
    hub.restart(store.revision)
    revision = put(store, b"k")
    publish(store, hub)
    replies = consumer.take_all()
    assert not any(reply.canceled for reply in replies)
    assert [event.revision for reply in replies for event in reply.events] == [revision]


def test_histories_are_read_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a store knows after a restart is the same however its database is read."""
    monkeypatch.setattr(histories, "ROWS_PER_STEP", 3)
    backend = MemoryBackend()
    store = open_store(backend)
    store.lessor.grant(7, 60)
    for number in range(10):
        store.put(b"%d" % (number % 4), b"", 7 if number == 9 else 0)
        store.commit()
    store.delete_range(b"2")
    store.commit()
    read = histories.Histories()
    assert sum(1 for _ in read.read(backend.scan_revisions(b""))) == 3  # between four steps
    assert gc.isenabled()
    assert (read.newest, read.leases) == (store.revision, {b"1": 7})
    again = open_store(backend)
    again.lessor.restore()
    again.restore(read)
    again._check()
    assert (again.revision, again.index.records(b"", b"\0", 12)) == (
        store.revision,
        store.index.records(b"", b"\0", 12),
    )
    assert again.lessor.lease_of(b"1") == 7
