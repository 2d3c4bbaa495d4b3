"""The etcd requests that the storage makes, each one message (`etcd/client/v3/kubernetes`)."""

from __future__ import annotations

from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["conditional_delete", "conditional_put", "failure_kv", "get_request"]


def conditional_put(key: bytes, value: bytes, expected_revision: int, *, lease: int, read_back: bool) -> pb.TxnRequest:
    """Put if the key's mod_revision is the expected one (0: it does not exist); `read_back` gets it otherwise."""
    request = pb.TxnRequest()
    compare = request.compare.add()
    compare.key = key
    compare.target = pb.Compare.MOD
    compare.mod_revision = expected_revision
    put = request.success.add().request_put
    put.key = key
    put.value = value
    if lease:
        put.lease = lease
    if read_back:
        request.failure.add().request_range.key = key
    return request


def conditional_delete(key: bytes, expected_revision: int) -> pb.TxnRequest:
    """Delete if the key's mod_revision is the expected one, else get it."""
    request = pb.TxnRequest()
    compare = request.compare.add()
    compare.key = key
    compare.target = pb.Compare.MOD
    compare.mod_revision = expected_revision
    request.success.add().request_delete_range.key = key
    request.failure.add().request_range.key = key
    return request


def get_request(key: bytes) -> pb.RangeRequest:
    """Read one key, linearizably."""
    return pb.RangeRequest(key=key)


def failure_kv(response: pb.TxnResponse) -> kv_pb2.KeyValue | None:
    """What the failed branch of a conditional write read back; None when the key does not exist."""
    kvs = response.responses[0].response_range.kvs
    return kvs[0] if kvs else None
