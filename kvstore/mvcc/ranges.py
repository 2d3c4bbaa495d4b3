"""Range requests: which keys, in which order, with what of them.

Answers are serialised `KeyValue`s straight from the backend; nothing is decoded unless values decide the order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc.key_index import Record
from kvstore.mvcc.revision import encode_revision
from kvstore.mvcc.store import Store

__all__ = ["RangeResult", "range_keys", "range_piece"]


class RangeResult(NamedTuple):
    """What a range request found.

    Attributes:
        kvs: serialised `KeyValue`s, in the order asked for.
        total: how many keys the range has at that revision, whatever limit and filters left of them.
        more: whether the limit cut the answer short.
    """

    kvs: list[bytes]
    total: int
    more: bool


_NOTHING = RangeResult([], 0, False)


def range_keys(store: Store, request: pb.RangeRequest) -> RangeResult:
    """Answer a range request.

    Raises:
        CompactedError, FutureRevisionError: the revision asked for cannot be read.
    """
    at = store.check_revision(request.revision)
    key, end, limit = request.key, request.range_end, request.limit
    index = store.index
    if request.count_only:
        return RangeResult([], index.count(key, end, at), False)
    plain = _is_plain(request)
    if plain and not end:
        record = index.get(key, at)
        if record is None:
            return _NOTHING
        stored = store.backend.get_revision(encode_revision(record.main, record.sub))
        assert stored is not None, record
        return RangeResult([stored], 1, False)
    if plain:
        revisions = index.revisions(key, end, at, max(limit, 0))
        found = len(revisions)
        total = index.count(key, end, at) if found == limit else found
        return RangeResult(store.backend.get_revisions(revisions), total, total > found)
    return _select(store, request, index.records(key, end, at))


def range_piece(
    store: Store, key: bytes, end: bytes, at: int, limit: int, keys_only: bool
) -> tuple[list[bytes], bytes | None]:
    """The first `limit` keys of a range at a revision that can be read, and where the next piece starts, if any."""
    records = store.index.records(key, end, at, limit + 1)
    next_key = records.pop().key if len(records) > limit else None
    kvs = [_without_value(record) for record in records] if keys_only else _values(store, records)
    return kvs, next_key


def _is_plain(request: pb.RangeRequest) -> bool:
    # etcd sorts ascending when a target other than the key is named without an order.
    return not (
        request.keys_only
        or request.sort_target
        or request.sort_order == pb.RangeRequest.DESCEND
        or _has_filters(request)
    )


def _has_filters(request: pb.RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _select(store: Store, request: pb.RangeRequest, records: list[Record]) -> RangeResult:
    count = len(records)
    limit = request.limit
    if limit > 0 and request.sort_order == pb.RangeRequest.NONE and not _has_filters(request):
        # Without an order etcd reads one key more than the limit, and only those are sorted by another target.
        records = records[: limit + 1]
    records = _filter(request, records)
    values: dict[bytes, bytes] = {}
    if request.sort_target == pb.RangeRequest.VALUE:
        values = dict(zip((r.key for r in records), _values(store, records), strict=True))
    _sort(request, records, values)
    more = 0 < limit < len(records)
    if more:
        del records[limit:]
    if values:
        kvs = [values[record.key] for record in records]
        if request.keys_only:
            kvs = [_emptied(kv) for kv in kvs]
    elif request.keys_only:
        kvs = [_without_value(record) for record in records]
    else:
        kvs = _values(store, records)
    return RangeResult(kvs, count, more)


def _values(store: Store, records: list[Record]) -> list[bytes]:
    return store.backend.get_revisions([encode_revision(record.main, record.sub) for record in records])


def _filter(request: pb.RangeRequest, records: list[Record]) -> list[Record]:
    if request.max_mod_revision:
        records = [r for r in records if r.main <= request.max_mod_revision]
    if request.min_mod_revision:
        records = [r for r in records if r.main >= request.min_mod_revision]
    if request.max_create_revision:
        records = [r for r in records if r.created <= request.max_create_revision]
    if request.min_create_revision:
        records = [r for r in records if r.created >= request.min_create_revision]
    return records


def _sort(request: pb.RangeRequest, records: list[Record], values: dict[bytes, bytes]) -> None:
    target = request.sort_target
    by: dict[int, Callable[[Record], Any]] = {
        pb.RangeRequest.KEY: lambda record: record.key,
        pb.RangeRequest.VERSION: lambda record: record.version,
        pb.RangeRequest.CREATE: lambda record: record.created,
        pb.RangeRequest.MOD: lambda record: (record.main, record.sub),
        pb.RangeRequest.VALUE: lambda record: kv_pb2.KeyValue.FromString(values[record.key]).value,
    }
    if target in by:
        records.sort(key=by[target], reverse=request.sort_order == pb.RangeRequest.DESCEND)


def _without_value(record: Record) -> bytes:
    # Answered from the index alone, so without the lease, as etcd does since 3.6.
    return kv_pb2.KeyValue(
        key=record.key, create_revision=record.created, mod_revision=record.main, version=record.version
    ).SerializeToString()


def _emptied(kv: bytes) -> bytes:
    message = kv_pb2.KeyValue.FromString(kv)
    message.ClearField("value")
    return message.SerializeToString()
