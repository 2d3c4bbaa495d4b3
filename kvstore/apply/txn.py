"""Transactions: compare, then one branch or the other, atomically.

Three passes, as in etcd (`server/etcdserver/txn/txn.go`): every compare, of nested transactions too, looks at the
state before the transaction and so fixes the path; the operations on that path are checked; then they are carried out
and cannot fail.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kvstore.apply.operations import check_put, delete_range_into, put_into, range_keys_into
from kvstore.apply.txn_plan import DELETE, NESTED, PUT, RANGE, TxnPlan
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import CompactedError, FutureRevisionError, Record, Store, encode_revision

__all__ = ["apply_txn"]

_OPERATORS: dict[int, Callable[[Any, Any], bool]] = {
    pb.Compare.EQUAL: operator.eq,
    pb.Compare.NOT_EQUAL: operator.ne,
    pb.Compare.GREATER: operator.gt,
    pb.Compare.LESS: operator.lt,
}


def apply_txn(store: Store, plan: TxnPlan) -> pb.TxnResponse:
    """Carry out a transaction. The caller publishes the revision.

    Raises:
        CompactedError, FutureRevisionError, KeyNotFoundError, LeaseNotFoundError: an operation on the path taken would
            fail; nothing was written.
    """
    response = pb.TxnResponse()
    if plan.nested:
        path = _path(store, plan)
        _check(store, plan, iter(path))
        _execute(store, plan, iter(path), response)
    else:
        _apply_flat(store, plan, response)
    response.header.revision = store.reading_revision()
    return response


def _apply_flat(store: Store, plan: TxnPlan, response: pb.TxnResponse) -> None:
    """The same for a transaction with none inside, which is nearly every one."""
    taken = _all_hold(store, plan.compares)
    branch = plan.success if taken else plan.failure
    for kind, request in branch:
        if kind == PUT:
            check_put(store, request)
        elif kind == RANGE:
            _check_revision(store, request.revision)
    response.succeeded = taken
    add = response.responses.add
    for kind, request in branch:
        _carry_out(store, kind, request, add())


def _path(store: Store, plan: TxnPlan) -> list[bool]:
    """Which branch is taken, here and then in every nested transaction on it, in order."""
    taken = _all_hold(store, plan.compares)
    path = [taken]
    for kind, nested in plan.success if taken else plan.failure:
        if kind == NESTED:
            path += _path(store, nested)
    return path


def _check(store: Store, plan: TxnPlan, path: Iterator[bool]) -> None:
    for kind, request in plan.success if next(path) else plan.failure:
        if kind == PUT:
            check_put(store, request)
        elif kind == RANGE:
            _check_revision(store, request.revision)
        elif kind == NESTED:
            _check(store, request, path)


def _check_revision(store: Store, revision: int) -> None:
    # Unlike a range on its own, one in a transaction takes only 0 for «now».
    if revision > store.revision:
        raise FutureRevisionError
    if revision != 0 and revision < store.compact_revision:
        raise CompactedError(store.compact_revision)


def _execute(store: Store, plan: TxnPlan, path: Iterator[bool], response: pb.TxnResponse) -> None:
    taken = next(path)
    if taken:
        response.succeeded = True
    for kind, request in plan.success if taken else plan.failure:
        answer = response.responses.add()
        if kind == NESTED:
            answer.response_txn.header.SetInParent()
            _execute(store, request, path, answer.response_txn)
        else:
            _carry_out(store, kind, request, answer)


def _carry_out(store: Store, kind: str, request: Any, answer: pb.ResponseOp) -> None:
    if kind == PUT:
        put_into(answer.response_put, store, request)
    elif kind == RANGE:
        range_keys_into(answer.response_range, store, request)
    elif kind == DELETE:
        delete_range_into(answer.response_delete_range, store, request)


def _all_hold(store: Store, compares: Iterable[pb.Compare]) -> bool:
    for compare in compares:  # noqa: SIM110  a generator would cost as much as the comparison
        if not _holds(store, compare):
            return False
    return True


def _holds(store: Store, compare: pb.Compare) -> bool:
    key, end, target = compare.key, compare.range_end, compare.target
    if end:
        records = store.index.records(key, end, store.revision)
    else:
        record = store.index.newest(key)
        if target == pb.Compare.MOD:  # what nearly every transaction compares
            return _compare(compare, 0 if record is None else record.main)
        records = [] if record is None else [record]
    if not records:
        # There is no way to say «no value», so a comparison with it never holds.
        return target != pb.Compare.VALUE and _compare(compare, 0)
    if target == pb.Compare.VALUE:
        return all(_compare(compare, kv.value) for kv in _decoded(store, records))
    if target == pb.Compare.LEASE:
        return all(_compare(compare, kv.lease) for kv in _decoded(store, records))
    if target == pb.Compare.VERSION:
        return all(_compare(compare, record.version) for record in records)
    if target == pb.Compare.CREATE:
        return all(_compare(compare, record.created) for record in records)
    if target == pb.Compare.MOD:
        return all(_compare(compare, record.main) for record in records)
    return all(_compare(compare, 0) for _ in records)


def _decoded(store: Store, records: Iterable[Record]) -> Iterator[kv_pb2.KeyValue]:
    stored = store.backend.get_revisions([encode_revision(record.main, record.sub) for record in records])
    return map(kv_pb2.KeyValue.FromString, stored)


# Which member of the union a target reads; a union filled for another target counts as zero.
_UNION = {
    pb.Compare.VERSION: "version",
    pb.Compare.CREATE: "create_revision",
    pb.Compare.MOD: "mod_revision",
    pb.Compare.VALUE: "value",
    pb.Compare.LEASE: "lease",
}


def _compare(compare: pb.Compare, actual: int | bytes) -> bool:
    name = _UNION.get(compare.target)
    wanted = getattr(compare, name) if name is not None else 0
    holds = _OPERATORS.get(compare.result)
    return True if holds is None else holds(actual, wanted)
