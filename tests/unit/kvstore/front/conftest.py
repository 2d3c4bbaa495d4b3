"""A front with services that do a little of everything, on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front import CallContext, Front, FrontLimits, build_front


class FakeKV:
    """A dict; keys that begin with `!` ask for trouble."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.contexts: list[CallContext] = []
        self.hanging = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def range(self, request: pb.RangeRequest, context: CallContext) -> pb.RangeResponse:
        self.contexts.append(context)
        if request.key == b"!refuse":
            raise EtcdError(StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
        if request.key == b"!bug":
            raise RuntimeError("secret detail")
        if request.key == b"!hang":
            self.hanging.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        if request.key == b"!large":
            return pb.RangeResponse(kvs=[kv_pb2.KeyValue(value=bytes(request.limit))])
        value = self.values.get(request.key)
        kvs = [] if value is None else [kv_pb2.KeyValue(key=request.key, value=value)]
        return pb.RangeResponse(header=pb.ResponseHeader(revision=1), kvs=kvs, count=len(kvs))

    async def put(self, request: pb.PutRequest, context: CallContext) -> pb.PutResponse:
        self.values[request.key] = request.value
        return pb.PutResponse(header=pb.ResponseHeader(revision=2))


class FakeWatch:
    """Echoes: each create request is answered with `watch_id` responses, a cancel request ends the stream."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.sent = 0

    async def watch(self, requests: AsyncIterator[Any], context: CallContext) -> AsyncIterator[Any]:
        try:
            async for request in requests:
                if request.HasField("cancel_request"):
                    raise EtcdError(StatusCode.CANCELLED, "etcdserver: watch canceled")
                for number in range(request.create_request.watch_id):
                    events = [kv_pb2.Event(kv=kv_pb2.KeyValue(value=request.create_request.key))]
                    response = pb.WatchResponse(watch_id=number, events=events)
                    self.sent += 1
                    yield response if number % 2 else response.SerializeToString()
        finally:
            self.ended.set()


class FakeMaintenance:
    """Snapshot sends three blobs."""

    async def snapshot(self, request: pb.SnapshotRequest, context: CallContext) -> AsyncIterator[Any]:
        for number in range(3):
            yield pb.SnapshotResponse(remaining_bytes=2 - number, blob=b"blob")


class Served:
    """A running front, its services and its address."""

    def __init__(self, limits: FrontLimits | None = None) -> None:
        self.kv = FakeKV()
        self.watch = FakeWatch()
        services = {
            "etcdserverpb.KV": self.kv,
            "etcdserverpb.Watch": self.watch,
            "etcdserverpb.Maintenance": FakeMaintenance(),
        }
        self.front: Front = build_front(services, limits=limits)
        self.url = ""

    @property
    def target(self) -> str:
        return self.url.partition("//")[2]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def start(self) -> Served:
        (self.url,) = await self.front.listen(["http://127.0.0.1:0"])
        return self


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = await Served().start()
    yield served
    await served.front.close(1.0)


@pytest.fixture
async def served_narrow() -> AsyncIterator[Served]:
    """The same with windows and limits so small that every transfer meets them."""
    limits = FrontLimits(
        receive_message_bytes_max=100_000,
        stream_window_bytes=10_000,
        connection_window_bytes=70_000,
        stream_backlog_bytes=5_000,
        queued_requests_max=2,
    )
    served = await Served(limits).start()
    yield served
    await served.front.close(1.0)
