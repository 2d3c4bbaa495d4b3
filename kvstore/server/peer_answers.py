"""What this member answers to other members (`kvstore.server.peers`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message

from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.cluster import ClusterService
from kvstore.server.lease import LeaseService
from kvstore.server.maintenance import MaintenanceService
from kvstore.server.peers import HASH_KV, LEASE_RENEW, LEASE_TIME_TO_LIVE, MEMBER_PROMOTE, MEMBERS, PeerHandlers

__all__ = ["PeerAnswers"]


class PeerAnswers:
    """Answers out of the member's services, once there are any: the port is open a little earlier."""

    def __init__(self) -> None:
        self._answers: dict[str, Callable[[Any], Awaitable[Message]]] = {}

    def handlers(self) -> PeerHandlers:
        """For the peer port."""
        methods = (MEMBERS, LEASE_RENEW, LEASE_TIME_TO_LIVE, MEMBER_PROMOTE, HASH_KV)
        return {method: self._handler(method) for method in methods}

    def _handler(self, method: str) -> Callable[[Any], Awaitable[Message]]:
        async def handle(request: Any) -> Message:
            answer = self._answers.get(method)
            if answer is None:
                raise EtcdError(StatusCode.UNAVAILABLE, "etcdserver: the member is starting")
            return await answer(request)

        return handle

    def begin(self, cluster: ClusterService, lease: LeaseService, maintenance: MaintenanceService) -> None:
        """Answer from now on."""

        async def members(request: pb.MemberListRequest) -> Message:
            return cluster.list()

        async def renew(request: pb.LeaseKeepAliveRequest) -> Message:
            return await lease.renew_here(request.ID)

        async def hash_kv(request: pb.HashKVRequest) -> Message:
            return await maintenance.hash_of(request.revision)

        self._answers = {
            MEMBERS: members,
            LEASE_RENEW: renew,
            LEASE_TIME_TO_LIVE: lease.time_to_live_here,
            MEMBER_PROMOTE: cluster.promote_here,
            HASH_KV: hash_kv,
        }
