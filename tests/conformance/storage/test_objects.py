"""Create, get, update, delete: one object at a time."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from apiserver.api.status import StatusError, bad_request
from apiserver.storage import Preconditions
from kvstore.etcdpb import rpc_pb2 as pb
from tests.conformance.storage.helpers import config_map, create, key_of, set_data

KEY = "/registry/configmaps/default/a"


@pytest.fixture
def resource(scheme):
    return scheme.resource("", "v1", "configmaps")


async def test_create_then_get(storage, resource):
    created = await create(storage, resource, config_map("a", x="1"))
    assert created.key == KEY
    assert created.name == "a"
    assert created.namespace == "default"
    read = await storage.get(resource, KEY)
    assert read.revision == created.revision
    assert orjson.loads(read.json(resource)) == orjson.loads(created.json(resource))
    assert orjson.loads(read.json(resource)) == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {
            "name": "a",
            "namespace": "default",
            "uid": "uid-default-a",
            "resourceVersion": str(created.revision),
            "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "data": {"x": "1"},
    }


async def test_the_stored_bytes_carry_no_revision(storage, resource, client, codec):
    obj = config_map("a", x="1")
    obj["metadata"]["selfLink"] = "/api/v1/namespaces/default/configmaps/a"
    await create(storage, resource, obj)
    response = await client.range(pb.RangeRequest(key=KEY.encode()))
    assert response.kvs[0].value == codec.encode(resource, config_map("a", x="1"))
    assert response.kvs[0].value.startswith(b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap")


async def test_create_needs_one_transaction_and_no_read(storage, resource, client, store):
    if store != "fake":
        pytest.skip("calls are counted on the fake")
    await create(storage, resource, config_map("warm"))
    client.etcd.calls.clear()
    await create(storage, resource, config_map("a"))
    assert client.etcd.calls == ["txn"]


async def test_create_twice(storage, resource):
    await create(storage, resource, config_map("a"))
    with pytest.raises(StatusError) as refused:
        await create(storage, resource, config_map("a"))
    assert (refused.value.code, refused.value.reason) == (409, "AlreadyExists")
    assert refused.value.message == 'configmaps "a" already exists'


async def test_create_with_a_revision(storage, resource):
    obj = config_map("a")
    obj["metadata"]["resourceVersion"] = "7"
    with pytest.raises(StatusError) as refused:
        await create(storage, resource, obj)
    assert refused.value.message == "resourceVersion should not be set on objects to be created"


async def test_get_what_is_not_there(storage, resource):
    with pytest.raises(StatusError) as refused:
        await storage.get(resource, KEY)
    assert (refused.value.code, refused.value.reason) == (404, "NotFound")
    assert refused.value.message == 'configmaps "a" not found'


async def test_get_at_a_revision(storage, resource):
    created = await create(storage, resource, config_map("a"))
    for version in (str(created.revision), "0", "1"):
        read = await storage.get(resource, KEY, resource_version=version)
        assert read.revision == created.revision
    with pytest.raises(StatusError) as refused:
        await storage.get(resource, KEY, resource_version="x1")
    assert refused.value.code == 400
    assert refused.value.message == (
        'invalid resource version: resourceVersion: Invalid value: "x1": '
        'strconv.ParseUint: parsing "x1": invalid syntax'
    )


async def test_update(storage, resource):
    created = await create(storage, resource, config_map("a", x="1"))
    seen = []

    def change(obj, revision):
        seen.append((obj["metadata"]["resourceVersion"], revision))
        return set_data(y="2")(obj, revision)

    updated = await storage.update(resource, KEY, change)
    assert seen == [(str(created.revision), created.revision)]
    assert updated.revision > created.revision
    view = (await storage.get(resource, KEY)).view(resource)
    assert view["data"] == {"x": "1", "y": "2"}
    assert view["metadata"]["resourceVersion"] == str(updated.revision)
    assert created.view(resource)["data"] == {"x": "1"}


async def test_update_that_changes_nothing_writes_nothing(storage, resource):
    created = await create(storage, resource, config_map("a", x="1"))
    for change in (lambda obj, revision: obj, lambda obj, revision: None):
        unchanged = await storage.update(resource, KEY, change)
        assert unchanged.revision == created.revision
    assert (await storage.get(resource, KEY)).revision == created.revision


async def test_updates_in_parallel_lose_nothing(storage, resource):
    await create(storage, resource, config_map("a"))
    await asyncio.gather(*(storage.update(resource, KEY, set_data(**{f"k{n}": "v"})) for n in range(8)))
    view = (await storage.get(resource, KEY)).view(resource)
    assert sorted(view["data"]) == [f"k{n}" for n in range(8)]


async def test_update_of_what_is_not_there(storage, resource):
    with pytest.raises(StatusError) as refused:
        await storage.update(resource, KEY, set_data(x="1"))
    assert refused.value.code == 404
    made = await storage.update(
        resource, KEY, lambda obj, revision: config_map("a", old=str((obj, revision))), create=True
    )
    assert made.view(resource)["data"] == {"old": "({}, 0)"}


async def test_update_refused_by_the_function(storage, resource):
    await create(storage, resource, config_map("a"))

    def refuse(obj, revision):
        raise bad_request("no")

    with pytest.raises(StatusError, match="no"):
        await storage.update(resource, KEY, refuse)


async def test_preconditions(storage, resource):
    created = await create(storage, resource, config_map("a"))
    right = Preconditions(uid="uid-default-a", resource_version=str(created.revision))
    await storage.update(resource, KEY, set_data(x="1"), preconditions=right)
    with pytest.raises(StatusError) as refused:
        await storage.update(resource, KEY, set_data(x="2"), preconditions=Preconditions(uid="other"))
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert refused.value.message == (
        'Operation cannot be fulfilled on configmaps "a": StorageError: invalid object, Code: 4, '
        f"Key: {KEY}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: "
        "UID in precondition: other, UID in object meta: uid-default-a"
    )
    with pytest.raises(StatusError, match="ResourceVersion in precondition: 1, ResourceVersion in object meta: "):
        await storage.delete(resource, KEY, preconditions=Preconditions(resource_version="1"))


async def test_delete(storage, resource):
    created = await create(storage, resource, config_map("a", x="1"))
    checked = []
    deleted = await storage.delete(resource, KEY, check=lambda stored: checked.append(stored.revision))
    assert checked == [created.revision]
    assert deleted.revision > created.revision
    assert deleted.view(resource)["metadata"]["resourceVersion"] == str(deleted.revision)
    assert deleted.view(resource)["data"] == {"x": "1"}
    with pytest.raises(StatusError) as refused:
        await storage.get(resource, KEY)
    assert refused.value.code == 404
    with pytest.raises(StatusError) as refused:
        await storage.delete(resource, KEY)
    assert refused.value.code == 404


async def test_delete_refused(storage, resource):
    await create(storage, resource, config_map("a"))

    def refuse(stored):
        raise bad_request("not this one")

    with pytest.raises(StatusError, match="not this one"):
        await storage.delete(resource, KEY, check=refuse)
    assert (await storage.get(resource, KEY)).name == "a"


async def test_writes_of_others_are_seen(storage, resource, client, codec):
    await create(storage, resource, config_map("a", x="1"))
    value = codec.encode(resource, config_map("a", x="2"))
    await client.put(pb.PutRequest(key=KEY.encode(), value=value))
    assert (await storage.get(resource, KEY)).view(resource)["data"] == {"x": "2"}
    updated = await storage.update(resource, KEY, set_data(y="3"))
    assert updated.view(resource)["data"] == {"x": "2", "y": "3"}
    await client.delete_range(pb.DeleteRangeRequest(key=KEY.encode()))
    with pytest.raises(StatusError) as refused:
        await storage.get(resource, KEY)
    assert refused.value.code == 404


async def test_update_from_a_stale_state_is_done_on_the_fresh_one(storage, resource, client, codec):
    """A refusal, or nothing to do, counts only for the state the object is in now."""
    await create(storage, resource, config_map("a", x="1"))
    await storage.get(resource, KEY)
    await client.put(pb.PutRequest(key=KEY.encode(), value=codec.encode(resource, config_map("a", x="2"))))

    def change(obj, revision):
        if obj["data"]["x"] == "1":
            raise bad_request("stale")
        return set_data(y="3")(obj, revision)

    updated = await storage.update(resource, KEY, change)
    assert updated.view(resource)["data"] == {"x": "2", "y": "3"}


async def test_time_to_live(storage, resource, client):
    await create(storage, resource, config_map("a"), ttl_seconds=3600)
    await create(storage, resource, config_map("b"), ttl_seconds=3600)
    kvs = [(await client.range(pb.RangeRequest(key=KEY[:-1].encode() + name))).kvs[0] for name in (b"a", b"b")]
    assert kvs[0].lease == kvs[1].lease != 0
    left = await client.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=kvs[0].lease))
    assert 3600 <= left.TTL <= 3660
    await storage.update(resource, KEY, set_data(x="1"))
    kept = (await client.range(pb.RangeRequest(key=KEY.encode()))).kvs[0]
    assert kept.lease == kvs[0].lease
    await storage.update(resource, KEY, set_data(x="2"), ttl_seconds=0)
    freed = (await client.range(pb.RangeRequest(key=KEY.encode()))).kvs[0]
    assert freed.lease == 0


async def test_one_object_in_two_groups(storage, scheme):
    core = scheme.resource("", "v1", "events")
    other = scheme.resource("events.k8s.io", "v1", "events")
    event = {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": "e", "namespace": "default", "creationTimestamp": "2026-01-02T03:04:05Z"},
        "involvedObject": {},
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
        "eventTime": None,
        "reportingComponent": "",
        "reportingInstance": "",
    }
    stored = await create(storage, core, event)
    assert key_of(core, event) == key_of(other, event)
    assert orjson.loads(stored.json(core))["apiVersion"] == "v1"
    assert orjson.loads(stored.json(other))["apiVersion"] == "events.k8s.io/v1"
    assert (await storage.get(other, stored.key)).revision == stored.revision


async def test_protobuf_form(storage, resource, codec):
    created = await create(storage, resource, config_map("a", x="1"))
    read = await storage.get(resource, KEY)
    assert created.protobuf(resource) == read.protobuf(resource)
    assert created.protobuf(resource) == codec.message(resource, created.object_copy(resource))


async def test_count(storage, resource):
    assert await storage.count(resource) == 0
    await create(storage, resource, config_map("a"))
    await create(storage, resource, config_map("a", "other"))
    assert await storage.count(resource) == 2


async def test_current_revision(storage, resource):
    created = await create(storage, resource, config_map("a"))
    assert await storage.current_revision() >= created.revision
