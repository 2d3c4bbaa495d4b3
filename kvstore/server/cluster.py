"""The Cluster service: who belongs to the cluster, and changes of that.

Beyond what the log checks (`kvstore.apply.Membership.check`) a change must leave the cluster able to work: enough
members that have started, and enough of them in reach (`--strict-reconfig-check`; etcd `server/etcdserver/server.go`).
"""

from __future__ import annotations

from collections.abc import Iterable

from kvstore.apply import IdNotFoundError, Member, MembershipChange, MembershipChangeKind
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server import catalogue
from kvstore.server.context import CallContext
from kvstore.server.core import MemberCore
from kvstore.server.identity import is_peer_url, member_id_of
from kvstore.server.peers import MEMBER_PROMOTE

__all__ = ["ClusterService", "member_message"]

HEALTHY_AFTER_SECONDS = 5.0
"""A member counts as reachable when it has been for so long."""

LEARNER_READY_SHARE = 0.9
"""How much of the leader's log a learner must have before it may vote."""


class ClusterService:
    """etcdserverpb.Cluster. Headers of this service carry no revision."""

    def __init__(self, core: MemberCore) -> None:
        self._core = core

    async def member_list(self, request: pb.MemberListRequest, context: CallContext) -> pb.MemberListResponse:
        """Cluster.MemberList."""
        if request.linearizable:
            await self._core.proposer.linearize()
        if self._core.auth.enabled:
            await self._core.access.require_user(context)
        return self.list()

    def list(self) -> pb.MemberListResponse:
        """The members as this one knows them."""
        response = pb.MemberListResponse()
        self._fill(response.header)
        response.members.extend(self._messages())
        return response

    async def member_add(self, request: pb.MemberAddRequest, context: CallContext) -> pb.MemberAddResponse:
        """Cluster.MemberAdd, of a voter or a learner."""
        await self._require_admin(context)
        core = self._core
        urls = _checked_urls(request.peerURLs)
        # The token is no part of the id of a member added to a running cluster; the moment is.
        member_id = member_id_of(urls, "", int(core.environment.clock.now()))
        member = Member(member_id, peer_urls=urls, is_learner=request.isLearner)
        if core.strict_reconfig_check:
            self._check_addition(member)
        await core.proposer.propose_change(MembershipChange(MembershipChangeKind.ADD, member))
        response = pb.MemberAddResponse(member=member_message(member))
        self._fill(response.header)
        response.members.extend(self._messages())
        return response

    async def member_remove(self, request: pb.MemberRemoveRequest, context: CallContext) -> pb.MemberRemoveResponse:
        """Cluster.MemberRemove."""
        await self._require_admin(context)
        if self._core.strict_reconfig_check:
            self._check_removal(request.ID)
        await self._change(MembershipChangeKind.REMOVE, request.ID)
        response = pb.MemberRemoveResponse()
        self._fill(response.header)
        response.members.extend(self._messages())
        return response

    async def member_update(self, request: pb.MemberUpdateRequest, context: CallContext) -> pb.MemberUpdateResponse:
        """Cluster.MemberUpdate of a member's peer URLs."""
        await self._require_admin(context)
        await self._change(MembershipChangeKind.UPDATE, request.ID, _checked_urls(request.peerURLs))
        response = pb.MemberUpdateResponse()
        self._fill(response.header)
        response.members.extend(self._messages())
        return response

    async def member_promote(self, request: pb.MemberPromoteRequest, context: CallContext) -> pb.MemberPromoteResponse:
        """Cluster.MemberPromote; only the leader knows whether the learner is ready, so others ask it."""
        await self._require_admin(context)

        async def here() -> pb.MemberPromoteResponse:
            return await self._promote(request)

        return await self._core.leader_calls.ask(MEMBER_PROMOTE, request, pb.MemberPromoteResponse, here)

    async def _promote(self, request: pb.MemberPromoteRequest) -> pb.MemberPromoteResponse:
        """The same as `promote_here`, counted where it was asked for."""
        metrics = self._core.metrics
        try:
            response = await self.promote_here(request)
        except EtcdError as error:
            if error.message != catalogue.NOT_LEADER.text:
                reason = (error.message,)
                metrics.promote_failures[reason] = metrics.promote_failures.get(reason, 0) + 1
            raise
        metrics.promote_successes += 1
        return response

    async def promote_here(self, request: pb.MemberPromoteRequest) -> pb.MemberPromoteResponse:
        """Promote, if this member leads.

        Raises:
            EtcdError: NOT_LEADER, or the learner cannot be promoted (yet).
        """
        self._check_promotion(request.ID)
        await self._change(MembershipChangeKind.PROMOTE, request.ID)
        response = pb.MemberPromoteResponse()
        self._fill(response.header)
        response.members.extend(self._messages())
        return response

    async def _require_admin(self, context: CallContext) -> None:
        if self._core.auth.enabled:
            await self._core.access.require_admin(context)

    async def _change(self, kind: MembershipChangeKind, member_id: int, urls: tuple[str, ...] = ()) -> None:
        await self._core.proposer.propose_change(MembershipChange(kind, Member(member_id, peer_urls=urls)))

    def _fill(self, header: pb.ResponseHeader) -> None:
        self._core.headers.fill(header, 0)

    def _messages(self) -> Iterable[pb.Member]:
        return [member_message(member) for member in self._core.membership.members()]

    # --- whether the cluster would go on working

    def _check_addition(self, member: Member) -> None:
        voters = self._core.membership.voters()
        started = sum(voter.started for voter in voters)
        # From one member to two is always allowed: it is how a cluster is begun again from a single survivor.
        growing_from_one = started == 1 and len(voters) == 1
        if not member.is_learner and not growing_from_one and started < _quorum(len(voters) + 1):
            raise catalogue.NOT_ENOUGH_STARTED_MEMBERS.error()
        if len(voters) > 1 and self._connected(voters) < _quorum(len(voters) + 1):
            raise catalogue.UNHEALTHY.error()

    def _check_removal(self, member_id: int) -> None:
        membership = self._core.membership
        member = membership.get(member_id)
        if member is not None and member.is_learner:
            return
        voters = membership.voters()
        left = [voter for voter in voters if voter.member_id != member_id]
        if sum(voter.started for voter in left) < _quorum(len(left)):
            raise catalogue.NOT_ENOUGH_STARTED_MEMBERS.error()
        if member_id != self._core.headers.member_id and self._core.consensus.connected_seconds(member_id) is None:
            return  # who is not there cannot be missed
        if self._connected(voters) - 1 < 1 + (len(voters) - 1) // 2:
            raise catalogue.UNHEALTHY.error()

    def _check_promotion(self, member_id: int) -> None:
        core = self._core
        matches = core.consensus.matches()
        if matches is None:
            raise catalogue.NOT_LEADER.error()
        if member_id not in matches:
            raise catalogue.to_etcd_error(IdNotFoundError())
        if matches[member_id] < LEARNER_READY_SHARE * matches[core.headers.member_id]:
            raise catalogue.LEARNER_NOT_READY.error()
        if core.strict_reconfig_check:
            voters = core.membership.voters()
            if sum(voter.started for voter in voters) + 1 < _quorum(len(voters) + 1):
                raise catalogue.NOT_ENOUGH_STARTED_MEMBERS.error()

    def _connected(self, voters: Iterable[Member]) -> int:
        """How many voters, this member among them, have been in reach for long enough."""
        own = self._core.headers.member_id
        since = (
            float("inf") if voter.member_id == own else self._core.consensus.connected_seconds(voter.member_id)
            for voter in voters
        )
        return sum(seconds is not None and seconds >= HEALTHY_AFTER_SECONDS for seconds in since)


def _quorum(members: int) -> int:
    return members // 2 + 1


def _checked_urls(urls: Iterable[str]) -> tuple[str, ...]:
    """Peer URLs in order, as etcd takes them: a scheme, a host and a port, and no path.

    Raises:
        EtcdError: one is no such URL, or there is none.
    """
    checked = tuple(sorted(url.strip() for url in urls))
    if not checked or not all(map(is_peer_url, checked)):
        raise catalogue.INVALID_MEMBER_URLS.error()
    return checked


def member_message(member: Member) -> pb.Member:
    """A member as clients see it."""
    return pb.Member(
        ID=member.member_id,
        name=member.name,
        peerURLs=member.peer_urls,
        clientURLs=member.client_urls,
        isLearner=member.is_learner,
    )
