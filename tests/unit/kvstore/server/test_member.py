"""A member's behaviour beyond what the conformance suite asks of every store."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvstore.app import Member, Options, StartError, start_member
from kvstore.apply import Member as ClusterMember
from kvstore.apply import MembershipChange, MembershipChangeKind
from kvstore.backend import BUCKETS
from kvstore.bolt import BoltReader
from kvstore.environment import RealClock, real_environment
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import raft_internal_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import decode_revision
from kvstore.server import snapshotter
from kvstore.server.identity import Identity, derive_identity, parse_initial_cluster
from kvstore.server.watch import UNANSWERED_MAX

StartMember = Callable[..., Awaitable[Member]]


class Context:
    trusted = False

    def __init__(self, **metadata: str) -> None:
        self.metadata = metadata
        self.peer_certificate = None


async def put(member: Member, key: bytes, value: bytes = b"v", **options: Any) -> pb.PutResponse:
    return await member.client().put(pb.PutRequest(key=key, value=value, **options))


async def refusal(call: Awaitable[Any]) -> tuple[StatusCode, str]:
    with pytest.raises(EtcdError) as refused:
        await call
    return refused.value.code, refused.value.message


def consensus(member: Member) -> Any:
    return member.core.consensus


# --- the log


async def test_an_entry_is_an_internal_raft_request(member: Member) -> None:
    """What goes into the log is etcd's message, though it is never built as one."""
    fake = consensus(member)
    proposed: list[bytes] = []
    propose = fake.propose
    fake.propose = lambda data: (proposed.append(data), propose(data))
    await put(member, b"k" * 300, b"v" * 20_000)
    await member.client().txn(pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"a"))]))
    first, second = map(raft_internal_pb2.InternalRaftRequest.FromString, proposed)
    assert first.put == pb.PutRequest(key=b"k" * 300, value=b"v" * 20_000)
    assert second.txn.success[0].request_put.key == b"a"
    assert second.header.ID == first.header.ID + 1
    assert member.identity.member_id & 0xFFFF == first.header.ID >> 48
    assert first.SerializeToString() == proposed[0]


async def test_entries_of_others_are_parsed(member: Member) -> None:
    """What a member did not propose itself has the same effect."""
    request = raft_internal_pb2.InternalRaftRequest(header={"ID": 5}, put=pb.PutRequest(key=b"a", value=b"theirs"))
    consensus(member).propose(request.SerializeToString())
    nested = pb.TxnRequest(success=[pb.RequestOp(request_txn=pb.TxnRequest(failure=[]))])
    request = raft_internal_pb2.InternalRaftRequest(header={"ID": 6}, txn=nested)
    consensus(member).propose(request.SerializeToString())
    consensus(member).propose(b"\xff not a request")
    consensus(member).propose(raft_internal_pb2.InternalRaftRequest(header={"ID": 7}).SerializeToString())
    await put(member, b"b")
    assert (await member.client().range(pb.RangeRequest(key=b"a"))).kvs[0].value == b"theirs"


async def test_a_cancelled_request_is_applied_as_proposed(member: Member) -> None:
    """Whoever gives up gets its request back, and what it does with it must not reach the store."""
    fake = consensus(member)
    fake.held = True
    request = pb.PutRequest(key=b"a", value=b"proposed")
    task = asyncio.get_running_loop().create_task(member.client().put(request))
    await asyncio.sleep(0)
    task.cancel()
    request.value = b"changed"
    fake.release()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await member.client().range(pb.RangeRequest(key=b"a"))).kvs[0].value == b"proposed"
    assert member.core.proposer.pending_count == 0


async def test_a_request_nobody_answers_times_out(start: StartMember) -> None:
    class Clock(RealClock):
        ahead = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.ahead

    clock = Clock()
    member = await start(replace(real_environment(), clock=clock))
    consensus(member).held = True
    waiting = asyncio.get_running_loop().create_task(put(member, b"a"))
    await asyncio.sleep(0)
    clock.ahead = 10.0
    assert await refusal(waiting) == (StatusCode.UNAVAILABLE, "etcdserver: request timed out")
    consensus(member).release()
    assert (await member.client().range(pb.RangeRequest(key=b"a"))).count == 1, "it may still happen"


async def test_entries_applied_before_a_restart_are_not_applied_again(start: StartMember) -> None:
    member = await start()
    await put(member, b"a")
    applied = member.core.proposer.applied_index
    member = await start()
    machine = member._machine
    repeated = [type("Entry", (), {"index": index, "term": 2, "data": b"x"})() for index in range(applied + 1)]
    machine.apply(repeated)
    assert member.core.store.revision == 2
    assert (await put(member, b"a")).header.revision == 3


async def test_a_snapshot_follows_the_flush(start: StartMember, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    member = await start(snapshot_count=10)
    for number in range(25):
        await put(member, b"%d" % number)
        await member._machine.snapshotter.stop()
    snapshots = consensus(member).snapshots
    assert len(snapshots) == 2
    assert snapshots[1] - snapshots[0] == 11
    assert "saved snapshot" in caplog.messages
    stored = member.core.backend._env.begin().get(b"consistent_index", db=member.core.backend._databases["meta"])
    assert int.from_bytes(stored, "big") >= snapshots[-1]


async def test_large_entries_bring_the_snapshot_forward(start: StartMember, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshotter, "SNAPSHOT_BYTES", 10_000)
    member = await start()
    for number in range(25):
        await put(member, b"%d" % number, bytes(1000))
        await member._machine.snapshotter.stop()
    first, second = consensus(member).snapshots
    assert second - first == 10


# --- space


async def test_no_space_is_an_alarm_that_must_be_disarmed(start: StartMember) -> None:
    member = await start(quota_backend_bytes=4 << 20)
    client, maintenance = member.client(), member.services().maintenance
    error = (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
    written = 0
    while member.core.quota.has_room(200_000):
        await put(member, b"%d" % written, bytes(100_000))
        written += 1
    assert 10 < written < 50
    assert await refusal(put(member, b"large", bytes(1_000_000))) == error
    assert await refusal(put(member, b"small")) == error
    assert await refusal(client.lease_grant(pb.LeaseGrantRequest(TTL=10))) == error
    small = pb.RequestOp(request_put=pb.PutRequest(key=b"small"))
    assert await refusal(client.txn(pb.TxnRequest(failure=[small]))) == error
    status = await client.status()
    assert list(status.errors) == [f"memberID:{member.identity.member_id} alarm:NOSPACE "]
    assert (await client.range(pb.RangeRequest(key=b"1"))).count == 1
    assert (await client.txn(pb.TxnRequest(success=[pb.RequestOp(request_range=pb.RangeRequest(key=b"1"))]))).succeeded
    assert (await client.delete_range(pb.DeleteRangeRequest(key=b"\0", range_end=b"\0"))).deleted >= written
    revision = await client.current_revision()
    await client.compact(pb.CompactionRequest(revision=revision, physical=True))
    await maintenance.defragment(pb.DefragmentRequest(), Context())
    assert await refusal(put(member, b"small")) == error, "room alone does not disarm it"
    member = await start(quota_backend_bytes=4 << 20)
    assert await refusal(put(member, b"small")) == error, "nor does a restart"
    maintenance = member.services().maintenance
    listed = await maintenance.alarm(pb.AlarmRequest(action=pb.AlarmRequest.GET), Context())
    assert [alarm.alarm for alarm in listed.alarms] == [pb.NOSPACE]
    disarm = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=member.identity.member_id, alarm=pb.NOSPACE)
    assert len((await maintenance.alarm(disarm, Context())).alarms) == 1
    assert len((await maintenance.alarm(disarm, Context())).alarms) == 0
    await put(member, b"small")


async def test_corrupt_refuses_writes(member: Member) -> None:
    activate = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=1, alarm=pb.CORRUPT)
    await member.services().maintenance.alarm(activate, Context())
    error = (StatusCode.DATA_LOSS, "etcdserver: corrupt cluster")
    client = member.client()
    lease = pb.LeaseGrantRequest(TTL=10)
    for call in (
        put(member, b"a"),
        client.delete_range(pb.DeleteRangeRequest(key=b"a")),
        client.compact(pb.CompactionRequest(revision=1)),
        client.txn(pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"a"))])),
        client.lease_grant(lease),
        client.lease_revoke(pb.LeaseRevokeRequest(ID=1)),
    ):
        assert await refusal(call) == error
    assert (await client.range(pb.RangeRequest(key=b"a"))).count == 0


# --- maintenance


async def snapshot_of(member: Member) -> tuple[list[bytes], list[int]]:
    """Blobs and remaining bytes of a snapshot."""
    pieces = [piece async for piece in member.services().maintenance.snapshot(pb.SnapshotRequest(), Context())]
    assert all(piece.version == "3.6.0" and not piece.HasField("header") for piece in pieces)
    return [piece.blob for piece in pieces], [piece.remaining_bytes for piece in pieces]


async def test_a_snapshot_is_a_bbolt_file_and_its_hash(
    member: Member, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(100):
        await put(member, b"%d" % number, bytes(2000))
    with caplog.at_level("INFO"):
        blobs, remaining = await snapshot_of(member)
    data = b"".join(blobs[:-1])
    assert hashlib.sha256(data).digest() == blobs[-1]
    assert {len(blob) for blob in blobs[:-2]} == {32 << 10}
    assert remaining == [len(data) - (32 << 10) * (number + 1) for number in range(len(blobs) - 2)] + [0, 0]
    reader = BoltReader(io.BytesIO(data))
    reader.check()
    assert list(reader.rows(b"key")) == list(member.core.backend.scan_revisions(b""))
    assert [name.decode() for name in reader.buckets()] == sorted((*BUCKETS, "key"))
    assert "successfully sent database snapshot to client" in caplog.messages
    assert sorted(path.name for path in (tmp_path / "data" / "member" / "snap").iterdir()) == ["db", "db-lock"]


async def test_a_snapshot_is_one_state_while_writes_go_on(member: Member) -> None:
    """What was acknowledged before is in it; of what comes later all up to some revision, with the index to match."""
    for number in range(500):
        await put(member, b"before%d" % number, bytes(5_000))
    first = member.core.store.revision
    going_on = True

    async def write() -> None:
        number = 0
        while going_on:
            number += 1
            await put(member, b"during%d" % number, b"")

    writers = [asyncio.create_task(write()) for _ in range(4)]
    snapshots = await asyncio.gather(*(snapshot_of(member) for _ in range(3)))
    going_on = False
    await asyncio.gather(*writers)
    for blobs, _ in snapshots:
        reader = BoltReader(io.BytesIO(b"".join(blobs[:-1])))
        revisions = [decode_revision(key).main for key, _ in reader.rows(b"key")]
        assert revisions == list(range(2, revisions[-1] + 1))
        assert first <= revisions[-1] < member.core.store.revision
        index = int.from_bytes(reader.get(b"meta", b"consistent_index") or b"", "big")
        # The first entries of the log, which are no revisions, are the same number at any time.
        assert index - revisions[-1] == member.core.proposer.applied_index - member.core.store.revision


async def test_nothing_is_left_of_a_snapshot_given_up(member: Member, tmp_path: Path) -> None:
    for number in range(50):
        await put(member, b"%d" % number, bytes(5_000))
    stream = member.services().maintenance.snapshot(pb.SnapshotRequest(), Context())
    await anext(stream)
    await stream.aclose()
    for turns in (*range(12), 20, 40, 80):  # at every place where it waits
        await put(member, b"once more")
        making = asyncio.create_task(snapshot_of(member))
        for _ in range(turns):
            await asyncio.sleep(0)
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making
    assert await snapshot_of(member)  # and the next one is none the worse
    assert sorted(path.name for path in (tmp_path / "data" / "member" / "snap").iterdir()) == ["db", "db-lock"]


async def test_leftovers_of_work_on_the_database_go_at_the_start(start: StartMember, tmp_path: Path) -> None:
    snap = tmp_path / "data" / "member" / "snap"
    snap.mkdir(parents=True)
    for name in ("db.copy", "db.snapshot", "db.defrag"):
        (snap / name).write_bytes(b"half")
    await start()
    assert sorted(path.name for path in snap.iterdir()) == ["db", "db-lock"]


async def test_hash_kv_and_hash(member: Member) -> None:
    maintenance = member.services().maintenance
    await put(member, b"a")
    first = await maintenance.hash_kv(pb.HashKVRequest(), Context())
    await put(member, b"b")
    again = await maintenance.hash_kv(pb.HashKVRequest(revision=2), Context())
    assert (again.hash, again.hash_revision, again.compact_revision) == (first.hash, 2, -1)
    assert (await maintenance.hash_kv(pb.HashKVRequest(), Context())).hash != first.hash
    future = maintenance.hash_kv(pb.HashKVRequest(revision=9), Context())
    assert (await refusal(future))[0] == StatusCode.OUT_OF_RANGE
    whole = await maintenance.hash(pb.HashRequest(), Context())
    assert whole.hash == (await maintenance.hash(pb.HashRequest(), Context())).hash


async def test_move_leader(member: Member) -> None:
    maintenance = member.services().maintenance
    own = pb.MoveLeaderRequest(targetID=member.identity.member_id)
    assert (await maintenance.move_leader(own, Context())).ByteSize() == 0
    stranger = maintenance.move_leader(pb.MoveLeaderRequest(targetID=1), Context())
    assert await refusal(stranger) == (StatusCode.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
    consensus(member).is_leader = False
    follower = maintenance.move_leader(own, Context())
    assert await refusal(follower) == (StatusCode.FAILED_PRECONDITION, "etcdserver: not leader")


async def test_clients_that_demand_a_leader(member: Member) -> None:
    services = member.services()
    consensus(member).is_leader = False
    demanding = Context(hasleader="true")
    error = (StatusCode.UNAVAILABLE, "etcdserver: no leader")
    assert await refusal(services.kv.range(pb.RangeRequest(key=b"a"), demanding)) == error
    assert await refusal(services.kv.put(pb.PutRequest(key=b"a"), demanding)) == error
    assert await refusal(anext(services.watch.watch(aiter_of([]), demanding))) == error
    assert (await services.kv.range(pb.RangeRequest(key=b"a", serializable=True), Context())).count == 0
    status = await services.maintenance.status(pb.StatusRequest(), Context())
    assert list(status.errors) == ["etcdserver: no leader"]


async def aiter_of(items: list[Any]) -> Any:
    for item in items:
        yield item


async def test_compaction_leaves_the_disk_by_and_by(member: Member) -> None:
    for number in range(50):
        await put(member, b"a", b"%d" % number)
    await member.client().compact(pb.CompactionRequest(revision=40, physical=True))
    rows = member.core.backend._env.begin().stat(member.core.backend._keys)["entries"]
    assert rows == 12
    member.core.store._check()


# --- ranges in pieces


async def pieces(member: Member, **options: Any) -> list[pb.RangeResponse]:
    request = pb.RangeRequest(key=b"k", range_end=b"l", **options)
    stream = member.services().kv.range_stream(request, Context())
    return [piece.range_response async for piece in stream]


async def test_a_range_stream_is_the_range_in_pieces(start: StartMember) -> None:
    member = await start(max_request_bytes=100_000)
    for number in range(300):
        await put(member, b"k%03d" % number, bytes(1000 + number))
    client = member.client()
    everything: list[dict[str, Any]] = [{}, {"limit": 7}, {"limit": 100}, {"limit": 300}, {"limit": 301}]
    for options in [*everything, {"keys_only": True}, {"revision": 101}, {"revision": 101, "limit": 20}]:
        whole = await client.range(pb.RangeRequest(key=b"k", range_end=b"l", **options))
        found = await pieces(member, **options)
        joined = pb.RangeResponse()
        for piece in found:
            joined.MergeFrom(piece)
        assert joined == whole
        assert not any(piece.HasField("header") or piece.count or piece.more for piece in found[:-1])
        assert all(piece.ByteSize() < 300_000 for piece in found)
    assert len(await pieces(member)) > 4
    (counted,) = await pieces(member, count_only=True, limit=3)
    assert (counted.count, counted.more, len(counted.kvs)) == (300, False, 0)


async def test_a_range_stream_reads_one_revision(start: StartMember) -> None:
    member = await start()
    for number in range(40):
        await put(member, b"k%03d" % number)
    stream = member.services().kv.range_stream(pb.RangeRequest(key=b"k", range_end=b"l"), Context())
    found = [(await anext(stream)).range_response]
    await member.client().delete_range(pb.DeleteRangeRequest(key=b"k", range_end=b"l"))
    await put(member, b"k100")
    found += [piece.range_response async for piece in stream]
    assert sum(len(piece.kvs) for piece in found) == 40
    assert (found[-1].header.revision, found[-1].count) == (41, 40)


async def test_range_streams_refused(member: Member) -> None:
    for options in ({"sort_order": pb.RangeRequest.DESCEND}, {"sort_target": pb.RangeRequest.MOD}):
        assert await refusal(pieces(member, **options)) == (
            StatusCode.UNIMPLEMENTED,
            "RangeStream does not support custom sort orders",
        )
    assert (await refusal(pieces(member, min_mod_revision=1)))[0] == StatusCode.UNIMPLEMENTED
    assert (await refusal(pieces(member, revision=9)))[0] == StatusCode.OUT_OF_RANGE
    for number in range(40):
        await put(member, b"k%03d" % number)
    stream = member.services().kv.range_stream(pb.RangeRequest(key=b"k", range_end=b"l"), Context())
    await anext(stream)
    await put(member, b"k")
    await member.client().compact(pb.CompactionRequest(revision=42))
    assert (await refusal(anext(stream)))[1] == "etcdserver: mvcc: required revision has been compacted"


# --- watching


async def test_a_watch_stream_over_a_front(member: Member) -> None:
    """The async generator the front drives: half-closing ends nothing, closing it leaves no watcher."""
    create = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a"))
    responses = member.services().watch.watch(aiter_of([create]), Context())
    (wire,) = await anext(responses)
    assert pb.WatchResponse.FromString(wire).created
    await put(member, b"a")
    (wire,) = await anext(responses)
    response = pb.WatchResponse.FromString(wire)
    assert response.events[0].kv.key == b"a"
    assert response.SerializeToString() == wire
    assert member.core.hub.watcher_count == 1
    await responses.aclose()
    assert (member.core.hub.watcher_count, member.core.hub.stream_count) == (0, 0)


async def test_watch_responses_are_those_that_protobuf_would_write(member: Member) -> None:
    """They are joined from parts; every form of them, read and written again, is the same bytes."""
    session = member.services().watch.open(lambda: None)
    for watch_id, options in enumerate(({}, {"prev_kv": True}, {"fragment": True}, {}), 1):
        create = pb.WatchCreateRequest(key=b"a", range_end=b"b", watch_id=300 * watch_id, **options)
        session.handle(pb.WatchRequest(create_request=create))
    session.handle(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a", watch_id=300)))
    wires = session.take_serialized()
    for value in (b"1", b"2"):
        await put(member, b"a", value)
        wires += session.take_serialized()
    large = [pb.RequestOp(request_put=pb.PutRequest(key=b"a%d" % n, value=bytes(500_000))) for n in range(3)]
    await member.services().kv.txn(pb.TxnRequest(success=large), Context())
    while session.pending:
        wires += session.take_serialized()
    session.handle(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=300)))
    wires += session.take_serialized()
    responses = [pb.WatchResponse.FromString(wire) for wire in wires]
    assert [response.SerializeToString() for response in responses] == wires
    assert all(response.header.revision and response.header.member_id for response in responses)
    by_watcher = {n: [r for r in responses if r.watch_id == 300 * n and r.events] for n in (1, 2, 3, 4)}
    assert {n: sum(len(r.events) for r in found) for n, found in by_watcher.items()} == {1: 5, 2: 5, 3: 5, 4: 5}
    assert [event.prev_kv.value for event in by_watcher[2][1].events] == [b"1"]
    assert not by_watcher[1][1].events[0].HasField("prev_kv")
    assert [r.fragment for r in by_watcher[3]] == [False, False, False]
    session.close()


async def test_a_client_that_asks_and_does_not_listen_is_not_listened_to(member: Member) -> None:
    asked = 0

    async def requests() -> AsyncIterator[pb.WatchRequest]:
        nonlocal asked
        while True:
            asked += 1
            yield pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a", range_end=b"a"))

    responses = member.services().watch.watch(requests(), Context())
    first = await anext(responses)
    for _ in range(10):
        await asyncio.sleep(0)
    answered = len(first)
    assert answered + UNANSWERED_MAX == asked
    for _ in range(3):
        answered += len(await anext(responses))
    assert answered <= asked <= answered + 2 * UNANSWERED_MAX
    await responses.aclose()


async def test_streams_end_when_the_member_stops(start: StartMember) -> None:
    member = await start()
    stream = member.client().watch()
    await stream.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")))
    await anext(stream)
    waiting = asyncio.get_running_loop().create_task(anext(stream))
    await asyncio.sleep(0)
    await member.stop()
    assert await refusal(waiting) == (StatusCode.UNAVAILABLE, "etcdserver: server stopped")
    assert await refusal(put(member, b"a")) == (StatusCode.UNAVAILABLE, "etcdserver: server stopped")


async def test_closing_a_stream_ends_its_iteration(member: Member) -> None:
    client = member.client()
    stream = client.watch()
    waiting = asyncio.get_running_loop().create_task(anext(stream, None))
    await asyncio.sleep(0)
    await client.close()
    assert await waiting is None
    assert member.core.hub.stream_count == 0


async def test_a_reader_that_stops_reading_costs_no_memory(member: Member) -> None:
    stream = member.client().watch()
    await stream.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")))
    for _ in range(1200):
        await put(member, b"a")
    (session,) = member.services().watch._sessions
    assert sum(len(watcher.queue) for watcher in session._stream.watchers.values()) <= 1024
    events = 0
    async for response in stream:
        events += len(response.events)
        if events == 1200:
            break
    await stream.close()


async def test_progress_notifications_by_the_clock(start: StartMember) -> None:
    member = await start(watch_progress_notify_interval_seconds=0.01)
    stream = member.client().watch()
    create = pb.WatchCreateRequest(key=b"a", progress_notify=True)
    await stream.send(pb.WatchRequest(create_request=create))
    await anext(stream)
    response = await asyncio.wait_for(anext(stream), 5)
    assert (response.watch_id, response.header.revision, len(response.events)) == (0, 1, 0)
    await stream.close()


# --- leases


async def test_leases_live_through_a_restart(start: StartMember) -> None:
    member = await start()
    lease = await member.client().lease_grant(pb.LeaseGrantRequest(TTL=100))
    await put(member, b"a", lease=lease.ID)
    member = await start()
    found = await member.client().lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=lease.ID, keys=True))
    assert (found.grantedTTL, list(found.keys)) == (100, [b"a"])
    listed = await member.services().lease.lease_leases(pb.LeaseLeasesRequest(), Context())
    assert [status.ID for status in listed.leases] == [lease.ID]
    requests = aiter_of([pb.LeaseKeepAliveRequest(ID=lease.ID), pb.LeaseKeepAliveRequest(ID=1)])
    answers = [answer async for answer in member.services().lease.lease_keep_alive(requests, Context())]
    assert [answer.TTL for answer in answers] == [100, 0]


async def test_a_lease_that_has_run_out_is_answered_when_its_keys_are_gone(start: StartMember) -> None:
    class Clock(RealClock):
        ahead = 0.0

        def monotonic(self) -> float:
            return time.monotonic() + self.ahead

    clock = Clock()
    member = await start(replace(real_environment(), clock=clock))
    client = member.client()
    lease = await client.lease_grant(pb.LeaseGrantRequest(TTL=500))
    await put(member, b"a", lease=lease.ID)
    consensus(member).held = True  # the revocation is under way, and not through
    clock.ahead = 501.0
    renewing = asyncio.ensure_future(member.services().lease.renew(lease.ID))
    member._lease_keeper.revoke_expired()
    while not member.core.proposer.pending_count:
        await asyncio.sleep(0)
    assert not renewing.done()
    assert member.core.store.newest_kv(b"a") is not None
    consensus(member).release()
    assert (await renewing).TTL == 0
    assert member.core.store.newest_kv(b"a") is None


async def test_a_lease_revoked_while_its_checkpoint_is_cleared_is_not_renewed(member: Member) -> None:
    client = member.client()
    lease = await client.lease_grant(pb.LeaseGrantRequest(TTL=500))
    member.core.lessor.checkpoint(lease.ID, 100)
    fake = consensus(member)
    fake.held = True
    revoking = asyncio.ensure_future(client.lease_revoke(pb.LeaseRevokeRequest(ID=lease.ID)))
    while member.core.proposer.pending_count < 1:
        await asyncio.sleep(0)
    renewing = asyncio.ensure_future(member.services().lease.renew(lease.ID))
    while member.core.proposer.pending_count < 2:
        await asyncio.sleep(0)
    fake.release()
    await revoking
    assert (await renewing).TTL == 0


async def test_many_leases_expire_together(start: StartMember) -> None:
    class Clock(RealClock):
        ahead = 0.0

        def monotonic(self) -> float:
            return time.monotonic() + self.ahead

    clock = Clock()
    member = await start(replace(real_environment(), clock=clock))
    client = member.client()
    for number in range(50):
        lease = await client.lease_grant(pb.LeaseGrantRequest(TTL=5))
        await put(member, b"%d" % number, lease=lease.ID)
    clock.ahead = 6.0
    member._lease_keeper.revoke_expired()
    member._lease_keeper.revoke_expired()
    while len(member.core.lessor):
        await asyncio.sleep(0)
    assert (await client.range(pb.RangeRequest(key=b"\0", range_end=b"\0"))).count == 0
    assert member.core.store.revision == 101


# --- who we are


def test_ids_are_those_of_etcd() -> None:
    members = parse_initial_cluster("default=http://localhost:2380")
    identity = derive_identity(members, "default", "etcd-cluster")
    assert (f"{identity.member_id:x}", f"{identity.cluster_id:x}") == ("8e9e05c52164694d", "cdf818194e3a8c32")
    assert Identity.decode(identity.encode()) == identity


@pytest.mark.parametrize("metadata", [b"", b"\x08\x01", b"\x08\x80", b"\x08\x01\x10"])
def test_metadata_that_is_none(metadata: bytes) -> None:
    with pytest.raises(ValueError, match="metadata"):
        Identity.decode(metadata)


async def test_members_know_each_other_by_name(start: StartMember) -> None:
    member = await start(name="n", initial_advertise_peer_urls=("http://p:1",), advertise_client_urls=("http://c:1",))
    listed = await member.services().cluster.member_list(pb.MemberListRequest(linearizable=True), Context())
    (only,) = listed.members
    assert (only.name, list(only.peerURLs), list(only.clientURLs)) == ("n", ["http://p:1"], ["http://c:1"])
    assert (listed.header.revision, listed.header.member_id) == (0, only.ID)
    identity = member.identity
    member = await start(name="n", advertise_client_urls=("http://c:2",))
    assert member.identity == identity, "a restart keeps the ids, whatever the flags"
    listed = await member.services().cluster.member_list(pb.MemberListRequest(), Context())
    assert list(listed.members[0].clientURLs) == ["http://c:2"]


# --- starting


async def test_a_directory_in_use(start: StartMember, tmp_path: Path) -> None:
    await start()
    with pytest.raises(StartError, match="in use by another server"):
        await start_member(Options(data_dir=str(tmp_path / "data")), real_environment())


async def test_a_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot use data directory"):
        await start_member(Options(data_dir=str(tmp_path / "file")), real_environment())


async def test_a_database_that_is_none(tmp_path: Path) -> None:
    snap = tmp_path / "data" / "member" / "snap"
    snap.mkdir(parents=True)
    (snap / "db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StartError, match="cannot open the database"):
        await start_member(Options(data_dir=str(tmp_path / "data")), real_environment())


async def test_an_initial_cluster_that_does_not_know_us(tmp_path: Path) -> None:
    options = Options(name="me", data_dir=str(tmp_path / "data"), initial_cluster="you=http://localhost:2380")
    with pytest.raises(StartError, match="couldn't find local name"):
        await start_member(options, real_environment())
    options = replace(options, initial_cluster="me=http://elsewhere:1")
    with pytest.raises(StartError, match="--initial-advertise-peer-urls"):
        await start_member(options, real_environment())


async def test_the_log_of_another_member(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one", "two")]
    for path, name in zip(paths, ("a", "b"), strict=True):
        options = Options(data_dir=str(path), initial_cluster_token=name)
        member = await start_member(options, real_environment())
        await member.stop()
    wal = "member/wal"
    (paths[0] / wal).rename(paths[0] / "old")
    (paths[1] / wal).rename(paths[0] / wal)
    with pytest.raises(StartError, match=r"another member|do not belong together"):
        await start_member(Options(data_dir=str(paths[0])), real_environment())


# --- handing over the lead, and defragmentation


async def test_only_a_leader_hands_over_and_only_to_a_voter(member: Member) -> None:
    maintenance = member.services().maintenance

    async def move(target: int) -> tuple[StatusCode, str]:
        return await refusal(maintenance.move_leader(pb.MoveLeaderRequest(targetID=target), Context()))

    bad = (StatusCode.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
    assert await move(0) == bad
    assert await move(17) == bad
    added = ClusterMember(18, peer_urls=("http://127.0.0.1:1",), is_learner=True)
    member.core.membership.carry_out(MembershipChange(MembershipChangeKind.ADD, added))
    assert await move(18) == bad
    own = member.identity.member_id
    response = await maintenance.move_leader(pb.MoveLeaderRequest(targetID=own), Context())
    assert not response.HasField("header")
    added = ClusterMember(19, peer_urls=("http://127.0.0.1:2",))
    member.core.membership.carry_out(MembershipChange(MembershipChangeKind.ADD, added))
    fake = consensus(member)

    async def fail(target_id: int) -> None:
        """A transfer that led nowhere."""

    fake.transfer_leadership = fail
    late = (StatusCode.UNKNOWN, "etcdserver: request timed out, leader transfer took too long")
    assert await move(19) == late
    fake.is_leader = False
    assert await move(own) == (StatusCode.FAILED_PRECONDITION, "etcdserver: not leader")


async def test_whoever_wants_to_know_is_told_of_a_defragmentation(member: Member) -> None:
    told: list[bool] = []
    maintenance = member.services().maintenance
    maintenance.on_defragment = told.append
    await put(member, b"a", b"1")
    await maintenance.defragment(pb.DefragmentRequest(), Context())
    assert told == [True, False]

    async def fail() -> None:
        raise OSError("no room")

    member.core.backend.defragment = fail  # type: ignore[method-assign]
    assert await refusal(maintenance.defragment(pb.DefragmentRequest(), Context())) == (
        StatusCode.UNKNOWN,
        "etcdserver: failed to defragment: no room",
    )
    assert told == [True, False, True, False]


async def test_a_write_that_crosses_the_quota_when_it_is_applied_raises_the_alarm(member: Member) -> None:
    fake = consensus(member)
    fake.held = True
    writing = asyncio.ensure_future(put(member, b"a", b"1"))
    while not member.core.proposer.pending_count:
        await asyncio.sleep(0)
    member.core.quota.limit_bytes = 1
    fake.release()
    assert await refusal(writing) == (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
    assert member.core.store.newest_kv(b"a") is not None, "it is applied all the same"
    while not member.core.has_space_alarm:
        await asyncio.sleep(0)
    listed = await member.services().maintenance.alarm(pb.AlarmRequest(), Context())
    assert [(alarm.memberID, alarm.alarm) for alarm in listed.alarms] == [(member.identity.member_id, pb.NOSPACE)]
