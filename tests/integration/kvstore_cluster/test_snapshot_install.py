"""A member that has fallen behind what the log remembers gets the leader's database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.kvstore_cluster.in_process import LOCAL, Cluster, watching

pytestmark = [pytest.mark.e2e]

SHORT = {"snapshot_count": 10, "snapshot_catchup_entries": 3, "strict_reconfig_check": False, "bcrypt_cost": 4}


def installed(caplog: pytest.LogCaptureFixture) -> int:
    """How many snapshots have been installed by now."""
    return sum(record.getMessage() == "applied snapshot" for record in caplog.records)


async def write(cluster: Cluster, name: str, prefix: str, count: int = 60) -> None:
    for number in range(count):
        await cluster.put(name, f"{prefix}{number % 20:02}".encode(), b"%d" % number)


async def test_everything_comes_along(make_members: Callable[..., Cluster], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    cluster = make_members(**SHORT)
    await cluster.found()
    leader = await cluster.leader()
    behind, other = (name for name in cluster.members if name != leader)
    await write(cluster, leader, "a")
    await cluster.stop(behind)

    services = cluster.members[leader].services()
    await services.lease.lease_grant(pb.LeaseGrantRequest(ID=7, TTL=600), LOCAL)
    await cluster.put(leader, b"leased", b"", lease=7)
    alarm = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=cluster.id_of(leader), alarm=pb.CORRUPT)
    for name in ("root", "alice"):
        await services.auth.user_add(pb.AuthUserAddRequest(name=name, password="hush"), LOCAL)
    await services.auth.user_grant_role(pb.AuthUserGrantRoleRequest(user="root", role="root"), LOCAL)
    await services.auth.auth_enable(pb.AuthEnableRequest(), LOCAL)
    await write(cluster, leader, "b")
    await services.kv.compact(pb.CompactionRequest(revision=30), LOCAL)
    await write(cluster, leader, "c")
    await services.maintenance.alarm(alarm, LOCAL)

    assert not installed(caplog)
    member = await cluster.start(behind)
    await cluster.ready(behind)
    assert installed(caplog) == 1
    await cluster.agree()
    assert member.core.alarms.corrupt
    assert member.core.auth.enabled
    users = await member.services().auth.user_list(pb.AuthUserListRequest(), LOCAL)
    assert list(users.users) == ["alice", "root"]
    left = await member.services().lease.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=7, keys=True), LOCAL)
    assert (left.grantedTTL, list(left.keys)) == (600, [b"leased"])
    await cluster.stop(behind)  # and it is there after a restart
    await cluster.start(behind)
    await cluster.ready(behind)
    assert installed(caplog) == 1
    await cluster.agree()
    assert other in cluster.members


async def test_watchers_go_on_across_a_snapshot(
    make_members: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cluster = make_members(**SHORT)
    await cluster.found()
    leader = await cluster.leader()
    behind = next(name for name in cluster.members if name != leader)
    start = (await cluster.put(leader, b"k", b"0")).header.revision
    await cluster.members[behind].core.proposer.linearize()

    first = pb.WatchCreateRequest(key=b"k", watch_id=1)
    second = pb.WatchCreateRequest(key=b"other", watch_id=2, start_revision=start + 1)
    responses = watching(cluster.members[behind], first, second)
    assert (await anext(responses)).created
    assert (await anext(responses)).created
    await cluster.isolate(behind)
    for number in range(1, 61):
        await cluster.put(leader, b"k", b"%d" % number)
    await cluster.heal(behind)
    seen: list[bytes] = []
    async with asyncio.timeout(20):
        while len(seen) < 60:
            response = await anext(responses)
            assert (response.watch_id, response.canceled) == (1, False)
            seen += [event.kv.value for event in response.events]
    assert seen == [b"%d" % number for number in range(1, 61)]
    assert installed(caplog) == 1

    # Once more, with a compaction beyond what the watchers have seen: they are told.
    await cluster.isolate(behind)
    for number in range(60):
        revision = (await cluster.put(leader, b"k", b"%d" % number)).header.revision
    compact = pb.CompactionRequest(revision=revision, physical=True)
    await cluster.members[leader].services().kv.compact(compact, LOCAL)
    await cluster.put(leader, b"k", b"last")
    await write(cluster, leader, "x")
    await cluster.heal(behind)
    cancelled = {}
    async with asyncio.timeout(20):
        while len(cancelled) < 2:
            response = await anext(responses)
            if response.canceled:
                cancelled[response.watch_id] = response.compact_revision
            else:  # an entry that was on its way when the snapshot was asked for
                assert response.watch_id == 1
                assert response.events[-1].kv.mod_revision < revision
    assert cancelled == {1: revision, 2: revision}
    assert installed(caplog) == 2
    await cluster.agree()


async def test_members_change_while_one_is_away(
    make_members: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    """It comes back by a snapshot of a cluster in which everybody else is new to it."""
    caplog.set_level(logging.INFO)
    cluster = make_members(**SHORT, max_learners=2)
    await cluster.found()
    await cluster.stop("m3")
    await cluster.join("m4", through="m1")
    for name, through in (("m1", "m2"), ("m2", "m4")):
        if name == "m2":
            await cluster.join("m5", through="m4")
        gone = cluster.id_of(name)
        await cluster.members[through].services().cluster.member_remove(pb.MemberRemoveRequest(ID=gone), LOCAL)
        await cluster.stop(name)
    await write(cluster, "m4", "a")

    member = await cluster.start("m3")
    await cluster.ready("m3")
    assert {known.name for known in member.core.membership.members()} == {"m3", "m4", "m5"}
    transport = member._consensus._transport  # type: ignore[attr-defined]
    assert transport.peer_ids() == {cluster.id_of("m4"), cluster.id_of("m5")}
    await cluster.agree()
    await cluster.stop("m4")  # it is a full member: with it, one other is enough
    await cluster.put("m3", b"and", b"on")
    await cluster.agree()


async def test_snapshots_in_a_row_and_a_leader_that_changes(
    make_members: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cluster = make_members(**SHORT)
    await cluster.found()
    for round_number in range(3):
        leader = await cluster.leader()
        behind, other = (name for name in cluster.members if name != leader)
        await cluster.isolate(behind)
        await write(cluster, leader, f"{round_number}-")
        await cluster.heal(behind)
        move = pb.MoveLeaderRequest(targetID=cluster.id_of(other))
        await cluster.members[leader].services().maintenance.move_leader(move, LOCAL)
        await write(cluster, leader, f"{round_number}+")
        await cluster.agree()
    assert installed(caplog) >= 3
