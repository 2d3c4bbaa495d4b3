"""The Cluster service: who the members are."""

from __future__ import annotations

from kvstore.apply import Member
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.context import CallContext
from kvstore.server.core import MemberCore

__all__ = ["ClusterService", "member_message"]


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
        response = pb.MemberListResponse()
        self._core.headers.fill(response.header, 0)
        response.members.extend(member_message(member) for member in self._core.membership.members())
        return response


def member_message(member: Member) -> pb.Member:
    """A member as clients see it."""
    return pb.Member(
        ID=member.member_id,
        name=member.name,
        peerURLs=member.peer_urls,
        clientURLs=member.client_urls,
        isLearner=member.is_learner,
    )
