"""Where mini-etcd deliberately answers as later releases of etcd do, and 3.5.1 is the odd one out.

Each entry of the table takes an operation with both answers and says whether that difference, and no other, is between
them; its docstring is the reason.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from kvstore.etcdpb import rpc_pb2 as pb
from tests.model.differential.histories import As, Call, Operation
from tests.model.differential.player import Refusal

__all__ = ["known_difference"]

LEASE_NOT_FOUND = "etcdserver: requested lease not found"
KEY_NOT_FOUND = "etcdserver: key not found"


def order_of_checks(operation: Operation, ours: Any, theirs: Any) -> bool:
    """A transaction with several faults: 3.5 looks at all puts before all ranges, later releases go in order; and of
    a put 3.5 looks at the key before the lease, later releases (as all do outside of transactions) at the lease first.
    """
    if not (isinstance(operation, Call) and operation.method == "KV/Txn"):
        return False
    if not (isinstance(ours, Refusal) and isinstance(theirs, Refusal)):
        return False
    return ("required revision" in ours.text and theirs.text in (LEASE_NOT_FOUND, KEY_NOT_FOUND)) or (
        ours.text == LEASE_NOT_FOUND and theirs.text == KEY_NOT_FOUND
    )


def keys_only_without_lease(operation: Operation, ours: Any, theirs: Any) -> bool:
    """A range of keys alone is answered from the index since 3.7, which does not know the leases."""
    if not isinstance(operation, Call) or isinstance(theirs, Refusal):
        return False
    without = copy.deepcopy(theirs)
    if isinstance(operation.request, pb.RangeRequest):
        _forget_lease(operation.request, without)
    elif isinstance(operation.request, pb.TxnRequest):
        _forget_leases(operation.request, without)
    return bool(without == ours)


def _forget_leases(request: pb.TxnRequest, response: pb.TxnResponse) -> None:
    branch = request.success if response.succeeded else request.failure
    for operation, answer in zip(branch, response.responses, strict=True):
        if answer.HasField("response_range"):
            _forget_lease(operation.request_range, answer.response_range)
        elif answer.HasField("response_txn"):
            _forget_leases(operation.request_txn, answer.response_txn)


def _forget_lease(request: pb.RangeRequest, response: pb.RangeResponse) -> None:
    if request.keys_only:
        for kv in response.kvs:
            kv.lease = 0


def parts_of_transactions_that_need_permission(operation: Operation, ours: Any, theirs: Any) -> bool:
    """Later releases also look into nested transactions, at the keys of a put's lease, and at the right to read what a
    put returns (3.6.12, 3.7).
    """
    if not (isinstance(operation, Call) and isinstance(operation.request, pb.TxnRequest)):
        return False
    refused = isinstance(ours, Refusal) and ours.text == "etcdserver: permission denied"
    return refused and ours != theirs and _has_parts_overlooked(operation.request)


def _has_parts_overlooked(request: pb.TxnRequest) -> bool:
    return any(
        part.HasField("request_txn") or part.request_put.prev_kv or part.request_put.lease
        for part in (*request.success, *request.failure)
    )


DIFFERENCES: list[Callable[[Operation, Any, Any], bool]] = [
    order_of_checks,
    keys_only_without_lease,
    parts_of_transactions_that_need_permission,
]


def known_difference(operation: Operation, ours: Any, theirs: Any) -> bool:
    """Whether the table knows this difference."""
    if isinstance(operation, As):
        operation = operation.call
    return any(difference(operation, ours, theirs) for difference in DIFFERENCES)
