"""Leases for objects with a time to live, one for many of them (k8s.io/apiserver `etcd3/lease_manager.go`).

Events come by the hundred and live an hour. A lease is granted for a little longer than asked, 5 % or a minute, and
serves every write of that while, but at most a thousand of them, because revoking a lease deletes all its keys at once.
"""

from __future__ import annotations

import asyncio
from typing import Final

from kvstore.client import Client
from kvstore.environment import Clock
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["LeaseManager"]

REUSE_SECONDS_MAX: Final = 60
REUSE_PERCENT: Final = 5
ATTACHED_OBJECTS_MAX: Final = 1000


class LeaseManager:
    """Hands out lease ids. Several writers that find no fit lease wait for the same grant."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._lease_id = 0
        self._expires_seconds = 0.0
        self._attached = 0
        self._granting: asyncio.Future[None] | None = None

    async def lease(self, ttl_seconds: int) -> int:
        """The id of a lease that lasts at least `ttl_seconds`, and not much longer.

        Raises EtcdError.
        """
        assert ttl_seconds > 0, ttl_seconds
        reuse_seconds = min(REUSE_SECONDS_MAX, ttl_seconds * REUSE_PERCENT // 100)
        while not self._fits(ttl_seconds, reuse_seconds):
            if self._granting is None:
                await self._grant(ttl_seconds + reuse_seconds)
                break
            await asyncio.shield(self._granting)
        self._attached += 1
        return self._lease_id

    def _fits(self, ttl_seconds: int, reuse_seconds: int) -> bool:
        left_seconds = self._expires_seconds - self._clock.monotonic()
        return ttl_seconds < left_seconds < ttl_seconds + reuse_seconds + 1 and self._attached < ATTACHED_OBJECTS_MAX

    async def _grant(self, ttl_seconds: int) -> None:
        granting = self._granting = asyncio.get_running_loop().create_future()
        try:
            started_seconds = self._clock.monotonic()
            response = await self._client.lease_grant(pb.LeaseGrantRequest(TTL=ttl_seconds))
            self._lease_id = response.ID
            self._expires_seconds = started_seconds + ttl_seconds
            self._attached = 0
        finally:
            self._granting = None
            granting.set_result(None)
