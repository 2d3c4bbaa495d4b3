"""One committed request against the store: response or refusal, the same on every member.

The applier is a table from the fields of `InternalRaftRequest` to methods. It publishes at most one revision per
request and raises `StoreError` for what the store refuses, in which case nothing was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kvstore.apply.alarms import Alarms
from kvstore.apply.auth_requests import AuthRequests
from kvstore.apply.errors import CorruptError, NoSpaceError, UnknownRequestError
from kvstore.apply.header import HeaderSource
from kvstore.apply.membership import Membership
from kvstore.apply.operations import check_put, delete_range_into, put_into
from kvstore.apply.permissions import PermissionChecks
from kvstore.apply.quota import LEASE_COST_BYTES, Quota, put_cost_bytes
from kvstore.apply.txn import apply_txn
from kvstore.apply.txn_plan import TxnPlan, plan_txn
from kvstore.auth import ANONYMOUS, AuthInfo, AuthStore
from kvstore.etcdpb import membership_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import Store

__all__ = ["Applier", "StartCompaction"]

StartCompaction = Callable[[int, Iterator[None]], None]
"""Takes a compact revision and the work it needs, to be done a step at a time (`Store.schedule_compaction`)."""


class Applier:
    """Everything the log changes.

    Args:
        start_compaction: given the work of each compaction.
    """

    def __init__(
        self,
        store: Store,
        alarms: Alarms,
        membership: Membership,
        quota: Quota,
        headers: HeaderSource,
        auth: AuthStore,
        start_compaction: StartCompaction,
    ) -> None:
        self.store = store
        self.alarms = alarms
        self.membership = membership
        self.quota = quota
        self.headers = headers
        self.auth = auth
        self._permissions = PermissionChecks(auth, store.lessor)
        self._auth_methods = AuthRequests(auth).methods
        self._start_compaction = start_compaction
        self._methods: dict[str, Callable[[Any], Any]] = {
            "put": self._put,
            "delete_range": self._delete_range,
            "txn": self._txn,
            "compaction": self._compaction,
            "lease_grant": self._lease_grant,
            "lease_revoke": self._lease_revoke,
            "lease_checkpoint": self._lease_checkpoint,
            "alarm": self._alarm,
            "cluster_version_set": self._cluster_version_set,
            "cluster_member_attr_set": self._cluster_member_attr_set,
            "downgrade_info_set": self._downgrade_info_set,
        }

    def apply(self, field: str, request: Any, caller: AuthInfo = ANONYMOUS) -> Any:
        """Carry out one request, given as the field of `InternalRaftRequest` it came in.

        Args:
            caller: whom the request's header names.

        Raises:
            StoreError: it was refused (NoSpaceError excepted, which may follow a write that was carried out).
        """
        if self.auth.enabled:
            if field == "txn" and not isinstance(request, TxnPlan):
                request = plan_txn(request)
            self._permissions.check(field, caller, request)
        method = self._methods.get(field)
        if method is None:
            return self._apply_auth(field, request)
        return method(request)

    def _apply_auth(self, field: str, request: Any) -> Any:
        method = self._auth_methods.get(field)
        if method is None:
            raise UnknownRequestError(field)
        response: Any = method(request)
        self.headers.fill(response.header, self.store.revision)
        return response

    def _refuse_if_corrupt(self) -> None:
        if self.alarms.corrupt:
            raise CorruptError

    def _put(self, request: pb.PutRequest) -> pb.PutResponse:
        alarms = self.alarms
        if alarms.any:
            self._refuse_if_corrupt()
            if alarms.no_space:
                raise NoSpaceError
        quota = self.quota
        room = quota.roomy or quota.has_room(put_cost_bytes(request))
        check_put(self.store, request)
        response = pb.PutResponse()
        put_into(response, self.store, request)
        self.headers.fill(response.header, self.store.commit())
        if not room:
            raise NoSpaceError
        return response

    def _delete_range(self, request: pb.DeleteRangeRequest) -> pb.DeleteRangeResponse:
        self._refuse_if_corrupt()
        response = pb.DeleteRangeResponse()
        delete_range_into(response, self.store, request)
        self.headers.fill(response.header, self.store.commit())
        return response

    def _txn(self, request: pb.TxnRequest | TxnPlan) -> pb.TxnResponse:
        plan = request if isinstance(request, TxnPlan) else plan_txn(request)
        cost_bytes = plan.cost_bytes
        alarms = self.alarms
        if alarms.any:
            self._refuse_if_corrupt()
            if cost_bytes and alarms.no_space:
                raise NoSpaceError
        room = not cost_bytes or self.quota.has_room(cost_bytes)
        response = apply_txn(self.store, plan)
        self.headers.fill(response.header, self.store.commit())
        if not room:
            raise NoSpaceError
        return response

    def _compaction(self, request: pb.CompactionRequest) -> pb.CompactionResponse:
        self._refuse_if_corrupt()
        self._start_compaction(request.revision, self.store.schedule_compaction(request.revision))
        response = pb.CompactionResponse()
        self.headers.fill(response.header, self.store.revision)
        return response

    def _lease_grant(self, request: pb.LeaseGrantRequest) -> pb.LeaseGrantResponse:
        self._refuse_if_corrupt()
        if self.alarms.no_space:
            raise NoSpaceError
        room = self.quota.has_room(LEASE_COST_BYTES)
        lease = self.store.lessor.grant(request.ID, request.TTL)
        response = pb.LeaseGrantResponse(ID=lease.lease_id, TTL=lease.ttl)
        self.headers.fill(response.header, self.store.revision)
        if not room:
            raise NoSpaceError
        return response

    def _lease_revoke(self, request: pb.LeaseRevokeRequest) -> pb.LeaseRevokeResponse:
        self._refuse_if_corrupt()
        for key in self.store.lessor.revoke(request.ID):
            self.store.delete_range(key)
        response = pb.LeaseRevokeResponse()
        self.headers.fill(response.header, self.store.commit())
        return response

    def _lease_checkpoint(self, request: pb.LeaseCheckpointRequest) -> pb.LeaseCheckpointResponse:
        for checkpoint in request.checkpoints:
            self.store.lessor.checkpoint(checkpoint.ID, checkpoint.remaining_TTL)
        response = pb.LeaseCheckpointResponse()
        self.headers.fill(response.header, self.store.revision)
        return response

    def _alarm(self, request: pb.AlarmRequest) -> pb.AlarmResponse:
        response = pb.AlarmResponse()
        if request.action == pb.AlarmRequest.GET:
            response.alarms.extend(self.alarms.get(request.alarm))
        elif request.alarm != pb.NONE:
            change = self.alarms.activate if request.action == pb.AlarmRequest.ACTIVATE else self.alarms.deactivate
            changed = change(request.alarm, request.memberID)
            if changed is not None:
                response.alarms.append(changed)
        self.headers.fill(response.header, self.store.revision)
        return response

    def _cluster_version_set(self, request: membership_pb2.ClusterVersionSetRequest) -> None:
        self.membership.set_cluster_version(request.ver)

    def _cluster_member_attr_set(self, request: membership_pb2.ClusterMemberAttrSetRequest) -> None:
        attributes = request.member_attributes
        self.membership.set_attributes(request.member_ID, attributes.name, tuple(attributes.client_urls))

    def _downgrade_info_set(self, request: membership_pb2.DowngradeInfoSetRequest) -> None:
        self.membership.set_downgrade(request.ver if request.enabled else "")
