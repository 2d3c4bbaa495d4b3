"""Watches."""

from __future__ import annotations

import asyncio

from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from tests.conformance.kv.suite import Recorder, newer_only, op_delete, op_put, scenario

PUT, DELETE = kv_pb2.Event.PUT, kv_pb2.Event.DELETE


@scenario
async def run_watch_from_now(r: Recorder) -> None:
    watch = await r.watch()
    await r.put(r.key("a"), b"before")
    created = await watch.create(r.key("a"))
    assert (created.watch_id, created.header.revision) == (0, r.base + 1)
    await r.put(r.key("a"), b"1")
    await r.put(r.key("b"), b"elsewhere")
    await r.delete(r.key("a"))
    await r.put(r.key("a"), b"2")
    events = await watch.events(3)
    assert [event.type for event in events] == [PUT, DELETE, PUT]
    deleted = events[1].kv
    assert (deleted.key, deleted.mod_revision) == (r.key("a"), r.base + 4)
    assert (deleted.value, deleted.version, deleted.create_revision) == (b"", 0, 0)
    await watch.close()


@scenario
async def run_watch_live_header_is_the_revision(r: Recorder) -> None:
    watch = await r.watch()
    await watch.create(r.key("a"))
    await r.put(r.key("a"), b"1")
    response = await watch.response()
    assert response.header.revision == r.base + 1
    assert response.header.raft_term > 0
    await watch.close()


@scenario
async def run_watch_history(r: Recorder) -> None:
    for number in range(5):
        await r.put(r.key("a"), b"%d" % number)
    await r.delete(r.key("a"))
    watch = await r.watch()
    created = await watch.create(r.key("a"), start_revision=r.base + 2)
    assert created.header.revision == r.base + 6
    events = await watch.events(5)
    assert [event.kv.mod_revision - r.base for event in events] == [2, 3, 4, 5, 6]
    await r.put(r.key("a"), b"live")
    assert (await watch.events(1))[0].kv.value == b"live"
    await watch.close()


@scenario
async def run_watch_from_the_future(r: Recorder) -> None:
    watch = await r.watch()
    await watch.create(r.key("a"), start_revision=r.base + 3)
    for number in range(1, 5):
        await r.put(r.key("a"), b"%d" % number)
    events = await watch.events(2)
    assert [event.kv.value for event in events] == [b"3", b"4"]
    await watch.close()


@scenario
async def run_watch_ranges(r: Recorder) -> None:
    watch = await r.watch()
    for end in (b"", r.key("c"), b"\0"):
        await watch.create(r.key("b"), range_end=end)
    for name in ("a", "b", "ba", "c"):
        await r.put(r.key(name), name.encode())
    for number, wanted in enumerate(([b"b"], [b"b", b"ba"], [b"b", b"ba", b"c"])):
        assert [event.kv.value for event in await watch.events(len(wanted), number)] == wanted
    await watch.close()


@scenario
async def run_watch_previous_values(r: Recorder) -> None:
    await r.put(r.key("a"), b"1")
    watch = await r.watch()
    await watch.create(r.key("a"), start_revision=r.base + 1, prev_kv=True)
    await r.put(r.key("a"), b"2")
    await r.delete(r.key("a"))
    await r.put(r.key("a"), b"3")
    events = await watch.events(4)
    previous = [event.prev_kv.value if event.HasField("prev_kv") else None for event in events]
    assert previous == [None, b"1", b"2", None]
    history = await r.watch()
    await history.create(r.key("a"), start_revision=r.base + 1, prev_kv=True)
    again = await history.events(4)
    assert again == events
    await watch.close()
    await history.close()


@scenario
async def run_watch_filters(r: Recorder) -> None:
    watch = await r.watch()
    await watch.create(r.key("a"), filters=[pb.WatchCreateRequest.NOPUT])
    await watch.create(r.key("a"), filters=[pb.WatchCreateRequest.NODELETE])
    await r.put(r.key("a"), b"1")
    await r.delete(r.key("a"))
    await r.put(r.key("a"), b"2")
    await r.delete(r.key("a"))
    assert [event.type for event in await watch.events(2, 0)] == [DELETE, DELETE]
    assert [event.type for event in await watch.events(2, 1)] == [PUT, PUT]
    await watch.close()


@scenario
async def run_watch_transactions_arrive_whole(r: Recorder) -> None:
    watch = await r.watch()
    await watch.create(**r.everything)
    await r.put(r.key("old"))
    await watch.events(1)
    await r.txn(success=[op_put(r.key("b"), b"1"), op_delete(r.key("old")), op_put(r.key("a"), b"2")])
    response = await watch.response()
    assert [event.kv.key for event in response.events] == [r.key("b"), r.key("old"), r.key("a")]
    history = await r.watch()
    await history.create(**r.everything, start_revision=r.base + 2)
    again = await history.response()
    assert again.events == response.events
    await watch.close()
    await history.close()


@scenario
async def run_watch_ids(r: Recorder) -> None:
    watch = await r.watch()
    ids = [(await watch.create(r.key("a"))).watch_id for _ in range(2)]
    assert ids == [0, 1]
    assert (await watch.create(r.key("a"), watch_id=7)).watch_id == 7
    duplicate = await watch.create(r.key("a"), watch_id=7)
    assert (duplicate.canceled, duplicate.watch_id) == (True, -1)
    assert duplicate.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
    assert (await watch.create(r.key("a"), watch_id=2)).watch_id == 2
    assert (await watch.create(r.key("a"))).watch_id == 3
    await watch.close()


@scenario
async def run_watch_empty_range(r: Recorder) -> None:
    watch = await r.watch()
    for end in (r.key("b"), r.key("a")):
        refused = await watch.create(r.key("b"), range_end=end)
        assert (refused.canceled, refused.watch_id) == (True, -1)
        assert refused.cancel_reason == "mvcc: watcher range is empty"
    await watch.close()


@scenario
async def run_watch_cancel(r: Recorder) -> None:
    watch = await r.watch()
    await watch.create(r.key("a"))
    await watch.create(r.key("a"), watch_id=5)
    await watch.cancel(99)
    await watch.cancel(5)
    response = await watch.response()
    assert (response.canceled, response.watch_id, response.cancel_reason) == (True, 5, "")
    await r.put(r.key("a"), b"1")
    assert (await watch.response()).watch_id == 0
    assert (await watch.create(r.key("a"), watch_id=5)).watch_id == 5
    await watch.close()


@scenario
async def run_watch_compacted(r: Recorder) -> None:
    for number in range(4):
        await r.put(r.key("a"), b"%d" % number)
    await r.compact(r.base + 3)
    watch = await r.watch()
    await watch.create(r.key("a"), start_revision=r.base + 2)
    cancelled = await watch.next()
    assert cancelled.canceled
    assert (cancelled.compact_revision, cancelled.header.revision) == (r.base + 3, 0)
    assert (cancelled.cancel_reason, len(cancelled.events)) == ("", 0)
    at = await r.watch()
    await at.create(r.key("a"), start_revision=r.base + 3)
    assert [event.kv.value for event in await at.events(2)] == [b"2", b"3"]
    await watch.close()
    await at.close()


@scenario
async def run_watch_previous_value_lost_to_compaction(r: Recorder) -> None:
    for number in range(3):
        await r.put(r.key("a"), b"%d" % number)
    await r.compact(r.base + 2)
    watch = await r.watch()
    await watch.create(r.key("a"), start_revision=r.base + 2, prev_kv=True)
    events = await watch.events(2)
    assert [event.HasField("prev_kv") for event in events] == [False, True]
    await watch.close()


@scenario
async def run_watch_progress_on_request(r: Recorder) -> None:
    watch = await r.watch()
    await watch.create(r.key("a"))
    await watch.create(r.key("b"))
    await r.put(r.key("a"), b"1")
    await watch.events(1)
    await r.put(r.key("elsewhere"), b"2")
    # Stores may ignore a request while a watcher has not caught up; clients ask again.
    response = None
    for _ in range(20):
        await watch.progress()
        try:
            response = await asyncio.wait_for(watch.next(), 0.5)
        except TimeoutError:
            continue
        break
    assert response is not None
    assert (response.watch_id, len(response.events), response.created) == (-1, 0, False)
    assert response.header.revision == r.base + 2
    await watch.close()


@scenario
@newer_only
async def run_watch_progress_without_an_answer(r: Recorder) -> None:
    """Nobody to speak for, or someone who waits for the future: nothing is said, and the stream lives on."""
    watch = await r.watch()
    await watch.create(r.key("a"), start_revision=r.base + 100)
    await watch.progress()
    await watch.cancel(0)
    assert (await watch.response()).canceled
    await watch.progress()
    await watch.create(r.key("b"))
    await watch.close()


@scenario
@newer_only
async def run_watch_negative_start(r: Recorder) -> None:
    watch = await r.watch()
    refused = await watch.create(r.key("a"), start_revision=-1)
    assert (refused.canceled, refused.watch_id) == (True, -1)
    assert refused.cancel_reason == "etcdserver: mvcc: required revision has been compacted"
    await watch.close()


@scenario
async def run_watch_fragments(r: Recorder) -> None:
    """Asked for, a large response comes in pieces below the largest request; together they are one revision."""
    watch = await r.watch()
    await watch.create(**r.everything, fragment=True)
    large = bytes(400_000)
    for number in range(6):
        await r.put(r.key(str(number)), large)
    await watch.events(6)
    await r.delete(**r.everything)
    history = await r.watch()
    await history.create(**r.everything, start_revision=r.base + 1, fragment=True, prev_kv=True)
    events, fragments = 0, 0
    while events < 12:
        response = await history.next()
        events += len(response.events)
        fragments += response.fragment
        assert response.ByteSize() < 2 << 20
    assert fragments > 0
    assert not response.fragment
    await watch.close()
    await history.close()


@scenario
async def run_watch_lease_expiry_is_a_deletion(r: Recorder) -> None:
    lease = (await r.grant(600)).ID
    await r.put(r.key("b"), b"1", lease=lease)
    await r.put(r.key("a"), b"1", lease=lease)
    watch = await r.watch()
    await watch.create(**r.everything)
    revoked = await r.revoke(lease)
    assert revoked.header.revision == r.base + 3
    response = await watch.response()
    assert [(event.type, event.kv.key) for event in response.events] == [(DELETE, r.key("a")), (DELETE, r.key("b"))]
    await watch.close()
