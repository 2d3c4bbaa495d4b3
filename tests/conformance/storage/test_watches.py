"""Watches: where they start, what they see, how they end."""

from __future__ import annotations

import asyncio

import pytest

from apiserver.api.selectors import parse_field_selector, parse_label_selector
from apiserver.storage import EventType, WatchOptions
from apiserver.storage.cacher import Cacher
from apiserver.storage.etcd3 import Etcd3Storage
from apiserver.storage.feed import progress_is_reliable
from kvstore.etcdpb import rpc_pb2 as pb
from tests.conformance.storage.helpers import Reader, config_map, create, key_of, pod, set_data


@pytest.fixture
def resource(scheme):
    return scheme.resource("", "v1", "configmaps")


@pytest.fixture
async def watch(storage, resource):
    """Starts watches and stops them at the end."""
    readers: list[Reader] = []

    async def start(of=None, **options) -> Reader:
        reader = Reader(await storage.watch(of or resource, WatchOptions(**options)))
        readers.append(reader)
        return reader

    yield start
    for reader in readers:
        reader.watcher.stop()


async def test_from_a_revision(storage, resource, watch):
    first = await create(storage, resource, config_map("a"))
    second = await create(storage, resource, config_map("b"))
    reader = await watch(resource_version=str(first.revision))
    updated = await storage.update(resource, first.key, set_data(x="1"))
    deleted = await storage.delete(resource, second.key)
    events = await reader.events(3)
    assert [(event.type.value, event.revision, event.stored.name) for event in events] == [
        ("ADDED", second.revision, "b"),
        ("MODIFIED", updated.revision, "a"),
        ("DELETED", deleted.revision, "b"),
    ]
    assert events[1].stored.view(resource)["data"] == {"x": "1"}
    assert events[2].stored.view(resource)["metadata"]["resourceVersion"] == str(deleted.revision)


@pytest.mark.parametrize("version", ["", "0"])
async def test_from_the_present_state(storage, resource, watch, version):
    first = await create(storage, resource, config_map("a"))
    second = await create(storage, resource, config_map("b"))
    reader = await watch(resource_version=version)
    events = await reader.events(2)
    assert [(event.type, event.revision) for event in events] == [
        (EventType.ADDED, first.revision),
        (EventType.ADDED, second.revision),
    ]
    await create(storage, resource, config_map("c"))
    assert await reader.summary(1) == [("ADDED", "c")]


@pytest.mark.parametrize("version", ["", "0", "present"])
async def test_watch_list(storage, resource, watch, version):
    await create(storage, resource, config_map("a"))
    last = await create(storage, resource, config_map("b"))
    if version == "present":
        version = str(last.revision)
    reader = await watch(resource_version=version, match="NotOlderThan", send_initial_events=True, bookmarks=True)
    assert await reader.summary(2) == [("ADDED", "a"), ("ADDED", "b")]
    bookmark = await reader.event()
    assert (bookmark.type, bookmark.initial_end) == (EventType.BOOKMARK, True)
    assert bookmark.revision >= last.revision
    await create(storage, resource, config_map("c"))
    assert await reader.summary(1) == [("ADDED", "c")]


async def test_without_initial_events(storage, resource, watch):
    await create(storage, resource, config_map("a"))
    reader = await watch(match="NotOlderThan", send_initial_events=False)
    next_event = asyncio.ensure_future(reader.event())
    await asyncio.sleep(0.01)
    created = await create(storage, resource, config_map("b"))
    assert (await next_event).revision == created.revision


async def test_namespace(storage, resource, watch):
    start = await storage.current_revision()
    everywhere = await watch(resource_version=str(start))
    one = await watch(resource_version=str(start), namespace="one")
    await create(storage, resource, config_map("a", "two"))
    await create(storage, resource, config_map("b", "one"))
    assert await one.summary(1) == [("ADDED", "b")]
    assert await everywhere.summary(2) == [("ADDED", "a"), ("ADDED", "b")]


async def test_leaving_and_entering_a_label_selector(storage, resource, watch):
    start = await storage.current_revision()
    reader = await watch(resource_version=str(start), labels=parse_label_selector("app=x"))
    created = await create(storage, resource, config_map("a", labels={"app": "x"}, v="1"))

    def label(value):
        def change(obj, revision):
            obj["metadata"]["labels"] = {"app": value}
            obj["data"] = {"v": value}
            return obj

        return change

    left = await storage.update(resource, created.key, label("y"))
    await storage.update(resource, created.key, label("z"))
    entered = await storage.update(resource, created.key, label("x"))
    await storage.delete(resource, created.key)
    events = await reader.events(4)
    assert [event.type.value for event in events] == ["ADDED", "DELETED", "ADDED", "DELETED"]
    gone = events[1]
    assert gone.revision == left.revision
    assert gone.stored.view(resource)["data"] == {"v": "1"}
    assert gone.stored.view(resource)["metadata"]["labels"] == {"app": "x"}
    assert gone.stored.view(resource)["metadata"]["resourceVersion"] == str(left.revision)
    assert events[2].revision == entered.revision


async def test_one_object_by_name(storage, resource, watch):
    start = await storage.current_revision()
    options = {"resource_version": str(start), "fields": parse_field_selector("metadata.name=b")}
    reader = await watch(namespace="default", **options)
    anywhere = await watch(**options)
    for name in ("a", "b", "c"):
        await create(storage, resource, config_map(name))
    await create(storage, resource, config_map("b", "other"))
    await storage.update(resource, "/registry/configmaps/default/b", set_data(x="1"))
    assert await reader.summary(2) == [("ADDED", "b"), ("MODIFIED", "b")]
    assert await anywhere.summary(3) == [("ADDED", "b"), ("ADDED", "b"), ("MODIFIED", "b")]


async def test_pods_of_a_node(storage, scheme, watch):
    pods = scheme.resource("", "v1", "pods")
    start = await storage.current_revision()
    reader = await watch(pods, resource_version=str(start), fields=parse_field_selector("spec.nodeName=n1"))
    created = await create(storage, pods, pod("a"))

    def bind(obj, revision):
        obj["spec"]["nodeName"] = "n1"
        return obj

    await create(storage, pods, pod("b", node="n2"))
    await storage.update(pods, created.key, bind)
    await create(storage, pods, pod("c", node="n1"))
    await storage.delete(pods, created.key)
    assert await reader.summary(3) == [("ADDED", "a"), ("ADDED", "c"), ("DELETED", "a")]


async def test_same_order_for_everybody(storage, resource, watch):
    start = await storage.current_revision()
    readers = [await watch(resource_version=str(start)) for _ in range(3)]
    await asyncio.gather(*(create(storage, resource, config_map(f"m{n}")) for n in range(10)))
    seen = [[event.revision for event in await reader.events(10)] for reader in readers]
    assert seen[0] == sorted(seen[0])
    assert seen[0] == seen[1] == seen[2]


async def test_resuming_at_every_revision(storage, resource, watch):
    start = await storage.current_revision()
    entries = [await create(storage, resource, config_map(f"m{n}")) for n in range(4)]
    for position in range(4):
        reader = await watch(resource_version=str(entries[position - 1].revision if position else start))
        events = await reader.events(4 - position)
        assert [event.revision for event in events] == [entry.revision for entry in entries[position:]]


async def test_from_a_revision_to_come(storage, resource, watch):
    created = await create(storage, resource, config_map("a"))
    reader = await watch(resource_version=str(created.revision + 2))
    for name in ("b", "c", "d"):
        last = await create(storage, resource, config_map(name))
    event = await reader.event()
    assert (event.stored.name, event.revision) == ("d", last.revision)


async def test_writes_of_others(storage, resource, watch, client, codec):
    start = await storage.current_revision()
    reader = await watch(resource_version=str(start))
    obj = config_map("a", x="1")
    key = key_of(resource, obj).encode()
    await client.put(pb.PutRequest(key=key, value=codec.encode(resource, obj)))
    await client.put(pb.PutRequest(key=key, value=codec.encode(resource, config_map("a", x="2"))))
    await client.delete_range(pb.DeleteRangeRequest(key=key))
    assert await reader.summary(3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_too_old(storage, resource, watch, client):
    first = await create(storage, resource, config_map("a"))
    last = await create(storage, resource, config_map("b"))
    await client.compact(pb.CompactionRequest(revision=last.revision))
    reader = await watch(resource_version=str(first.revision - 1))
    # The cache may know more than the store; what it does not know is an error in either.
    event = await reader.event()
    if event.type is EventType.ERROR:
        assert event.status is not None
        assert (event.status["code"], event.status["reason"]) == (410, "Expired")
        assert await reader.ended()
    else:
        assert event.revision == first.revision


async def test_stop(storage, resource, watch):
    reader = await watch(resource_version=str(await storage.current_revision()))
    ended = asyncio.ensure_future(reader.ended())
    await asyncio.sleep(0.01)
    reader.watcher.stop()
    reader.watcher.stop()
    assert await ended


async def test_from_a_revision_of_before_the_server_started(client, codec, environment, scheme, resource):
    """A cache that is loaded later than the client's revision still goes on where the client was."""
    if not progress_is_reliable((await client.status()).version):
        pytest.skip("this etcd cannot say how far a watch is")
    before = Etcd3Storage(client, codec, environment)
    first = await create(before, resource, config_map("a", x="1"))
    await create(before, resource, config_map("b"))
    await before.update(resource, first.key, set_data(x="2"))
    await before.delete(resource, "/registry/configmaps/default/b")
    cacher = Cacher(Etcd3Storage(client, codec, environment))
    await cacher.count(resource)
    readers = [
        Reader(await cacher.watch(resource, WatchOptions(resource_version=str(first.revision + extra))))
        for extra in (1, 0)
    ]
    await create(cacher, resource, config_map("c"))
    assert await readers[0].summary(3) == [("MODIFIED", "a"), ("DELETED", "b"), ("ADDED", "c")]
    events = await readers[1].events(4)
    assert [event.type.value for event in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED"]
    assert events[1].stored.view(resource)["data"] == {"x": "2"}
    await cacher.close()
