"""Changes of membership on a real log: what holds them up, what they do to whoever asks, and what they leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kvstore.app.status import MemberStatus
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.bootstrap import RemovedError
from tests.integration.kvstore_cluster.in_process import LOCAL, Cluster, refusal, requests, watching

pytestmark = [pytest.mark.e2e]

NOT_ENOUGH = ("UNKNOWN", "etcdserver: re-configuration failed due to not enough started members")


async def test_the_last_voter_stays(make_members: Callable[..., Cluster]) -> None:
    for strict in (True, False):
        cluster = make_members(strict_reconfig_check=strict)
        await cluster.found("m1")
        service = cluster.members["m1"].services().cluster
        async with asyncio.timeout(3):
            assert await refusal(service.member_remove(pb.MemberRemoveRequest(ID=cluster.id_of("m1")), LOCAL)) == (
                NOT_ENOUGH
            )
        await cluster.put("m1", b"a", b"still")


async def test_growing_one_after_the_other_at_once(make_members: Callable[..., Cluster]) -> None:
    """Changes that are asked for at the same time wait for each other, on the leader and through a follower."""
    cluster = make_members(strict_reconfig_check=False, max_learners=20)
    await cluster.found()
    leader = await cluster.leader()
    follower = next(name for name in cluster.members if name != leader)
    services = [cluster.members[leader].services().cluster] * 5
    adding = [
        service.member_add(pb.MemberAddRequest(peerURLs=[f"http://127.0.0.1:{port}"], isLearner=True), LOCAL)
        for port, service in enumerate(services, start=1)
    ]
    async with asyncio.timeout(5):
        added = await asyncio.gather(*adding)
        await cluster.members[follower].core.proposer.linearize()
        known = {member.member_id for member in cluster.members[follower].core.membership.members()}
        assert {response.member.ID for response in added} < known
        for response in added:
            request = pb.MemberRemoveRequest(ID=response.member.ID)
            await cluster.members[follower].services().cluster.member_remove(request, LOCAL)
    assert len(cluster.members[follower].core.membership.members()) == 3


async def test_a_change_asked_for_while_the_leader_goes(make_members: Callable[..., Cluster]) -> None:
    """It is made again, once, by the next one."""
    cluster = make_members(strict_reconfig_check=False)
    await cluster.found()
    leader = await cluster.leader()
    follower = next(name for name in cluster.members if name != leader)
    service = cluster.members[follower].services().cluster
    await cluster.isolate(leader)
    request = pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"], isLearner=True)
    async with asyncio.timeout(5):
        added = await service.member_add(request, LOCAL)
    await cluster.heal(leader)
    await cluster.ready()
    for member in cluster.members.values():
        learners = [known for known in member.core.membership.members() if known.is_learner]
        assert [learner.member_id for learner in learners] == [added.member.ID]


async def test_a_leader_that_is_removed(make_members: Callable[..., Cluster]) -> None:
    cluster = make_members(strict_reconfig_check=False)
    await cluster.found()
    leader = await cluster.leader()
    follower = next(name for name in cluster.members if name != leader)
    removed = cluster.members[leader]
    await removed.services().cluster.member_remove(pb.MemberRemoveRequest(ID=cluster.id_of(leader)), LOCAL)
    async with asyncio.timeout(10):
        await cluster.put(follower, b"a", b"1")
        with pytest.raises(RemovedError):
            await removed.failed
    await cluster.stop(leader)
    assert len(cluster.members[follower].core.membership.members()) == 2
    await cluster.agree()


async def test_a_peer_that_has_moved(make_members: Callable[..., Cluster]) -> None:
    cluster = make_members(strict_reconfig_check=False)
    await cluster.found()
    leader = await cluster.leader()
    mover = next(name for name in cluster.members if name != leader)
    member_id = cluster.id_of(mover)
    await cluster.stop(mover)
    url = cluster.add(mover)
    request = pb.MemberUpdateRequest(ID=member_id, peerURLs=[url])
    await cluster.members[leader].services().cluster.member_update(request, LOCAL)
    await cluster.start(mover)
    await cluster.ready(mover)
    assert cluster.id_of(mover) == member_id
    await cluster.agree()
    assert cluster.members[mover].core.membership.get(member_id).peer_urls == (url,)  # type: ignore[union-attr]


async def test_a_learner_serves_little_until_it_votes(make_members: Callable[..., Cluster]) -> None:
    cluster = make_members(strict_reconfig_check=False)
    await cluster.found()
    leader = await cluster.leader()
    await cluster.put(leader, b"a", b"1")
    learner = await cluster.join("learner", learner=True, through=leader)
    services: Any = learner.services().by_name(learner.core)
    kv, maintenance = services["etcdserverpb.KV"], services["etcdserverpb.Maintenance"]
    cluster_service, lease = services["etcdserverpb.Cluster"], services["etcdserverpb.Lease"]
    refused = [
        lambda: kv.range(pb.RangeRequest(key=b"a"), LOCAL),
        lambda: kv.put(pb.PutRequest(key=b"a"), LOCAL),
        lambda: kv.txn(pb.TxnRequest(), LOCAL),
        lambda: cluster_service.member_list(pb.MemberListRequest(), LOCAL),
        lambda: cluster_service.member_promote(pb.MemberPromoteRequest(ID=cluster.id_of("learner")), LOCAL),
        lambda: lease.lease_grant(pb.LeaseGrantRequest(TTL=9), LOCAL),
        lambda: maintenance.hash_kv(pb.HashKVRequest(), LOCAL),
        lambda: anext(lease.lease_keep_alive(requests(pb.LeaseKeepAliveRequest(ID=1)), LOCAL)),
        lambda: anext(services["etcdserverpb.Watch"].watch(requests(), LOCAL)),
    ]
    for call in refused:
        with pytest.raises(EtcdError, match="rpc not supported for learner") as refusal_of:
            await call()
        assert refusal_of.value.code is StatusCode.FAILED_PRECONDITION
    assert (await kv.range(pb.RangeRequest(key=b"a", serializable=True), LOCAL)).kvs[0].value == b"1"
    status = await maintenance.status(pb.StatusRequest(), LOCAL)
    assert (status.isLearner, status.leader) == (True, cluster.id_of(leader))
    blobs = [response.blob async for response in maintenance.snapshot(pb.SnapshotRequest(), LOCAL)]
    assert sum(map(len, blobs)) > 4096
    checks = MemberStatus(learner).checks("readyz")
    assert await checks["non_learner"]() == "not supported for learner"

    follower = next(name for name in cluster.members if name not in (leader, "learner"))
    promote = pb.MemberPromoteRequest(ID=cluster.id_of("learner"))
    response = await cluster.members[follower].services().cluster.member_promote(promote, LOCAL)
    assert not any(member.isLearner for member in response.members)
    await learner.core.proposer.linearize()
    assert await checks["non_learner"]() == ""
    await kv.put(pb.PutRequest(key=b"a", value=b"2"), LOCAL)
    created = anext(watching(learner, pb.WatchCreateRequest(key=b"a")))
    assert (await created).created  # type: ignore[misc]

    await cluster.stop("learner")  # and is the same after a restart
    again = await cluster.start("learner")
    await cluster.ready("learner")
    assert not again.core.is_learner
    await cluster.agree()


async def test_a_learner_that_restarts_is_one_still(make_members: Callable[..., Cluster]) -> None:
    cluster = make_members(strict_reconfig_check=False)
    await cluster.found("m1")
    await cluster.join("learner", learner=True)
    await cluster.stop("learner")
    await cluster.put("m1", b"a", b"1")
    learner = await cluster.start("learner")
    await cluster.ready("learner")
    assert learner.core.is_learner
    services: Any = learner.services().by_name(learner.core)
    assert (await services["etcdserverpb.KV"].range(pb.RangeRequest(key=b"a", serializable=True), LOCAL)).count == 1


async def test_one_survivor_begins_anew(make_members: Callable[..., Cluster]) -> None:
    """--force-new-cluster keeps the data and nobody else; from there the cluster grows to three again."""
    cluster = make_members(strict_reconfig_check=False, snapshot_count=20, snapshot_catchup_entries=5)
    await cluster.found()
    leader = await cluster.leader()
    await cluster.members[leader].services().lease.lease_grant(pb.LeaseGrantRequest(ID=3, TTL=600), LOCAL)
    for number in range(50):
        await cluster.put(leader, b"%d" % number, b"v", lease=3)
    survivor, *lost = cluster.members
    for name in lost:
        await cluster.members[survivor].core.proposer.linearize()
        await cluster.isolate(name)
    hanging = asyncio.create_task(refusal(cluster.put(survivor, b"never", b"acknowledged")))
    await asyncio.sleep(0)
    await cluster.stop(survivor)
    assert (await hanging)[0] == "UNAVAILABLE"
    for name in lost:
        await cluster.stop(name)
        del cluster.urls[name]

    member = await cluster.start(survivor, force_new_cluster=True)
    await cluster.ready(survivor)
    assert [known.name for known in member.core.membership.members()] == [survivor]
    assert (await cluster.get(survivor, b"0", range_end=b"\0")).count == 50
    identity = member.identity
    await cluster.stop(survivor)
    member = await cluster.start(survivor, force_new_cluster=False)  # a restart of the one it is now
    await cluster.ready(survivor)
    assert member.identity == identity
    for name in ("n2", "n3"):
        await cluster.join(name, through=survivor)
    await cluster.put("n3", b"z", b"1")
    await cluster.stop(survivor)
    assert (await cluster.get("n2", b"0", range_end=b"\0")).count == 51
    await cluster.agree()
