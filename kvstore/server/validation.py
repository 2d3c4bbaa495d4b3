"""What is wrong with a request on its face, before it costs a log entry (etcd `server/etcdserver/api/v3rpc/key.go`).

Functions return nothing and raise `EtcdError`; they change nothing.
"""

from __future__ import annotations

from kvstore.apply import DELETE, NESTED, PUT, RANGE, Operation, TxnPlan
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import in_range
from kvstore.server import catalogue

__all__ = ["DEFAULT_TXN_OPERATIONS_MAX", "check_delete_range", "check_put", "check_range", "check_txn"]

DEFAULT_TXN_OPERATIONS_MAX = 128
"""Compares, or operations of one branch, in one transaction."""

_SORT_ORDERS = frozenset(pb.RangeRequest.SortOrder.values())
_SORT_TARGETS = frozenset(pb.RangeRequest.SortTarget.values())


def check_range(request: pb.RangeRequest) -> None:
    """A range needs a key and sort options that exist."""
    if not request.key:
        raise catalogue.EMPTY_KEY.error()
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        raise catalogue.INVALID_SORT_OPTION.error()


def check_put(request: pb.PutRequest) -> None:
    """A put needs a key, and no value or lease when it is to keep the old one."""
    if not request.key:
        raise catalogue.EMPTY_KEY.error()
    if request.ignore_value and request.value:
        raise catalogue.VALUE_PROVIDED.error()
    if request.ignore_lease and request.lease:
        raise catalogue.LEASE_PROVIDED.error()


def check_delete_range(request: pb.DeleteRangeRequest) -> None:
    """A deletion needs a key."""
    if not request.key:
        raise catalogue.EMPTY_KEY.error()


def check_txn(plan: TxnPlan, operations_max: int = DEFAULT_TXN_OPERATIONS_MAX) -> None:
    """A transaction is small enough, sound in its parts, and writes no key twice."""
    _check_parts(plan, operations_max)
    for branch in (plan.success, plan.failure):
        # One put alone overlaps nothing; and that is what nearly every transaction has.
        if len(branch) > 1 or (branch and branch[0][0] == NESTED):
            _check_overlaps(branch)


def _check_parts(plan: TxnPlan, operations_max: int) -> None:
    largest = max(len(plan.compares), len(plan.success), len(plan.failure))
    if largest > operations_max:
        raise catalogue.TOO_MANY_OPERATIONS.error()
    for compare in plan.compares:
        if not compare.key:
            raise catalogue.EMPTY_KEY.error()
    for operation in plan.success:
        _check_operation(operation, operations_max - largest)
    for operation in plan.failure:
        _check_operation(operation, operations_max - largest)


def _check_operation(operation: Operation, operations_max: int) -> None:
    kind, request = operation
    if kind == PUT:
        check_put(request)
    elif kind == RANGE:
        check_range(request)
    elif kind == DELETE:
        check_delete_range(request)
    elif kind == NESTED:
        _check_parts(request, operations_max)
    else:
        raise catalogue.KEY_NOT_FOUND.error()


_Deletions = list[tuple[bytes, bytes]]


def _check_overlaps(operations: list[Operation]) -> tuple[set[bytes], _Deletions]:
    """Refuse a key put twice, or put and deleted, on any path; returns the keys put and the ranges deleted.

    The two branches of a nested transaction may put the same key, since only one of them happens.
    """
    deleted: _Deletions = [(request.key, request.range_end) for kind, request in operations if kind == DELETE]
    puts: set[bytes] = set()
    for kind, nested in operations:
        if kind == NESTED:
            puts_then, deleted_then = _check_overlaps(nested.success)
            puts_else, deleted_else = _check_overlaps(nested.failure)
            for key in sorted(puts_then | puts_else):
                _refuse_duplicate(key, puts, deleted)
            puts |= puts_then | puts_else
            deleted += deleted_then + deleted_else
    for kind, request in operations:
        if kind == PUT:
            _refuse_duplicate(request.key, puts, deleted)
            puts.add(request.key)
    return puts, deleted


def _refuse_duplicate(key: bytes, puts: set[bytes], deleted: _Deletions) -> None:
    # A deletion «from key on» is not looked at: etcd takes its end for a key here, and so no put lies inside.
    if key in puts or any(in_range(key, start, end) for start, end in deleted if end != b"\0"):
        raise catalogue.DUPLICATE_KEY.error()
