"""Bugs that etcd had, on one member: each would be caught here. `README.md` has the table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kvstore.client.grpc import GrpcClient, GrpcWatchStream
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.etcd_process import EtcdProcess
from tests.integration.mini_etcd_process import MiniEtcdProcess
from tests.robustness.links import supported
from tests.robustness.session import run

_Event = kv_pb2.Event


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    with MiniEtcdProcess.start(tmp_path_factory.mktemp("member")) as member:
        yield member


@pytest.fixture
async def client(member: EtcdProcess) -> AsyncIterator[GrpcClient]:
    client = GrpcClient([member.endpoint])
    yield client
    await client.close()


def put(key: bytes, value: bytes = b"", lease: int = 0) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease))


async def watch(client: GrpcClient, key: bytes, start_revision: int) -> GrpcWatchStream:
    stream = client.watch()
    request = pb.WatchCreateRequest(key=key, range_end=key + b"\xff", start_revision=start_revision)
    await stream.send(pb.WatchRequest(create_request=request))
    return stream


async def events_until(stream: GrpcWatchStream, revision: int) -> list[_Event]:
    events: list[_Event] = []
    async for response in stream:
        assert not response.canceled, response.cancel_reason
        events += response.events
        if events and events[-1].kv.mod_revision >= revision:
            return events
    raise AssertionError("the stream ended")


async def member_has_heard(client: GrpcClient) -> None:
    """What was sent before on the same connection has arrived."""
    await client.current_revision()


@pytest.mark.slow
@pytest.mark.skipif(not supported(), reason="whose a connection is, only Linux tells")
@pytest.mark.parametrize("kind", ["kill all", "kill while defragmenting", "kill while compacting"])
async def test_killed_under_load(tmp_path: Path, kind: str) -> None:
    """#13766 and #14370 (acknowledged and lost), #14685 (defragmentation), #17780 (compaction)."""
    report = await run(tmp_path, seed=len(kind), seconds=0, size=1, kinds=[kind] * 3)
    assert not report.problems, f"logs in {tmp_path}:\n{report.figures()}\n" + "\n".join(report.problems[:20])
    assert [it.kind for it in report.outcomes] == [kind] * 3


async def test_the_revision_does_not_decrease_when_its_deletion_is_compacted(tmp_path: Path) -> None:
    """#17780: the newest revision was a deletion, compaction removed it, and after a crash nobody knew of it."""
    with MiniEtcdProcess.start(tmp_path) as member:
        client = GrpcClient([member.endpoint])
        await client.put(pb.PutRequest(key=b"a"))
        deleted = (await client.delete_range(pb.DeleteRangeRequest(key=b"a"))).header.revision
        await client.compact(pb.CompactionRequest(revision=deleted, physical=True))
        await client.close()
        member.process.kill()
        member.process.wait()
    with MiniEtcdProcess.start(tmp_path) as member:
        client = GrpcClient([member.endpoint])
        assert await client.current_revision() == deleted
        assert (await client.put(pb.PutRequest(key=b"a"))).header.revision == deleted + 1
        await client.close()


async def test_a_watch_from_a_deletion_that_is_compacted(client: GrpcClient) -> None:
    """#18089 and #19179: a watch that starts at the compacted revision gets what happened there, a deletion too."""
    await client.put(pb.PutRequest(key=b"gone/a"))
    deleted = (await client.delete_range(pb.DeleteRangeRequest(key=b"gone/a"))).header.revision
    later = (await client.put(pb.PutRequest(key=b"gone/b"))).header.revision
    before = await watch(client, b"gone/", deleted)
    first = await events_until(before, later)
    await client.compact(pb.CompactionRequest(revision=deleted, physical=True))
    after = await watch(client, b"gone/", deleted)
    second = await events_until(after, later)
    assert [(it.type, it.kv.key) for it in second] == [(_Event.DELETE, b"gone/a"), (_Event.PUT, b"gone/b")]
    assert second == first
    await before.close()
    await after.close()


async def test_a_watch_of_the_future_gets_nothing_old(client: GrpcClient) -> None:
    """#20221: neither events nor notices of progress from before its start."""
    revision = await client.current_revision()
    start = revision + 4
    stream = await watch(client, b"future/", start)
    async for created in stream:
        assert created.created
        break
    for _ in range(3):
        await client.put(pb.PutRequest(key=b"future/a"))
        await stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
    await client.put(pb.PutRequest(key=b"future/b"))
    async for response in stream:
        assert response.header.revision >= start
        assert [(it.kv.key, it.kv.mod_revision) for it in response.events] == [(b"future/b", start)]
        break
    await stream.close()


async def test_progress_is_never_ahead_of_events(client: GrpcClient) -> None:
    """#15220: whatever is older than a notice of progress has come before it."""
    start = await client.current_revision() + 1
    last = 0

    async def write() -> None:
        nonlocal last
        for number in range(100):
            request = pb.PutRequest(key=b"progress/%d" % (number % 7), value=bytes(50_000))
            last = (await client.put(request)).header.revision

    await write()  # so much that it takes several turns to send
    stream = await watch(client, b"progress/", start)
    await stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))  # before anything is read
    await member_has_heard(client)

    async def ask() -> None:
        while True:
            await stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
            await asyncio.sleep(0)

    writing, asking = asyncio.ensure_future(asyncio.wait_for(write(), 60)), asyncio.ensure_future(ask())
    promised, notices, seen = 0, 0, 0
    async for response in stream:
        if response.events:
            assert response.events[0].kv.mod_revision > promised
            seen = response.events[-1].kv.mod_revision
        elif not response.created:
            notices += 1
            # Nobody else writes: whatever is promised has been seen.
            assert seen <= response.header.revision <= max(seen, start - 1)
            promised = response.header.revision
        if writing.done() and seen == last:
            break
    await writing
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert notices > 0
    await stream.close()


async def test_a_transaction_makes_each_event_once(client: GrpcClient) -> None:
    """#17247: a cache of transactions gave watchers an event twice."""
    start = await client.current_revision() + 1
    live = await watch(client, b"once/", start)
    await client.txn(pb.TxnRequest(success=[put(b"once/a"), put(b"once/b")]))
    await client.txn(pb.TxnRequest(success=[put(b"once/a", b"2"), put(b"once/b", b"2")]))
    last = (await client.txn(pb.TxnRequest(success=[put(b"once/c")]))).header.revision
    late = await watch(client, b"once/", start)
    expected = [(b"once/a", 1), (b"once/b", 1), (b"once/a", 2), (b"once/b", 2), (b"once/c", 1)]
    for stream in (live, late):
        assert [(it.kv.key, it.kv.version) for it in await events_until(stream, last)] == expected
        await stream.close()


async def test_a_crowd_of_watchers_on_one_connection_misses_nothing(member: EtcdProcess, client: GrpcClient) -> None:
    """#17529: streams that starve beside large answers on the same connection lost events."""
    start = await client.current_revision() + 1
    streams = [await watch(client, b"crowd/", start) for _ in range(20)]
    listing = [asyncio.ensure_future(_list_much(client)) for _ in range(4)]
    writer = GrpcClient([member.endpoint])
    last = 0
    for number in range(200):
        request = pb.PutRequest(key=b"crowd/%d" % (number % 20), value=bytes(5000))
        last = (await writer.put(request)).header.revision
    for stream in streams:
        events = await events_until(stream, last)
        assert [it.kv.mod_revision for it in events] == list(range(start, last + 1))
        await stream.close()
    for task in listing:
        task.cancel()
    await asyncio.gather(*listing, return_exceptions=True)
    await writer.close()


async def _list_much(client: GrpcClient) -> None:
    while True:
        await client.range(pb.RangeRequest(key=b"crowd/", range_end=b"crowd0"))


async def test_a_watch_from_a_negative_revision_is_refused(client: GrpcClient) -> None:
    """#20707: −1 made the watcher start over and over."""
    stream = await watch(client, b"negative/", -1)
    async for response in stream:
        assert response.canceled
        break
    await stream.close()


async def test_a_lease_is_not_renewed_once_it_is_revoked(client: GrpcClient) -> None:
    """#20615: a renewal that crossed a revocation was told that it had succeeded."""
    for number in range(20):
        await client.lease_grant(pb.LeaseGrantRequest(TTL=60, ID=1000 + number))
        revoking = asyncio.ensure_future(client.lease_revoke(pb.LeaseRevokeRequest(ID=1000 + number)))
        crossing = [asyncio.ensure_future(client.lease_keep_alive(1000 + number)) for _ in range(3)]
        await revoking
        assert (await client.lease_keep_alive(1000 + number)).TTL == 0
        await asyncio.gather(*crossing)


async def test_an_update_promotes_no_learner(tmp_path: Path) -> None:
    """#21736: new peer URLs made a voter of a learner, without which there was no majority."""
    with MiniEtcdProcess.start(tmp_path) as member:
        client = GrpcClient([member.endpoint])
        add = pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"], isLearner=True)
        added = await client._unary("/etcdserverpb.Cluster/MemberAdd", add, pb.MemberAddResponse)
        update = pb.MemberUpdateRequest(ID=added.member.ID, peerURLs=["http://127.0.0.1:2"])
        updated = await client._unary("/etcdserverpb.Cluster/MemberUpdate", update, pb.MemberUpdateResponse)
        found = {it.ID: (it.isLearner, list(it.peerURLs)) for it in updated.members}
        assert found[added.member.ID] == (True, ["http://127.0.0.1:2"])
        await client.put(pb.PutRequest(key=b"majority"))  # of the one voter
        await client.close()
        member.stop()
    with MiniEtcdProcess.start(tmp_path) as member:  # as the log has it
        client = GrpcClient([member.endpoint])
        listing = await client._unary("/etcdserverpb.Cluster/MemberList", pb.MemberListRequest(), pb.MemberListResponse)
        assert {it.ID: it.isLearner for it in listing.members}[added.member.ID]
        assert (await client.put(pb.PutRequest(key=b"majority"))).header.revision > 1
        await client.close()
