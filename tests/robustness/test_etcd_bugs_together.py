"""Bugs that etcd had, with several members: each would be caught here. `README.md` has the table."""

from __future__ import annotations

import asyncio
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

import grpc.aio
import pytest

from kvstore.client.grpc import GrpcClient
from kvstore.errors import EtcdError
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from tests.robustness.cluster import Cluster, Member, endpoints
from tests.robustness.links import supported
from tests.robustness.session import FLAGS, compare_hashes

pytestmark = [
    pytest.mark.skipif(not supported(), reason="whose a connection is, only Linux tells"),
    pytest.mark.slow,
]

ENOUGH_FOR_A_SNAPSHOT = 700


async def put(client: GrpcClient, key: bytes, value: bytes = b"") -> int:
    """Put until it is acknowledged; the revision."""
    while True:
        try:
            return int((await client.put(pb.PutRequest(key=key, value=value))).header.revision)
        except EtcdError:
            await asyncio.sleep(0.05)


def isolate(cluster: Cluster, member: Member) -> None:
    for other in cluster.others(member):
        cluster.link(member, other).cut()
        cluster.link(other, member).cut()


async def fall_behind(cluster: Cluster, member: Member, client: GrpcClient) -> int:
    """Cut a member off and write so much that only a snapshot can help it; the revision then."""
    isolate(cluster, member)
    writes = [put(client, b"away/%d" % (number % 10)) for number in range(ENOUGH_FOR_A_SNAPSHOT)]
    revision = max(await asyncio.gather(*writes))
    await client.compact(pb.CompactionRequest(revision=revision))
    return revision


async def test_a_watch_does_not_travel_back_in_time(tmp_path: Path) -> None:
    """#15271: a member that came back from a partition sent, by way of its snapshot, what its watchers had seen."""
    async with Cluster(tmp_path, FLAGS) as cluster:
        await cluster.start(3)
        behind = cluster.others(await cluster.leader())[0]
        client = GrpcClient(endpoints(cluster.others(behind)), timeout_seconds=5.0)
        revision = await fall_behind(cluster, behind, client)
        # A watcher comes from elsewhere, where it has seen everything up to here. It does not ask for a leader.
        async with grpc.aio.insecure_channel(behind.url.removeprefix("http://")) as channel:
            call: Any = channel.stream_stream(
                "/etcdserverpb.Watch/Watch",
                request_serializer=pb.WatchRequest.SerializeToString,
                response_deserializer=pb.WatchResponse.FromString,
            )()
            create = pb.WatchCreateRequest(key=b"away/", range_end=b"away0", start_revision=revision + 1)
            await call.write(pb.WatchRequest(create_request=create))
            assert (await call.read()).created
            cluster.heal(reset=True)  # what is on the way is lost, so that a snapshot is needed
            last = await put(client, b"away/last")
            events: list[kv_pb2.Event] = []
            while not events or events[-1].kv.mod_revision < last:
                response = await call.read()
                assert not response.canceled, response.cancel_reason
                events += response.events
                # Progress speaks of what has been sent, and all that was sent is new.
                assert response.header.revision > revision
            assert [it.kv.mod_revision for it in events] == list(range(revision + 1, last + 1))
            call.cancel()
        assert "applied snapshot" in behind.log_path.read_text()
        await client.close()


async def test_one_snapshot_after_the_other(tmp_path: Path) -> None:
    """#18055: a second snapshot, soon after the first, ended the member."""
    async with Cluster(tmp_path, FLAGS) as cluster:
        await cluster.start(3)
        behind = cluster.others(await cluster.leader())[0]
        client = GrpcClient(endpoints(cluster.others(behind)), timeout_seconds=5.0)
        writing = asyncio.ensure_future(_write_on(client))
        for round_number in range(1, 4):
            await fall_behind(cluster, behind, client)
            cluster.heal(reset=True)
            while behind.log_path.read_text().count("applied snapshot") < round_number:
                assert behind.running, behind.last_words()
                await asyncio.sleep(0.05)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert not await compare_hashes(cluster.members, await put(client, b"last"))
        await client.close()


async def _write_on(client: GrpcClient) -> None:
    while True:
        await put(client, b"on")


async def test_a_member_that_was_paused_reads_nothing_stale(tmp_path: Path) -> None:
    """#20418: a leader that is woken up and asked before it hears that it has been replaced."""
    async with Cluster(tmp_path) as cluster:
        await cluster.start(3)
        for round_number in range(4):
            leader = await cluster.leader()
            target = leader if round_number % 2 == 0 else cluster.others(leader)[0]
            others = GrpcClient(endpoints(cluster.others(target)), timeout_seconds=2.0)
            patient = GrpcClient([target.url], timeout_seconds=30.0)
            old, new = b"old %d" % round_number, b"new %d" % round_number
            await put(others, b"key", old)
            # Connected, with everything there, so that what it is asked meanwhile is the first thing that it finds.
            assert (await patient.range(pb.RangeRequest(key=b"key"))).kvs[0].value == old
            target.signal(SIGSTOP)
            await put(others, b"key", new)
            reads: list[asyncio.Future[Any]] = [
                asyncio.ensure_future(patient.range(pb.RangeRequest(key=b"key"))) for _ in range(5)
            ]
            reads.append(asyncio.ensure_future(patient.txn(read_txn())))
            await asyncio.sleep(0)
            target.signal(SIGCONT)
            answers = await asyncio.gather(*reads, return_exceptions=True)
            for answer in answers:
                if isinstance(answer, EtcdError):
                    continue  # no answer is no lie
                assert not isinstance(answer, BaseException), answer
                found = answer.responses[0].response_range if isinstance(answer, pb.TxnResponse) else answer
                assert found.kvs[0].value == new
            await others.close()
            await patient.close()


def read_txn() -> pb.TxnRequest:
    return pb.TxnRequest(success=[pb.RequestOp(request_range=pb.RangeRequest(key=b"key"))])


async def test_reading_what_is_compacted_within_a_transaction_fails_on_every_member(tmp_path: Path) -> None:
    """#18667 and #21432: members that nobody waits at skipped the read, and did the writes beside it."""
    async with Cluster(tmp_path) as cluster:
        await cluster.start(3)
        client = cluster.members[0].client
        old = await put(client, b"a", b"1")
        await put(client, b"a", b"2")
        new = await put(client, b"a", b"3")
        await client.compact(pb.CompactionRequest(revision=new))
        for member in cluster.members:
            for revision in (old, new + 100):
                request = pb.TxnRequest(
                    success=[
                        pb.RequestOp(request_put=pb.PutRequest(key=b"b", value=member.name.encode())),
                        pb.RequestOp(request_range=pb.RangeRequest(key=b"a", revision=revision)),
                    ]
                )
                with pytest.raises(EtcdError, match="required revision"):
                    await member.client.txn(request)
        last = await put(client, b"last")
        assert last == new + 1
        assert not await compare_hashes(cluster.members, last)
        for member in cluster.members:
            assert (await member.client.range(pb.RangeRequest(key=b"b", serializable=True))).count == 0
