"""Is what the clients were told what one store, doing one request after the other, would have told them?

The store numbers what it does: every answer carries the revision it was given at. So there is nothing to search for.
The events of the final history make the state at each revision, and then

* each change of state must be one of the requests sent, each request at most once: nothing is done twice or invented;
* each acknowledged write must be the change at the revision that its answer names: nothing is lost, no revision is
  used again;
* each answer must be what `tests.model.kv_model` says about the state at its revision;
* revisions must go with time: who asks after somebody has been answered sees at least what that one saw.

The last point for every pair makes the history linearizable: the order by revision is the one that is sought.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence

from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from tests.model.kv_model import KeyValue, State, step, without_headers
from tests.robustness.history import History, Operation

__all__ = ["Events", "check_operations", "merge_events", "states_of"]

Events = Mapping[int, Sequence[kv_pb2.Event]]
"""Events by revision, in the order of the transaction."""


def merge_events(sources: Iterable[Iterable[kv_pb2.Event]]) -> tuple[dict[int, list[kv_pb2.Event]], list[str]]:
    """One history from what several watchers of everything have seen, and where they contradict each other."""
    merged: dict[int, list[kv_pb2.Event]] = {}
    problems = []
    for source in sources:
        own: dict[int, list[kv_pb2.Event]] = {}
        for event in source:
            bare = kv_pb2.Event(type=event.type, kv=event.kv)
            own.setdefault(event.kv.mod_revision, []).append(bare)
        for revision, events in own.items():
            if merged.setdefault(revision, events) != events:
                problems.append(f"revision {revision} is two things: {merged[revision]} and {events}")
    return merged, problems


def states_of(events: Events, last_revision: int) -> tuple[list[State], list[str]]:
    """The state at each revision up to the last, from the first (an empty store) on, by index."""
    states, problems = [State(0), State(1)], []
    for revision in range(2, last_revision + 1):
        if revision not in events:
            problems.append(f"nobody knows what revision {revision} was")
        keys = dict(states[-1].keys)
        for event in events.get(revision, ()):
            if event.type == kv_pb2.Event.PUT:
                keys[event.kv.key] = KeyValue.of(event.kv)
            elif keys.pop(event.kv.key, None) is None:
                problems.append(f"revision {revision} deletes {event.kv.key!r}, which was not there")
        states.append(State(revision, keys))
    return states, problems


def check_operations(history: History, states: Sequence[State]) -> list[str]:
    """What is wrong with the answers; empty if nothing is."""
    answered = [it for it in history.operations if it.response is not None]
    problems = [f"revision from nowhere: {it}" for it in answered if it.revision >= len(states)]
    if problems:
        return problems
    writers: dict[int, Operation] = {}
    # Who revokes a lease is not told whether that changed anything, so whoever knows goes first.
    for operation in sorted(answered, key=lambda it: isinstance(it.request, pb.LeaseRevokeRequest)):
        problems += _check_answer(operation, states, writers)
    problems += _attribute(history, states, writers)
    return problems + _check_times(answered, writers, len(states))


def _check_answer(operation: Operation, states: Sequence[State], writers: dict[int, Operation]) -> list[str]:
    """Whether the answer fits the state at its revision: as a write that made it, or as a read of it."""
    revision, request = operation.revision, operation.request
    response = operation.response
    assert response is not None
    bare = without_headers(response)
    if isinstance(request, pb.RangeRequest) and request.revision:
        past = step(states[request.revision], request)[1]
        return [] if past == bare else [f"the past has changed: {operation}\n  expected {past}"]
    read, expected = step(states[revision], request)
    is_read = read.revision == revision and expected == bare
    if isinstance(request, pb.RangeRequest):
        written = False
    else:
        after, expected = step(states[revision - 1], request)
        written = after.revision == revision and expected == bare
        if written and after == states[revision] and revision not in writers:
            writers[revision] = operation
            return []
    if is_read:
        return []
    if not written:
        return [f"not what the state at revision {revision} says: {operation}\n  expected {expected}"]
    if revision in writers:
        return [f"revision {revision} is used twice: {operation}\n  and {writers[revision]}"]
    return [f"an acknowledged write is lost: {operation}\n  revision {revision} is {states[revision]}"]


def _attribute(history: History, states: Sequence[State], writers: dict[int, Operation]) -> list[str]:
    """Find who made the revisions that nobody was told of: requests without an answer, and leases."""
    problems = []
    unknown = [it for it in history.operations if it.response is None and not isinstance(it.request, pb.RangeRequest)]
    leases = dict(history.leases)
    limits = _observed_before(history.operations, len(states))
    for revision in range(2, len(states)):
        if revision in writers:
            continue
        before, after = states[revision - 1], states[revision]
        # Who may have done this may as well have done anything later, so whom we choose does not matter.
        operation = next(
            (it for it in unknown if it.called <= limits[revision] and step(before, it.request)[0] == after), None
        )
        if operation is not None:
            unknown.remove(operation)
            writers[revision] = operation
            continue
        lease = next(
            (it for it in leases.values() if step(before, pb.LeaseRevokeRequest(ID=it.lease_id))[0] == after), None
        )
        if lease is None:
            problems.append(f"nobody asked for revision {revision}: {before} became {after}")
            continue
        del leases[lease.lease_id]
        lived = limits[revision] - lease.renewed
        if lived < lease.ttl_seconds and lease.revoked > limits[revision]:
            problems.append(f"lease {lease.lease_id:x} of {lease.ttl_seconds} s ran out {lived:.3f} s after a renewal")
    return problems


def _observed_before(operations: Iterable[Operation], size: int) -> list[float]:
    """By revision: when somebody first knew of it or of a later one."""
    limits = [math.inf] * (size + 1)
    for operation in operations:
        if operation.response is not None:
            limits[operation.revision] = min(limits[operation.revision], operation.returned)
    for revision in range(size - 1, -1, -1):
        limits[revision] = min(limits[revision], limits[revision + 1])
    return limits


def _check_times(answered: Sequence[Operation], writers: Mapping[int, Operation], size: int) -> list[str]:
    problems = []
    limits = _observed_before(answered, size)
    for revision, operation in writers.items():
        if limits[revision] < operation.called:
            problems.append(
                f"revision {revision} was seen at {limits[revision]:.3f}, before it was asked for: {operation}"
            )
    by_return = sorted(answered, key=lambda it: it.returned)
    times = [it.returned for it in by_return]
    newest, highest = [], 0
    for operation in by_return:
        highest = max(highest, operation.revision)
        newest.append(highest)
    written = {id(operation) for operation in writers.values()}
    for operation in answered:
        if operation.serializable:
            continue
        earlier = bisect.bisect_left(times, operation.called)
        seen = newest[earlier - 1] if earlier else 0
        if operation.revision < seen or (operation.revision == seen and id(operation) in written):
            problems.append(f"stale: revision {seen} had been answered before the call: {operation}")
    return problems
