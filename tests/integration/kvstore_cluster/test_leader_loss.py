"""What clients notice when the leader goes: they wait a little, and nothing is lost or done twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from kvstore.app.exposition import render
from kvstore.app.metrics import member_families
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.version import SERVER_VERSION
from tests.integration.kvstore_cluster.in_process import (
    LOCAL,
    NEEDS_LEADER,
    Cluster,
    refusal,
    requests,
    watching,
)
from tests.unit.raft.peers import eventually

pytestmark = [pytest.mark.e2e]

NO_LEADER = ("UNAVAILABLE", "etcdserver: no leader")


async def values_in_order(cluster: Cluster, name: str, key: bytes, start: int) -> list[bytes]:
    """Every value the key has had from a revision on."""
    revision = (await cluster.get(name, key)).header.revision
    seen: list[bytes] = []
    async with asyncio.timeout(20):
        async for response in watching(
            cluster.members[name], pb.WatchCreateRequest(key=key, start_revision=start), pb.WatchCreateRequest(key=b"-")
        ):
            seen += [event.kv.value for event in response.events]
            if response.events and response.events[-1].kv.mod_revision == revision:
                break
    return seen


@pytest.mark.parametrize("how", ["moves", "is cut off", "stops"])
async def test_writes_through_a_follower(make_members: Callable[..., Cluster], how: str) -> None:
    cluster = make_members()
    await cluster.found()
    acknowledged: list[bytes] = []
    refused: list[str] = []
    writing = True

    async def write(name: str, writer: int) -> None:
        number = 0
        while writing:
            value = b"%d-%d" % (writer, number)
            number += 1
            try:
                await cluster.put(name, b"log", value)
            except EtcdError as error:
                refused.append(error.message)
            else:
                acknowledged.append(value)

    async def progress(count: int) -> None:
        wanted = len(acknowledged) + count
        while len(acknowledged) < wanted:
            await cluster.put(through, b"other", b"")

    leader = await cluster.leader()
    through, other = (name for name in cluster.members if name != leader)
    start = (await cluster.put(through, b"log", b"first")).header.revision
    writers = [asyncio.create_task(write(through, number)) for number in range(8)]
    async with asyncio.timeout(20):
        for _ in range(3 if how == "moves" else 1):
            await progress(50)
            if how == "is cut off":
                await cluster.isolate(leader)
            elif how == "stops":
                await cluster.stop(leader)
            else:
                target = next(name for name in (other, leader) if not cluster.members[name].core.consensus.is_leader)
                now = await cluster.leader()
                move = pb.MoveLeaderRequest(targetID=cluster.id_of(target))
                await cluster.members[now].services().maintenance.move_leader(move, LOCAL)
        await progress(50)
        writing = False
        await asyncio.gather(*writers)
    if how == "is cut off":
        await cluster.heal(leader)
        await cluster.ready()
    assert not refused
    seen = Counter(await values_in_order(cluster, through, b"log", start))
    assert max(seen.values()) == 1
    assert seen.keys() == {b"first", *acknowledged}
    await cluster.agree()


async def test_reads_wait_for_the_next_leader(make_members: Callable[..., Cluster]) -> None:
    cluster = make_members()
    await cluster.found()
    leader = await cluster.leader()
    follower, other = (name for name in cluster.members if name != leader)
    await cluster.put(leader, b"a", b"1")
    await cluster.isolate(leader)
    reading = [asyncio.create_task(cluster.get(follower, b"a")) for _ in range(20)]
    writing = asyncio.create_task(cluster.put(other, b"a", b"2"))
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*reading)
        await writing
        assert {answer.kvs[0].value for answer in answers} <= {b"1", b"2"}
        assert (await cluster.get(follower, b"a")).kvs[0].value == b"2"
    # The old leader must not answer from what it has.
    assert cluster.members[leader].core.store.newest_kv(b"a").value == b"1"  # type: ignore[union-attr]
    stale = asyncio.create_task(cluster.get(leader, b"a"))
    assert (await cluster.get(leader, b"a", serializable=True)).kvs[0].value == b"1"
    await cluster.heal(leader)
    async with asyncio.timeout(10):
        assert (await stale).kvs[0].value == b"2"


async def test_who_insists_on_a_leader(make_members: Callable[..., Cluster]) -> None:
    """Streams end after three election timeouts without one, new calls are refused at once, others wait."""
    cluster = make_members()
    await cluster.found()
    leader = await cluster.leader()
    follower, other = (name for name in cluster.members if name != leader)
    member = cluster.members[follower]
    services = member.services()
    lease = await services.lease.lease_grant(pb.LeaseGrantRequest(TTL=600), LOCAL)
    insisting = watching(member, pb.WatchCreateRequest(key=b"a"), context=NEEDS_LEADER)
    patient = watching(member, pb.WatchCreateRequest(key=b"a"))
    kept = services.lease.lease_keep_alive(requests(pb.LeaseKeepAliveRequest(ID=lease.ID)), NEEDS_LEADER)
    assert (await anext(insisting)).created
    assert (await anext(patient)).created
    assert (await anext(kept)).TTL == 600

    await cluster.stop(leader)  # a change of leader goes unnoticed
    await cluster.put(follower, b"a", b"1")
    assert [event.kv.value for event in (await anext(insisting)).events] == [b"1"]
    assert [event.kv.value for event in (await anext(patient)).events] == [b"1"]
    await cluster.isolate(other)
    async with asyncio.timeout(10):
        for stream in (insisting, kept):
            assert await refusal(anext(stream)) == NO_LEADER  # type: ignore[arg-type]
    assert await refusal(services.kv.put(pb.PutRequest(key=b"a"), NEEDS_LEADER)) == NO_LEADER
    assert await refusal(services.kv.range(pb.RangeRequest(key=b"a"), NEEDS_LEADER)) == NO_LEADER
    renewals = services.lease.lease_keep_alive(requests(pb.LeaseKeepAliveRequest(ID=lease.ID)), NEEDS_LEADER)
    assert await refusal(anext(renewals)) == NO_LEADER  # type: ignore[arg-type]
    assert await refusal(anext(watching(member, context=NEEDS_LEADER))) == NO_LEADER  # type: ignore[arg-type]
    assert (await services.kv.range(pb.RangeRequest(key=b"a", serializable=True), LOCAL)).count == 1
    assert "etcdserver: no leader" in (await services.maintenance.status(pb.StatusRequest(), LOCAL)).errors

    waiting = asyncio.create_task(cluster.put(follower, b"a", b"2"))
    await cluster.heal(other)
    async with asyncio.timeout(10):
        await waiting
        assert [event.kv.value for event in (await anext(patient)).events] == [b"2"]


async def test_who_waits_in_vain_is_told_why(make_members: Callable[..., Cluster]) -> None:
    cluster = make_members()
    await cluster.found()
    leader = await cluster.leader()
    others = [name for name in cluster.members if name != leader]
    for name in others:
        await cluster.isolate(name)
    core = cluster.members[leader].core
    core.proposer._timeout_seconds = 1.0
    assert await refusal(cluster.put(leader, b"a", b"")) == (
        "UNAVAILABLE",
        "etcdserver: request timed out, possibly due to connection lost",
    )
    services = cluster.members[leader].services()
    url = pb.MemberUpdateRequest(ID=cluster.id_of(leader), peerURLs=["http://127.0.0.1:9"])
    assert await refusal(services.cluster.member_update(url, LOCAL)) == (
        "UNAVAILABLE",
        "etcdserver: request timed out, possibly due to connection lost",
    )
    assert core.proposer.failed_count == 1


async def test_leases_through_followers_and_across_leaders(make_members: Callable[..., Cluster]) -> None:
    cluster = make_members(lease_checkpoint_interval_seconds=300.0)
    await cluster.found()
    leader = await cluster.leader()
    follower, other = (name for name in cluster.members if name != leader)
    services = cluster.members[follower].services()
    lease = await services.lease.lease_grant(pb.LeaseGrantRequest(ID=5, TTL=600), LOCAL)
    await cluster.put(follower, b"a", b"", lease=5)
    assert not cluster.members[follower].core.lessor.primary

    async def left(name: str) -> pb.LeaseTimeToLiveResponse:
        request = pb.LeaseTimeToLiveRequest(ID=5, keys=True)
        answer = await cluster.members[name].services().lease.lease_time_to_live(request, LOCAL)
        assert answer.header.member_id == cluster.id_of(name)
        return answer

    # Only the leader counts; it is asked by whoever is asked.
    cluster.members[leader].core.lessor.lookup(5).expiry -= 100
    assert [(await left(name)).TTL for name in cluster.members] == [499, 499, 499]
    assert list((await left(follower)).keys) == [b"a"]
    renewals = services.lease.lease_keep_alive(
        requests(pb.LeaseKeepAliveRequest(ID=lease.ID), pb.LeaseKeepAliveRequest(ID=99)), LOCAL
    )
    renewed = await anext(renewals)
    assert (renewed.TTL, renewed.header.member_id) == (600, cluster.id_of(follower))
    assert (await anext(renewals)).TTL == 0  # there is no such lease
    assert (await left(other)).TTL == 599

    # A new leader starts the term again, and adds what renewals may have been lost meanwhile.
    cluster.members[leader].core.lessor.lookup(5).expiry -= 500
    await cluster.stop(leader)
    assert (await left(follower)).TTL >= 600
    assert (await cluster.get(follower, b"a")).count == 1

    # Unless somebody has noted how much was left.
    first = await cluster.leader()
    checkpoint = pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=5, remaining_TTL=60)])
    await cluster.members[first].core.proposer.propose("lease_checkpoint", checkpoint)
    second = next(name for name in cluster.members if name != first)
    move = pb.MoveLeaderRequest(targetID=cluster.id_of(second))
    await cluster.members[first].services().maintenance.move_leader(move, LOCAL)
    await cluster.leader()
    assert 59 <= (await left(first)).TTL <= 60
    renewed = await anext(
        cluster.members[first].services().lease.lease_keep_alive(requests(pb.LeaseKeepAliveRequest(ID=5)), LOCAL)
    )
    assert renewed.TTL == 600
    assert (await left(second)).TTL == 599


async def test_moving_the_leader(make_members: Callable[..., Cluster]) -> None:
    cluster = make_members(strict_reconfig_check=False)
    await cluster.found()
    leader = await cluster.leader()
    follower, other = (name for name in cluster.members if name != leader)

    async def move(through: str, target: int) -> tuple[str, str]:
        request = pb.MoveLeaderRequest(targetID=target)
        return await refusal(cluster.members[through].services().maintenance.move_leader(request, LOCAL))

    assert await move(follower, cluster.id_of(other)) == ("FAILED_PRECONDITION", "etcdserver: not leader")
    bad = ("FAILED_PRECONDITION", "etcdserver: bad leader transferee")
    assert await move(leader, 99) == bad
    await cluster.join("learner", learner=True, through=leader)
    assert await move(leader, cluster.id_of("learner")) == bad
    assert await move(leader, cluster.id_of(leader)) == ("OK", "")
    term = cluster.members[leader].core.consensus.term
    assert await move(leader, cluster.id_of(follower)) == ("OK", "")
    assert await cluster.leader() == follower
    assert cluster.members[follower].core.consensus.term == term + 1


async def test_a_leader_that_stops_hands_over(make_members: Callable[..., Cluster]) -> None:
    """No election timeout passes: when it has stopped somebody else leads already."""
    cluster = make_members(election_timeout_ms=30_000, heartbeat_interval_ms=100)
    for name in ("m1", "m2", "m3"):
        cluster.add(name, election_timeout_ms=200 if name == "m1" else 30_000)
    await asyncio.gather(*(cluster.start(name) for name in cluster.urls))
    await cluster.ready()
    assert await cluster.leader() == "m1"
    await cluster.stop("m1")
    async with asyncio.timeout(10):
        await cluster.put("m2", b"a", b"1")
        second = await cluster.leader()
        await cluster.stop(second)
    assert second in ("m2", "m3")


async def test_metrics_of_members(make_members: Callable[..., Cluster]) -> None:
    cluster = make_members(election_timeout_ms=700)  # nobody but us changes the leader
    await cluster.found()
    leader = await cluster.leader()
    follower, other = (name for name in cluster.members if name != leader)
    ids = {name: f"{cluster.id_of(name):x}" for name in cluster.members}

    def samples(name: str) -> dict[str, float]:
        text = render(member_families(cluster.members[name])).decode()
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {metric: float(value) for metric, _, value in lines}

    round_trips = "etcd_network_peer_round_trip_time_seconds_count"
    await eventually(
        lambda: {f'{round_trips}{{To="{ids[name]}"}}' for name in (leader, other)} <= samples(follower).keys()
    )
    seen = samples(follower)
    for name in cluster.members:
        assert seen[f'etcd_network_known_peers{{Local="{ids[follower]}",Remote="{ids[name]}"}}'] == 1
        if name != follower:
            assert seen[f'etcd_network_active_peers{{Local="{ids[follower]}",Remote="{ids[name]}"}}'] == 1
            assert seen[f'etcd_network_peer_sent_failures_total{{To="{ids[name]}"}}'] >= 0
    assert seen[f'etcd_network_peer_received_bytes_total{{From="{ids[leader]}"}}'] > 0
    assert seen[f'etcd_network_peer_sent_bytes_total{{To="{ids[leader]}"}}'] > 0
    assert seen[f'{round_trips}{{To="{ids[leader]}"}}'] >= 1
    assert (seen["etcd_server_has_leader"], seen["etcd_server_is_leader"]) == (1, 0)
    assert samples(leader)["etcd_server_is_leader"] == 1
    assert samples(leader)["etcd_server_heartbeat_send_failures_total"] >= 0
    minor = SERVER_VERSION.rpartition(".")[0]
    assert seen[f'etcd_cluster_version{{cluster_version="{minor}"}}'] == 1

    changes = seen["etcd_server_leader_changes_seen_total"]
    await cluster.stop(leader)
    await cluster.put(follower, b"a", b"")
    pair = f'{{Local="{ids[follower]}",Remote="{ids[leader]}"}}'
    await eventually(lambda: samples(follower)[f"etcd_network_active_peers{pair}"] == 0)
    seen = samples(follower)
    assert seen["etcd_server_leader_changes_seen_total"] == changes + 1  # not also that there was none
    assert seen[f"etcd_network_disconnected_peers_total{pair}"] >= 1
    await cluster.isolate(follower)
    await cluster.isolate(other)
    without = asyncio.Event()
    consensus = cluster.members[follower].core.consensus
    cluster.members[follower].core.leader_loss._listeners[without.set] = None
    async with asyncio.timeout(10):
        await without.wait()
    assert not consensus.leader_id
    assert samples(follower)["etcd_server_has_leader"] == 0
