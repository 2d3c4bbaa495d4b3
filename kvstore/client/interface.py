"""What a client of the store may ask, whichever way its requests travel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["Client", "WatchStream"]


class WatchStream(Protocol):
    """One Watch stream: many watchers, told apart by watch_id (etcd API, "Watch streams").

    Iterating gives `WatchResponse`s in the order the store sent them and ends when the stream is closed;
    it raises `EtcdError` when the store ends it. One consumer at a time.
    """

    async def send(self, request: pb.WatchRequest) -> None:
        """Create or cancel a watcher, or ask for progress."""

    def __aiter__(self) -> AsyncIterator[pb.WatchResponse]:
        """The responses, until the stream ends."""

    async def close(self) -> None:
        """End the stream; every watcher on it is cancelled."""


class Client(Protocol):
    """etcd's KV, Watch, Lease and Maintenance services, as far as an API server needs them.

    Every method raises `EtcdError` with etcd's code and text when the store refuses, and `EtcdError(UNAVAILABLE)`
    when it cannot be reached. Requests and responses belong to the caller; the store keeps no reference to them.
    """

    async def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        """KV.Range. Linearizable unless `request.serializable`."""

    async def put(self, request: pb.PutRequest) -> pb.PutResponse:
        """KV.Put; returns when the write is durable on a quorum."""

    async def delete_range(self, request: pb.DeleteRangeRequest) -> pb.DeleteRangeResponse:
        """KV.DeleteRange."""

    async def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        """KV.Txn; atomic, one revision."""

    async def compact(self, request: pb.CompactionRequest) -> pb.CompactionResponse:
        """KV.Compact."""

    async def current_revision(self) -> int:
        """The store's revision, linearizably: at least that of every write acknowledged before the call."""

    def watch(self) -> WatchStream:
        """Open a Watch stream. Nothing is sent until the first `send`."""

    async def lease_grant(self, request: pb.LeaseGrantRequest) -> pb.LeaseGrantResponse:
        """Lease.LeaseGrant."""

    async def lease_revoke(self, request: pb.LeaseRevokeRequest) -> pb.LeaseRevokeResponse:
        """Lease.LeaseRevoke."""

    async def lease_keep_alive(self, lease_id: int) -> pb.LeaseKeepAliveResponse:
        """Renew once; TTL 0 in the answer means the lease is gone."""

    async def lease_time_to_live(self, request: pb.LeaseTimeToLiveRequest) -> pb.LeaseTimeToLiveResponse:
        """Lease.LeaseTimeToLive."""

    async def status(self) -> pb.StatusResponse:
        """Maintenance.Status of the member that answers."""

    async def close(self) -> None:
        """Let go of the connection; calls under way fail."""
