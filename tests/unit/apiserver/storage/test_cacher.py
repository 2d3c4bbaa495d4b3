"""The watch cache when the store lags, breaks, forgets, or is sealed, and when readers are slow."""

from __future__ import annotations

import asyncio

import pytest

from apiserver.api.selectors import parse_label_selector
from apiserver.api.status import StatusError, internal_error
from apiserver.storage import EventType, ListOptions, WatchOptions, cache_watchers, changes
from apiserver.storage.cacher import Cacher
from apiserver.storage.etcd3 import Etcd3Storage
from apiserver.storage.warming import warm_json
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from tests.conformance.storage.fake_clock import settle
from tests.conformance.storage.fake_etcd import FakeClient
from tests.conformance.storage.helpers import Reader, config_map, create, names, set_data

KEY = "/registry/configmaps/default/a"
UNAVAILABLE = EtcdError(StatusCode.UNAVAILABLE, "the store is away")


def put_other(etcd, object_codec, maps, name, **data):
    """A write by somebody else."""
    obj = config_map(name, **data)
    etcd.put(pb.PutRequest(key=f"/registry/configmaps/default/{name}".encode(), value=object_codec.encode(maps, obj)))
    return etcd.revision


async def watch(cacher, maps, **options) -> Reader:
    return Reader(await cacher.watch(maps, WatchOptions(**options)))


# Freshness.


async def test_a_read_waits_for_the_event(cacher, maps, etcd, object_codec):
    await create(cacher, maps, config_map("a"))
    etcd.held = True
    put_other(etcd, object_codec, maps, "a", x="2")
    read = asyncio.ensure_future(cacher.get(maps, KEY))
    await settle()
    assert not read.done()
    assert (await cacher.get(maps, KEY, resource_version="0")).view(maps).get("data") is None
    etcd.release()
    assert (await read).view(maps)["data"] == {"x": "2"}


async def test_progress_is_asked_for_when_nothing_else_tells(cacher, maps, etcd, clock):
    await create(cacher, maps, config_map("a"))
    etcd.put(pb.PutRequest(key=b"/elsewhere", value=b"x"))
    read = asyncio.ensure_future(cacher.get(maps, KEY))
    await settle()
    assert not read.done()
    await clock.advance(0.02)
    assert read.done()
    assert etcd.calls.count("progress") == 1
    assert (await read).name == "a"


async def test_a_revision_that_does_not_come(cacher, maps, etcd, clock):
    created = await create(cacher, maps, config_map("a"))
    wanted = created.revision + 1000
    get = asyncio.ensure_future(cacher.get(maps, KEY, resource_version=str(wanted)))
    listing = asyncio.ensure_future(cacher.list(maps, ListOptions(resource_version=str(wanted))))
    await settle()
    await clock.advance(2.9)
    assert not get.done()
    await clock.advance(0.2)
    for request in (get, listing):
        with pytest.raises(StatusError) as refused:
            await request
        status = refused.value.to_dict()
        assert (status["code"], status["reason"]) == (504, "Timeout")
        message = f"Timeout: Too large resource version: {wanted}, current: {created.revision}"
        assert status["message"] == message
        assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
        assert status["details"]["retryAfterSeconds"] == 1


async def test_watch_list_of_a_revision_that_does_not_come(cacher, maps, clock):
    await create(cacher, maps, config_map("a"))
    options = WatchOptions(resource_version="5000", match="NotOlderThan", send_initial_events=True)
    starting = asyncio.ensure_future(cacher.watch(maps, options))
    await settle()
    await clock.advance(3.1)
    reader = Reader(await starting)
    event = await reader.event()
    assert event.type is EventType.ERROR
    assert event.status["reason"] == "Timeout"
    assert await reader.ended()


async def test_reads_of_the_revision_are_shared(etcd, etcd3, maps):
    etcd3.client.latency = 3
    cacher = Cacher(etcd3)
    await create(cacher, maps, config_map("a"))
    etcd.calls.clear()
    await asyncio.gather(*(cacher.get(maps, KEY) for _ in range(50)))
    assert etcd.calls.count("current_revision") == 2
    await cacher.close()


async def test_a_cached_list_reads_nothing_but_the_revision(cacher, maps, etcd):
    await create(cacher, maps, config_map("a"))
    etcd.calls.clear()
    await cacher.list(maps, ListOptions())
    await cacher.list(maps, ListOptions(resource_version="0"))
    assert etcd.calls == ["current_revision"]


async def test_own_writes_are_not_decoded_again(cacher, maps, object_codec, monkeypatch):
    monkeypatch.setattr(object_codec, "decode", None)
    created = await create(cacher, maps, config_map("a"))
    updated = await cacher.update(maps, KEY, set_data(x="1"))
    assert await cacher.get(maps, KEY) is updated
    reader = await watch(cacher, maps, resource_version=str(created.revision))
    assert (await reader.event()).stored is updated
    await settle()
    assert len(cacher._storage.own_writes) == 0


async def test_own_writes_when_events_come_first_or_last(cacher, maps, etcd, etcd3):
    await create(cacher, maps, config_map("a"))
    etcd3.client.latency = 2
    await asyncio.gather(*(create(cacher, maps, config_map(f"m{n}")) for n in range(20)))
    etcd.held = True
    etcd.put(pb.PutRequest(key=b"/elsewhere", value=b"x"))
    own = await create(cacher, maps, config_map("late"))
    # Its event is held, so the cache does not have it; an update begins with it nevertheless.
    etcd.calls.clear()
    await cacher.update(maps, own.key, set_data(x="1"))
    assert etcd.calls == ["txn"]
    etcd.release()
    await settle()
    result = await cacher.list(maps, ListOptions(resource_version="0"))
    assert len(result.items) == 22
    assert len(etcd3.own_writes) == 0


async def test_a_write_whose_answer_was_lost(cacher, maps, etcd, etcd3, monkeypatch):
    await create(cacher, maps, config_map("a"))
    txn = etcd.txn

    def lost(request):
        txn(request)
        raise UNAVAILABLE

    monkeypatch.setattr(etcd, "txn", lost)
    created = await create(cacher, maps, config_map("b"))
    monkeypatch.undo()
    assert created.revision == etcd.revision
    listed = await cacher.list(maps, ListOptions())
    assert names(listed) == ["a", "b"]
    assert [item.revision for item in listed.items][1] == created.revision
    assert len(etcd3.own_writes) == 0


async def test_a_write_of_which_nothing_is_known(cacher, maps, etcd, etcd3, monkeypatch):
    await create(cacher, maps, config_map("a"))

    def lost(request):
        raise UNAVAILABLE

    monkeypatch.setattr(etcd, "txn", lost)
    with pytest.raises(StatusError) as refused:
        await create(cacher, maps, config_map("b"))
    assert (refused.value.code, refused.value.message) == (500, UNAVAILABLE.message)
    monkeypatch.undo()
    assert names(await cacher.list(maps, ListOptions())) == ["a"]
    assert len(etcd3.own_writes) == 0


# The feed breaks.


async def test_a_broken_stream_is_taken_up_where_it_was(cacher, maps, etcd, object_codec, clock):
    created = await create(cacher, maps, config_map("a"))
    reader = await watch(cacher, maps, resource_version=str(created.revision))
    etcd.break_streams()
    etcd.failure = UNAVAILABLE
    missed = put_other(etcd, object_codec, maps, "b")
    await clock.advance(1)
    with pytest.raises(StatusError) as refused:
        await cacher.get(maps, KEY)
    assert refused.value.code == 500
    assert (await cacher.get(maps, KEY, resource_version="0")).name == "a"
    etcd.failure = None
    await clock.advance(3)
    assert (await reader.event()).revision == missed
    assert names(await cacher.list(maps, ListOptions())) == ["a", "b"]


async def test_a_gap_ends_watches_and_loads_again(cacher, maps, etcd, object_codec, clock):
    created = await create(cacher, maps, config_map("a"))
    reader = await watch(cacher, maps, resource_version=str(created.revision))
    etcd.break_streams()
    put_other(etcd, object_codec, maps, "b")
    put_other(etcd, object_codec, maps, "c")
    etcd.compact(etcd.revision)
    await clock.advance(3)
    assert await reader.ended()
    assert names(await cacher.list(maps, ListOptions())) == ["a", "b", "c"]
    too_old = await watch(cacher, maps, resource_version=str(created.revision))
    event = await too_old.event()
    assert event.status["code"] == 410
    assert event.status["message"] == f"too old resource version: {created.revision} ({etcd.revision})"


async def test_events_during_a_load_are_not_lost(etcd, etcd3, maps, object_codec):
    etcd3.client.latency = 5
    put_other(etcd, object_codec, maps, "a")
    cacher = Cacher(etcd3)
    listing = asyncio.ensure_future(cacher.list(maps, ListOptions(resource_version="0")))
    for n in range(30):
        put_other(etcd, object_codec, maps, f"m{n:02}")
        await asyncio.sleep(0)
    await listing
    assert len((await cacher.list(maps, ListOptions())).items) == 31
    await cacher.close()


async def test_late_events_that_the_load_had_already(cacher, maps, scheme, etcd, object_codec):
    await cacher.list(scheme.resource("", "v1", "secrets"), ListOptions())  # starts the feed
    etcd.held = True
    put_other(etcd, object_codec, maps, "a", x="1")
    put_other(etcd, object_codec, maps, "b")
    last = put_other(etcd, object_codec, maps, "a", x="2")
    etcd.delete(b"/registry/configmaps/default/b")
    assert names(await cacher.list(maps, ListOptions())) == ["a"]
    reader = await watch(cacher, maps, resource_version=str(etcd.revision))
    etcd.release()
    await settle()
    assert (await cacher.get(maps, KEY)).revision == last
    assert names(await cacher.list(maps, ListOptions())) == ["a"]
    await create(cacher, maps, config_map("c"))
    assert (await reader.event()).stored.name == "c"


async def test_an_event_that_cannot_be_taken(cacher, maps, etcd, object_codec, clock, monkeypatch, caplog):
    await create(cacher, maps, config_map("a"))

    def fail(*arguments):
        raise RuntimeError("unforeseen")

    with monkeypatch.context() as patch:
        patch.setattr(cacher._caches, "_apply", fail)
        put_other(etcd, object_codec, maps, "b")
        await settle()
    assert "could not take an event" in caplog.text
    await clock.advance(1)
    assert names(await cacher.list(maps, ListOptions())) == ["a", "b"]
    put_other(etcd, object_codec, maps, "c")
    assert names(await cacher.list(maps, ListOptions())) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("version", "reliable"),
    [("3.6.5", True), ("3.5.13", True), ("3.5.12", False), ("3.4.31", True), ("3.4.30", False), ("3.3.99", False)],
)
async def test_an_etcd_that_cannot_tell_progress(cacher, maps, etcd, clock, version, reliable):
    """Then a consistent read that finds the cache behind is answered by the store."""
    etcd.version = version
    await create(cacher, maps, config_map("a"))
    etcd.put(pb.PutRequest(key=b"/elsewhere", value=b"x"))
    read = asyncio.ensure_future(cacher.get(maps, KEY))
    listing = asyncio.ensure_future(cacher.list(maps, ListOptions()))
    await settle()
    assert read.done() is listing.done() is not reliable
    await clock.advance(0.2)
    assert (await read).name == "a"
    assert names(await listing) == ["a"]
    assert ("progress" in etcd.calls) is reliable
    etcd.put(pb.PutRequest(key=b"/elsewhere", value=b"y"))
    starting = asyncio.ensure_future(watch(cacher, maps, send_initial_events=True, bookmarks=True))
    await settle()
    await clock.advance(0.2)
    reader = await starting
    assert await reader.summary(1) == [("ADDED", "a")]
    assert (await reader.event()).initial_end
    reader.watcher.stop()


async def test_a_load_that_fails_is_tried_again(cacher, maps, etcd):
    etcd.failure = UNAVAILABLE
    with pytest.raises(StatusError) as refused:
        await cacher.list(maps, ListOptions(resource_version="0"))
    assert refused.value.code == 500
    etcd.failure = None
    assert names(await cacher.list(maps, ListOptions())) == []


async def test_prefixes_with_more_than_one_step(cacher, scheme, etcd):
    services = scheme.resource("", "v1", "services")
    service = {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": "s", "namespace": "default"},
        "spec": {},
        "status": {"loadBalancer": {}},
    }
    await cacher.list(services, ListOptions())
    created = await create(cacher, services, service)
    assert created.key == "/registry/services/specs/default/s"
    assert names(await cacher.list(services, ListOptions())) == ["s"]
    etcd.delete(created.key.encode())
    assert names(await cacher.list(services, ListOptions())) == []


# History.


async def test_history_is_bounded(cacher, maps, etcd, clock, monkeypatch):
    monkeypatch.setattr(changes, "CHANGES_MAX", 120)
    entries = [await create(cacher, maps, config_map(f"m{n:03}")) for n in range(130)]
    reader = await watch(cacher, maps, resource_version=str(entries[9].revision))
    assert (await reader.event()).revision == entries[10].revision
    reader = await watch(cacher, maps, resource_version=str(entries[8].revision))
    message = f"too old resource version: {entries[8].revision} ({entries[9].revision})"
    assert (await reader.event()).status["message"] == message
    await clock.advance(80)
    last = await create(cacher, maps, config_map("z"))
    reader = await watch(cacher, maps, resource_version=str(entries[30].revision))
    assert (await reader.event()).revision == entries[31].revision
    reader = await watch(cacher, maps, resource_version=str(entries[29].revision))
    assert (await reader.event()).type is EventType.ERROR
    assert last.revision == etcd.revision


async def test_a_list_older_than_the_history_comes_from_the_store(cacher, maps, etcd, object_codec):
    first = put_other(etcd, object_codec, maps, "a")
    put_other(etcd, object_codec, maps, "b")
    await cacher.list(maps, ListOptions())
    etcd.calls.clear()
    result = await cacher.list(maps, ListOptions(resource_version=str(first), match="Exact"))
    assert (names(result), result.revision) == (["a"], first)
    assert etcd.calls == ["range"]


async def test_pages_come_from_memory(cacher, maps, etcd):
    for n in range(5):
        await create(cacher, maps, config_map(f"m{n}"))
    first = await cacher.list(maps, ListOptions(limit=2))
    await cacher.delete(maps, "/registry/configmaps/default/m2")
    await create(cacher, maps, config_map("m3a"))
    etcd.calls.clear()
    second = await cacher.list(maps, ListOptions(limit=2, continue_token=first.continue_token))
    assert (names(second), second.remaining) == (["m2", "m3"], 1)
    assert etcd.calls == []


# Watchers.


async def test_events_are_shared(cacher, maps, etcd, object_codec):
    created = await create(cacher, maps, config_map("a", labels={"app": "x"}))
    readers = [
        await watch(cacher, maps, resource_version=str(created.revision)),
        await watch(cacher, maps, resource_version=str(created.revision), namespace="default"),
        await watch(cacher, maps, resource_version=str(created.revision), labels=parse_label_selector("app")),
    ]
    await cacher.update(maps, KEY, set_data(x="1"))
    await cacher.delete(maps, KEY)
    seen = [await reader.events(2) for reader in readers]
    for events in seen[1:]:
        assert events[0] is seen[0][0]
        assert events[1] is seen[0][1]
    assert seen[0][1].stored.json(maps) is seen[1][1].stored.json(maps)


async def test_a_slow_watcher_is_ended(cacher, maps, monkeypatch):
    monkeypatch.setattr(cache_watchers, "WATCHER_EVENTS_MAX", 3)
    start = await create(cacher, maps, config_map("a"))
    slow = await watch(cacher, maps, resource_version=str(start.revision))
    entries = [await create(cacher, maps, config_map(f"m{n}")) for n in range(5)]
    # What was queued is still given, without a gap; the reader resumes from there.
    assert [event.revision for event in await slow.events(3)] == [entry.revision for entry in entries[:3]]
    assert await slow.ended()


async def test_a_batch_for_what_came_together(cacher, maps, etcd, object_codec):
    created = await create(cacher, maps, config_map("a"))
    watcher = await cacher.watch(maps, WatchOptions(resource_version=str(created.revision)))
    for n in range(3):
        put_other(etcd, object_codec, maps, f"m{n}")
    await settle()
    batches = watcher.__aiter__()
    assert len(await batches.__anext__()) == 3
    watcher.stop()


async def test_initial_events_come_in_bounded_batches(cacher, maps, monkeypatch):
    monkeypatch.setattr(cache_watchers, "INITIAL_BATCH_EVENTS_MAX", 2)
    for n in range(5):
        await create(cacher, maps, config_map(f"m{n}"))
    watcher = await cacher.watch(maps, WatchOptions())
    batches = watcher.__aiter__()
    assert [len(await batches.__anext__()) for _ in range(3)] == [2, 2, 1]
    watcher.stop()


async def test_bookmarks(cacher, maps, etcd, clock):
    created = await create(cacher, maps, config_map("a"))
    options = {"resource_version": str(created.revision), "bookmarks": True}
    reader = await watch(cacher, maps, **options)
    ending = await watch(cacher, maps, **options, timeout_seconds=90)
    without = await watch(cacher, maps, resource_version=str(created.revision))
    etcd.put(pb.PutRequest(key=b"/registry/other/a", value=b"x"))
    await settle()
    for _ in range(3):
        await clock.advance(60)
    bookmarks = await reader.events(3)
    assert [event.type for event in bookmarks] == [EventType.BOOKMARK] * 3
    assert [event.revision for event in bookmarks] == [etcd.revision] * 3
    assert not any(event.initial_end for event in bookmarks)
    # One after a minute and one two seconds before its time is up.
    assert len(await ending.events(2)) == 2
    for quiet in (ending, without):
        quiet.watcher.stop()
        assert await quiet.ended()


async def test_stopped_watchers_are_forgotten(cacher, maps):
    created = await create(cacher, maps, config_map("a"))
    reader = await watch(cacher, maps, resource_version=str(created.revision), namespace="default", bookmarks=True)
    dispatcher = cacher._caches.loaded(maps)._dispatcher
    assert len(dispatcher.watchers()) == 1
    reader.watcher.stop()
    assert dispatcher.watchers() == []
    assert dispatcher._by_scope == {}


async def test_closing_ends_watches(etcd3, maps):
    cacher = Cacher(etcd3)
    created = await create(cacher, maps, config_map("a"))
    reader = await watch(cacher, maps, resource_version=str(created.revision))
    await cacher.close()
    assert await reader.ended()


# Sealed values.


class Reverse:
    """A "cipher" that needs preparing, fails on demand, and calls values without its mark stale."""

    def __init__(self) -> None:
        self.prepared = 0
        self.broken = False

    def to_storage(self, data: bytes, aad: bytes) -> bytes:
        return b"rev:" + aad[-1:] + data[::-1]

    def from_storage(self, data: bytes, aad: bytes) -> tuple[bytes, bool]:
        if self.broken:
            raise internal_error("no key")
        if not data.startswith(b"rev:"):
            return data, True
        assert data[4:5] == aad[-1:]
        return data[:4:-1], False

    async def prepare(self, values) -> None:
        self.prepared += 1
        await asyncio.sleep(0)


@pytest.fixture
async def sealed(etcd, etcd3, object_codec):
    transformer = Reverse()
    storage = Etcd3Storage(FakeClient(etcd), object_codec, etcd3.environment, lambda group, plural: transformer)
    cacher = Cacher(storage)
    cacher.transformer = transformer
    yield cacher
    await cacher.close()


async def test_values_are_sealed_and_opened(sealed, maps, etcd, etcd3):
    created = await create(sealed, maps, config_map("a", x="1"))
    value = etcd.at(KEY.encode()).value
    assert value.startswith(b"rev:a")
    assert await sealed.get(maps, KEY) is created
    # Another server writes the same way.
    other = Etcd3Storage(FakeClient(etcd), etcd3._codec, etcd3.environment, lambda g, p: sealed.transformer)
    await other.update(maps, KEY, set_data(x="2"))
    await create(other, maps, config_map("b", x="3"))
    assert (await sealed.get(maps, KEY)).view(maps)["data"] == {"x": "2"}
    assert names(await sealed.list(maps, ListOptions())) == ["a", "b"]
    assert sealed.transformer.prepared > 0


async def test_stale_values_are_written_again(sealed, maps, etcd, object_codec):
    put_other(etcd, object_codec, maps, "a", x="1")
    before = etcd.revision
    await sealed.update(maps, KEY, lambda obj, revision: obj)
    assert etcd.revision == before + 1
    assert etcd.at(KEY.encode()).value.startswith(b"rev:")
    await sealed.update(maps, KEY, lambda obj, revision: obj)
    assert etcd.revision == before + 1


async def test_a_value_that_does_not_open(sealed, maps, etcd, object_codec):
    put_other(etcd, object_codec, maps, "a", x="1")
    sealed.transformer.broken = True
    with pytest.raises(StatusError) as refused:
        (await sealed.get(maps, KEY)).json(maps)
    assert refused.value.code == 500
    assert 'unable to transform key "/registry/configmaps/default/a"' in refused.value.message
    await create(sealed, maps, config_map("b"))
    assert (await sealed.get(maps, "/registry/configmaps/default/b")).json(maps)
    sealed.transformer.broken = False
    assert (await sealed.get(maps, KEY)).view(maps)["data"] == {"x": "1"}
    result = await sealed.list(maps, ListOptions())
    assert [item.view(maps)["metadata"]["name"] for item in result.items] == ["a", "b"]


async def test_watching_a_value_that_does_not_open(sealed, maps, etcd, object_codec):
    """It ends the watches of its resource, and no others, with the reason."""
    created = await create(sealed, maps, config_map("a"))
    readers = [
        await watch(sealed, maps, resource_version=str(created.revision)),
        await watch(sealed, maps, resource_version=str(created.revision), labels=parse_label_selector("app")),
    ]
    elsewhere = await watch(sealed, maps, resource_version=str(created.revision), namespace="other")
    sealed.transformer.broken = True
    put_other(etcd, object_codec, maps, "b")
    for reader in readers:
        event = await reader.event()
        assert (event.type, event.status["code"]) == (EventType.ERROR, 500)
        assert await reader.ended()
    fresh = await watch(sealed, maps)
    assert (await fresh.event()).status["code"] == 500
    sealed.transformer.broken = False
    await create(sealed, maps, config_map("c", "other"))
    assert (await elsewhere.event()).stored.name == "c"
    assert names(await sealed.list(maps, ListOptions())) == ["a", "b", "c"]


async def test_warming_lets_others_run(cacher, maps, etcd, object_codec, clock, monkeypatch):
    for n in range(40):
        put_other(etcd, object_codec, maps, f"m{n:02}")
    items = (await cacher.list(maps, ListOptions())).items
    monkeypatch.setattr(clock, "monotonic", iter(range(1000)).__next__)
    turns = []

    async def other():
        while True:
            turns.append(sum(item.has_json(maps) for item in items))
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    await warm_json(items, maps, clock)
    task.cancel()
    assert len(turns) >= 4
    assert all(item.has_json(maps) for item in items)
    monkeypatch.undo()
