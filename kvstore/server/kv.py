"""The KV service: range, put, delete, transaction, compaction."""

from __future__ import annotations

from collections.abc import AsyncIterator

from kvstore.apply import TxnPlan, apply_txn, plan_txn, put_cost_bytes, range_keys_into
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import StoreError
from kvstore.server import catalogue
from kvstore.server.access import unnamed
from kvstore.server.context import CallContext, wants_leader
from kvstore.server.core import MemberCore
from kvstore.server.range_stream import check_range_stream, stream_range
from kvstore.server.read_timer import ReadTimer
from kvstore.server.validation import check_delete_range, check_put, check_range, check_txn

__all__ = ["KVService"]


class KVService:
    """etcdserverpb.KV. Reads wait for the read index unless serializable; writes go through the log."""

    def __init__(self, core: MemberCore) -> None:
        self._core = core
        self._proposer = core.proposer
        self._store = core.store
        self._headers = core.headers
        self._quota = core.quota
        self._auth = core.auth
        self._access = core.access
        self._reads = ReadTimer(core.metrics, core.environment.clock.monotonic, core.warning_apply_seconds)

    async def range(self, request: pb.RangeRequest, context: CallContext) -> pb.RangeResponse:
        """KV.Range."""
        check_range(request)
        if context.metadata and wants_leader(context):
            self._core.require_leader()
        reads = self._reads
        monotonic = reads.monotonic
        started = monotonic()
        response = pb.RangeResponse()
        try:
            if not request.serializable:
                await self._proposer.linearize()
            if self._auth.enabled:
                await self._access.require_read(context, request.key, request.range_end)
            reading = monotonic()
            range_keys_into(response, self._store, request)
        except StoreError as error:
            reads.range_failed(started, request, error)
            raise catalogue.to_etcd_error(error) from None
        except EtcdError as error:
            reads.range_failed(started, request, error)
            raise
        self._headers.fill(response.header, self._store.revision)
        reads.range_done(started, reading, request, response)
        return response

    async def range_stream(
        self, request: pb.RangeRequest, context: CallContext
    ) -> AsyncIterator[pb.RangeStreamResponse]:
        """KV.RangeStream."""
        check_range_stream(request)
        if context.metadata and wants_leader(context):
            self._core.require_leader()
        if not request.serializable:
            await self._proposer.linearize()
        caller = None
        if self._auth.enabled:
            caller = await self._access.require_read(context, request.key, request.range_end)
        async for piece in stream_range(self._store, self._headers, request, self._core.request_bytes_max):
            if caller is not None:
                self._access.refuse_if_changed(caller)
            yield piece

    async def current_revision(self) -> int:
        """The store's revision, linearizably."""
        await self._proposer.linearize()
        return self._store.revision

    async def put(self, request: pb.PutRequest, context: CallContext) -> pb.PutResponse:
        """KV.Put."""
        check_put(request)
        if context.metadata and wants_leader(context):
            self._core.require_leader()
        quota = self._quota
        if not (quota.roomy or quota.has_room(put_cost_bytes(request))):
            await self._core.refuse_for_space()
        caller = await self._access.caller(context) if self._auth.enabled else unnamed(context)
        response: pb.PutResponse = await self._proposer.propose("put", request, None, caller)
        return response

    async def delete_range(self, request: pb.DeleteRangeRequest, context: CallContext) -> pb.DeleteRangeResponse:
        """KV.DeleteRange."""
        check_delete_range(request)
        if context.metadata and wants_leader(context):
            self._core.require_leader()
        caller = await self._access.caller(context) if self._auth.enabled else unnamed(context)
        response: pb.DeleteRangeResponse = await self._proposer.propose("delete_range", request, None, caller)
        return response

    async def txn(self, request: pb.TxnRequest, context: CallContext) -> pb.TxnResponse:
        """KV.Txn."""
        plan = plan_txn(request)
        check_txn(plan, self._core.txn_operations_max)
        if context.metadata and wants_leader(context):
            self._core.require_leader()
        if plan.read_only:
            return await self._read_only_txn(request, plan, context)
        if plan.cost_bytes and not self._core.quota.has_room(plan.cost_bytes):
            await self._core.refuse_for_space()
        caller = await self._access.caller(context) if self._auth.enabled else unnamed(context)
        response: pb.TxnResponse = await self._proposer.propose("txn", request, plan, caller)
        return response

    async def _read_only_txn(self, request: pb.TxnRequest, plan: TxnPlan, context: CallContext) -> pb.TxnResponse:
        started = self._reads.monotonic()
        if not all(read.serializable for _, read in (*plan.success, *plan.failure)):
            await self._proposer.linearize()
        if self._auth.enabled:
            await self._access.require_txn(context, plan)
        try:
            response = apply_txn(self._store, plan)
        except StoreError as error:
            self._reads.txn_done(started, request, None)
            raise catalogue.to_etcd_error(error) from None
        self._headers.fill(response.header, self._store.revision)
        self._reads.txn_done(started, request, response)
        return response

    async def compact(self, request: pb.CompactionRequest, context: CallContext) -> pb.CompactionResponse:
        """KV.Compact; `physical` waits until what was compacted is gone from the disk."""
        if context.metadata and wants_leader(context):
            self._core.require_leader()
        if self._auth.enabled:
            await self._access.require_admin(context)
        response: pb.CompactionResponse = await self._proposer.propose("compaction", request)
        if request.physical:
            await self._core.compactor.finished()
            await self._core.backend.flush()
        return response
