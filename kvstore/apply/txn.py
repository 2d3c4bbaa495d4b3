"""Transactions: compare, then one branch or the other, atomically.

Three passes, as in etcd (`server/etcdserver/txn/txn.go`): every compare, of nested transactions too, looks at the
state before the transaction and so fixes the path; the operations on that path are checked; then they are carried out
and cannot fail.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from kvstore.apply.operations import check_put, delete_range, put, range_response
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import CompactedError, FutureRevisionError, Record, Store, encode_revision

__all__ = ["apply_txn", "is_read_only"]

_OPERATORS: dict[int, Callable[[Any, Any], bool]] = {
    pb.Compare.EQUAL: operator.eq,
    pb.Compare.NOT_EQUAL: operator.ne,
    pb.Compare.GREATER: operator.gt,
    pb.Compare.LESS: operator.lt,
}


def is_read_only(request: pb.TxnRequest) -> bool:
    """Whether no branch can write. A nested transaction counts as a write, whatever is in it."""
    return not any(
        operation.WhichOneof("request") != "request_range"
        for branch in (request.success, request.failure)
        for operation in branch
    )


def apply_txn(store: Store, request: pb.TxnRequest) -> pb.TxnResponse:
    """Carry out a transaction. The caller publishes the revision.

    Raises:
        CompactedError, FutureRevisionError, KeyNotFoundError, LeaseNotFoundError: an operation on the path taken would
            fail; nothing was written.
    """
    path = list(_path(store, request))
    _check(store, request, iter(path))
    response = pb.TxnResponse()
    _execute(store, request, iter(path), response)
    response.header.revision = store.reading_revision()
    return response


def _branch(request: pb.TxnRequest, taken: bool) -> Sequence[pb.RequestOp]:
    return request.success if taken else request.failure


def _path(store: Store, request: pb.TxnRequest) -> Iterator[bool]:
    """Which branch is taken, here and then in every nested transaction on it, in order."""
    taken = _all_hold(store, request.compare)
    yield taken
    for operation in _branch(request, taken):
        if operation.HasField("request_txn"):
            yield from _path(store, operation.request_txn)


def _check(store: Store, request: pb.TxnRequest, path: Iterator[bool]) -> None:
    for operation in _branch(request, next(path)):
        kind = operation.WhichOneof("request")
        if kind == "request_put":
            check_put(store, operation.request_put)
        elif kind == "request_range":
            _check_revision(store, operation.request_range.revision)
        elif kind == "request_txn":
            _check(store, operation.request_txn, path)


def _check_revision(store: Store, revision: int) -> None:
    # Unlike a range on its own, one in a transaction takes only 0 for «now».
    if revision > store.revision:
        raise FutureRevisionError
    if revision != 0 and revision < store.compact_revision:
        raise CompactedError(store.compact_revision)


def _execute(store: Store, request: pb.TxnRequest, path: Iterator[bool], response: pb.TxnResponse) -> None:
    taken = next(path)
    if taken:
        response.succeeded = True
    for operation in _branch(request, taken):
        answer = response.responses.add()
        kind = operation.WhichOneof("request")
        if kind == "request_put":
            answer.response_put.CopyFrom(put(store, operation.request_put))
        elif kind == "request_range":
            answer.response_range.CopyFrom(range_response(store, operation.request_range))
        elif kind == "request_delete_range":
            answer.response_delete_range.CopyFrom(delete_range(store, operation.request_delete_range))
        elif kind == "request_txn":
            nested = answer.response_txn
            nested.header.SetInParent()
            _execute(store, operation.request_txn, path, nested)


def _all_hold(store: Store, compares: Iterable[pb.Compare]) -> bool:
    return all(_holds(store, compare) for compare in compares)


def _holds(store: Store, compare: pb.Compare) -> bool:
    records = store.index.records(compare.key, compare.range_end, store.revision)
    target = compare.target
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
