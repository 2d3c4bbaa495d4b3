"""From a request to its place in the log, and the wait for what became of it.

The entry is an `InternalRaftRequest` with one field and a header that holds the request's id. It is joined from the
request's own bytes; the whole message is never built.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from kvstore.apply import MembershipChange, Proposal, StateMachine
from kvstore.auth import ANONYMOUS, ROOT, TRUSTED, AuthInfo, AuthStore, OldAuthRevisionError, UserEmptyError
from kvstore.environment import Clock, TimerHandle
from kvstore.errors import EtcdError
from kvstore.etcdpb import raft_internal_pb2
from kvstore.mvcc import StoreError, encode_varint
from kvstore.server import catalogue
from kvstore.server.catalogue import Refusal
from kvstore.server.consensus import Consensus
from kvstore.server.metrics import HistogramFamily, operation_name
from kvstore.server.request_ids import RequestIds

__all__ = ["DEFAULT_REQUEST_BYTES_MAX", "PENDING_MAX", "Proposer"]

DEFAULT_REQUEST_BYTES_MAX = 3 << 19
"""1.5 MiB: how large an entry of the log may be."""

PENDING_MAX = 20_000
"""Requests that may wait for the log at once."""

_OVERTAKEN = (OldAuthRevisionError, UserEmptyError)

SWEEP_SECONDS = 0.5
"""How often requests that waited too long are looked for."""

SLOW_READ_SECONDS = 0.5

_POSITIVE = (1 << 63) - 1

_FIELD_TAGS = {
    descriptor.name: encode_varint(descriptor.number << 3 | 2)
    for descriptor in raft_internal_pb2.InternalRaftRequest.DESCRIPTOR.fields
}
_HEADER_TAG = _FIELD_TAGS["header"]
_SHORT_SIZES = [encode_varint(size) for size in range(16)]


class Proposer:
    """Proposes requests and answers whoever waits for them.

    Args:
        timeout_seconds: how long a request may take; etcd allows 5 s and two election timeouts.
        request_bytes_max: entries above this are refused.
        request_seconds: observes how long those requests took of which nothing was heard.
        changes: where the waiters for changes of membership are looked for when these are applied.

    Attributes:
        failed_count: requests whose outcome nobody heard of.
        pending_bytes: of the requests that wait for the log.
        failed_reads_count, slow_reads_count: reads that no leader confirmed, or not within half a second.
    """

    def __init__(
        self,
        consensus: Consensus,
        state_machine: StateMachine,
        ids: RequestIds,
        auth: AuthStore,
        clock: Clock,
        *,
        timeout_seconds: float = 7.0,
        request_bytes_max: int = DEFAULT_REQUEST_BYTES_MAX,
        request_seconds: HistogramFamily | None = None,
        changes: dict[int, asyncio.Future[None]] | None = None,
    ) -> None:
        self._consensus = consensus
        self._state_machine = state_machine
        self._ids = ids
        self._auth = auth
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._request_bytes_max = request_bytes_max
        self._pending = state_machine.proposals
        self._loop = asyncio.get_running_loop()
        self._timer: TimerHandle | None = None
        self.failed_count = 0
        self.pending_bytes = 0
        self.failed_reads_count = 0
        self.slow_reads_count = 0
        self._request_seconds = request_seconds or HistogramFamily(0.001, 2, 14)
        self._refuse_all: Refusal | None = None
        self._changes: dict[int, asyncio.Future[None]] = {} if changes is None else changes
        self._submitted_changes: dict[int, tuple[MembershipChange, Callable[[int], bool]]] = {}
        self._leader_changed_at = -math.inf
        state_machine.on_new_term = self._propose_lost_again

    @property
    def pending_count(self) -> int:
        """Requests that wait for the log."""
        return len(self._pending)

    @property
    def applied_index(self) -> int:
        """The newest entry applied here."""
        return self._state_machine.applied_index

    def next_id(self) -> int:
        """An id no request in the cluster has."""
        return self._ids.next()

    async def propose(
        self,
        field: str,
        request: Message,
        prepared: Any = None,
        caller: AuthInfo = ANONYMOUS,
        *,
        this_term_only: bool = False,
    ) -> Any:
        """Send a request through the log; returns the response.

        The request must not be changed until this returns.

        Args:
            prepared: what to hand the applier here in place of the request, if something was made of it already.
            caller: who asks, for the log to decide whether they may.
            this_term_only: give up when the leader changes.

        Raises:
            EtcdError: it was refused, it is too large, or nothing was heard of it in time.
        """
        if self._refuse_all is not None:
            raise self._refuse_all.error()
        if len(self._pending) >= PENDING_MAX:
            raise catalogue.TOO_MANY_REQUESTS.error()
        named = caller
        if caller is TRUSTED:
            named = AuthInfo(ROOT, self._auth.revision) if self._auth.enabled else ANONYMOUS
        payload = request.SerializeToString()
        wire_id = self._ids.next_wire()
        if named is ANONYMOUS:
            header_size = _SHORT_SIZES[len(wire_id) + 1]
        else:
            wire_id += _identity_wire(named)
            header_size = encode_varint(len(wire_id) + 1)
        data = b"%b%b%b%b%b\x08%b" % (
            _FIELD_TAGS[field],
            encode_varint(len(payload)),
            payload,
            _HEADER_TAG,
            header_size,
            wire_id,
        )
        if len(data) > self._request_bytes_max:
            raise catalogue.REQUEST_TOO_LARGE.error()
        future: asyncio.Future[Any] = self._loop.create_future()
        started = self._clock.monotonic()
        deadline = started + self._timeout_seconds
        proposal = self._pending[data] = Proposal(field, prepared or request, future, deadline, named)
        proposal.this_term_only = this_term_only
        if self._timer is None:
            self._timer = self._clock.call_later(SWEEP_SECONDS, self._sweep)
        try:
            proposal.number = self._consensus.propose(data)
            self.pending_bytes += len(data)
            try:
                result = await future
            finally:
                self.pending_bytes -= len(data)
        except BaseException:  # the entry may still come, but nobody waits for it
            self._pending.pop(data, None)
            self.failed_count += 1
            self._request_seconds.of(operation_name(field), "false").observe(self._clock.monotonic() - started)
            raise
        if isinstance(result, Exception):
            if caller is TRUSTED and isinstance(result, _OVERTAKEN) and self._auth.is_newer(named):
                # Users or roles changed on the way, which is nothing to the member itself.
                return await self.propose(field, request, prepared, caller, this_term_only=this_term_only)
            raise to_client_error(result)
        return result

    async def propose_change(self, change: MembershipChange) -> None:
        """Send a change of membership through the log; returns when it is in force here.

        Raises:
            EtcdError: it was refused, or nothing was heard of it in time.
        """
        if self._refuse_all is not None:
            raise self._refuse_all.error()
        request_id = self._ids.next() & _POSITIVE
        future: asyncio.Future[None] = self._loop.create_future()
        self._changes[request_id] = future
        started = self._clock.monotonic()
        timer = self._clock.call_later(self._timeout_seconds, lambda: _time_out(future))
        try:
            self._submitted_changes[request_id] = change, self._consensus.propose_change(change, request_id)
            await future
        except StoreError as error:
            raise catalogue.to_etcd_error(error) from None
        except TimeoutError:
            raise self._timed_out(started).error() from None
        finally:
            timer.cancel()
            self._changes.pop(request_id, None)
            self._submitted_changes.pop(request_id, None)

    def note_leader_change(self) -> None:
        """Somebody else leads, or nobody; requests that time out are told so."""
        self._leader_changed_at = self._clock.monotonic()

    async def linearize(self) -> None:
        """Return when this member has applied everything acknowledged before the call.

        Raises:
            EtcdError: no leader confirmed it in time.
        """
        if self._refuse_all is not None:
            raise self._refuse_all.error()
        started = self._clock.monotonic()
        try:
            index = await self._consensus.read_index()
            if self._state_machine.applied_index < index:
                await self._applied(index)
        except EtcdError:
            self.failed_reads_count += 1
            raise
        finally:
            if self._clock.monotonic() - started > SLOW_READ_SECONDS:
                self.slow_reads_count += 1

    async def _applied(self, index: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._state_machine.when_applied(index, lambda: None if future.done() else future.set_result(None))
        await future

    def refuse_all(self, refusal: Refusal) -> None:
        """Refuse everything that waits and everything that comes: the member stops."""
        self._refuse_all = refusal
        for proposal in self._pending.values():
            _fail(proposal, refusal)
        for future in self._changes.values():
            if not future.done():
                future.set_exception(refusal.error())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _propose_lost_again(self, term: int) -> None:
        """The first entry of a term was applied: what was proposed before and has not come is lost, and tried again.

        So a change of leader makes its clients wait, and nothing is done twice.
        """
        lost = self._consensus.lost_before(term)
        for data in [data for data, proposal in self._pending.items() if proposal.number in lost]:
            proposal = self._pending.pop(data)
            if proposal.waiter.done():
                continue
            if proposal.this_term_only:
                _fail(proposal, catalogue.LEADER_CHANGED)
                continue
            self._pending[data] = proposal
            try:
                proposal.number = self._consensus.propose(data)
            except EtcdError as error:
                assert isinstance(proposal.waiter, asyncio.Future)
                proposal.waiter.set_exception(error)
        for request_id, (change, is_lost_before) in self._submitted_changes.items():
            future = self._changes.get(request_id)
            if future is None or future.done() or not is_lost_before(term):
                continue
            try:
                self._submitted_changes[request_id] = change, self._consensus.propose_change(change, request_id)
            except EtcdError as error:
                future.set_exception(error)

    def _sweep(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for proposal in self._pending.values():
            if proposal.deadline <= now:
                _fail(proposal, self._timed_out(proposal.deadline - self._timeout_seconds))
        if self._pending:
            self._timer = self._clock.call_later(SWEEP_SECONDS, self._sweep)

    def _timed_out(self, started: float) -> Refusal:
        """Why a request that began at `started` was not answered, as far as can be told."""
        if not self._consensus.leader_id:
            return catalogue.TIMED_OUT_CONNECTION_LOST
        return catalogue.TIMED_OUT_LEADER_FAILED if self._leader_changed_at >= started else catalogue.TIMED_OUT


def _time_out(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())


def _identity_wire(caller: AuthInfo) -> bytes:
    """Fields 2 and 3 of `RequestHeader`."""
    name = caller.username.encode()
    return b"\x12%b%b\x18%b" % (encode_varint(len(name)), name, encode_varint(caller.revision))


def _fail(proposal: Proposal, refusal: Refusal) -> None:
    waiter = proposal.waiter
    assert isinstance(waiter, asyncio.Future)
    if not waiter.done():
        waiter.set_exception(refusal.error())


def to_client_error(error: Exception) -> Exception:
    """A result that is an exception, as the one to raise."""
    if isinstance(error, StoreError):
        return catalogue.to_etcd_error(error)
    return error if isinstance(error, EtcdError) else AssertionError(f"unexpected result: {error!r}")
