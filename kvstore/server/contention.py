"""Who is first among keys under a prefix: what locks and elections have in common (etcd `client/v3/concurrency`).

Each contender puts one key, `<prefix>/<lease in hexadecimal>`, and the one created first has its turn. Whoever is not
first waits until everything created before is gone, looking at one predecessor at a time so that a release wakes one
contender and not all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import aclosing
from typing import Any, NamedTuple

from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.catalogue import COMPACTED
from kvstore.server.context import CallContext
from kvstore.server.kv import KVService
from kvstore.server.lease import LeaseService
from kvstore.server.watch import WatchService

__all__ = ["SESSION_TTL_SECONDS", "Contention", "Place", "as_clients_see", "create_compare", "created_first"]

SESSION_TTL_SECONDS = 60
"""Term of the lease made for a contender that brings none. Nobody renews it."""

logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """A contender's place in the queue.

    Attributes:
        key: the contender's own.
        revision: its create revision, which is the order of the queue.
        response: of the transaction that took the place.
    """

    key: bytes
    revision: int
    response: pb.TxnResponse


class Contention:
    """Queues of keys, over the member's own services; permissions are those of whoever calls."""

    def __init__(self, kv: KVService, watch: WatchService, lease: LeaseService) -> None:
        self.kv = kv
        self._watch = watch
        self._lease = lease
        self._clean_ups: set[asyncio.Task[None]] = set()

    async def session(self, lease_id: int, context: CallContext) -> int:
        """The lease of a contender: the one it has, or a new one.

        Raises:
            EtcdError: it was not granted.
        """
        if lease_id:
            return lease_id
        grant = await self._lease.lease_grant(pb.LeaseGrantRequest(TTL=SESSION_TTL_SECONDS), context)
        return grant.ID

    async def enter(self, prefix: bytes, lease_id: int, value: bytes, context: CallContext) -> Place:
        """Take a place, or find the one this lease has already.

        The transaction's response holds the own key when it was there before (`succeeded` is false then), and last the
        key created first. When the caller gives up before the answer is there, the place is given up as well.

        Raises:
            EtcdError: the store refused it.
        """
        key = b"%b%x" % (prefix, lease_id)
        first = pb.RequestOp(request_range=created_first(prefix))
        request = pb.TxnRequest(
            compare=[create_compare(key, 0)],
            success=[pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease_id)), first],
            failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key)), first],
        )
        attempt = asyncio.ensure_future(self.kv.txn(request, context))
        try:
            response = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            self._in_background(self._undo(key, attempt, context))
            raise
        if response.succeeded:
            return Place(key, response.header.revision, response)
        return Place(key, response.responses[0].response_range.kvs[0].create_revision, response)

    async def wait_for_turn(self, prefix: bytes, place: Place, context: CallContext) -> None:
        """Return when nothing under the prefix is older than `place`. Gives the place up when it fails.

        Raises:
            EtcdError: what to look at was compacted meanwhile, or may not be read.
        """
        try:
            while True:
                newest = created_first(prefix)
                newest.sort_order = pb.RangeRequest.DESCEND
                newest.max_create_revision = place.revision - 1
                found = await self.kv.range(newest, context)
                if not found.kvs:
                    return
                await self._deleted(found.kvs[0].key, found.header.revision, context)
        except BaseException:
            await asyncio.shield(self.leave(place, context))
            raise

    def leave(self, place: Place, context: CallContext) -> asyncio.Task[None]:
        """Give a place up; goes on though the caller should not wait."""
        return self._in_background(self._remove(place.key, place.revision, context))

    async def events(
        self, key: bytes, end: bytes, start_revision: int, context: CallContext
    ) -> AsyncGenerator[pb.WatchResponse, None]:
        """What happens to a key or range from a revision on. To be closed when no longer wanted.

        Raises:
            EtcdError: the watch was refused, or its history is gone.
        """
        create = pb.WatchCreateRequest(key=key, range_end=end, start_revision=start_revision)
        requests = _once(pb.WatchRequest(create_request=create))
        async for wires in self._watch.watch(requests, context):
            for response in map(pb.WatchResponse.FromString, wires):
                if response.compact_revision:
                    raise COMPACTED.error()
                if response.canceled:
                    raise EtcdError(StatusCode.UNKNOWN, response.cancel_reason)
                if response.events:
                    yield response

    async def _deleted(self, key: bytes, revision: int, context: CallContext) -> None:
        """Return when the key is deleted, at `revision` or after."""
        async with aclosing(self.events(key, b"", revision, context)) as responses:
            async for response in responses:
                if any(event.type == kv_pb2.Event.DELETE for event in response.events):
                    return

    async def _undo(self, key: bytes, attempt: asyncio.Future[pb.TxnResponse], context: CallContext) -> None:
        response = await attempt
        if response.succeeded:
            await self._remove(key, response.header.revision, context)

    async def _remove(self, key: bytes, revision: int, context: CallContext) -> None:
        deletion = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
        await self.kv.txn(pb.TxnRequest(compare=[create_compare(key, revision)], success=[deletion]), context)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._clean_ups.add(task)
        task.add_done_callback(self._clean_ups.discard)
        return task


def created_first(prefix: bytes) -> pb.RangeRequest:
    """The key under a prefix that was created before all others."""
    return pb.RangeRequest(
        key=prefix,
        range_end=prefix[:-1] + bytes((prefix[-1] + 1,)),
        limit=1,
        sort_target=pb.RangeRequest.CREATE,
        sort_order=pb.RangeRequest.ASCEND,
    )


def create_compare(key: bytes, revision: int) -> pb.Compare:
    """Whether a key was created at a revision; 0 means that it is not there."""
    return pb.Compare(key=key, target=pb.Compare.CREATE, result=pb.Compare.EQUAL, create_revision=revision)


@contextlib.contextmanager
def as_clients_see() -> Iterator[None]:
    """etcd's lock and election servers are clients of their own member, whose errors have lost their code."""
    try:
        yield
    except EtcdError as error:
        raise EtcdError(StatusCode.UNKNOWN, error.message) from None


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except EtcdError as error:  # the lease takes the key along in the end
        logger.warning("failed to give up a place in a queue", extra={"fields": {"error": error.message}})


async def _once(request: pb.WatchRequest) -> AsyncIterator[pb.WatchRequest]:
    yield request
