"""The front under grpcio's client."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front import FrontLimits

RANGE = "/etcdserverpb.KV/Range"
PUT = "/etcdserverpb.KV/Put"
WATCH = "/etcdserverpb.Watch/Watch"
SNAPSHOT = "/etcdserverpb.Maintenance/Snapshot"


class GrpcioClient:
    """Method paths as callables on one channel."""

    def __init__(self, target: str, *options: tuple[str, Any]) -> None:
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.aio.insecure_channel(target, options=[*unlimited, ("grpc.enable_retries", 0), *options])

    async def range(self, key: bytes, path: str = RANGE, limit: int = 0, **more: Any) -> pb.RangeResponse:
        call = self.channel.unary_unary(path, pb.RangeRequest.SerializeToString, pb.RangeResponse.FromString)
        return await call(pb.RangeRequest(key=key, limit=limit), **more)

    async def put(self, key: bytes, value: bytes, **more: Any) -> pb.PutResponse:
        call = self.channel.unary_unary(PUT, pb.PutRequest.SerializeToString, pb.PutResponse.FromString)
        return await call(pb.PutRequest(key=key, value=value), **more)

    def watch(self, **more: Any) -> Any:
        call = self.channel.stream_stream(WATCH, pb.WatchRequest.SerializeToString, pb.WatchResponse.FromString)
        return call(**more)

    def raw(self, path: str, request: bytes, **more: Any) -> Any:
        return self.channel.unary_unary(path)(request, **more)


@pytest.fixture
async def client(served) -> AsyncIterator[GrpcioClient]:
    client = GrpcioClient(served.target)
    yield client
    await client.channel.close()


@pytest.fixture
async def narrow_client(served_narrow) -> AsyncIterator[GrpcioClient]:
    client = GrpcioClient(served_narrow.target, ("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0))
    yield client
    await client.channel.close()


def create(key: bytes, count: int) -> pb.WatchRequest:
    """Ask `FakeWatch` for so many responses."""
    return pb.WatchRequest(create_request=pb.WatchCreateRequest(key=key, watch_id=count))


async def test_unary(client: GrpcioClient) -> None:
    assert (await client.put(b"a", b"1")).header.revision == 2
    assert (await client.range(b"a")).kvs[0].value == b"1"
    assert (await client.range(b"b")).count == 0


async def test_many_at_once(client: GrpcioClient) -> None:
    await asyncio.gather(*(client.put(b"%d" % number, b"v%d" % number) for number in range(300)))
    answers = await asyncio.gather(*(client.range(b"%d" % number) for number in range(300)))
    assert [answer.kvs[0].value for answer in answers] == [b"v%d" % number for number in range(300)]


@pytest.mark.parametrize(
    ("key", "path", "code", "text"),
    [
        (
            b"!refuse",
            RANGE,
            grpc.StatusCode.OUT_OF_RANGE,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        (
            b"a",
            "/etcdserverpb.KV/Nope",
            grpc.StatusCode.UNIMPLEMENTED,
            "unknown method Nope for service etcdserverpb.KV",
        ),
        (b"a", "/etcdserverpb.KV/Txn", grpc.StatusCode.UNIMPLEMENTED, "unknown method Txn for service etcdserverpb.KV"),
        (b"a", "/nope.Nope/Nope", grpc.StatusCode.UNIMPLEMENTED, "unknown service nope.Nope"),
    ],
)
async def test_refusals(client: GrpcioClient, key: bytes, path: str, code: grpc.StatusCode, text: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.range(key, path)
    assert (caught.value.code(), caught.value.details()) == (code, text)


async def test_a_bug_is_logged_and_not_told(client: GrpcioClient, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.range(b"!bug")
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert "secret detail" in caplog.text
    assert (await client.range(b"a")).count == 0


async def test_garbage_instead_of_a_message(client: GrpcioClient) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="grpc: error unmarshalling request") as caught:
        await client.raw(RANGE, b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INTERNAL


async def test_metadata_reaches_the_handler(client: GrpcioClient, served) -> None:
    await client.range(b"a", metadata=(("token", "t"), ("hasleader", "true")), timeout=30)
    (context,) = served.kv.contexts
    assert (context.metadata["token"], context.metadata["hasleader"]) == ("t", "true")
    assert context.peer.startswith("127.0.0.1:")
    assert context.peer_certificate is None
    assert context.deadline is not None


async def test_deadline(client: GrpcioClient, served) -> None:
    await client.range(b"a")  # so that the time does not run out while the client connects
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.range(b"!hang", timeout=0.5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await served.kv.cancelled.wait()


async def test_cancellation(client: GrpcioClient, served) -> None:
    call = asyncio.create_task(client.range(b"!hang"))
    await served.kv.hanging.wait()
    call.cancel()
    await served.kv.cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_client_that_goes_away_cancels_its_calls(client: GrpcioClient, served) -> None:
    call = asyncio.create_task(client.range(b"!hang"))
    await served.kv.hanging.wait()
    await client.channel.close()
    await served.kv.cancelled.wait()
    with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
        await call


async def test_large_messages_both_ways(client: GrpcioClient) -> None:
    await client.put(b"large", bytes(1_500_000))
    assert len((await client.range(b"large")).kvs[0].value) == 1_500_000
    assert len((await client.range(b"!large", limit=20_000_000)).kvs[0].value) == 20_000_000


async def test_messages_over_the_limit(client: GrpcioClient) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.put(b"k", bytes(2_097_152))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "grpc: received message larger than max (2097160 vs. 2097152)"
    assert (await client.range(b"a")).count == 0


async def test_compressed_requests_are_refused(client: GrpcioClient) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.put(b"k", bytes(10_000), compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == 'grpc: Decompressor is not installed for grpc-encoding "gzip"'


async def test_server_stream(client: GrpcioClient) -> None:
    call = client.channel.unary_stream(SNAPSHOT, pb.SnapshotRequest.SerializeToString, pb.SnapshotResponse.FromString)
    assert [part.remaining_bytes async for part in call(pb.SnapshotRequest())] == [2, 1, 0]


async def test_a_server_stream_wants_exactly_one_request(client: GrpcioClient) -> None:
    call = client.channel.stream_stream(SNAPSHOT)
    with pytest.raises(grpc.aio.AioRpcError, match="received no request message"):
        await anext(aiter(call(iter([]))))
    with pytest.raises(grpc.aio.AioRpcError, match="received multiple request messages"):
        await anext(aiter(call(iter([b"", b""]))))


async def test_a_unary_call_wants_exactly_one_request(client: GrpcioClient) -> None:
    call = client.channel.stream_unary(RANGE)
    with pytest.raises(grpc.aio.AioRpcError, match="received no request message"):
        await call(iter([]))
    with pytest.raises(grpc.aio.AioRpcError, match="received multiple request messages"):
        await call(iter([b"", b""]))


async def test_bidirectional_stream(client: GrpcioClient, served) -> None:
    call = client.watch()
    for count in (1, 3, 2):
        await call.write(create(b"k", count))
        assert [(await call.read()).watch_id for _ in range(count)] == list(range(count))
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    await served.watch.ended.wait()


async def test_a_stream_that_ends_without_a_message(client: GrpcioClient) -> None:
    call = client.watch()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_a_stream_refused_after_messages(client: GrpcioClient) -> None:
    call = client.watch()
    await call.write(create(b"k", 1))
    await call.read()
    await call.write(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=1)))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.CANCELLED, "etcdserver: watch canceled")


async def test_cancelling_a_stream_ends_its_handler(client: GrpcioClient, served) -> None:
    call = client.watch()
    await call.write(create(b"k", 1))
    await call.read()
    call.cancel()
    await served.watch.ended.wait()


async def test_garbage_in_a_stream(client: GrpcioClient, served) -> None:
    call = client.channel.stream_stream(WATCH)()
    await call.write(create(b"k", 1).SerializeToString())
    await call.read()
    await call.write(b"\xff\xff")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    await served.watch.ended.wait()


async def test_a_deadline_of_a_stream(client: GrpcioClient, served) -> None:
    await client.range(b"a")  # connected
    call = client.watch(timeout=0.5)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await served.watch.ended.wait()


async def test_a_slow_reader_holds_its_handler_up(client: GrpcioClient, served) -> None:
    """The handler has 100 MB to say; only so much of it may pile up on the way to one who does not listen."""
    call = client.watch()
    await call.write(create(bytes(100_000), 1_000))
    await call.read()
    for _ in range(50):
        before = served.watch.sent
        await client.range(b"a")  # other calls on the connection go on
        if before == served.watch.sent > 1:
            break
    assert served.watch.sent < 500
    call.cancel()
    await served.watch.ended.wait()


async def test_streams_through_narrow_windows(narrow_client: GrpcioClient) -> None:
    call = narrow_client.watch()

    async def write() -> None:
        for size in (90_000, 10, 50_000, 9_000, 1):
            await call.write(create(bytes(size), 3))
        await call.done_writing()

    writing = asyncio.create_task(write())
    sizes = [len(response.events[0].kv.value) async for response in call]
    await writing
    assert sizes == [size for size in (90_000, 10, 50_000, 9_000, 1) for _ in range(3)]


async def test_unary_through_narrow_windows(narrow_client: GrpcioClient) -> None:
    values = [bytes([number]) * 60_000 for number in range(20)]
    await asyncio.gather(*(narrow_client.put(b"%d" % number, value) for number, value in enumerate(values)))
    answers = await asyncio.gather(*(narrow_client.range(b"%d" % number) for number in range(20)))
    assert [answer.kvs[0].value for answer in answers] == values


async def test_health(client: GrpcioClient) -> None:
    check = client.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert await check(b"") == b"\x08\x01"
    with pytest.raises(grpc.aio.AioRpcError, match="unknown service") as caught:
        await check(b"\x0a\x01x")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watch = client.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
    assert await watch.read() == b"\x08\x01"
    watch.cancel()


async def test_closing_lets_calls_finish(served) -> None:
    client = GrpcioClient(served.target)
    call = asyncio.create_task(client.range(b"!hang"))
    await served.kv.hanging.wait()
    await served.front.close(0.05)
    await served.kv.cancelled.wait()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert served.front.connection_count == 0
    await client.channel.close()


async def test_closing_ends_streams_and_waits_for_calls(served) -> None:
    client = GrpcioClient(served.target)
    stream = client.watch()
    await stream.write(create(b"k", 1))
    await stream.read()
    call = asyncio.create_task(client.range(b"!hang", timeout=0.2))
    await served.kv.hanging.wait()
    closing = asyncio.create_task(served.front.close(10.0))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.UNAVAILABLE,
        "etcdserver: server stopped",
    )
    assert not closing.done()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await closing
    await client.channel.close()


async def test_observer_sees_every_call(served) -> None:
    seen: list[tuple] = []

    class Observer:
        def call_started(self, method, context) -> None:
            seen.append(("started", method.name))

        def message_received(self, method, size_bytes) -> None:
            seen.append(("received", method.name))

        def message_sent(self, method, size_bytes) -> None:
            seen.append(("sent", method.name))

        def call_finished(self, method, code, duration_seconds, call) -> None:
            seen.append(("finished", method.service, code.name))
            assert call.request.key in (b"a", b"!refuse")
            assert (call.response is not None) == (code.name == "OK")
            assert duration_seconds >= 0

    served.front._observer = Observer()
    client = GrpcioClient(served.target)
    await client.range(b"a")
    with pytest.raises(grpc.aio.AioRpcError):
        await client.range(b"!refuse")
    await client.channel.close()
    assert seen == [
        *[("started", "Range"), ("received", "Range"), ("sent", "Range"), ("finished", "etcdserverpb.KV", "OK")],
        *[("started", "Range"), ("received", "Range"), ("finished", "etcdserverpb.KV", "OUT_OF_RANGE")],
    ]


async def test_nothing_is_left_of_a_connection(served) -> None:
    client = GrpcioClient(served.target)
    await client.range(b"a")
    call = client.watch()
    await call.write(create(b"k", 1))
    await call.read()
    await client.channel.close()
    await served.watch.ended.wait()
    await served.front.close(1.0)
    assert served.front.connection_count == 0
    gc.collect()
    from kvstore.front.calls import Call

    assert not [thing for thing in gc.get_objects() if isinstance(thing, Call) and not thing._over]


async def test_limits_are_those_of_etcd() -> None:
    limits = FrontLimits()
    assert limits.receive_message_bytes_max == 2_097_152
    assert (limits.keepalive_min_seconds, limits.ping_interval_seconds, limits.ping_timeout_seconds) == (5, 7200, 20)
