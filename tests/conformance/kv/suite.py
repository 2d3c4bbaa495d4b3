"""What every etcd-compatible store does, as scenarios on a client.

A scenario asserts what must hold, and everything it is answered is written down with revisions counted from the
scenario's start, so that the answers of two stores can be compared word for word. Scenarios keep to keys of their own
and may run one after the other on the same store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf.message import Message

from kvstore.client import Client, WatchStream
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["SCENARIOS", "Recorder", "Scenario", "newer_etcd"]

Scenario = Callable[["Recorder"], Awaitable[None]]

SCENARIOS: list[Scenario] = []
_NEWER: set[Scenario] = set()

_REVISIONS = ("revision", "create_revision", "mod_revision", "compact_revision")
WAIT_SECONDS = 10.0


def scenario(function: Scenario) -> Scenario:
    """Part of the suite."""
    SCENARIOS.append(function)
    return function


def newer_only(function: Scenario) -> Scenario:
    """Part of the suite, but older releases of etcd answer differently, so answers are not compared with theirs."""
    _NEWER.add(function)
    return function


def newer_etcd(function: Scenario) -> bool:
    """Whether the scenario is about what only newer releases of etcd do."""
    return function in _NEWER


class Recorder:
    """A client whose answers are written down.

    Attributes:
        transcript: what was answered, without what differs from store to store.
        base: the store's revision when the scenario began.
    """

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.base = 0
        self.transcript: list[str] = []
        self._lease_names: dict[int, str] = {}

    async def begin(self) -> None:
        """Note where the store stands."""
        self.base = await self.client.current_revision()

    def key(self, name: str = "") -> bytes:
        """A key of this scenario's own."""
        return f"{self.name}/{name}".encode()

    @property
    def everything(self) -> dict[str, bytes]:
        """The range of all keys of this scenario."""
        return {"key": self.key(), "range_end": f"{self.name}0".encode()}

    async def range(self, key: bytes, **options: Any) -> pb.RangeResponse:
        return await self._call(self.client.range(pb.RangeRequest(key=key, **options)))

    async def put(self, key: bytes, value: bytes = b"", **options: Any) -> pb.PutResponse:
        return await self._call(self.client.put(pb.PutRequest(key=key, value=value, **options)))

    async def delete(self, key: bytes, **options: Any) -> pb.DeleteRangeResponse:
        return await self._call(self.client.delete_range(pb.DeleteRangeRequest(key=key, **options)))

    async def txn(
        self,
        compare: list[pb.Compare] | None = None,
        success: list[pb.RequestOp] | None = None,
        failure: list[pb.RequestOp] | None = None,
    ) -> pb.TxnResponse:
        return await self._call(self.client.txn(txn_request(compare, success, failure)))

    async def compact(self, revision: int, physical: bool = True) -> pb.CompactionResponse:
        request = pb.CompactionRequest(revision=revision, physical=physical)
        return await self._call(self.client.compact(request))

    async def grant(self, ttl: int, lease_id: int = 0) -> pb.LeaseGrantResponse:
        response = await self.client.lease_grant(pb.LeaseGrantRequest(TTL=ttl, ID=lease_id))
        self._lease_names.setdefault(response.ID, f"lease {len(self._lease_names)}")
        self._write_down(response)
        return response

    async def revoke(self, lease_id: int) -> pb.LeaseRevokeResponse:
        return await self._call(self.client.lease_revoke(pb.LeaseRevokeRequest(ID=lease_id)))

    async def keep_alive(self, lease_id: int) -> pb.LeaseKeepAliveResponse:
        return await self._call(self.client.lease_keep_alive(lease_id))

    async def time_to_live(self, lease_id: int, keys: bool = False) -> pb.LeaseTimeToLiveResponse:
        request = pb.LeaseTimeToLiveRequest(ID=lease_id, keys=keys)
        return await self._call(self.client.lease_time_to_live(request))

    async def refused(self, call: Awaitable[Any], code: StatusCode, text: str) -> None:
        """The call is refused with this code and text."""
        with pytest.raises(EtcdError) as refusal:
            await call
        error = refusal.value
        self.transcript.append(f"refused: {error.code.name} {error.message}")
        assert (error.code, error.message) == (code, f"etcdserver: {text}")

    async def watch(self) -> WatchRecorder:
        """A stream whose responses are written down."""
        return WatchRecorder(self, self.client.watch())

    async def _call(self, call: Awaitable[Any]) -> Any:
        response = await call
        self._write_down(response)
        return response

    def _write_down(self, response: Message) -> None:
        self.transcript.append(self.normal(response))

    def normal(self, message: Message) -> str:
        """A message as text, without ids and terms, with revisions counted from the scenario's start."""
        copy = type(message)()
        copy.CopyFrom(message)
        self._normalise(copy)
        text = f"{type(message).__name__} {str(copy).split()}"
        for lease_id, name in self._lease_names.items():
            text = text.replace(f"'{lease_id}'", name)
        return text

    def _normalise(self, message: Message) -> None:
        if isinstance(message, pb.ResponseHeader):
            message.ClearField("cluster_id")
            message.ClearField("member_id")
            message.ClearField("raft_term")
        for descriptor, value in message.ListFields():
            if descriptor.name in _REVISIONS:
                setattr(message, descriptor.name, value - self.base)
            elif isinstance(value, Message):
                self._normalise(value)
            elif descriptor.is_repeated and descriptor.message_type is not None:
                for inner in value:
                    self._normalise(inner)


class WatchRecorder:
    """One watch stream, and what came over it."""

    def __init__(self, recorder: Recorder, stream: WatchStream) -> None:
        self._recorder = recorder
        self.stream = stream
        self._responses = aiter(stream)
        self._left: dict[int, list[kv_pb2.Event]] = {}

    async def create(self, key: bytes, **options: Any) -> pb.WatchResponse:
        """Create a watcher; returns the reply."""
        create = pb.WatchCreateRequest(key=key, **options)
        await self.stream.send(pb.WatchRequest(create_request=create))
        response = await self.next()
        assert response.created
        self._recorder._write_down(response)
        return response

    async def next(self) -> pb.WatchResponse:
        """The next response, whatever it is; not written down."""
        return await asyncio.wait_for(anext(self._responses), WAIT_SECONDS)

    async def events(self, count: int, watch_id: int = 0) -> list[kv_pb2.Event]:
        """The next events of a watcher, however they are packed; all of one revision come together."""
        events = self._left.setdefault(watch_id, [])
        while len(events) < count:
            response = await self.next()
            assert not response.canceled, response
            self._left.setdefault(response.watch_id, []).extend(response.events)
        taken, events[:count] = events[:count], []
        for event in taken:
            self._recorder._write_down(event)
        return taken

    async def response(self) -> pb.WatchResponse:
        """The next response, written down as it came."""
        response = await self.next()
        self._recorder._write_down(response)
        return response

    async def cancel(self, watch_id: int) -> None:
        """Ask for a watcher's end."""
        await self.stream.send(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watch_id)))

    async def progress(self) -> None:
        """Ask how far the stream has come."""
        await self.stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    async def close(self) -> None:
        await self.stream.close()


def txn_request(
    compare: list[pb.Compare] | None = None,
    success: list[pb.RequestOp] | None = None,
    failure: list[pb.RequestOp] | None = None,
) -> pb.TxnRequest:
    return pb.TxnRequest(compare=compare or [], success=success or [], failure=failure or [])


def op_put(key: bytes, value: bytes = b"", **options: Any) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, **options))


def op_range(key: bytes, **options: Any) -> pb.RequestOp:
    return pb.RequestOp(request_range=pb.RangeRequest(key=key, **options))


def op_delete(key: bytes, **options: Any) -> pb.RequestOp:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, **options))


def op_txn(
    compare: list[pb.Compare] | None = None,
    success: list[pb.RequestOp] | None = None,
    failure: list[pb.RequestOp] | None = None,
) -> pb.RequestOp:
    return pb.RequestOp(request_txn=txn_request(compare, success, failure))


def compare(key: bytes, target: int, result: int = pb.Compare.EQUAL, **options: Any) -> pb.Compare:
    message = pb.Compare(key=key, **options)
    message.target = pb.Compare.CompareTarget.ValueType(target)
    message.result = pb.Compare.CompareResult.ValueType(result)
    return message
