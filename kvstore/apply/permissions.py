"""Whether a caller may do what a request asks, all of it, before any of it is done (etcd `etcdserver/apply/auth.go`).

Every write is looked at when it is applied, because only then is it certain who has which role; every member comes to
the same answer. Reads that take no part in the log use the same functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvstore.apply.txn_plan import DELETE, NESTED, PUT, RANGE, Operation, TxnPlan
from kvstore.auth import AuthInfo, AuthStore
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import LeaseNotFoundError, Lessor

__all__ = ["PermissionChecks", "check_lease_keys", "check_txn"]


class PermissionChecks:
    """A table from the fields of `InternalRaftRequest` to what must be permitted; other fields ask for nothing.

    Each check raises `AuthError` when it is not.
    """

    def __init__(self, auth: AuthStore, lessor: Lessor) -> None:
        self._auth = auth
        self._lessor = lessor
        self._checks: dict[str, Callable[[AuthInfo, Any], None]] = {
            "range": self._range,
            "put": self._put,
            "delete_range": self._delete_range,
            "txn": self._txn,
            "lease_revoke": self._lease_revoke,
            "auth_user_get": self._user_get,
            "auth_role_get": self._role_get,
            **dict.fromkeys(
                (
                    "auth_enable",
                    "auth_disable",
                    "auth_user_add",
                    "auth_user_delete",
                    "auth_user_change_password",
                    "auth_user_grant_role",
                    "auth_user_revoke_role",
                    "auth_user_list",
                    "auth_role_add",
                    "auth_role_delete",
                    "auth_role_list",
                    "auth_role_grant_permission",
                    "auth_role_revoke_permission",
                ),
                self._admin,
            ),
        }

    def check(self, field: str, caller: AuthInfo, request: Any) -> None:
        """Refuse what the caller may not do. Transactions come as their plan.

        Raises:
            AuthError: not permitted.
        """
        check = self._checks.get(field)
        if check is not None:
            check(caller, request)

    def _admin(self, caller: AuthInfo, request: object) -> None:
        self._auth.check_admin(caller)

    def _range(self, caller: AuthInfo, request: pb.RangeRequest) -> None:
        self._auth.check_read(caller, request.key, request.range_end)

    def _put(self, caller: AuthInfo, request: pb.PutRequest) -> None:
        _check_put(self._auth, self._lessor, caller, request)

    def _delete_range(self, caller: AuthInfo, request: pb.DeleteRangeRequest) -> None:
        _check_delete_range(self._auth, caller, request)

    def _txn(self, caller: AuthInfo, plan: TxnPlan) -> None:
        check_txn(self._auth, self._lessor, caller, plan)

    def _lease_revoke(self, caller: AuthInfo, request: pb.LeaseRevokeRequest) -> None:
        check_lease_keys(self._auth, self._lessor, caller, request.ID)

    def _user_get(self, caller: AuthInfo, request: pb.AuthUserGetRequest) -> None:
        """Everybody may know about themselves."""
        if request.name != caller.username:
            self._auth.check_admin(caller)

    def _role_get(self, caller: AuthInfo, request: pb.AuthRoleGetRequest) -> None:
        """Everybody may know what their own roles permit."""
        if not self._auth.has_role(caller.username, request.role):
            self._auth.check_admin(caller)


def check_txn(auth: AuthStore, lessor: Lessor, caller: AuthInfo, plan: TxnPlan) -> None:
    """Refuse a transaction of which any part may not be done: every compare, both branches, what is nested in them.

    Raises:
        AuthError: not permitted.
    """
    for compare in plan.compares:
        auth.check_read(caller, compare.key, compare.range_end)
    for operation in (*plan.success, *plan.failure):
        _check_operation(auth, lessor, caller, operation)


def _check_operation(auth: AuthStore, lessor: Lessor, caller: AuthInfo, operation: Operation) -> None:
    kind, request = operation
    if kind == RANGE:
        auth.check_read(caller, request.key, request.range_end)
    elif kind == PUT:
        _check_put(auth, lessor, caller, request)
    elif kind == DELETE:
        _check_delete_range(auth, caller, request)
    elif kind == NESTED:
        check_txn(auth, lessor, caller, request)


def _check_put(auth: AuthStore, lessor: Lessor, caller: AuthInfo, request: pb.PutRequest) -> None:
    auth.check_write(caller, request.key)
    if request.lease:
        check_lease_keys(auth, lessor, caller, request.lease)
    if request.prev_kv:
        auth.check_read(caller, request.key)


def _check_delete_range(auth: AuthStore, caller: AuthInfo, request: pb.DeleteRangeRequest) -> None:
    auth.check_write(caller, request.key, request.range_end)
    if request.prev_kv:
        auth.check_read(caller, request.key, request.range_end)


def check_lease_keys(auth: AuthStore, lessor: Lessor, caller: AuthInfo, lease_id: int, *, read: bool = False) -> None:
    """Refuse whoever may not write (or read) every key of a lease; leases that are not there have none.

    Who attaches a key to a lease of others would see it deleted with theirs, and who revokes it deletes theirs.

    Raises:
        AuthError: not permitted.
    """
    if auth.is_admin(caller):
        return
    try:
        keys = lessor.lookup(lease_id).keys
    except LeaseNotFoundError:
        return
    check = auth.check_read if read else auth.check_write
    for key in sorted(keys):
        check(caller, key)
