"""Members that come, go, return and lose their disks, as processes."""

from __future__ import annotations

import shutil

import pytest

from tests.integration.kvstore_cluster.processes import Cluster

pytestmark = [pytest.mark.e2e]

LENIENT = "--strict-reconfig-check=false"  # the strict check wants five seconds of everybody being there
REMOVED = "the member has been permanently removed from the cluster"


async def test_a_life_of_three_members(cluster: Cluster) -> None:
    """Founded; one is lost for good, refused under its old id, removed, replaced by a newcomer with a new disk."""
    await cluster.found(LENIENT)
    await cluster.put("m1", b"a", b"1")
    assert (await cluster.get("m2", b"a")).kvs[0].value == b"1"
    lost = await cluster.member_id("m3")
    cluster.members["m3"].kill()
    shutil.rmtree(cluster.members["m3"].directory)

    mark = cluster.start("m3")  # its old id has promised things that nobody remembers
    line = await cluster.members["m3"].logged(f"member {lost:x} has already been bootstrapped", mark)
    assert line["level"] == "fatal"
    assert await cluster.members["m3"].ended() == 1

    removed = await cluster.calls("m1")("etcdserverpb.Cluster/MemberRemove", ID=lost)
    assert len(removed.members) == 2
    added = await cluster.calls("m1")("etcdserverpb.Cluster/MemberAdd", peerURLs=[cluster.members["m3"].peer_url])
    assert lost != added.member.ID

    await cluster.members["m3"].ready(cluster.start("m3", "existing"))
    assert (await cluster.get("m3", b"a", serializable=True)).kvs[0].value == b"1"
    assert {member.name for member in (await cluster.members_of("m3")).values()} == {"m1", "m2", "m3"}
    await cluster.agree()

    # A restart needs none of what the start was told.
    cluster.members["m3"].stop()
    cluster.members["m3"].flags += ["--initial-cluster-token=other"]
    mark = cluster.start("m3", "new", names=["m3"])
    await cluster.members["m3"].ready(mark)
    await cluster.agree()


async def test_a_removed_member_is_told_and_ends_well(cluster: Cluster) -> None:
    await cluster.found(LENIENT)
    ids = {name: await cluster.member_id(name) for name in cluster.members}
    leader = await cluster.leader()
    first, second = (name for name in cluster.members if name != leader)

    # One learns of its removal by the log, or from the others; the exit status is 0, or it would be started again.
    mark = cluster.members[first].mark()
    await cluster.calls(leader)("etcdserverpb.Cluster/MemberRemove", ID=ids[first])
    line = await cluster.members[first].logged("server error", mark)
    assert line["error"] == REMOVED
    assert await cluster.members[first].ended() == 0
    mark = cluster.start(first)
    await cluster.members[first].logged("data-dir used by this member must be removed", mark)
    assert await cluster.members[first].ended() == 0

    # One that was away when it happened has nobody to tell it but the others.
    await cluster.calls(leader)("etcdserverpb.Cluster/MemberAdd", peerURLs=[cluster.members[first].peer_url])
    shutil.rmtree(cluster.members[first].directory)
    await cluster.members[first].ready(cluster.start(first, "existing"))
    cluster.members[second].kill()
    await cluster.calls(first)("etcdserverpb.Cluster/MemberRemove", ID=ids[second])
    mark = cluster.start(second)
    assert (await cluster.members[second].logged("server error", mark))["error"] == REMOVED
    assert await cluster.members[second].ended() == 0
    await cluster.put(first, b"still", b"here")
