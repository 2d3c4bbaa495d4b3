"""The Maintenance service: status, alarms, hashes, defragmentation, snapshots."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable

from kvstore.backend import BUCKETS, KEY_BUCKET
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import StoreError
from kvstore.mvcc.hash import hash_rows
from kvstore.server import catalogue
from kvstore.server.context import CallContext
from kvstore.server.core import MemberCore
from kvstore.server.downgrade import Downgrades
from kvstore.server.hashes import Hashes
from kvstore.server.snapshot_stream import SnapshotSender
from kvstore.server.version import SERVER_VERSION

__all__ = ["MaintenanceService"]

_TRANSFER_CHECK_SECONDS = 0.05
_TRANSFER_FAILED = "etcdserver: request timed out, leader transfer took too long"

logger = logging.getLogger(__name__)


class MaintenanceService:
    """etcdserverpb.Maintenance.

    Attributes:
        on_defragment: told when a defragmentation begins (True) and ends (False).
    """

    def __init__(self, core: MemberCore, hashes: Hashes) -> None:
        self._core = core
        self._hashes = hashes
        self._downgrades = Downgrades(core)
        self._snapshots = SnapshotSender(core.backend, core.environment.files, core.environment.clock)
        self.on_defragment: Callable[[bool], None] = lambda active: None

    async def status(self, request: pb.StatusRequest, context: CallContext) -> pb.StatusResponse:
        """Maintenance.Status of this member."""
        if self._core.auth.enabled:
            await self._core.access.require_user(context)
        core = self._core
        response = pb.StatusResponse(
            version=SERVER_VERSION,
            dbSize=core.backend.size_bytes(),
            leader=core.consensus.leader_id,
            raftIndex=core.consensus.commit_index,
            raftTerm=core.consensus.term,
            raftAppliedIndex=core.proposer.applied_index,
            dbSizeInUse=core.backend.size_in_use_bytes(),
            storageVersion=core.storage_version,
            dbSizeQuota=core.quota.limit_bytes,
            downgradeInfo=pb.DowngradeInfo(
                enabled=bool(core.membership.downgrade_target), targetVersion=core.membership.downgrade_target
            ),
        )
        response.isLearner = core.is_learner
        core.headers.fill(response.header, core.store.revision)
        if not core.consensus.leader_id:
            response.errors.append(catalogue.NO_LEADER.text)
        for alarm in core.alarms.get():
            response.errors.append(f"memberID:{alarm.memberID} alarm:{pb.AlarmType.Name(alarm.alarm)} ")
        return response

    async def alarm(self, request: pb.AlarmRequest, context: CallContext) -> pb.AlarmResponse:
        """Maintenance.Alarm: list, raise, disarm."""
        access = self._core.access
        if self._core.auth.enabled:
            await (access.require_user if request.action == pb.AlarmRequest.GET else access.require_admin)(context)
        response: pb.AlarmResponse = await self._core.proposer.propose("alarm", request)
        return response

    async def defragment(self, request: pb.DefragmentRequest, context: CallContext) -> pb.DefragmentResponse:
        """Maintenance.Defragment of this member's file; reads and writes go on."""
        if self._core.auth.enabled:
            await self._core.access.require_admin(context)
        logger.info("starting defragment")
        self.on_defragment(True)
        metrics, monotonic = self._core.metrics, self._core.environment.clock.monotonic
        metrics.defrag_inflight += 1
        started = monotonic()
        try:
            await self._core.backend.defragment()
            metrics.backend_defrag_seconds.observe(monotonic() - started)
        except Exception as error:
            logger.warning("failed to defragment", extra={"fields": {"error": str(error)}})
            raise EtcdError(StatusCode.UNKNOWN, f"etcdserver: failed to defragment: {error}") from error
        finally:
            metrics.defrag_inflight -= 1
            self.on_defragment(False)
        logger.info("finished defragment")
        return pb.DefragmentResponse()

    async def hash(self, request: pb.HashRequest, context: CallContext) -> pb.HashResponse:
        """Maintenance.Hash of everything stored, which members need not agree on; for tests."""
        if self._core.auth.enabled:
            await self._core.access.require_admin(context)
        core = self._core
        rows = [row for pair in core.backend.scan_revisions(b"") for row in pair]
        for bucket in BUCKETS:
            rows.append(bucket.encode())
            rows.extend(row for pair in core.backend.items(bucket) for row in pair)
        response = pb.HashResponse(hash=hash_rows(iter(rows), KEY_BUCKET.encode()))
        core.headers.fill(response.header, core.store.revision)
        return response

    async def hash_kv(self, request: pb.HashKVRequest, context: CallContext) -> pb.HashKVResponse:
        """Maintenance.HashKV up to a revision."""
        if self._core.auth.enabled:
            await self._core.access.require_admin(context)
        return await self.hash_of(request.revision)

    async def hash_of(self, revision: int) -> pb.HashKVResponse:
        """The hash of keys and values up to a revision, 0 for now.

        Raises:
            EtcdError: the revision is compacted, or has not happened.
        """
        core = self._core
        try:
            computed = await self._hashes.at(revision)
        except StoreError as error:
            raise catalogue.to_etcd_error(error) from None
        response = pb.HashKVResponse(
            hash=computed.value, compact_revision=computed.compact_revision, hash_revision=computed.revision
        )
        core.headers.fill(response.header, core.store.revision)
        return response

    async def snapshot(self, request: pb.SnapshotRequest, context: CallContext) -> AsyncIterator[pb.SnapshotResponse]:
        """Maintenance.Snapshot: the database as a bbolt file in pieces, the last one being its SHA-256."""
        if self._core.auth.enabled:
            await self._core.access.require_admin(context)
        version = self._core.storage_version
        async for blob, remaining_bytes in self._snapshots.pieces(version):
            yield pb.SnapshotResponse(blob=blob, remaining_bytes=remaining_bytes, version=version)

    async def move_leader(self, request: pb.MoveLeaderRequest, context: CallContext) -> pb.MoveLeaderResponse:
        """Maintenance.MoveLeader to another voter."""
        if self._core.auth.enabled:
            await self._core.access.require_admin(context)
        core = self._core
        if not core.consensus.is_leader:
            raise catalogue.NOT_LEADER.error()
        target = core.membership.get(request.targetID)
        if target is None or target.is_learner:
            raise catalogue.BAD_LEADER_TRANSFEREE.error()
        fields = {"transferee-member-id": f"{request.targetID:x}"}
        logger.info("leadership transfer starting", extra={"fields": fields})
        await core.consensus.transfer_leadership(request.targetID)
        while core.consensus.leader_id == 0:  # between two terms
            await core.environment.clock.sleep(_TRANSFER_CHECK_SECONDS)
        if core.consensus.leader_id != request.targetID:
            raise EtcdError(StatusCode.UNKNOWN, _TRANSFER_FAILED)
        logger.info("leadership transfer finished", extra={"fields": fields})
        return pb.MoveLeaderResponse()

    async def downgrade(self, request: pb.DowngradeRequest, context: CallContext) -> pb.DowngradeResponse:
        """Maintenance.Downgrade: validate, enable, cancel."""
        if self._core.auth.enabled:
            await self._core.access.require_admin(context)
        return await self._downgrades.answer(request)
