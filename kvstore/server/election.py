"""The Election service: leadership made of leased keys (etcd `server/etcdserver/api/v3election`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import election_pb2, kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.contention import Contention, Place, as_clients_see, create_compare, created_first
from kvstore.server.context import CallContext, wants_leader
from kvstore.server.core import MemberCore

__all__ = ["ElectionService"]

_NO_LEADER = "election: no leader"
_NOT_LEADER = "election: not leader"
_LEADER_MISSING = '"leader" field must be provided'


class ElectionService:
    """v3electionpb.Election."""

    def __init__(self, core: MemberCore, contention: Contention) -> None:
        self._core = core
        self._contention = contention

    async def campaign(
        self, request: election_pb2.CampaignRequest, context: CallContext
    ) -> election_pb2.CampaignResponse:
        """Election.Campaign: returns when the caller leads; until then it may cancel, which leaves nothing behind."""
        if wants_leader(context):
            self._core.require_leader()
        contention = self._contention
        prefix = request.name + b"/"
        with as_clients_see():
            lease_id = await contention.session(request.lease, context)
            place = await contention.enter(prefix, lease_id, request.value, context)
            await self._renew_value(place, lease_id, request.value, context)
            await contention.wait_for_turn(prefix, place, context)
        leader = election_pb2.LeaderKey(name=request.name, key=place.key, rev=place.revision, lease=lease_id)
        return election_pb2.CampaignResponse(header=place.response.header, leader=leader)

    async def _renew_value(self, place: Place, lease_id: int, value: bytes, context: CallContext) -> None:
        """A lease that campaigned before may have another value now."""
        if place.response.succeeded or place.response.responses[0].response_range.kvs[0].value == value:
            return
        try:
            await self._put(place.key, place.revision, lease_id, value, context)
        except EtcdError:
            await self._contention.leave(place, context)
            raise

    async def proclaim(
        self, request: election_pb2.ProclaimRequest, context: CallContext
    ) -> election_pb2.ProclaimResponse:
        """Election.Proclaim: a new value from the leader."""
        if wants_leader(context):
            self._core.require_leader()
        leader = _leader_of(request)
        with as_clients_see():
            lease_id = await self._contention.session(leader.lease, context)
            header = await self._put(leader.key, leader.rev, lease_id, request.value, context)
        return election_pb2.ProclaimResponse(header=header)

    async def _put(
        self, key: bytes, revision: int, lease_id: int, value: bytes, context: CallContext
    ) -> pb.ResponseHeader:
        put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease_id))
        request = pb.TxnRequest(compare=[create_compare(key, revision)], success=[put])
        response = await self._contention.kv.txn(request, context)
        if not response.succeeded:
            raise EtcdError(StatusCode.UNKNOWN, _NOT_LEADER)
        return response.header

    async def leader(self, request: election_pb2.LeaderRequest, context: CallContext) -> election_pb2.LeaderResponse:
        """Election.Leader: who leads now."""
        if wants_leader(context):
            self._core.require_leader()
        with as_clients_see():
            found = await self._contention.kv.range(created_first(request.name + b"/"), context)
        if not found.kvs:
            raise EtcdError(StatusCode.UNKNOWN, _NO_LEADER)
        return election_pb2.LeaderResponse(header=found.header, kv=found.kvs[0])

    async def resign(self, request: election_pb2.ResignRequest, context: CallContext) -> election_pb2.ResignResponse:
        """Election.Resign: the leader's key goes, if it is still the one that was elected."""
        if wants_leader(context):
            self._core.require_leader()
        leader = _leader_of(request)
        deletion = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=leader.key))
        resignation = pb.TxnRequest(compare=[create_compare(leader.key, leader.rev)], success=[deletion])
        with as_clients_see():
            response = await self._contention.kv.txn(resignation, context)
        return election_pb2.ResignResponse(header=response.header)

    async def observe(
        self, request: election_pb2.LeaderRequest, context: CallContext
    ) -> AsyncIterator[election_pb2.LeaderResponse]:
        """Election.Observe: the leader now and each one after, with every value it proclaims.

        The stream ends, without an error, when the keys cannot be watched any more.
        """
        if wants_leader(context):
            self._core.require_leader()
        prefix = request.name + b"/"
        try:
            while True:
                leader = await self._first_leader(prefix, context)
                yield leader
                events = self._contention.events(leader.kv.key, b"", leader.header.revision + 1, context)
                async with aclosing(events) as responses:
                    async for proclaimed in _until_deleted(responses):
                        yield proclaimed
        except EtcdError:
            return

    async def _first_leader(self, prefix: bytes, context: CallContext) -> election_pb2.LeaderResponse:
        """Who leads, or else the next key that comes."""
        first = created_first(prefix)
        found = await self._contention.kv.range(first, context)
        if found.kvs:
            return election_pb2.LeaderResponse(header=found.header, kv=found.kvs[0])
        events = self._contention.events(first.key, first.range_end, found.header.revision, context)
        async with aclosing(events) as responses:
            async for response in responses:
                for event in response.events:
                    if event.type == kv_pb2.Event.PUT:
                        elected = election_pb2.LeaderResponse(header=response.header, kv=event.kv)
                        elected.header.revision = event.kv.mod_revision
                        return elected
        raise AssertionError("a watch ends only by an error")


async def _until_deleted(responses: AsyncIterator[pb.WatchResponse]) -> AsyncIterator[election_pb2.LeaderResponse]:
    async for response in responses:
        for event in response.events:
            if event.type == kv_pb2.Event.DELETE:
                return
            yield election_pb2.LeaderResponse(header=response.header, kv=event.kv)


def _leader_of(request: election_pb2.ProclaimRequest | election_pb2.ResignRequest) -> election_pb2.LeaderKey:
    if not request.HasField("leader"):
        raise EtcdError(StatusCode.UNKNOWN, _LEADER_MISSING)
    return request.leader
