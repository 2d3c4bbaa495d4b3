"""What a request to the key-value store does, as a function.

The state before and a request make the state after and the answer. A handful of keys, and the requests that the
robustness tests send; nothing of it is shared with the product.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["KeyValue", "Request", "Response", "State", "step", "without_headers"]

Request: TypeAlias = pb.RangeRequest | pb.PutRequest | pb.DeleteRangeRequest | pb.TxnRequest | pb.LeaseRevokeRequest
Response: TypeAlias = (
    pb.RangeResponse | pb.PutResponse | pb.DeleteRangeResponse | pb.TxnResponse | pb.LeaseRevokeResponse
)


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key with everything that etcd keeps beside it."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0

    @staticmethod
    def of(message: kv_pb2.KeyValue) -> KeyValue:
        """The same from a message."""
        return KeyValue(
            message.key,
            message.value,
            message.create_revision,
            message.mod_revision,
            message.version,
            message.lease,
        )

    def message(self) -> kv_pb2.KeyValue:
        """The same as a message."""
        return kv_pb2.KeyValue(
            key=self.key,
            value=self.value,
            create_revision=self.create_revision,
            mod_revision=self.mod_revision,
            version=self.version,
            lease=self.lease,
        )


@dataclass(frozen=True, slots=True)
class State:
    """The store at a revision."""

    revision: int = 1
    keys: Mapping[bytes, KeyValue] = field(default_factory=dict)

    def between(self, key: bytes, range_end: bytes) -> list[KeyValue]:
        """The keys of a range, in order."""
        if not range_end:
            return [self.keys[key]] if key in self.keys else []
        return [self.keys[it] for it in sorted(self.keys) if key <= it and (range_end == b"\0" or it < range_end)]


class _Change:
    """A state in the making: everything in it gets the next revision, if there is anything."""

    def __init__(self, before: State) -> None:
        self.revision = before.revision + 1
        self.keys = dict(before.keys)
        self.count = 0

    def view(self) -> State:
        """What the next operation of the same request sees."""
        return State(self.revision, self.keys)

    def put(self, request: pb.PutRequest) -> pb.PutResponse:
        old = self.keys.get(request.key)
        self.keys[request.key] = KeyValue(
            request.key,
            request.value,
            old.create_revision if old else self.revision,
            self.revision,
            old.version + 1 if old else 1,
            request.lease,
        )
        self.count += 1
        return pb.PutResponse(prev_kv=old.message() if old and request.prev_kv else None)

    def delete(self, request: pb.DeleteRangeRequest) -> pb.DeleteRangeResponse:
        gone = self.view().between(request.key, request.range_end)
        self.remove(gone)
        previous = [it.message() for it in gone] if request.prev_kv else []
        return pb.DeleteRangeResponse(deleted=len(gone), prev_kvs=previous)

    def remove(self, gone: Iterable[KeyValue]) -> None:
        for it in gone:
            del self.keys[it.key]
            self.count += 1


def step(before: State, request: Request) -> tuple[State, Response]:
    """The state after a request, and the answer without its header."""
    if isinstance(request, pb.RangeRequest):
        return before, _range(before, request)
    change = _Change(before)
    response: Response
    if isinstance(request, pb.PutRequest):
        response = change.put(request)
    elif isinstance(request, pb.DeleteRangeRequest):
        response = change.delete(request)
    elif isinstance(request, pb.LeaseRevokeRequest):
        change.remove([it for it in before.keys.values() if it.lease == request.ID])
        response = pb.LeaseRevokeResponse()
    else:
        response = _txn(before, change, request)
    return (change.view() if change.count else before), response


def _range(state: State, request: pb.RangeRequest) -> pb.RangeResponse:
    found = state.between(request.key, request.range_end)
    return pb.RangeResponse(kvs=[it.message() for it in found], count=len(found))


def _txn(before: State, change: _Change, request: pb.TxnRequest) -> pb.TxnResponse:
    succeeded = all(_holds(before, compare) for compare in request.compare)
    response = pb.TxnResponse(succeeded=succeeded)
    for operation in request.success if succeeded else request.failure:
        answer = response.responses.add()
        if operation.HasField("request_put"):
            answer.response_put.CopyFrom(change.put(operation.request_put))
        elif operation.HasField("request_delete_range"):
            answer.response_delete_range.CopyFrom(change.delete(operation.request_delete_range))
        else:
            answer.response_range.CopyFrom(_range(change.view(), operation.request_range))
    return response


def _holds(state: State, compare: pb.Compare) -> bool:
    it = state.keys.get(compare.key)
    assert compare.result == pb.Compare.EQUAL, "the robustness tests compare for equality alone"
    if compare.target == pb.Compare.MOD:
        return (it.mod_revision if it else 0) == compare.mod_revision
    assert compare.target == pb.Compare.VALUE
    return it is not None and it.value == compare.value


def without_headers(response: Response) -> Response:
    """A copy that can be compared with what `step` returns."""
    bare = type(response).FromString(response.SerializeToString())
    bare.ClearField("header")
    if isinstance(bare, pb.TxnResponse):
        for answer in bare.responses:
            getattr(answer, answer.WhichOneof("response") or "").ClearField("header")
    return bare
