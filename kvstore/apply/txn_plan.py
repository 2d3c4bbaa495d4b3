"""A transaction taken apart once.

Validation, quota and execution all walk a transaction's operations, and reaching into a message costs more than most of
what they do there. So it is taken apart when it arrives, and the parts are kept until it is applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from kvstore.apply.quota import put_cost_bytes
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["DELETE", "EMPTY", "NESTED", "PUT", "RANGE", "Operation", "TxnPlan", "plan_txn"]

PUT = "request_put"
RANGE = "request_range"
DELETE = "request_delete_range"
NESTED = "request_txn"
EMPTY = ""


Operation: TypeAlias = tuple[str, Any]
"""One operation of a branch: its kind, and its request (for NESTED the plan of it, for EMPTY None)."""


class TxnPlan(NamedTuple):
    """A transaction's parts.

    Attributes:
        cost_bytes: what the puts of the costlier branch take, nested ones included.
        nested: whether a branch has transactions of its own.
        read_only: whether no branch has anything but ranges; a nested transaction counts as a write.
    """

    compares: Sequence[pb.Compare]
    success: list[Operation]
    failure: list[Operation]
    cost_bytes: int
    nested: bool
    read_only: bool


def plan_txn(request: pb.TxnRequest) -> TxnPlan:
    """Take a transaction apart. The plan shares the request's parts."""
    # Slicing a repeated field is the cheapest way to all of it: iterating ends in an exception each time.
    success, success_bytes, success_reads, success_nests = _branch(request.success[:])
    failure, failure_bytes, failure_reads, failure_nests = _branch(request.failure[:])
    return TxnPlan(
        request.compare[:],
        success,
        failure,
        max(success_bytes, failure_bytes),
        success_nests or failure_nests,
        success_reads and failure_reads,
    )


def _branch(operations: list[pb.RequestOp]) -> tuple[list[Operation], int, bool, bool]:
    """A branch's operations, what its puts take, whether it only reads, and whether it has transactions inside."""
    planned: list[Operation] = []
    cost_bytes = 0
    reads, nests = True, False
    for operation in operations:
        kind = operation.WhichOneof("request")
        if kind == RANGE:
            planned.append((RANGE, operation.request_range))
            continue
        reads = False
        if kind == PUT:
            put = operation.request_put
            cost_bytes += put_cost_bytes(put)
            planned.append((PUT, put))
        elif kind == DELETE:
            planned.append((DELETE, operation.request_delete_range))
        elif kind == NESTED:
            nests = True
            plan = plan_txn(operation.request_txn)
            cost_bytes += plan.cost_bytes
            planned.append((NESTED, plan))
        else:
            planned.append((EMPTY, None))
    return planned, cost_bytes, reads, nests
