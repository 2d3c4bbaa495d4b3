"""The guarantees of watches, each a check of its own (etcd.io, "API guarantees", and etcd's robustness tests).

Every check takes what one watcher got and the final history, and names what is wrong. `events` holds what happened at
each revision, `states` the store at each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from kvstore.etcdpb import kv_pb2
from tests.model.kv_model import KeyValue, State
from tests.robustness.check_operations import Events
from tests.robustness.history import WatchLog

__all__ = ["CHECKS", "check_watch", "everything"]

_Event = kv_pb2.Event


def everything(log: WatchLog) -> Iterator[_Event]:
    """All events of a watcher, in the order they came."""
    for session in log.sessions:
        for delivery in session.deliveries:
            yield from delivery.events


def ordered(log: WatchLog, events: Events, states: Sequence[State]) -> list[str]:
    """Events come by revision."""
    problems, last = [], 0
    for event in everything(log):
        if event.kv.mod_revision < last:
            problems.append(f"revision {event.kv.mod_revision} after {last}")
        last = event.kv.mod_revision
    return problems


def unique(log: WatchLog, events: Events, states: Sequence[State]) -> list[str]:
    """No event comes twice."""
    seen, problems = set(), []
    for event in everything(log):
        name = event.kv.mod_revision, event.kv.key
        if name in seen:
            problems.append(f"twice: {name}")
        seen.add(name)
    return problems


def atomic(log: WatchLog, events: Events, states: Sequence[State]) -> list[str]:
    """Events of one revision come in one response."""
    problems = []
    for session in log.sessions:
        previous: set[int] = set()
        for delivery in session.deliveries:
            revisions = {event.kv.mod_revision for event in delivery.events}
            problems += [f"revision {revision} in two responses" for revision in sorted(revisions & previous)]
            previous |= revisions
    return problems


def reliable(log: WatchLog, events: Events, states: Sequence[State]) -> list[str]:
    """Between the first and the last that came, nothing is missing, and nothing came that did not happen."""
    got = [_bare(event) for event in everything(log)]
    if not got:
        return []
    first, last = log.sessions[0].start_revision, max(event.kv.mod_revision for event in got)
    return _difference(log, events, first, last, got)


def resumable(log: WatchLog, events: Events, states: Sequence[State]) -> list[str]:
    """Each session begins with the first event from its start revision on, also when that is long ago."""
    problems = []
    for session in log.sessions:
        got = [_bare(event) for delivery in session.deliveries for event in delivery.events]
        if got:
            last = got[-1].kv.mod_revision
            problems += _difference(log, events, session.start_revision, last, got)
    return problems


def bookmarkable(log: WatchLog, events: Events, states: Sequence[State]) -> list[str]:
    """When a response names a revision, everything up to it has come, and nothing up to it comes later."""
    problems = []
    for session in log.sessions:
        got: list[_Event] = []
        promised = 0
        for delivery in session.deliveries:
            new = [_bare(event) for event in delivery.events]
            if new and not delivery.revision >= new[-1].kv.mod_revision:
                problems.append(f"a header of revision {delivery.revision} over {new[-1].kv.mod_revision}")
            if new and new[0].kv.mod_revision <= promised:
                problems.append(f"revision {new[0].kv.mod_revision} after progress to {promised}")
            got += new
            if not new:
                promised = max(promised, delivery.revision)
                problems += _difference(log, events, session.start_revision, delivery.revision, got)
    return problems


def right_previous_value(log: WatchLog, events: Events, states: Sequence[State]) -> list[str]:
    """The previous value is that of the revision before; none where there was none or none was asked for."""
    problems = []
    for event in everything(log):
        before = states[event.kv.mod_revision - 1].keys.get(event.kv.key)
        expected = before if log.previous else None
        found = KeyValue.of(event.prev_kv) if event.HasField("prev_kv") else None
        if found != expected:
            problems.append(f"revision {event.kv.mod_revision} of {event.kv.key!r} came after {found}, not {expected}")
    return problems


def right_filter(log: WatchLog, events: Events, states: Sequence[State]) -> list[str]:
    """Nothing comes that the watcher did not ask for."""
    return [f"not asked for: {event}" for event in everything(log) if not log.covers(event)]


def right_versions(log: WatchLog, events: Events, states: Sequence[State]) -> list[str]:
    """Creation revision and version count what happened to the key since it was created."""
    problems = []
    for event in everything(log):
        if event.type != _Event.PUT:
            continue
        revision = event.kv.mod_revision
        before = states[revision - 1].keys.get(event.kv.key)
        expected = (before.create_revision, before.version + 1) if before else (revision, 1)
        if (event.kv.create_revision, event.kv.version) != expected:
            problems.append(f"{event.kv} should be created at, and version {expected}")
    return problems


CHECKS: tuple[Callable[[WatchLog, Events, Sequence[State]], list[str]], ...] = (
    ordered,
    unique,
    atomic,
    reliable,
    resumable,
    bookmarkable,
    right_previous_value,
    right_filter,
    right_versions,
)


def check_watch(log: WatchLog, events: Events, states: Sequence[State]) -> list[str]:
    """What is wrong with what a watcher got, with the name of the guarantee in front."""
    return [f"{log.name} is not {check.__name__}: {text}" for check in CHECKS for text in check(log, events, states)]


def _bare(event: _Event) -> _Event:
    return _Event(type=event.type, kv=event.kv)


def _difference(log: WatchLog, events: Events, first: int, last: int, got: Sequence[_Event]) -> list[str]:
    expected = [it for revision in range(first, last + 1) for it in events.get(revision, ()) if log.covers(it)]
    if list(got) == expected:
        return []
    missing = [_short(it) for it in expected if it not in got]
    extra = [_short(it) for it in got if it not in expected]
    return [f"from {first} to {last}: missing {missing[:5]}, not expected {extra[:5]}"]


def _short(event: _Event) -> str:
    return f"{'put' if event.type == _Event.PUT else 'delete'} {event.kv.key.decode()} at {event.kv.mod_revision}"
