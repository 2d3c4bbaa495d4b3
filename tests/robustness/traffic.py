"""Clients that write and read a handful of keys, all at once, and note what they were told."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

from kvstore.client.grpc import GrpcClient
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from tests.model.kv_model import Request
from tests.robustness.history import History, Lease, Operation

__all__ = ["KEYS", "PREFIX", "PREFIX_END", "Recorder", "Traffic", "kind_of"]

PREFIX, PREFIX_END = b"k/", b"k0"
KEYS = tuple(b"k/%d" % number for number in range(8))
OPERATION_SECONDS_MAX = 2.0
LEASE_TTL_SECONDS = 3
PAUSE_SECONDS_MAX = 0.04
RETRY_SECONDS = 0.1

_METHODS = {
    pb.RangeRequest: "range",
    pb.PutRequest: "put",
    pb.DeleteRangeRequest: "delete_range",
    pb.TxnRequest: "txn",
    pb.LeaseRevokeRequest: "lease_revoke",
}


class Recorder:
    """A client whose every operation goes into the history."""

    def __init__(self, number: int, history: History, urls: Sequence[str]) -> None:
        self.number = number
        self.client = GrpcClient(urls, timeout_seconds=OPERATION_SECONDS_MAX)
        self._history = history

    async def call(self, request: Request) -> Any:
        """Send a request; the response, or None when nothing good was heard of it."""
        operation = Operation(self.number, request, time.monotonic())
        operation.serializable = isinstance(request, pb.RangeRequest) and request.serializable
        self._history.operations.append(operation)
        try:
            response = await getattr(self.client, _METHODS[type(request)])(request)
        except EtcdError as error:
            self._history.errors[f"{error.code.name}: {kind_of(error.message)}"] += 1
            return None
        operation.returned = time.monotonic()
        operation.response = response
        return response

    async def close(self) -> None:
        """Disconnect."""
        await self.client.close()


def kind_of(message: str) -> str:
    """A message without addresses."""
    return message.split("ipv4:")[0].split("; ")[0].strip(" :")[:100]


class Traffic:
    """Several clients, each with one operation at a time, until they are stopped.

    Args:
        urls: of the members; each client goes round them.
        seed: decides what is asked, in each client for itself.
    """

    def __init__(self, history: History, urls: Sequence[str], *, clients: int, seed: int) -> None:
        self._history = history
        self._urls = urls
        self._recorders = [Recorder(number, history, urls) for number in range(clients)]
        self._tasks: list[asyncio.Task[None]] = []
        self._seed = seed
        self._stopping = False

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        for recorder in self._recorders:
            chance = random.Random(self._seed * 1000 + recorder.number)
            self._tasks.append(loop.create_task(_Client(recorder, chance, self._history, self).run()))

    @property
    def stopping(self) -> bool:
        """Whether the clients are to end."""
        return self._stopping

    async def stop(self) -> None:
        """End, when the operations under way have."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*(recorder.close() for recorder in self._recorders))


class _Client:
    """Chooses what to ask next. Values are unique: client and number."""

    def __init__(self, recorder: Recorder, chance: random.Random, history: History, traffic: Traffic) -> None:
        self._recorder = recorder
        self._chance = chance
        self._history = history
        self._traffic = traffic
        self._count = 0
        self._lease: Lease | None = None
        self._seen: dict[bytes, int] = {}
        self._kinds = (self._put, self._put, self._get, self._list, self._delete, self._swap, self._several, self._past)

    async def run(self) -> None:
        while not self._traffic.stopping:
            await self._look_after_lease()
            failures = sum(self._history.errors.values())
            await self._chance.choice(self._kinds)()
            failed = sum(self._history.errors.values()) > failures
            await asyncio.sleep(RETRY_SECONDS if failed else self._chance.uniform(0, PAUSE_SECONDS_MAX))

    def _key(self) -> bytes:
        return self._chance.choice(KEYS)

    def _put_request(self, key: bytes) -> pb.PutRequest:
        self._count += 1
        value = b"%d.%d" % (self._recorder.number, self._count)
        lease = self._lease.lease_id if self._lease and self._chance.random() < 0.2 else 0
        return pb.PutRequest(key=key, value=value, lease=lease, prev_kv=self._chance.random() < 0.5)

    async def _put(self) -> None:
        await self._recorder.call(self._put_request(self._key()))

    async def _get(self) -> None:
        key = self._key()
        response = await self._recorder.call(pb.RangeRequest(key=key, serializable=self._chance.random() < 0.2))
        if response is not None:
            self._seen[key] = response.kvs[0].mod_revision if response.kvs else 0

    async def _list(self) -> None:
        await self._recorder.call(pb.RangeRequest(key=PREFIX, range_end=PREFIX_END))

    async def _past(self) -> None:
        revision = max(self._seen.values(), default=0)
        if revision:
            await self._recorder.call(pb.RangeRequest(key=PREFIX, range_end=PREFIX_END, revision=revision))

    async def _delete(self) -> None:
        await self._recorder.call(pb.DeleteRangeRequest(key=self._key(), prev_kv=self._chance.random() < 0.5))

    async def _swap(self) -> None:
        """Put a key that has not changed since it was last read; else read it."""
        key = self._chance.choice(list(self._seen) or [KEYS[0]])
        compare = pb.Compare(key=key, target=pb.Compare.MOD, mod_revision=self._seen.get(key, 0))
        response = await self._recorder.call(
            pb.TxnRequest(
                compare=[compare],
                success=[pb.RequestOp(request_put=self._put_request(key))],
                failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key))],
            )
        )
        if response is not None:
            self._seen[key] = response.header.revision if response.succeeded else 0
            if not response.succeeded and response.responses[0].response_range.kvs:
                self._seen[key] = response.responses[0].response_range.kvs[0].mod_revision

    async def _several(self) -> None:
        first, second, third = self._chance.sample(KEYS, 3)
        await self._recorder.call(
            pb.TxnRequest(
                success=[
                    pb.RequestOp(request_put=self._put_request(first)),
                    pb.RequestOp(request_range=pb.RangeRequest(key=PREFIX, range_end=PREFIX_END)),
                    pb.RequestOp(request_put=self._put_request(second)),
                    pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=third, prev_kv=True)),
                ]
            )
        )

    async def _look_after_lease(self) -> None:
        """Have a lease; renew it now and then, or forget it, so that it runs out, or revoke it."""
        choice = self._chance.random()
        try:
            if self._lease is None:
                if choice < 0.1:
                    called = time.monotonic()
                    granted = await self._recorder.client.lease_grant(pb.LeaseGrantRequest(TTL=LEASE_TTL_SECONDS))
                    self._lease = Lease(granted.ID, granted.TTL, called)
                    self._history.leases[granted.ID] = self._lease
            elif choice < 0.05:
                called = time.monotonic()
                renewed = await self._recorder.client.lease_keep_alive(self._lease.lease_id)
                if renewed.TTL > 0:
                    self._lease.renewed = called
                else:
                    self._lease = None
            elif choice < 0.07:
                self._lease = None
            elif choice < 0.08:
                self._lease.revoked = time.monotonic()
                lease, self._lease = self._lease, None
                await self._recorder.call(pb.LeaseRevokeRequest(ID=lease.lease_id))
        except EtcdError as error:
            if error.code is not StatusCode.NOT_FOUND:
                self._history.errors[f"{error.code.name}: {kind_of(error.message)}"] += 1
            self._lease = None
