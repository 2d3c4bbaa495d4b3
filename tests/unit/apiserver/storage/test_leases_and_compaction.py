"""Leases that many objects share, and the compaction that one of many servers does."""

from __future__ import annotations

import asyncio

import pytest

from apiserver.storage import leases
from apiserver.storage.compactor import COMPACT_REVISION_KEY, Compactor
from apiserver.storage.leases import LeaseManager
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from tests.conformance.storage.fake_clock import settle
from tests.conformance.storage.fake_etcd import FakeClient


@pytest.fixture
def client(etcd):
    return FakeClient(etcd)


async def test_a_lease_is_reused_for_a_while(client, clock, etcd):
    manager = LeaseManager(client, clock)
    first = await manager.lease(3600)
    assert etcd.leases[first].ttl_seconds == 3660
    await clock.advance(59)
    assert await manager.lease(3600) == first
    await clock.advance(2)
    second = await manager.lease(3600)
    assert second != first
    assert await manager.lease(600) != second


async def test_short_leases_are_reused_for_a_twentieth(client, clock, etcd):
    manager = LeaseManager(client, clock)
    first = await manager.lease(100)
    assert etcd.leases[first].ttl_seconds == 105
    await clock.advance(4)
    assert await manager.lease(100) == first
    await clock.advance(2)
    assert await manager.lease(100) != first


async def test_a_lease_has_a_bounded_number_of_objects(client, clock, monkeypatch):
    monkeypatch.setattr(leases, "ATTACHED_OBJECTS_MAX", 3)
    manager = LeaseManager(client, clock)
    ids = [await manager.lease(3600) for _ in range(7)]
    assert [ids.count(lease) for lease in dict.fromkeys(ids)] == [3, 3, 1]


async def test_writers_wait_for_one_grant(client, clock, etcd):
    client.latency = 3
    manager = LeaseManager(client, clock)
    ids = await asyncio.gather(*(manager.lease(3600) for _ in range(10)))
    assert len(set(ids)) == 1
    assert etcd.calls.count("lease_grant") == 1


async def test_a_grant_that_fails_fails_its_writer_only(client, clock, etcd):
    manager = LeaseManager(client, clock)
    etcd.failure = EtcdError(StatusCode.UNAVAILABLE, "away")
    with pytest.raises(EtcdError):
        await manager.lease(3600)
    etcd.failure = None
    assert await manager.lease(3600)


async def test_compaction_is_an_interval_behind(client, clock, etcd):
    compactor = Compactor(client, clock, 300)
    assert await compactor.round() == 0
    assert etcd.at(COMPACT_REVISION_KEY).value == b"0"
    first = etcd.revision
    etcd.put(pb.PutRequest(key=b"a", value=b"1"))
    assert await compactor.round() == first
    assert etcd.compacted == first
    assert etcd.at(COMPACT_REVISION_KEY).value == str(first).encode()


async def test_two_compactors_take_turns_at_one_compaction(client, clock, etcd):
    one, two = Compactor(client, clock, 300), Compactor(client, clock, 300)
    assert await one.round() == 0
    assert await two.round() == 0  # sees that one was first
    etcd.put(pb.PutRequest(key=b"a", value=b"1"))
    done = [await one.round(), await two.round()]
    assert done[0] > 0
    assert done[1] == 0
    # One goes away, and two takes over within an interval.
    etcd.put(pb.PutRequest(key=b"a", value=b"2"))
    assert await two.round() > done[0]


async def test_the_compactor_runs_by_the_clock(client, clock, etcd):
    compactor = Compactor(client, clock, 300)
    task = compactor.start()
    await settle()
    etcd.failure = EtcdError(StatusCode.UNAVAILABLE, "away")
    await clock.advance(301)
    etcd.failure = None
    assert etcd.at(COMPACT_REVISION_KEY) is None
    await clock.advance(600)
    assert etcd.compacted > 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await Compactor(client, clock, 0).run()
