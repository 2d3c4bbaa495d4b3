"""Members come and go while clients work, who notice nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from google.protobuf.message import Message

from kvstore.client.grpc import GrpcClient
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from tests.robustness.cluster import Cluster, Member, endpoints
from tests.robustness.history import History
from tests.robustness.links import supported
from tests.robustness.session import FLAGS, compare_hashes, finish
from tests.robustness.traffic import Traffic
from tests.robustness.watchers import Watchers

pytestmark = [
    pytest.mark.skipif(not supported(), reason="whose a connection is, only Linux tells"),
    pytest.mark.slow,
]

NOT_YET = (
    "etcdserver: unhealthy cluster",
    "etcdserver: can only promote a learner member which is in sync with leader",
)
LOST = "etcdserver: request timed out"
"""How the answer to a change begins of which nothing was heard: as with etcd, one that comes too soon is dropped."""
CALL_SECONDS_MAX = 30.0
_Answer = TypeVar("_Answer", bound=Message)
MANY_KEYS, KEYS_PER_TXN = 100_000, 125


class Admin:
    """Changes of membership, tried until the cluster is ready for them."""

    def __init__(self, cluster: Cluster, founders: Sequence[Member]) -> None:
        self._cluster = cluster
        self.members = list(founders)

    async def add(self, member: Member, *, learner: bool = False) -> None:
        """Add a member and start it; a learner is promoted."""
        request = pb.MemberAddRequest(peerURLs=[member.peer_url], isLearner=learner)
        await self._call("MemberAdd", request, pb.MemberAddResponse, done="etcdserver: Peer URLs already exists")
        self.members.append(member)
        initial = ",".join(f"{it.name}={it.peer_url}" for it in self.members)
        member.initial = (f"--initial-cluster={initial}", "--initial-cluster-state=existing")
        await member.launch()
        if learner:
            promote = pb.MemberPromoteRequest(ID=await self._id_of(member))
            done = "etcdserver: can only promote a learner member"
            await self._call("MemberPromote", promote, pb.MemberPromoteResponse, done=done)
        await member.wait_ready()

    async def remove(self, member: Member) -> None:
        """Remove a member, whose process then ends by itself."""
        assert member.process is not None
        member_id = (await member.client.status()).header.member_id
        self.members.remove(member)
        request = pb.MemberRemoveRequest(ID=member_id)
        await self._call("MemberRemove", request, pb.MemberRemoveResponse, done="etcdserver: member not found")
        assert await member.process.wait() == 0

    async def lead(self, member: Member) -> None:
        """Have a member lead."""
        member_id = (await member.client.status()).header.member_id
        while (leader := await self._cluster.leader()) is not member:
            request = pb.MoveLeaderRequest(targetID=member_id)
            try:
                await leader.client._unary("/etcdserverpb.Maintenance/MoveLeader", request, pb.MoveLeaderResponse)
            except EtcdError:
                await asyncio.sleep(0.1)

    async def _id_of(self, member: Member) -> int:
        listed = await self._call("MemberList", pb.MemberListRequest(linearizable=True), pb.MemberListResponse)
        (found,) = (it.ID for it in listed.members if list(it.peerURLs) == [member.peer_url])
        return found

    async def _call(self, name: str, request: Message, answer: type[_Answer], done: str = "") -> _Answer:
        """Ask until it is answered; `done` is what one hears of a change that was made although its answer was lost."""
        client = GrpcClient([self.members[0].url], timeout_seconds=CALL_SECONDS_MAX)
        was_lost = False
        try:
            while True:
                try:
                    return await client._unary(f"/etcdserverpb.Cluster/{name}", request, answer)
                except EtcdError as error:
                    if was_lost and error.message == done:
                        return answer()
                    was_lost |= error.message.startswith(LOST)
                    if not error.message.startswith((LOST, *NOT_YET)):
                        raise
                    await asyncio.sleep(0.2)
        finally:
            await client.close()


async def test_from_one_to_three_to_five_to_three_members(tmp_path: Path) -> None:
    """Among the removed is the leader. No write is lost or done twice, and no watcher misses anything."""
    history = History()
    async with Cluster(tmp_path, FLAGS) as cluster:
        await cluster.start(1)
        for _ in range(4):
            await cluster.prepare()
        first, second, third, fourth, fifth = cluster.members
        traffic = Traffic(history, endpoints(cluster.members), clients=4, seed=1)
        watchers = Watchers(history, [first, third], seed=1)
        admin = Admin(cluster, [first])
        traffic.start()
        watchers.start()
        try:
            await admin.add(second)
            await admin.add(third, learner=True)
            await admin.add(fourth)
            await admin.add(fifth, learner=True)
            await admin.lead(second)
            await admin.remove(second)
            await admin.remove(fourth)
        finally:
            await traffic.stop()
        cluster.members = [first, third, fifth]
        problems = await finish(cluster, history, watchers)
        cluster.members = [first, second, third, fourth, fifth]
    assert not problems, f"logs in {tmp_path}:\n" + "\n".join(problems[:20])
    assert sum(it.response is not None for it in history.operations) > 100


async def test_a_learner_catches_up_by_snapshot_and_is_promoted(tmp_path: Path) -> None:
    """It is sent 100,000 keys while others are written."""
    async with Cluster(tmp_path, ("--snapshot-count=100", "--snapshot-catchup-entries=10")) as cluster:
        await cluster.start(1)
        first, learner = cluster.members[0], await cluster.prepare()
        client = GrpcClient([first.url])
        await asyncio.gather(*(_fill(client, start, 8) for start in range(8)))
        writing = asyncio.ensure_future(_write_on(client))
        admin = Admin(cluster, [first])
        try:
            await admin.add(learner, learner=True)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        last = await client.put(pb.PutRequest(key=b"last", value=b"value"))
        assert not await compare_hashes(cluster.members, last.header.revision)
        listed = await learner.client.range(pb.RangeRequest(key=b"many/", range_end=b"many0", count_only=True))
        assert listed.count == MANY_KEYS
        assert "applied snapshot" in learner.log_path.read_text()
        members = await client._unary(
            "/etcdserverpb.Cluster/MemberList", pb.MemberListRequest(linearizable=True), pb.MemberListResponse
        )
        assert [member.isLearner for member in members.members] == [False, False]
        await client.close()


async def _fill(client: GrpcClient, start: int, step: int) -> None:
    for number in range(start, MANY_KEYS // KEYS_PER_TXN, step):
        keys = range(number * KEYS_PER_TXN, (number + 1) * KEYS_PER_TXN)
        puts = [pb.RequestOp(request_put=pb.PutRequest(key=b"many/%06d" % key, value=bytes(100))) for key in keys]
        await client.txn(pb.TxnRequest(success=puts))


async def _write_on(client: GrpcClient) -> None:
    number = 0
    while True:
        number += 1
        await client.put(pb.PutRequest(key=b"more/%d" % (number % 100), value=b"%d" % number))
        await asyncio.sleep(0.005)
