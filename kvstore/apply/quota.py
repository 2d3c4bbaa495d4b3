"""What a write may cost before the backend is full (etcd `server/storage/quota.go`)."""

from __future__ import annotations

from collections.abc import Iterable

from kvstore.backend import Backend
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["DEFAULT_QUOTA_BYTES", "Quota", "txn_cost_bytes"]

DEFAULT_QUOTA_BYTES = 2 << 30
LEASE_COST_BYTES = 64
KEY_OVERHEAD_BYTES = 256


class Quota:
    """The room a backend may take.

    Args:
        limit_bytes: 0 means the default of 2 GiB, a negative number no limit.
    """

    def __init__(self, backend: Backend, limit_bytes: int = 0) -> None:
        self._backend = backend
        self.limit_bytes = limit_bytes or DEFAULT_QUOTA_BYTES

    def has_room(self, cost_bytes: int) -> bool:
        """Whether something that costs so much still fits."""
        return self.limit_bytes < 0 or self._backend.size_bytes() + cost_bytes < self.limit_bytes

    def has_room_for_put(self, request: pb.PutRequest) -> bool:
        """Whether a put still fits."""
        return self.has_room(put_cost_bytes(request))


def put_cost_bytes(request: pb.PutRequest) -> int:
    """What a put is reckoned to take."""
    return KEY_OVERHEAD_BYTES + len(request.key) + len(request.value)


def txn_cost_bytes(request: pb.TxnRequest) -> int:
    """What the puts on the costlier branch of a transaction take; 0 when it has none."""
    return max(_branch_cost_bytes(request.success), _branch_cost_bytes(request.failure))


def _branch_cost_bytes(operations: Iterable[pb.RequestOp]) -> int:
    cost = 0
    for operation in operations:
        kind = operation.WhichOneof("request")
        if kind == "request_put":
            cost += put_cost_bytes(operation.request_put)
        elif kind == "request_txn":
            cost += txn_cost_bytes(operation.request_txn)
    return cost
