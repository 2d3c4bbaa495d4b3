"""A store of dicts that behaves as etcd does, as far as the storage layer looks. It passes the same suite as etcd.

`FakeEtcd` is the store; `FakeClient` is a `kvstore.client.Client` of it. Time comes from the injected clock: leases run
out when `expire_leases` is called after it was advanced.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from kvstore.environment import Clock
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
FUTURE = "etcdserver: mvcc: required revision is a future revision"


@dataclass
class _Lease:
    expires_seconds: float
    ttl_seconds: int
    keys: set[bytes] = field(default_factory=set)


@dataclass
class _Watcher:
    stream: FakeWatchStream
    watch_id: int
    request: pb.WatchCreateRequest


class FakeEtcd:
    """All state. `held` keeps events back from every watcher until `release` is called."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.revision = 1
        self.compacted = 0
        self.history: dict[bytes, list[tuple[int, kv_pb2.KeyValue | None]]] = {}
        self.events: list[kv_pb2.Event] = []
        self.leases: dict[int, _Lease] = {}
        self.watchers: list[_Watcher] = []
        self.calls: list[str] = []
        self.failure: EtcdError | None = None
        self.held = False
        self.version = "3.6.0"
        self._kept_back: list[kv_pb2.Event] = []

    def at(self, key: bytes, revision: int = 0) -> kv_pb2.KeyValue | None:
        """The value of a key at a revision."""
        versions = self.history.get(key, [])
        if not revision:
            return versions[-1][1] if versions else None
        position = bisect_right(versions, revision, key=lambda version: version[0])
        return versions[position - 1][1] if position else None

    def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        """KV.Range."""
        if request.revision > self.revision:
            raise EtcdError(StatusCode.OUT_OF_RANGE, FUTURE)
        if request.revision and request.revision < self.compacted:
            raise EtcdError(StatusCode.OUT_OF_RANGE, COMPACTED)
        keys = [request.key]
        if request.range_end:
            keys = sorted(key for key in self.history if request.key <= key < request.range_end)
        found = [kv for key in keys if (kv := self.at(key, request.revision)) is not None]
        response = pb.RangeResponse(count=len(found))
        response.header.revision = self.revision
        if not request.count_only:
            response.kvs.extend(found[: request.limit or None])
            response.more = bool(request.limit) and len(found) > request.limit
        return response

    def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        """KV.Txn; at most one write in each branch, which is all the storage needs."""
        succeeded = all(self._holds(compare) for compare in request.compare)
        response = pb.TxnResponse(succeeded=succeeded)
        for operation in request.success if succeeded else request.failure:
            answer = response.responses.add()
            match operation.WhichOneof("request"):
                case "request_put":
                    self.put(operation.request_put)
                    answer.response_put.header.revision = self.revision
                case "request_delete_range":
                    deleted = self.delete(operation.request_delete_range.key)
                    answer.response_delete_range.deleted = int(deleted)
                case _:
                    answer.response_range.CopyFrom(self.range(operation.request_range))
        response.header.revision = self.revision
        return response

    def put(self, request: pb.PutRequest) -> None:
        """KV.Put."""
        if request.lease and request.lease not in self.leases:
            raise EtcdError(StatusCode.NOT_FOUND, "etcdserver: requested lease not found")
        old = self.at(request.key)
        self.revision += 1
        kv = kv_pb2.KeyValue(
            key=request.key,
            value=request.value,
            mod_revision=self.revision,
            create_revision=old.create_revision if old else self.revision,
            version=old.version + 1 if old else 1,
            lease=request.lease,
        )
        if old is not None and old.lease in self.leases:
            self.leases[old.lease].keys.discard(request.key)
        if request.lease:
            self.leases[request.lease].keys.add(request.key)
        self.history.setdefault(request.key, []).append((self.revision, kv))
        self._happened(kv_pb2.Event(type=kv_pb2.Event.PUT, kv=kv, prev_kv=old))

    def delete(self, key: bytes) -> bool:
        """KV.DeleteRange of one key."""
        old = self.at(key)
        if old is None:
            return False
        self.revision += 1
        self.history[key].append((self.revision, None))
        kv = kv_pb2.KeyValue(key=key, mod_revision=self.revision)
        self._happened(kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv, prev_kv=old))
        return True

    def compact(self, revision: int) -> None:
        """KV.Compact."""
        if revision > self.revision:
            raise EtcdError(StatusCode.OUT_OF_RANGE, FUTURE)
        if revision <= self.compacted:
            raise EtcdError(StatusCode.OUT_OF_RANGE, COMPACTED)
        self.compacted = revision
        self.events = [event for event in self.events if event.kv.mod_revision > revision]

    def expire_leases(self) -> None:
        """Revoke what has run out."""
        now = self.clock.monotonic()
        for lease_id, lease in sorted(self.leases.items()):
            if lease.expires_seconds <= now:
                del self.leases[lease_id]
                for key in sorted(lease.keys):
                    self.delete(key)

    def release(self) -> None:
        """Deliver what was held."""
        self.held = False
        events, self._kept_back = self._kept_back, []
        for event in events:
            self._deliver(event)

    def break_streams(self) -> None:
        """End every watch stream, as a member does that stops."""
        for watcher in self.watchers:
            watcher.stream.responses.put_nowait(EtcdError(StatusCode.UNAVAILABLE, "the store ended the stream"))
        self.watchers.clear()

    def _holds(self, compare: pb.Compare) -> bool:
        kv = self.at(compare.key)
        if compare.target == pb.Compare.VERSION:
            return (kv.version if kv else 0) == compare.version
        return (kv.mod_revision if kv else 0) == compare.mod_revision

    def _happened(self, event: kv_pb2.Event) -> None:
        self.events.append(event)
        if self.held:
            self._kept_back.append(event)
        else:
            self._deliver(event)

    def _deliver(self, event: kv_pb2.Event) -> None:
        for watcher in self.watchers:
            if _wants(watcher.request, event):
                watcher.stream.responses.put_nowait(_response(watcher, self.revision, [event]))


class FakeWatchStream:
    """`WatchStream` of the fake."""

    def __init__(self, etcd: FakeEtcd) -> None:
        self.etcd = etcd
        self.responses: asyncio.Queue[pb.WatchResponse | EtcdError | None] = asyncio.Queue()
        self._ids = 0

    async def send(self, request: pb.WatchRequest) -> None:
        """See `WatchStream`."""
        if self.etcd.failure is not None:
            raise self.etcd.failure
        match request.WhichOneof("request_union"):
            case "create_request":
                self._create(request.create_request)
            case "progress_request":
                self.etcd.calls.append("progress")
                if not self.etcd.held:
                    response = pb.WatchResponse(watch_id=-1)
                    response.header.revision = self.etcd.revision
                    self.responses.put_nowait(response)

    def _create(self, request: pb.WatchCreateRequest) -> None:
        etcd = self.etcd
        watcher = _Watcher(self, request.watch_id or self._ids, request)
        self._ids += 1
        created = pb.WatchResponse(watch_id=watcher.watch_id, created=True)
        created.header.revision = etcd.revision
        self.responses.put_nowait(created)
        if request.start_revision and request.start_revision <= etcd.compacted:
            gone = pb.WatchResponse(watch_id=watcher.watch_id, canceled=True, compact_revision=etcd.compacted)
            self.responses.put_nowait(gone)
            return
        missed = [
            event
            for event in etcd.events
            if request.start_revision and event.kv.mod_revision >= request.start_revision and _wants(request, event)
        ]
        if missed:
            self.responses.put_nowait(_response(watcher, etcd.revision, missed))
        etcd.watchers.append(watcher)

    async def __aiter__(self) -> AsyncIterator[pb.WatchResponse]:
        """See `WatchStream`."""
        while (response := await self.responses.get()) is not None:
            if isinstance(response, EtcdError):
                raise response
            yield response

    async def close(self) -> None:
        """See `WatchStream`."""
        self.etcd.watchers = [watcher for watcher in self.etcd.watchers if watcher.stream is not self]
        self.responses.put_nowait(None)


class FakeClient:
    """`kvstore.client.Client` of the fake; `latency` makes every call give way to the loop that often."""

    def __init__(self, etcd: FakeEtcd, latency: int = 0) -> None:
        self.etcd = etcd
        self.latency = latency

    async def _travel(self, call: str) -> None:
        self.etcd.calls.append(call)
        for _ in range(self.latency):
            await asyncio.sleep(0)
        if self.etcd.failure is not None:
            raise self.etcd.failure

    async def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        """See `Client`."""
        await self._travel("range")
        return self.etcd.range(request)

    async def put(self, request: pb.PutRequest) -> pb.PutResponse:
        """See `Client`."""
        await self._travel("put")
        self.etcd.put(request)
        response = pb.PutResponse()
        response.header.revision = self.etcd.revision
        return response

    async def delete_range(self, request: pb.DeleteRangeRequest) -> pb.DeleteRangeResponse:
        """See `Client`; one key."""
        await self._travel("delete_range")
        response = pb.DeleteRangeResponse(deleted=int(self.etcd.delete(request.key)))
        response.header.revision = self.etcd.revision
        return response

    async def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        """See `Client`."""
        await self._travel("txn")
        return self.etcd.txn(request)

    async def compact(self, request: pb.CompactionRequest) -> pb.CompactionResponse:
        """See `Client`."""
        await self._travel("compact")
        self.etcd.compact(request.revision)
        return pb.CompactionResponse()

    async def current_revision(self) -> int:
        """See `Client`."""
        await self._travel("current_revision")
        return self.etcd.revision

    def watch(self) -> FakeWatchStream:
        """See `Client`."""
        return FakeWatchStream(self.etcd)

    async def lease_grant(self, request: pb.LeaseGrantRequest) -> pb.LeaseGrantResponse:
        """See `Client`."""
        await self._travel("lease_grant")
        lease_id = len(self.etcd.leases) + 1001
        expires_seconds = self.etcd.clock.monotonic() + request.TTL
        self.etcd.leases[lease_id] = _Lease(expires_seconds, request.TTL)
        return pb.LeaseGrantResponse(ID=lease_id, TTL=request.TTL)

    async def lease_revoke(self, request: pb.LeaseRevokeRequest) -> pb.LeaseRevokeResponse:
        """See `Client`."""
        await self._travel("lease_revoke")
        self.etcd.leases[request.ID].expires_seconds = 0
        self.etcd.expire_leases()
        return pb.LeaseRevokeResponse()

    async def lease_keep_alive(self, lease_id: int) -> pb.LeaseKeepAliveResponse:
        """See `Client`."""
        lease = self.etcd.leases[lease_id]
        lease.expires_seconds = self.etcd.clock.monotonic() + lease.ttl_seconds
        return pb.LeaseKeepAliveResponse(ID=lease_id, TTL=lease.ttl_seconds)

    async def lease_time_to_live(self, request: pb.LeaseTimeToLiveRequest) -> pb.LeaseTimeToLiveResponse:
        """See `Client`."""
        lease = self.etcd.leases.get(request.ID)
        left = int(lease.expires_seconds - self.etcd.clock.monotonic()) if lease else -1
        return pb.LeaseTimeToLiveResponse(ID=request.ID, TTL=left)

    async def status(self) -> pb.StatusResponse:
        """See `Client`."""
        return pb.StatusResponse(version=self.etcd.version)

    async def close(self) -> None:
        """See `Client`."""


def _wants(request: pb.WatchCreateRequest, event: kv_pb2.Event) -> bool:
    if event.kv.mod_revision < request.start_revision:
        return False
    if not request.range_end:
        return event.kv.key == request.key
    return request.key <= event.kv.key < request.range_end


def _response(watcher: _Watcher, revision: int, events: list[kv_pb2.Event]) -> pb.WatchResponse:
    response = pb.WatchResponse(watch_id=watcher.watch_id)
    response.header.revision = revision
    for event in events:
        copy = response.events.add()
        copy.CopyFrom(event)
        if not watcher.request.prev_kv:
            copy.ClearField("prev_kv")
    return response
