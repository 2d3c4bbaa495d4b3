"""The Lease service."""

from __future__ import annotations

from collections.abc import AsyncIterator

from kvstore.apply import LEASE_COST_BYTES
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import LeaseNotFoundError
from kvstore.server import catalogue
from kvstore.server.access import unnamed
from kvstore.server.context import CallContext, wants_leader
from kvstore.server.core import MemberCore
from kvstore.server.peers import LEASE_RENEW, LEASE_TIME_TO_LIVE

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
        """Renew a lease once, wherever the leader is; TTL 0 in the answer means that it is gone.

        Raises:
            EtcdError: no leader did it in time.
        """
        core = self._core
        response = pb.LeaseKeepAliveResponse(ID=lease_id)
        core.headers.fill(response.header, core.store.revision)
        request = pb.LeaseKeepAliveRequest(ID=lease_id)
        answer = await core.leader_calls.ask(
            LEASE_RENEW, request, pb.LeaseKeepAliveResponse, lambda: self.renew_here(lease_id)
        )
        response.TTL = answer.TTL
        return response

    async def renew_here(self, lease_id: int) -> pb.LeaseKeepAliveResponse:
        """Renew a lease once, on the leader.

        A leader that was paused or cut off must not answer for another that has revoked the lease meanwhile.

        Raises:
            EtcdError: NOT_LEADER, or nobody has confirmed that this member leads.
        """
        core = self._core
        await core.proposer.linearize()
        if not core.lessor.primary:
            raise catalogue.NOT_LEADER.error()
        response = pb.LeaseKeepAliveResponse(ID=lease_id)
        core.headers.fill(response.header, core.store.revision)
        try:
            await self._settled(lease_id)
            if not core.lessor.primary:
                raise catalogue.NOT_LEADER.error()
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
        core = self._core
        if wants_leader(context):
            core.require_leader()
            requests = core.leader_loss.bound(requests)
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
        if core.lessor.primary:
            return await self.time_to_live_here(request)
        answer = await core.leader_calls.ask(
            LEASE_TIME_TO_LIVE, request, pb.LeaseTimeToLiveResponse, lambda: self.time_to_live_here(request)
        )
        core.headers.fill(answer.header, core.store.revision)
        return answer

    async def time_to_live_here(self, request: pb.LeaseTimeToLiveRequest) -> pb.LeaseTimeToLiveResponse:
        """What is left of a lease, on the leader.

        Raises:
            EtcdError: NOT_LEADER.
        """
        core = self._core
        if not core.lessor.primary:
            raise catalogue.NOT_LEADER.error()
        response = pb.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1)
        core.headers.fill(response.header, core.store.revision)
        try:
            lease = core.lessor.lookup(request.ID)
        except LeaseNotFoundError:
            return response
        response.TTL = int(max(0.0, core.lessor.remaining_seconds(lease)))
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
