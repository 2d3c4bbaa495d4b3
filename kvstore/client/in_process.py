"""A client of a member in the same process: method calls instead of messages on a wire.

Nothing is serialised that the store does not serialise anyway, and no task or thread stands between. The services come
in as protocols, so that this package needs nothing of the server's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["InProcessClient", "InProcessWatchStream"]


@dataclass(frozen=True, slots=True)
class LocalContext:
    """What services are told about a call from inside the process: that it is one, and so may do everything.

    Attributes:
        trusted: whoever holds a member in its own process could as well read its memory and its files.
    """

    metadata: Mapping[str, str] = field(default_factory=dict)
    peer_certificate: Mapping[str, Any] | None = None
    trusted: bool = True


_LOCAL = LocalContext()


class KVService(Protocol):
    """etcdserverpb.KV as the client calls it."""

    async def range(self, request: pb.RangeRequest, context: LocalContext) -> pb.RangeResponse:
        """KV.Range."""

    async def put(self, request: pb.PutRequest, context: LocalContext) -> pb.PutResponse:
        """KV.Put."""

    async def delete_range(self, request: pb.DeleteRangeRequest, context: LocalContext) -> pb.DeleteRangeResponse:
        """KV.DeleteRange."""

    async def txn(self, request: pb.TxnRequest, context: LocalContext) -> pb.TxnResponse:
        """KV.Txn."""

    async def compact(self, request: pb.CompactionRequest, context: LocalContext) -> pb.CompactionResponse:
        """KV.Compact."""

    async def current_revision(self) -> int:
        """The store's revision, linearizably."""


class LeaseService(Protocol):
    """etcdserverpb.Lease as the client calls it."""

    async def lease_grant(self, request: pb.LeaseGrantRequest, context: LocalContext) -> pb.LeaseGrantResponse:
        """Lease.LeaseGrant."""

    async def lease_revoke(self, request: pb.LeaseRevokeRequest, context: LocalContext) -> pb.LeaseRevokeResponse:
        """Lease.LeaseRevoke."""

    async def renew(self, lease_id: int) -> pb.LeaseKeepAliveResponse:
        """Lease.LeaseKeepAlive, once."""

    async def lease_time_to_live(
        self, request: pb.LeaseTimeToLiveRequest, context: LocalContext
    ) -> pb.LeaseTimeToLiveResponse:
        """Lease.LeaseTimeToLive."""


class WatchSession(Protocol):
    """A watch stream without transport."""

    @property
    def pending(self) -> bool:
        """Whether `take` has something to do."""

    def handle(self, request: pb.WatchRequest) -> None:
        """Do what the client asks."""

    def take(self) -> list[pb.WatchResponse]:
        """The responses that are due; may be none, and raises `EtcdError` when the store ended the stream."""

    def close(self) -> None:
        """End the stream."""


class WatchService(Protocol):
    """etcdserverpb.Watch as the client calls it."""

    def open(self, wake: Callable[[], None]) -> WatchSession:
        """Open a stream; `wake` is called when there may be something to take."""


class MaintenanceService(Protocol):
    """etcdserverpb.Maintenance as the client calls it."""

    async def status(self, request: pb.StatusRequest, context: LocalContext) -> pb.StatusResponse:
        """Maintenance.Status."""


class InProcessWatchStream:
    """A `WatchStream` on a session."""

    def __init__(self, watch: WatchService) -> None:
        self._session = watch.open(self._wake)
        self._ready: deque[pb.WatchResponse] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    async def send(self, request: pb.WatchRequest) -> None:
        """See `WatchStream.send`."""
        if self._closed:
            raise EtcdError(StatusCode.CANCELLED, "etcdserver: watch canceled")
        self._session.handle(request)

    def __aiter__(self) -> AsyncIterator[pb.WatchResponse]:
        return self

    async def __anext__(self) -> pb.WatchResponse:
        while True:
            if self._ready:
                return self._ready.popleft()
            if self._closed:
                raise StopAsyncIteration
            if self._session.pending:
                self._ready.extend(self._session.take())
                if not self._ready:  # history was read and held nothing; let others have their turn
                    await asyncio.sleep(0)
                continue
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def close(self) -> None:
        """See `WatchStream.close`."""
        if not self._closed:
            self._closed = True
            self._ready.clear()
            self._session.close()
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class InProcessClient:
    """`Client` on the services of an embedded member."""

    def __init__(
        self, kv: KVService, watch: WatchService, lease: LeaseService, maintenance: MaintenanceService
    ) -> None:
        self._kv = kv
        self._watch = watch
        self._lease = lease
        self._maintenance = maintenance
        self._streams: list[InProcessWatchStream] = []

    async def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        """See `Client.range`."""
        return await self._kv.range(request, _LOCAL)

    async def put(self, request: pb.PutRequest) -> pb.PutResponse:
        """See `Client.put`."""
        return await self._kv.put(request, _LOCAL)

    async def delete_range(self, request: pb.DeleteRangeRequest) -> pb.DeleteRangeResponse:
        """See `Client.delete_range`."""
        return await self._kv.delete_range(request, _LOCAL)

    async def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        """See `Client.txn`."""
        return await self._kv.txn(request, _LOCAL)

    async def compact(self, request: pb.CompactionRequest) -> pb.CompactionResponse:
        """See `Client.compact`."""
        return await self._kv.compact(request, _LOCAL)

    async def current_revision(self) -> int:
        """See `Client.current_revision`."""
        return await self._kv.current_revision()

    def watch(self) -> InProcessWatchStream:
        """See `Client.watch`."""
        self._streams = [stream for stream in self._streams if not stream._closed]
        stream = InProcessWatchStream(self._watch)
        self._streams.append(stream)
        return stream

    async def lease_grant(self, request: pb.LeaseGrantRequest) -> pb.LeaseGrantResponse:
        """See `Client.lease_grant`."""
        return await self._lease.lease_grant(request, _LOCAL)

    async def lease_revoke(self, request: pb.LeaseRevokeRequest) -> pb.LeaseRevokeResponse:
        """See `Client.lease_revoke`."""
        return await self._lease.lease_revoke(request, _LOCAL)

    async def lease_keep_alive(self, lease_id: int) -> pb.LeaseKeepAliveResponse:
        """See `Client.lease_keep_alive`."""
        return await self._lease.renew(lease_id)

    async def lease_time_to_live(self, request: pb.LeaseTimeToLiveRequest) -> pb.LeaseTimeToLiveResponse:
        """See `Client.lease_time_to_live`."""
        return await self._lease.lease_time_to_live(request, _LOCAL)

    async def status(self) -> pb.StatusResponse:
        """See `Client.status`."""
        return await self._maintenance.status(pb.StatusRequest(), _LOCAL)

    async def close(self) -> None:
        """End the streams of this client; the member goes on."""
        for stream in self._streams:
            await stream.close()
        self._streams.clear()
