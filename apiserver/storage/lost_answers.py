"""Conditional writes whose answer may get lost, because the member that took them is gone.

Whether such a write happened is unknown, and etcd's own client leaves it at that. Here it is found out where that is
safe, so that a member that dies is noticed by nobody:

* An update or deletion is under the condition that the key is still at a certain revision. No revision comes twice, so
  it is sent again without any danger of happening twice. If the condition fails then and the value is the very one that
  was to be written, the first one had happened.
* A creation is under the condition that there is no key, which may come true again after a deletion. So it is not sent
  again; but if the value is there, uid and all, it had happened.

Whatever remains is answered with the first error, as kube-apiserver does. An embedded member needs none of this when
the leader is lost (`kvstore.server.proposer`), and what has timed out is not tried again.
"""

from __future__ import annotations

from typing import Final

from kvstore.client import Client
from kvstore.environment import Clock
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["commit"]

PATIENCE_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 0.1


async def commit(client: Client, clock: Clock, request: pb.TxnRequest) -> pb.TxnResponse:
    """Send a request of `apiserver.storage.requests`; returns its answer, or what must have been its answer.

    Raises:
        EtcdError: the store refused; or, UNAVAILABLE, it is unknown what it did.
    """
    give_up_seconds = clock.monotonic() + PATIENCE_SECONDS
    try:
        return await client.txn(request)
    except EtcdError as error:
        if error.code is not StatusCode.UNAVAILABLE or clock.monotonic() > give_up_seconds:
            raise
        lost = error
    while True:
        try:
            found = await _find_out(client, request)
        except EtcdError as error:
            if error.code is not StatusCode.UNAVAILABLE or clock.monotonic() > give_up_seconds:
                raise lost from error
            await clock.sleep(PAUSE_SECONDS)
            continue
        if found is None:
            raise lost
        return found


async def _find_out(client: Client, request: pb.TxnRequest) -> pb.TxnResponse | None:
    """The answer that was lost; None when nobody can tell."""
    key = request.compare[0].key
    if request.compare[0].mod_revision:
        response = await client.txn(request)
        if response.succeeded:
            return response
    if not request.success[0].HasField("request_put"):
        return None
    kvs = (await client.range(pb.RangeRequest(key=key))).kvs
    return _as_answer(kvs[0]) if kvs and kvs[0].value == request.success[0].request_put.value else None


def _as_answer(kv: kv_pb2.KeyValue) -> pb.TxnResponse:
    response = pb.TxnResponse(succeeded=True)
    response.header.revision = kv.mod_revision
    return response
