"""What a write may cost before the backend is full (etcd `server/storage/quota.go`)."""

from __future__ import annotations

import sys
from collections.abc import Callable

from kvstore.backend import Backend
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["DEFAULT_QUOTA_BYTES", "LEASE_COST_BYTES", "Quota", "put_cost_bytes"]

DEFAULT_QUOTA_BYTES = 2 << 30
LEASE_COST_BYTES = 64
KEY_OVERHEAD_BYTES = 256
ROOMY_BYTES = 256 << 20


class Quota:
    """The room a backend may take.

    How much is left is worked out by `refresh`, once per batch of entries applied and not for every write, so the
    backend may pass the limit by what one batch writes.

    Args:
        limit_bytes: 0 means the default of 2 GiB, a negative number no limit.
        disk_room_bytes: tells how much the disk still takes.

    Attributes:
        headroom_bytes: what costs less still fits.
        roomy: so much is left that a single write need not be reckoned.
    """

    __slots__ = ("_backend", "_disk_room_bytes", "headroom_bytes", "limit_bytes", "roomy")

    def __init__(
        self, backend: Backend, limit_bytes: int = 0, disk_room_bytes: Callable[[], int] = lambda: sys.maxsize
    ) -> None:
        self._backend = backend
        self._disk_room_bytes = disk_room_bytes
        self.limit_bytes = limit_bytes or DEFAULT_QUOTA_BYTES
        self.headroom_bytes = 0
        self.roomy = False
        self.refresh()

    def refresh(self) -> None:
        """Work out what is left."""
        limit = self.limit_bytes if self.limit_bytes > 0 else sys.maxsize
        self.headroom_bytes = min(limit - self._backend.size_bytes(), self._disk_room_bytes())
        self.roomy = self.headroom_bytes > ROOMY_BYTES

    def has_room(self, cost_bytes: int) -> bool:
        """Whether something that costs so much still fits."""
        return cost_bytes < self.headroom_bytes


def put_cost_bytes(request: pb.PutRequest) -> int:
    """What a put is reckoned to take."""
    return KEY_OVERHEAD_BYTES + len(request.key) + len(request.value)
