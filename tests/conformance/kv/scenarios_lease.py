"""Leases."""

from __future__ import annotations

import asyncio

from kvstore.errors import StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from tests.conformance.kv.suite import Recorder, scenario

NOT_FOUND = "requested lease not found"


@scenario
async def run_lease_grant(r: Recorder) -> None:
    given = await r.grant(60, 4711)
    assert (given.ID, given.TTL, given.error) == (4711, 60, "")
    assert given.header.revision == r.base
    again = pb.LeaseGrantRequest(ID=4711, TTL=60)
    await r.refused(r.client.lease_grant(again), StatusCode.FAILED_PRECONDITION, "lease already exists")
    for ttl in (0, 1, -3):
        lease = await r.grant(ttl)
        assert lease.ID > 0
        assert lease.TTL == 2
        await r.revoke(lease.ID)
    long = pb.LeaseGrantRequest(TTL=9_000_000_001)
    await r.refused(r.client.lease_grant(long), StatusCode.OUT_OF_RANGE, "too large lease TTL")
    await r.revoke((await r.grant(9_000_000_000)).ID)
    revoked = await r.revoke(4711)
    assert revoked.header.revision == r.base
    await r.refused(r.client.lease_revoke(pb.LeaseRevokeRequest(ID=4711)), StatusCode.NOT_FOUND, NOT_FOUND)


@scenario
async def run_lease_attach_and_detach(r: Recorder) -> None:
    one, two = (await r.grant(600)).ID, (await r.grant(600)).ID
    for name in ("a", "b", "c", "d"):
        await r.put(r.key(name), lease=one)
    await r.put(r.key("b"), lease=two)
    await r.put(r.key("c"))
    await r.delete(r.key("d"))
    await r.put(r.key("d"))
    first = await r.client.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=one, keys=True))
    assert (list(first.keys), first.grantedTTL) == ([r.key("a")], 600)
    second = await r.client.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=two, keys=True))
    assert list(second.keys) == [r.key("b")]
    await r.revoke(one)
    assert [kv.key for kv in (await r.range(**r.everything)).kvs] == [r.key("b"), r.key("c"), r.key("d")]
    await r.revoke(two)
    assert (await r.range(**r.everything)).count == 2


@scenario
async def run_lease_unknown(r: Recorder) -> None:
    assert (await r.time_to_live(987654321)).TTL == -1
    gone = await r.keep_alive(987654321)
    assert (gone.ID, gone.TTL) == (987654321, 0)


@scenario
async def run_lease_keep_alive(r: Recorder) -> None:
    lease = (await r.grant(100)).ID
    renewed = await r.keep_alive(lease)
    assert (lease, 100) == (renewed.ID, renewed.TTL)
    left = await r.client.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=lease))
    assert 95 <= left.TTL <= 100
    await r.revoke(lease)
    assert (await r.keep_alive(lease)).TTL == 0


@scenario
async def run_lease_expires(r: Recorder) -> None:
    lease = (await r.grant(2)).ID
    await r.put(r.key("a"), b"1", lease=lease)
    watch = await r.watch()
    await watch.create(r.key("a"))
    (event,) = await asyncio.wait_for(watch.events(1), 10)
    assert event.kv.mod_revision == r.base + 2
    assert (await r.keep_alive(lease)).TTL == 0
    assert (await r.range(r.key("a"))).count == 0
    await watch.close()
