"""The checkers find what they are for: a history that is right, and one small lie at a time."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest

from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from tests.model.kv_model import Request, State, step
from tests.robustness.history import Delivery, History, Lease, Operation, WatchLog, WatchSession
from tests.robustness.session import check

LEASE = 7
REQUESTS: tuple[Request, ...] = (
    pb.PutRequest(key=b"k/0", value=b"a"),
    pb.PutRequest(key=b"k/1", value=b"b", lease=LEASE),
    pb.RangeRequest(key=b"k/", range_end=b"k0"),
    pb.PutRequest(key=b"k/0", value=b"c", prev_kv=True),
    pb.TxnRequest(
        compare=[pb.Compare(key=b"k/0", target=pb.Compare.MOD, mod_revision=4)],
        success=[
            pb.RequestOp(request_put=pb.PutRequest(key=b"k/0", value=b"d")),
            pb.RequestOp(request_put=pb.PutRequest(key=b"k/2", value=b"e")),
        ],
        failure=[pb.RequestOp(request_range=pb.RangeRequest(key=b"k/0"))],
    ),
    pb.RangeRequest(key=b"k/0"),
    pb.DeleteRangeRequest(key=b"k/2", prev_kv=True),
    pb.LeaseRevokeRequest(ID=LEASE),
    pb.RangeRequest(key=b"k/0", revision=4),
    pb.PutRequest(key=b"k/1", value=b"f"),
    pb.RangeRequest(key=b"k/1"),
)


def events_between(before: State, after: State) -> list[kv_pb2.Event]:
    events = []
    for key in sorted({*before.keys, *after.keys}):
        old, new = before.keys.get(key), after.keys.get(key)
        if old == new:
            continue
        kv = new.message() if new else kv_pb2.KeyValue(key=key, mod_revision=after.revision)
        kind = kv_pb2.Event.PUT if new else kv_pb2.Event.DELETE
        events.append(kv_pb2.Event(type=kind, kv=kv, prev_kv=old.message() if old else None))
    return events


@pytest.fixture
def history() -> History:
    """One client asks one thing after the other; three watchers look on, the first with a break."""
    history = History()
    history.leases[LEASE] = Lease(LEASE, 5, 1.0)
    everything = WatchLog("all", b"k/", b"k0", previous=True, sessions=[WatchSession("m0", 1), WatchSession("m0", 5)])
    deletes = WatchLog("deletes", b"k/", b"k0", no_put=True, sessions=[WatchSession("m0", 1)])
    one = WatchLog("one", b"k/0", b"", sessions=[WatchSession("m0", 1)])
    history.watches = [everything, deletes, one]
    state = State()
    states = {1: state}
    for time, request in enumerate(REQUESTS):
        before, (state, response) = state, step(state, request)
        states[state.revision] = state
        if isinstance(request, pb.RangeRequest) and request.revision:
            response = step(states[request.revision], request)[1]
        response.header.revision = state.revision
        history.operations.append(Operation(0, request, 10 * time, 10 * time + 1, response))
        for log in history.watches:
            session = log.sessions[0] if state.revision < log.sessions[-1].start_revision else log.sessions[-1]
            events = [copy.deepcopy(event) for event in events_between(before, state) if log.covers(event)]
            for event in events:
                if not log.previous:
                    event.ClearField("prev_kv")
            session.deliveries.append(Delivery(state.revision, events, 10 * time))
    return history


LAST_REVISION = 8


def test_a_right_history_has_no_problems(history: History) -> None:
    assert check(history, LAST_REVISION) == []
    assert len(history.operations) == len(REQUESTS)


def test_an_unanswered_write_may_have_happened_or_not(history: History) -> None:
    for number in (0, 3, 6, 7):
        history.operations[number].response = None
        history.operations[number].returned = math.inf
    never = Operation(1, pb.PutRequest(key=b"k/0", value=b"never"), 5.0)
    history.operations.append(never)
    assert check(history, LAST_REVISION) == []


def _lost(history: History) -> None:
    """Acknowledged, and nobody has ever seen it."""
    answer = pb.PutResponse(header=pb.ResponseHeader(revision=5))
    history.operations.append(Operation(1, pb.PutRequest(key=b"k/0", value=b"lost"), 41, 42, answer))


def _again(history: History) -> None:
    first = history.operations[0]
    history.operations.append(Operation(1, first.request, 0, 1, first.response))


def _invented(history: History) -> None:
    del history.operations[3]


def _twice(history: History) -> None:
    """A write without answer that was done two times."""
    history.operations[9].response = None
    for log in history.watches[:1]:
        event = copy.deepcopy(log.sessions[-1].deliveries[-2].events[0])
        event.prev_kv.CopyFrom(event.kv)
        event.kv.mod_revision, event.kv.version = 9, 2
        log.sessions[-1].deliveries.append(Delivery(9, [event], 100))
    history.operations.append(_answered(pb.RangeRequest(key=b"k/0", revision=4), 9, like=history.operations[8]))


def _answered(request: Request, revision: int, like: Operation) -> Operation:
    response = copy.deepcopy(like.response)
    assert response is not None
    response.header.revision = revision
    return Operation(1, request, 200, 201, response)


def _stale_read(history: History) -> None:
    """The first list again, long after others have seen more."""
    old = history.operations[2]
    history.operations.append(Operation(1, old.request, 90, 91, old.response))


def _wrong_read(history: History) -> None:
    response = history.operations[5].response
    assert isinstance(response, pb.RangeResponse)
    response.kvs[0].value = b"other"


def _wrong_past(history: History) -> None:
    response = history.operations[8].response
    assert isinstance(response, pb.RangeResponse)
    response.kvs[0].version += 1


def _wrong_previous(history: History) -> None:
    response = history.operations[3].response
    assert isinstance(response, pb.PutResponse)
    response.prev_kv.value = b"other"


def _wrong_branch(history: History) -> None:
    response = history.operations[4].response
    assert isinstance(response, pb.TxnResponse)
    response.succeeded = False


def _before_its_time(history: History) -> None:
    history.operations[0].called, history.operations[0].returned = 55, 56


def _lease_too_short(history: History) -> None:
    del history.operations[7]
    history.leases[LEASE].renewed = 79


@pytest.mark.parametrize(
    ("lie", "complaint"),
    [
        (_lost, "acknowledged write is lost|used twice"),
        (_again, "used twice"),
        (_invented, "nobody asked"),
        (_twice, "nobody asked"),
        (_stale_read, "stale"),
        (_wrong_read, "not what the state"),
        (_wrong_past, "past has changed"),
        (_wrong_previous, "not what the state"),
        (_wrong_branch, "not what the state"),
        (_before_its_time, "before it was asked for|stale"),
        (_lease_too_short, "ran out"),
    ],
)
def test_a_lie_to_a_client_is_found(history: History, lie: Callable[[History], None], complaint: str) -> None:
    lie(history)
    problems = check(history, LAST_REVISION + (lie is _twice))
    assert any(part in problem for problem in problems for part in complaint.split("|")), problems


def _swap(history: History) -> None:
    deliveries = history.watches[0].sessions[1].deliveries
    deliveries[0].events[:], deliveries[2].events[:] = list(deliveries[2].events), list(deliveries[0].events)


def _repeat(history: History) -> None:
    session = history.watches[2].sessions[0]
    session.deliveries.append(copy.deepcopy(session.deliveries[0]))


def _split(history: History) -> None:
    session = history.watches[0].sessions[1]
    first = session.deliveries[0]
    session.deliveries.insert(1, Delivery(first.revision, [first.events.pop()], first.received))


def _miss(history: History) -> None:
    del history.watches[2].sessions[0].deliveries[3]


def _miss_after_break(history: History) -> None:
    history.watches[0].sessions[1].start_revision = 4


def _progress_ahead(history: History) -> None:
    history.watches[2].sessions[0].deliveries.insert(2, Delivery(5, [], 0))


def _no_previous(history: History) -> None:
    next(it for it in history.watches[0].sessions[1].deliveries if it.events).events[0].ClearField("prev_kv")


def _unasked(history: History) -> None:
    event = copy.deepcopy(history.watches[0].sessions[0].deliveries[0].events[0])
    history.watches[1].sessions[0].deliveries.insert(0, Delivery(2, [event], 0))


def _miscounted(history: History) -> None:
    for log in history.watches:
        for session in log.sessions:
            for delivery in session.deliveries:
                for event in delivery.events:
                    if event.kv.mod_revision == 8:
                        event.kv.version = 3


@pytest.mark.parametrize(
    ("lie", "guarantee"),
    [
        (_swap, "ordered"),
        (_repeat, "unique"),
        (_split, "atomic"),
        (_miss, "reliable"),
        (_miss_after_break, "resumable"),
        (_progress_ahead, "bookmarkable"),
        (_no_previous, "right_previous_value"),
        (_unasked, "right_filter"),
        (_miscounted, "right_versions"),
    ],
)
def test_a_lie_to_a_watcher_is_found(history: History, lie: Callable[[History], None], guarantee: str) -> None:
    lie(history)
    problems = check(history, LAST_REVISION)
    assert any(f"is not {guarantee}" in problem for problem in problems), problems
