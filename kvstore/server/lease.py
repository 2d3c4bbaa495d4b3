"""The Lease service."""

from __future__ import annotations

from collections.abc import AsyncIterator

from kvstore.apply import LEASE_COST_BYTES
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import LeaseNotFoundError
from kvstore.server.access import unnamed
from kvstore.server.context import CallContext, wants_leader
from kvstore.server.core import MemberCore

__all__ = ["LeaseService"]

REVOKED_CHECK_SECONDS = 0.05

_ID_MASK = (1 << 63) - 1


class LeaseService:
    """etcdserverpb.Lease. Renewals are the leader's affair and cost no log entry."""

    def __init__(self, core: MemberCore) -> None:
        self._core = core

    async def lease_grant(self, request: pb.LeaseGrantRequest, context: CallContext) -> pb.LeaseGrantResponse:
        """Lease.LeaseGrant; id 0 asks for one of our choice."""
        core = self._core
        if wants_leader(context):
            core.require_leader()
        caller = await core.access.require_user(context) if core.auth.enabled else unnamed(context)
        if not core.quota.has_room(LEASE_COST_BYTES):
            await core.refuse_for_space()
        if request.ID == 0:
            request = pb.LeaseGrantRequest(TTL=request.TTL, ID=core.proposer.next_id() & _ID_MASK)
        response: pb.LeaseGrantResponse = await core.proposer.propose("lease_grant", request, None, caller)
        return response

    async def lease_revoke(self, request: pb.LeaseRevokeRequest, context: CallContext) -> pb.LeaseRevokeResponse:
        """Lease.LeaseRevoke; its keys go with it, in one revision."""
        if wants_leader(context):
            self._core.require_leader()
        core = self._core
        caller = await core.access.require_user(context) if core.auth.enabled else unnamed(context)
        response: pb.LeaseRevokeResponse = await core.proposer.propose("lease_revoke", request, None, caller)
        return response

    async def renew(self, lease_id: int) -> pb.LeaseKeepAliveResponse:
        """Renew a lease once; TTL 0 in the answer means that it is gone."""
        core = self._core
        response = pb.LeaseKeepAliveResponse(ID=lease_id)
        core.headers.fill(response.header, core.store.revision)
        try:
            await self._settled(lease_id)
            response.TTL, checkpointed = core.lessor.renew(lease_id)
        except LeaseNotFoundError:
            return response
        if checkpointed:
            cleared = pb.LeaseCheckpoint(ID=lease_id, remaining_TTL=0)
            await core.proposer.propose("lease_checkpoint", pb.LeaseCheckpointRequest(checkpoints=[cleared]))
            if not core.lessor.exists(lease_id):  # revoked meanwhile
                response.TTL = 0
        return response

    async def _settled(self, lease_id: int) -> None:
        """Return once a lease that has run out is gone: who hears that it is must not find its keys any more."""
        lessor, clock = self._core.lessor, self._core.environment.clock
        while lessor.primary and lessor.has_run_out(lease_id):
            await clock.sleep(REVOKED_CHECK_SECONDS)

    async def lease_keep_alive(
        self, requests: AsyncIterator[pb.LeaseKeepAliveRequest], context: CallContext
    ) -> AsyncIterator[pb.LeaseKeepAliveResponse]:
        """Lease.LeaseKeepAlive."""
        if wants_leader(context):
            self._core.require_leader()
        core = self._core
        async for request in requests:
            if core.auth.enabled:
                await core.access.require_lease(context, request.ID, read=False)
            yield await self.renew(request.ID)

    async def lease_time_to_live(
        self, request: pb.LeaseTimeToLiveRequest, context: CallContext
    ) -> pb.LeaseTimeToLiveResponse:
        """Lease.LeaseTimeToLive; TTL −1 in the answer means that there is no such lease."""
        if wants_leader(context):
            self._core.require_leader()
        core = self._core
        if core.auth.enabled:
            if request.keys:
                await core.access.require_lease(context, request.ID, read=True)
            else:
                await core.access.require_user(context)
        response = pb.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1)
        core.headers.fill(response.header, core.store.revision)
        try:
            lease = core.lessor.lookup(request.ID)
        except LeaseNotFoundError:
            return response
        # Only the leader counts; elsewhere the whole term is the best answer there is.
        response.TTL = int(max(0.0, core.lessor.remaining_seconds(lease))) if core.lessor.primary else lease.ttl
        response.grantedTTL = lease.ttl
        if request.keys:
            response.keys.extend(sorted(lease.keys))
        return response

    async def lease_leases(self, request: pb.LeaseLeasesRequest, context: CallContext) -> pb.LeaseLeasesResponse:
        """Lease.LeaseLeases, those that run out first at the front."""
        if wants_leader(context):
            self._core.require_leader()
        core = self._core
        if core.auth.enabled:
            await core.access.require_all_leases(context)
        response = pb.LeaseLeasesResponse()
        core.headers.fill(response.header, core.store.revision)
        for lease in core.lessor.leases():
            response.leases.add(ID=lease.lease_id)
        return response
