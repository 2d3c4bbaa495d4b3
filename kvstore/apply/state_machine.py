"""Committed entries in, answers and events out.

A member that proposed an entry itself still has the request it made it from, so it need not parse it again: proposals
wait under the very bytes they were proposed as, which come back as the entry's data. Everything else is parsed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from kvstore.apply.applier import Applier
from kvstore.apply.errors import UnknownRequestError
from kvstore.auth import ANONYMOUS, AuthInfo
from kvstore.backend import Backend
from kvstore.etcdpb import raft_internal_pb2
from kvstore.mvcc import StoreError, WatchHub

__all__ = ["ApplyObserver", "CommittedEntry", "Proposal", "StateMachine"]

APPLIED_INDEX_KEY = b"consistent_index"
APPLIED_TERM_KEY = b"term"


class CommittedEntry(Protocol):
    """What this module needs of an entry of the log; `raft.core.Entry` has it."""

    index: int
    term: int
    data: bytes


class Waiter(Protocol):
    """Who waits for a result; an `asyncio.Future` is one."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: Any, /) -> None:
        """Hand over a response or the `StoreError` that was raised."""


class Proposal:
    """A request on its way through the log.

    Attributes:
        field: of `InternalRaftRequest`.
        request: the message in that field; a transaction may come as its `TxnPlan`. Once the waiter is done its owner
            may have changed it.
        waiter: who asked.
        deadline: on the proposer's clock.
        caller: whom the entry's header names.
        number: what consensus calls it, in the order of proposing; -1 before.
        this_term_only: not to be proposed again when the leader changes.
    """

    __slots__ = ("caller", "deadline", "field", "number", "request", "this_term_only", "waiter")

    def __init__(self, field: str, request: Any, waiter: Waiter, deadline: float, caller: AuthInfo = ANONYMOUS) -> None:
        self.field = field
        self.request = request
        self.waiter = waiter
        self.deadline = deadline
        self.caller = caller
        self.number = -1
        self.this_term_only = False


class ApplyObserver(Protocol):
    """Told of every request as it is applied, for metrics. Must not raise."""

    def begin(self) -> None:
        """A batch begins."""

    def applied(self, data: bytes, proposal: Proposal | None, result: Any) -> None:
        """An entry's request has become a response or a `StoreError`."""


class StateMachine:
    """Applies the log in order, each entry once.

    Attributes:
        observer: told of every request.
        applied_index: of the newest entry applied; it is stored with what the entry changed.
        applied_bytes: of the entries applied since the start.
        proposals: requests proposed here and not applied yet, by the bytes proposed, oldest first.
        on_new_term: called with the term after a batch of entries with the first one of a new term was applied.
    """

    def __init__(self, applier: Applier, backend: Backend, hub: WatchHub) -> None:
        self._applier = applier
        self._backend = backend
        self._hub = hub
        self._waiters: list[tuple[int, int, Callable[[], None]]] = []
        self._waiter_count = 0
        self.observer: ApplyObserver | None = None
        self.proposals: dict[bytes, Proposal] = {}
        self.applied_bytes = 0
        self.on_new_term: Callable[[int], None] = lambda term: None
        self.restore()

    def restore(self) -> None:
        """Read how far the database is; to be called again when it was replaced."""
        self.applied_index = _stored_number(self._backend, APPLIED_INDEX_KEY)
        self.applied_term = _stored_number(self._backend, APPLIED_TERM_KEY)
        if self._waiters:
            self._wake_waiters()

    def apply(self, entries: Sequence[CommittedEntry]) -> None:
        """Apply committed entries; ones applied before a restart are skipped.

        Events go out and callers are answered once, after the whole batch.
        """
        settled: list[tuple[Waiter, Any]] = []
        term_before = self.applied_term
        self._applier.quota.refresh()
        observer = self.observer
        if observer is not None:
            observer.begin()
        for entry in entries:
            if entry.index <= self.applied_index:
                continue
            self.applied_index = entry.index
            if entry.term != self.applied_term:
                self._enter_term(entry.term)
            data = entry.data
            if not data:
                continue
            self.applied_bytes += len(data)
            proposal = self.proposals.pop(data, None)
            result = self._apply_data(data, proposal)
            if observer is not None:
                observer.applied(data, proposal, result)
            if proposal is not None:
                settled.append((proposal.waiter, result))
        self._note_applied()
        self._hub.notify(self._applier.store.take_events())
        for waiter, result in settled:
            if not waiter.done():
                waiter.set_result(result)
        if self._waiters:
            self._wake_waiters()
        if self.applied_term != term_before:
            self.on_new_term(self.applied_term)

    def note_applied(self, index: int, term: int) -> None:
        """Note an entry that changes nothing here, a membership change for one."""
        if index > self.applied_index:
            self.applied_index = index
            self._enter_term(term)
            self._note_applied()
            self._wake_waiters()

    def when_applied(self, index: int, callback: Callable[[], None]) -> None:
        """Call back once the entry at `index` is applied; at once if it is."""
        if index <= self.applied_index:
            callback()
        else:
            self._waiter_count += 1
            heapq.heappush(self._waiters, (index, self._waiter_count, callback))

    def _apply_data(self, data: bytes, proposal: Proposal | None) -> Any:
        try:
            if proposal is not None and not proposal.waiter.done():
                return self._applier.apply(proposal.field, proposal.request, proposal.caller)
            return self._applier.apply(*_parse(data))
        except StoreError as refusal:
            return refusal

    def _enter_term(self, term: int) -> None:
        self.applied_term = term
        headers = self._applier.headers
        headers.raft_term = max(headers.raft_term, term)

    def _note_applied(self) -> None:
        self._backend.put("meta", APPLIED_INDEX_KEY, self.applied_index.to_bytes(8, "big"))
        self._backend.put("meta", APPLIED_TERM_KEY, self.applied_term.to_bytes(8, "big"))

    def _wake_waiters(self) -> None:
        while self._waiters and self._waiters[0][0] <= self.applied_index:
            heapq.heappop(self._waiters)[2]()


def _stored_number(backend: Backend, key: bytes) -> int:
    return int.from_bytes(backend.get("meta", key) or b"", "big")


def _parse(data: bytes) -> tuple[str, Any, AuthInfo]:
    try:
        request = raft_internal_pb2.InternalRaftRequest.FromString(data)
    except DecodeError as error:
        raise UnknownRequestError(str(error)) from error
    for descriptor, message in request.ListFields():
        if descriptor.name not in ("ID", "header"):
            header = request.header
            return descriptor.name, message, AuthInfo(header.username, header.auth_revision)
    raise UnknownRequestError("empty request")
