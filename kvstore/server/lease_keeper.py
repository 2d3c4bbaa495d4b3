"""Leases that run out are revoked, through the log, by the leader."""

from __future__ import annotations

import asyncio
import logging

from kvstore.auth import TRUSTED
from kvstore.environment import Clock
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import Lessor
from kvstore.server.background import BackgroundWork
from kvstore.server.metrics import MemberMetrics
from kvstore.server.proposer import Proposer

__all__ = ["EXPIRY_INTERVAL_SECONDS", "REVOKES_PER_SECOND_MAX", "LeaseKeeper"]

EXPIRY_INTERVAL_SECONDS = 0.5
REVOKES_PER_SECOND_MAX = 1000

_REVOKES_PER_ROUND = int(REVOKES_PER_SECOND_MAX * EXPIRY_INTERVAL_SECONDS)
_CHECKPOINTS_PER_REQUEST = 1000

logger = logging.getLogger(__name__)


class LeaseKeeper(BackgroundWork):
    """Watches the countdown on the leader; does nothing elsewhere.

    Args:
        checkpoint_interval_seconds: how often what is left of long leases is sent through the log; None for never.
    """

    def __init__(
        self,
        lessor: Lessor,
        proposer: Proposer,
        clock: Clock,
        checkpoint_interval_seconds: float | None,
        metrics: MemberMetrics,
    ) -> None:
        super().__init__()
        self._lessor = lessor
        self._proposer = proposer
        self._clock = clock
        self._checkpoint_interval_seconds = checkpoint_interval_seconds
        self._metrics = metrics
        self._revoking: set[int] = set()
        self._revocations: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Stop looking, and let go of revocations under way."""
        await super().stop()
        for task in self._revocations:
            task.cancel()
        if self._revocations:
            await asyncio.wait(self._revocations)

    async def _run(self) -> None:
        checkpoint_due = self._clock.monotonic()
        while True:
            await self._clock.sleep(EXPIRY_INTERVAL_SECONDS)
            if not self._lessor.primary:
                continue
            self.revoke_expired()
            interval = self._checkpoint_interval_seconds
            if interval is not None and self._clock.monotonic() - checkpoint_due >= interval:
                checkpoint_due = self._clock.monotonic()
                await self._checkpoint(interval)

    def revoke_expired(self) -> None:
        """Propose the revocation of leases that have run out, a bounded number at a time."""
        loop = asyncio.get_running_loop()
        # Revocations under way are still listed as expired.
        for lease_id in self._lessor.expired(_REVOKES_PER_ROUND + len(self._revoking)):
            if lease_id not in self._revoking and len(self._revoking) < _REVOKES_PER_ROUND:
                self._revoking.add(lease_id)
                task = loop.create_task(self._revoke(lease_id))
                self._revocations.add(task)
                task.add_done_callback(self._revocations.discard)

    async def _revoke(self, lease_id: int) -> None:
        """Revoke, if this member still leads and the lease has still run out.

        To a leader that was paused every lease seems to have run out, and whoever leads meanwhile may have renewed it
        (etcd #15247). For the same reason it is not tried again in a later term.
        """
        try:
            await self._proposer.linearize()
            if self._lessor.primary and self._lessor.has_run_out(lease_id):
                request = pb.LeaseRevokeRequest(ID=lease_id)
                await self._proposer.propose("lease_revoke", request, caller=TRUSTED, this_term_only=True)
                self._metrics.lease_expired += 1
        except EtcdError as error:  # gone meanwhile, or to be tried again in the next round
            logger.debug("lease not revoked", extra={"fields": {"lease-id": lease_id, "error": error.message}})
        finally:
            self._revoking.discard(lease_id)

    async def _checkpoint(self, interval_seconds: float) -> None:
        """Note what is left of leases that outlast a checkpoint interval."""
        try:
            await self._proposer.linearize()  # see `_revoke`
        except EtcdError:
            return
        if not self._lessor.primary:
            return
        checkpoints = [
            pb.LeaseCheckpoint(ID=lease.lease_id, remaining_TTL=int(remaining))
            for lease in self._lessor.leases()
            if lease.ttl > interval_seconds and (remaining := self._lessor.remaining_seconds(lease)) >= 1
        ]
        for start in range(0, len(checkpoints), _CHECKPOINTS_PER_REQUEST):
            piece = checkpoints[start : start + _CHECKPOINTS_PER_REQUEST]
            try:
                await self._proposer.propose("lease_checkpoint", pb.LeaseCheckpointRequest(checkpoints=piece))
            except EtcdError as error:
                logger.warning("failed to checkpoint leases", extra={"fields": {"error": error.message}})
                return
