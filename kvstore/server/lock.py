"""The Lock service: mutual exclusion made of leased keys (etcd `server/etcdserver/api/v3lock`)."""

from __future__ import annotations

from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import lock_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.contention import Contention, as_clients_see
from kvstore.server.context import CallContext, wants_leader
from kvstore.server.core import MemberCore

__all__ = ["LockService"]

_SESSION_EXPIRED = "mutex: session is expired"


class LockService:
    """v3lockpb.Lock."""

    def __init__(self, core: MemberCore, contention: Contention) -> None:
        self._core = core
        self._contention = contention

    async def lock(self, request: lock_pb2.LockRequest, context: CallContext) -> lock_pb2.LockResponse:
        """Lock.Lock: returns when the caller holds the lock; until then it may cancel, which leaves nothing behind."""
        if wants_leader(context):
            self._core.require_leader()
        contention = self._contention
        prefix = request.name + b"/"
        with as_clients_see():
            lease_id = await contention.session(request.lease, context)
            place = await contention.enter(prefix, lease_id, b"", context)
            header = place.response.header
            owner = place.response.responses[1].response_range.kvs
            if owner and owner[0].create_revision != place.revision:
                await contention.wait_for_turn(prefix, place, context)
                own = await contention.kv.range(pb.RangeRequest(key=place.key), context)
                if not own.kvs:
                    raise EtcdError(StatusCode.UNKNOWN, _SESSION_EXPIRED)
                header = own.header
        return lock_pb2.LockResponse(header=header, key=place.key)

    async def unlock(self, request: lock_pb2.UnlockRequest, context: CallContext) -> lock_pb2.UnlockResponse:
        """Lock.Unlock: deletes the key that `lock` returned."""
        if wants_leader(context):
            self._core.require_leader()
        with as_clients_see():
            deleted = await self._contention.kv.delete_range(pb.DeleteRangeRequest(key=request.key), context)
        return lock_pb2.UnlockResponse(header=deleted.header)
