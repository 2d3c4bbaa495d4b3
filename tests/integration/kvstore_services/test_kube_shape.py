"""The calls that a kube-apiserver makes, in the form it makes them; each test runs against a real etcd as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front.health import NOT_SERVING, SERVING, health_descriptor
from tests.integration.kvstore_services.conftest import Calls, MiniEtcd

pytestmark = pytest.mark.e2e

RANGE, TXN = "etcdserverpb.KV/Range", "etcdserverpb.KV/Txn"


def compare(key: bytes, revision: int) -> pb.Compare:
    return pb.Compare(key=key, target=pb.Compare.MOD, result=pb.Compare.EQUAL, mod_revision=revision)


async def put_if(calls: Calls, key: bytes, value: bytes, revision: int, lease: int = 0) -> pb.TxnResponse:
    """Create (revision 0) or update, and read the key when somebody was quicker."""
    put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease))
    get = pb.RequestOp(request_range=pb.RangeRequest(key=key))
    answer: pb.TxnResponse = await calls(TXN, compare=[compare(key, revision)], success=[put], failure=[get])
    return answer


async def delete_if(calls: Calls, key: bytes, revision: int) -> pb.TxnResponse:
    delete = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
    get = pb.RequestOp(request_range=pb.RangeRequest(key=key))
    answer: pb.TxnResponse = await calls(TXN, compare=[compare(key, revision)], success=[delete], failure=[get])
    return answer


async def test_optimistic_writes(calls: Calls) -> None:
    key = b"/registry/pods/default/a"
    created = await put_if(calls, key, b"1", 0)
    assert created.succeeded
    first = created.header.revision
    lost = await put_if(calls, key, b"2", 0)
    assert not lost.succeeded
    (found,) = lost.responses[0].response_range.kvs
    assert (found.value, found.mod_revision) == (b"1", first)
    updated = await put_if(calls, key, b"2", first)
    assert updated.succeeded
    assert updated.header.revision == first + 1
    kept = await delete_if(calls, key, first)
    assert not kept.succeeded
    assert kept.responses[0].response_range.kvs[0].value == b"2"
    deleted = await delete_if(calls, key, first + 1)
    assert deleted.succeeded
    assert deleted.responses[0].response_delete_range.deleted == 1
    gone = await put_if(calls, key, b"3", first)
    assert not gone.succeeded
    assert not gone.responses[0].response_range.kvs


async def test_lists_in_pages_at_one_revision(calls: Calls) -> None:
    prefix, end = b"/registry/events/", b"/registry/events0"
    lease = (await calls("etcdserverpb.Lease/LeaseGrant", TTL=3600)).ID
    for number in range(7):
        await put_if(calls, prefix + b"%d" % number, b"v", 0, lease)
    first = await calls(RANGE, key=prefix, range_end=end, limit=3)
    assert (len(first.kvs), first.more, first.count) == (3, True, 7)
    await put_if(calls, prefix + b"9", b"later", 0)
    rest = await calls(RANGE, key=first.kvs[-1].key + b"\0", range_end=end, limit=500, revision=first.header.revision)
    assert [kv.key for kv in rest.kvs] == [prefix + b"%d" % number for number in range(3, 7)]
    assert (rest.more, rest.count) == (False, 4)
    assert rest.header.revision == first.header.revision + 1
    assert {kv.lease for kv in (*first.kvs, *rest.kvs)} == {lease}
    counted = await calls(RANGE, key=prefix, range_end=end, count_only=True)
    assert (counted.count, len(counted.kvs), counted.more) == (8, 0, False)


async def test_the_compactor_of_a_kube_apiserver(calls: Calls) -> None:
    """Two servers compare the version of a key; whoever is first compacts to what was the revision before."""
    key = b"compact_rev_key"

    async def attempt(version: int, revision: int) -> pb.TxnResponse:
        unchanged = pb.Compare(key=key, target=pb.Compare.VERSION, result=pb.Compare.EQUAL, version=version)
        put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=b"%d" % revision))
        get = pb.RequestOp(request_range=pb.RangeRequest(key=key))
        answer: pb.TxnResponse = await calls(TXN, compare=[unchanged], success=[put], failure=[get])
        return answer

    won = await attempt(0, 0)
    assert won.succeeded
    lost = await attempt(0, 0)
    assert not lost.succeeded
    assert lost.responses[0].response_range.kvs[0].version == 1
    again = await attempt(1, won.header.revision)
    assert again.succeeded
    await calls("etcdserverpb.KV/Compact", revision=won.header.revision)
    assert await calls.refusal("etcdserverpb.KV/Compact", revision=won.header.revision) == (
        "OUT_OF_RANGE",
        "etcdserver: mvcc: required revision has been compacted",
    )
    assert await calls.refusal(RANGE, key=key, revision=won.header.revision - 1) == (
        "OUT_OF_RANGE",
        "etcdserver: mvcc: required revision has been compacted",
    )


async def test_a_streamed_range_is_the_range(mini: MiniEtcd) -> None:
    """3.7's RangeStream, which the etcd at hand does not have: chunks whose merge is the answer of Range."""
    calls = Calls(mini.endpoint)
    for number in range(300):
        await calls("etcdserverpb.KV/Put", key=b"stream-%03d" % number, value=b"x" * 1000)
    where: dict[str, Any] = {"key": b"stream-", "range_end": b"stream."}
    for options in ({}, {"limit": 25}, {"limit": 300}, {"keys_only": True}, {"count_only": True}, {"limit": 5}):
        whole = await calls(RANGE, **where, **options)
        merged = pb.RangeResponse()
        pieces = [piece.range_response async for piece in calls("etcdserverpb.KV/RangeStream", **where, **options)]
        for piece in pieces:
            merged.MergeFrom(piece)
        assert merged == whole, options
        assert [piece.HasField("header") for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        if not options:
            assert len(pieces) > 2
            assert len(pieces[0].kvs) == 10
    stream = "etcdserverpb.KV/RangeStream"
    for refused in ({"sort_target": "MOD"}, {"sort_order": "DESCEND"}, {"min_mod_revision": 3}):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await calls(stream, **where, **refused).read()
        assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED
    await calls.close()


async def test_health_while_defragmenting(start_mini: Callable[..., MiniEtcd]) -> None:
    mini = start_mini("--feature-gates=StopGRPCServiceOnDefrag=true")
    calls = Calls(mini.endpoint)
    check = health_descriptor().methods_by_name["Watch"]
    channel = grpc.aio.insecure_channel(mini.endpoint.removeprefix("http://"))
    watch = channel.unary_stream(f"/{check.containing_service.full_name}/Watch")(b"")
    seen = [await watch.read()]
    await calls("etcdserverpb.Maintenance/Defragment")
    seen += [await watch.read() for _ in range(2)]
    assert [status[1] for status in seen] == [SERVING, NOT_SERVING, SERVING]
    watch.cancel()
    await channel.close()
    await calls.close()
