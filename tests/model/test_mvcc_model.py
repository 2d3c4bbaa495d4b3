"""The MVCC store against a model that keeps every revision whole.

The model is a list of dictionaries, one per revision, and a list of events. Hypothesis writes, compacts a step at a
time, restarts, reads at any revision and follows changes with watchers that are slow in every way, and after each step
both must agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kvstore.backend import MemoryBackend
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import (
    CompactedError,
    FutureRevisionError,
    Lessor,
    Store,
    WatchHub,
    WatchReply,
    WatchStream,
    catch_up,
    event_wire,
    hash_key_values,
    in_range,
    range_keys,
    watch,
)

KEYS = [b"a", b"aa", b"ab", b"b", b"b\xff", b"c", b"\xff"]
ENDS = [b"", b"\0", b"a", b"b", b"c", b"aa", b"\xff\xff"]
keys = st.sampled_from(KEYS)
ends = st.sampled_from(ENDS)


@dataclass(frozen=True)
class Value:
    value: bytes
    created: int
    modified: int
    version: int

    def message(self, key: bytes) -> kv_pb2.KeyValue:
        return kv_pb2.KeyValue(
            key=key,
            value=self.value,
            create_revision=self.created,
            mod_revision=self.modified,
            version=self.version,
        )


@dataclass
class Model:
    """Every revision, whole, and every change, in order: (revision, key, value or None, value one revision earlier)."""

    revisions: list[dict[bytes, Value]] = field(default_factory=lambda: [{}, {}])
    changes: list[tuple[int, bytes, Value | None, Value | None]] = field(default_factory=list)
    compacted: int = -1

    @property
    def revision(self) -> int:
        return len(self.revisions) - 1

    def begin(self) -> dict[bytes, Value]:
        return dict(self.revisions[-1])

    def put(self, state: dict[bytes, Value], key: bytes, value: bytes) -> None:
        main, old = self.revision + 1, state.get(key)
        new = Value(value, main, main, 1) if old is None else replace(old, value=value, modified=main)
        state[key] = new if old is None else replace(new, version=old.version + 1)
        self.changes.append((main, key, state[key], None if old is None else self.revisions[-1].get(key)))

    def delete(self, state: dict[bytes, Value], key: bytes, end: bytes) -> int:
        found = [name for name in sorted(state) if in_range(name, key, end)]
        for name in found:
            del state[name]
            self.changes.append((self.revision + 1, name, None, self.revisions[-1].get(name)))
        return len(found)

    def end(self, state: dict[bytes, Value], changed: bool) -> None:
        if changed:
            self.revisions.append(state)


@dataclass
class Follower:
    """A watcher, and what the model says it has yet to see."""

    stream: WatchStream
    key: bytes
    end: bytes
    next_revision: int
    previous: bool
    no_put: bool
    cancelled: bool = False
    seen: list[tuple[int, bytes, bytes | None, bytes | None]] = field(default_factory=list)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.backend = MemoryBackend()
        self.model = Model()
        self.followers: list[Follower] = []
        self.work: list[Iterator[None]] = []
        self.counter = 0
        self.open()

    def open(self) -> None:
        lessor = Lessor(self.backend, lambda: 0.0)
        lessor.restore()
        self.store = Store(self.backend, lessor)
        self.store.restore()
        self.hub = WatchHub(self.store)
        pending = self.store.pending_compaction()
        self.work = [pending] if pending is not None else []

    def value(self) -> bytes:
        self.counter += 1
        return b"v%d" % self.counter

    def finish(self) -> None:
        assert self.store.commit() == self.model.revision
        self.hub.notify(self.store.take_events())

    @initialize(values=st.integers(0, 3))
    def fill(self, values: int) -> None:
        for key in KEYS[:values]:
            self.put(key)

    @rule(key=keys)
    def put(self, key: bytes) -> None:
        value = self.value()
        state = self.model.begin()
        self.model.put(state, key, value)
        self.model.end(state, True)
        self.store.put(key, value)
        self.finish()

    @rule(key=keys, end=ends)
    def delete(self, key: bytes, end: bytes) -> None:
        state = self.model.begin()
        deleted = self.model.delete(state, key, end)
        self.model.end(state, deleted > 0)
        assert self.store.delete_range(key, end) == deleted
        self.finish()

    @rule(operations=st.lists(st.tuples(st.booleans(), keys, ends), min_size=1, max_size=5))
    def transaction(self, operations: list[tuple[bool, bytes, bytes]]) -> None:
        state = self.model.begin()
        changed = False
        for is_put, key, end in operations:
            if is_put:
                value = self.value()
                self.model.put(state, key, value)
                self.store.put(key, value)
                changed = True
            else:
                deleted = self.model.delete(state, key, end)
                changed = changed or deleted > 0
                assert self.store.delete_range(key, end) == deleted
            now = range_keys(self.store, pb.RangeRequest(key=b"\0", range_end=b"\0"))
            assert now.total == len(state)
        self.model.end(state, changed)
        self.finish()

    @rule(back=st.integers(0, 6))
    def compact(self, back: int) -> None:
        revision = self.model.revision - back
        if revision <= self.model.compacted:
            with pytest.raises(CompactedError):
                self.store.schedule_compaction(revision)
            return
        self.work.append(self.store.schedule_compaction(revision))
        self.model.compacted = revision

    @rule(steps=st.integers(1, 4))
    @precondition(lambda self: self.work)
    def compact_a_little(self, steps: int) -> None:
        for _ in range(steps):
            if self.work and next(self.work[0], "done") == "done":
                self.work.pop(0)

    @rule()
    def restart(self) -> None:
        self.open()
        assert self.store.revision == self.model.revision
        assert self.store.compact_revision == self.model.compacted
        self.followers.clear()

    @rule(key=keys, end=ends, revision=st.integers(-1, 40), limit=st.integers(0, 4), keys_only=st.booleans())
    def read(self, key: bytes, end: bytes, revision: int, limit: int, keys_only: bool) -> None:
        request = pb.RangeRequest(key=key, range_end=end, revision=revision, limit=limit, keys_only=keys_only)
        if revision > self.model.revision:
            with pytest.raises(FutureRevisionError):
                range_keys(self.store, request)
            return
        if 0 < revision < self.model.compacted:
            with pytest.raises(CompactedError):
                range_keys(self.store, request)
            return
        state = self.model.revisions[revision if revision > 0 else self.model.revision]
        wanted = [state[name].message(name) for name in sorted(state) if in_range(name, key, end)]
        if keys_only:
            for kv in wanted:
                kv.ClearField("value")
        found = range_keys(self.store, request)
        assert found.total == len(wanted)
        assert found.more == (0 < limit < len(wanted))
        assert [kv_pb2.KeyValue.FromString(kv) for kv in found.kvs] == (wanted[:limit] if limit else wanted)
        counted = range_keys(self.store, pb.RangeRequest(key=key, range_end=end, revision=revision, count_only=True))
        assert (counted.kvs, counted.total) == ([], len(wanted))

    @rule(key=keys, end=ends, back=st.integers(-2, 12), previous=st.booleans(), no_put=st.booleans())
    def follow(self, key: bytes, end: bytes, back: int, previous: bool, no_put: bool) -> None:
        if len(self.followers) == 4:
            return
        start = max(1, self.model.revision + 1 - back)
        stream = self.hub.open(lambda: None)
        stream.create(key, end, start, previous=previous, no_put=no_put)
        created, *others = stream.take()
        assert created.created
        if created.canceled:
            assert end not in (b"", b"\0")
            assert end <= key
            stream.close()
            return
        follower = Follower(stream, key, end, start, previous, no_put)
        self.followers.append(follower)
        self.absorb(follower, others)

    @rule(number=st.integers(0, 3))
    @precondition(lambda self: self.followers)
    def take(self, number: int) -> None:
        follower = self.followers[number % len(self.followers)]
        if follower.stream.pending:
            self.absorb(follower, follower.stream.take())

    def absorb(self, follower: Follower, replies: list[WatchReply]) -> None:
        for reply in replies:
            if reply.canceled:
                assert reply.compact_revision == self.model.compacted
                follower.cancelled = True
            revisions = [event.revision for event in reply.events]
            assert revisions == sorted(revisions)
            for event in reply.events:
                wire = kv_pb2.Event.FromString(event_wire(self.store, event, follower.previous))
                follower.seen.append(
                    (
                        event.revision,
                        wire.kv.key,
                        None if wire.type == kv_pb2.Event.DELETE else wire.kv.value,
                        wire.prev_kv.value if wire.HasField("prev_kv") else None,
                    )
                )

    @invariant()
    def watchers_saw_the_truth(self) -> None:
        """What was seen is exactly the beginning of what the model says there was to see."""
        for follower in self.followers:
            wanted = [
                change
                for change in self.model.changes
                if change[0] >= follower.next_revision
                and in_range(change[1], follower.key, follower.end)
                and not (follower.no_put and change[2] is not None)
            ]
            rest = iter(wanted)
            for revision, key, value, previous in follower.seen:
                change = next(rest)
                while change[:2] != (revision, key) or value != (change[2].value if change[2] else None):
                    assert self.may_be_lost(change), "an event was missed"
                    change = next(rest)
                if previous is not None:
                    assert follower.previous
                    assert change[3] is not None
                    assert previous == change[3].value
                elif follower.previous and change[3] is not None:
                    created = change[2] is not None and change[2].created == revision
                    assert created or revision - 1 < self.model.compacted, "only compaction loses previous values"
            if not follower.stream.pending and not follower.cancelled:
                assert all(map(self.may_be_lost, rest)), "nothing is left to take, and something was missed"

    def may_be_lost(self, change: tuple[int, bytes, Value | None, Value | None]) -> bool:
        """A compaction at a revision that changed a key more than once keeps only the last of these changes."""
        revision, key = change[:2]
        same = [other for other in self.model.changes if other[:2] == (revision, key)]
        return revision <= self.model.compacted and change is not same[-1]

    @invariant()
    def structures_are_sound(self) -> None:
        self.store._check()
        self.hub._check()

    def teardown(self) -> None:
        for follower in self.followers:
            while follower.stream.pending:
                self.absorb(follower, follower.stream.take())
        self.watchers_saw_the_truth()
        for work in self.work:
            for _ in work:
                pass
        self.store._check()
        before = hash_key_values(self.store)
        self.open()
        assert hash_key_values(self.store) == before


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of a few events, so that short runs reach every way to fall behind."""
    monkeypatch.setattr(watch, "QUEUE_EVENTS_MAX", 3)
    monkeypatch.setattr(catch_up, "CATCH_UP_REVISIONS", 2)
    monkeypatch.setattr(catch_up, "CATCH_UP_SCAN", 4)
    monkeypatch.setattr(catch_up, "CATCH_UP_KEYS", 3)
    monkeypatch.setattr("kvstore.mvcc.store.COMPACTION_KEYS_PER_STEP", 2)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
