"""Single operations on the store, and their responses: ranges, puts, deletions.

Answers are written into a response that is there already, because that may be a part of a transaction's. Their headers
carry the revision and nothing else; whoever answers a client completes them.
"""

from __future__ import annotations

from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import KeyNotFoundError, LeaseNotFoundError, Store, encode_varint, range_keys

__all__ = ["check_put", "delete_range_into", "joined_kvs", "put_into", "range_keys_into"]

_KVS_TAG = b"\x12"
_PREV_KVS_TAG = b"\x1a"


def range_keys_into(response: pb.RangeResponse, store: Store, request: pb.RangeRequest) -> None:
    """Answer a range request in an empty response.

    The response is parsed from the stored bytes in one go, which is several times cheaper than building each
    `KeyValue`.

    Raises:
        CompactedError, FutureRevisionError: the revision asked for cannot be read.
    """
    store.range_count += 1
    found = range_keys(store, request)
    if found.kvs:
        response.MergeFromString(joined_kvs(found.kvs))
    response.header.revision = store.reading_revision()
    response.count = found.total
    if found.more:
        response.more = True


def joined_kvs(kvs: list[bytes]) -> bytes:
    """Serialised `KeyValue`s as the wire form of `RangeResponse.kvs`."""
    return _repeated(_KVS_TAG, kvs)


def check_put(store: Store, request: pb.PutRequest) -> None:
    """Refuse a put that would fail, before anything is written. The lease is looked at first, as etcd does.

    Raises:
        LeaseNotFoundError: no such lease.
        KeyNotFoundError: the value or lease is to be kept, and there is no key.
    """
    if request.lease and not store.lessor.exists(request.lease):
        raise LeaseNotFoundError
    if (request.ignore_value or request.ignore_lease) and store.index.newest(request.key) is None:
        raise KeyNotFoundError


def put_into(response: pb.PutResponse, store: Store, request: pb.PutRequest) -> None:
    """Carry out a put that was checked, and answer it in an empty response."""
    key, value, lease_id = request.key, request.value, request.lease
    if request.prev_kv or request.ignore_value or request.ignore_lease:
        previous = store.newest_kv(key)
        if previous is not None:
            if request.ignore_value:
                value = previous.value
            if request.ignore_lease:
                lease_id = previous.lease
            if request.prev_kv:
                response.prev_kv.CopyFrom(previous)
    store.put(key, value, lease_id)
    response.header.revision = store.revision + 1


def delete_range_into(response: pb.DeleteRangeResponse, store: Store, request: pb.DeleteRangeRequest) -> None:
    """Carry out a deletion, and answer it in an empty response."""
    key, end = request.key, request.range_end
    if request.prev_kv:
        revisions = store.index.revisions(key, end, store.reading_revision())
        response.MergeFromString(_repeated(_PREV_KVS_TAG, store.backend.get_revisions(revisions)))
    response.deleted = store.delete_range(key, end)
    response.header.revision = store.reading_revision()


def _repeated(tag: bytes, messages: list[bytes]) -> bytes:
    """Serialised messages as a repeated field's wire form."""
    if len(messages) == 1:
        return b"%b%b%b" % (tag, encode_varint(len(messages[0])), messages[0])
    parts: list[bytes] = []
    for message in messages:
        parts += (tag, encode_varint(len(message)), message)
    return b"".join(parts)
