"""The parts of the core by themselves: log, progress, window, reads, settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.core import Config, ConfState, Entry, Message, MessageType, ProgressState, RaftLog, ReadOnlyOption, Snapshot
from raft.core.progress import Inflights, Progress
from raft.core.read_only import ReadOnlyQueue
from raft.errors import LogLostError
from raft.wire import ProtobufConfChangeCodec


def log_with(*terms: int, snapshot: Snapshot | None = None) -> RaftLog:
    base = snapshot.index if snapshot else 0
    return RaftLog(snapshot, [Entry(base + index, term) for index, term in enumerate(terms, start=1)])


def terms(log: RaftLog) -> list[int | None]:
    return [log.term(index) for index in range(log.first_index, log.last_index + 1)]


def test_the_log_knows_terms_and_its_ends() -> None:
    log = log_with(5, 5, 6, snapshot=Snapshot(10, 4, ConfState((1,))))
    assert (log.first_index, log.last_index, log.last_term) == (11, 13, 6)
    assert [log.term(index) for index in (9, 10, 11, 13, 14)] == [None, 4, 5, 6, None]
    assert RaftLog().last_term == 0


def test_a_log_must_continue_its_snapshot() -> None:
    with pytest.raises(LogLostError):
        RaftLog(Snapshot(10, 4, ConfState((1,))), [Entry(12, 5)])


@pytest.mark.parametrize(
    ("index", "term", "expected"),
    [(6, 3, (3, 3)), (6, 5, (6, 5)), (6, 4, (4, 4)), (6, 9, (6, 5)), (3, 3, (3, 3)), (6, 2, (1, 1)), (6, 0, (0, 0))],
)
def test_the_worked_example_of_conflict_hints(index: int, term: int, expected: tuple[int, int]) -> None:
    assert log_with(1, 3, 3, 4, 5, 5).find_conflict_by_term(index, term) == expected


def test_conflict_hints_end_at_the_compaction() -> None:
    log = log_with(5, 5, snapshot=Snapshot(10, 4, ConfState((1,))))
    assert log.find_conflict_by_term(12, 3) == (9, 0)


@pytest.mark.parametrize(
    ("previous", "new", "result", "after"),
    [
        ((3, 3), [], 3, [1, 2, 3]),
        ((2, 3), [], None, [1, 2, 3]),
        ((4, 3), [], None, [1, 2, 3]),
        ((3, 3), [4, 4], 5, [1, 2, 3, 4, 4]),
        ((1, 1), [2], 2, [1, 2, 3]),
        ((1, 1), [4], 2, [1, 4]),
        ((2, 2), [4, 4], 4, [1, 2, 4, 4]),
        ((0, 0), [1, 2, 3, 3], 4, [1, 2, 3, 3]),
    ],
)
def test_appending_as_a_follower(
    previous: tuple[int, int], new: list[int], result: int | None, after: list[int]
) -> None:
    log = log_with(1, 2, 3)
    entries = [Entry(index, term) for index, term in enumerate(new, start=previous[0] + 1)]
    assert log.maybe_append(*previous, entries, commit=0) == result
    assert terms(log) == after


def test_committed_entries_are_never_replaced() -> None:
    log = log_with(1, 2, 3)
    log.commit_to(2)
    with pytest.raises(LogLostError, match="contradicts"):
        log.maybe_append(1, 1, [Entry(2, 9)], commit=0)
    assert terms(log) == [1, 2, 3]


def test_a_commit_index_beyond_the_log_means_that_it_was_lost() -> None:
    with pytest.raises(LogLostError, match="lost"):
        log_with(1).commit_to(2)


def test_replaced_entries_are_not_durable_when_the_write_under_way_ends() -> None:
    """The write had entries 1 to 3; while it was under way 2 and 3 were replaced. Only 1 is what it was."""
    log = RaftLog()
    log.append([Entry(1, 1), Entry(2, 1), Entry(3, 1)])
    assert len(log.take_unwritten()) == 3
    log.maybe_append(1, 1, [Entry(2, 2)], commit=2)
    log.mark_stable()
    assert log.stable == 1
    assert log.take_committed(1000) == (Entry(1, 1),)
    assert log.take_unwritten() == (Entry(2, 2),)
    log.mark_stable()
    assert log.take_committed(1000) == (Entry(2, 2),)


def test_pages_have_at_least_one_entry() -> None:
    log = RaftLog(None, [Entry(index, 1, bytes(100)) for index in range(1, 6)])
    assert [entry.index for entry in log.from_index(1, 0)] == [1]
    assert [entry.index for entry in log.from_index(2, 250)] == [2, 3]
    assert [entry.index for entry in log.from_index(2, 10_000)] == [2, 3, 4, 5]
    assert log.from_index(6, 100) == ()


@pytest.mark.parametrize(
    ("index", "max_entries", "max_bytes", "expected"),
    [
        (20, 5, 10_000, 15),
        (20, 100, 10_000, 10),  # no further than the log goes back
        (20, 5, 300, 18),  # two of 100 bytes, with what each counts for besides
        (20, 5, 1, 20),
        (14, 2, 10_000, 12),
        (10, 5, 10_000, 10),
    ],
)
def test_what_is_kept_behind_a_snapshot_is_bounded(index: int, max_entries: int, max_bytes: int, expected: int) -> None:
    log = RaftLog(Snapshot(10, 4, ConfState((1,))), [Entry(11 + n, 5, data=bytes(100)) for n in range(10)])
    assert log.index_before(index, max_entries, max_bytes) == expected


def test_compaction_keeps_the_term_before_the_log() -> None:
    log = log_with(1, 1, 2, 2)
    log.commit_to(4)
    log.applied_to(4)
    log.compact(3)
    log.compact(2)  # going back does nothing
    assert (log.prev_index, log.prev_term, terms(log)) == (3, 2, [2])
    with pytest.raises(AssertionError):
        log.between(3, 4)


@given(st.lists(st.integers(1, 4), max_size=8), st.lists(st.integers(1, 4), max_size=8))
def test_up_to_date_is_a_total_order(first: list[int], second: list[int]) -> None:
    one, two = log_with(*sorted(first)), log_with(*sorted(second))
    forth = one.is_up_to_date(two.last_index, two.last_term)
    back = two.is_up_to_date(one.last_index, one.last_term)
    assert forth or back
    assert (forth and back) == ((one.last_index, one.last_term) == (two.last_index, two.last_term))


# Progress


def test_the_window_is_limited_in_messages_and_bytes() -> None:
    window = Inflights(2, 100)
    window.add(5, 10)
    assert not window.full
    window.add(7, 10)
    assert window.full
    window.free_up_to(4)
    assert len(window) == 2
    window.free_up_to(6)
    assert len(window) == 1
    window.add(9, 90)
    assert window.full
    window.clear()
    assert not window.full
    window.add(10, 100)
    assert window.full
    with pytest.raises(AssertionError):
        window.add(11, 1)


def progress(match: int, following: int, state: ProgressState = ProgressState.PROBE) -> Progress:
    result = Progress(following, Inflights(2, 0))
    result.match, result.state = match, state
    return result


@pytest.mark.parametrize(
    ("state", "match", "following", "rejected", "hint", "changed", "expected"),
    [
        (ProgressState.REPLICATE, 5, 10, 5, 5, False, 10),  # old news
        (ProgressState.REPLICATE, 5, 10, 9, 7, True, 6),
        (ProgressState.PROBE, 0, 10, 3, 3, False, 10),  # not the probe that is under way
        (ProgressState.PROBE, 0, 10, 9, 8, True, 9),
        (ProgressState.PROBE, 0, 10, 9, 2, True, 3),
        (ProgressState.PROBE, 5, 10, 9, 2, True, 6),  # never below what is known to match
        (ProgressState.PROBE, 0, 10, 9, 100, True, 9),
    ],
)
def test_rejections(
    state: ProgressState, match: int, following: int, rejected: int, hint: int, changed: bool, expected: int
) -> None:
    member = progress(match, following, state)
    assert member.maybe_decrease(rejected, hint) is changed
    assert member.next == expected


def test_a_probe_waits_for_its_answer() -> None:
    member = progress(0, 5)
    member.sent_entries(0, 0)
    assert not member.is_paused
    member.sent_entries(3, 30)
    assert member.is_paused
    assert member.next == 5
    assert member.maybe_update(7)
    assert not member.is_paused
    assert not member.maybe_update(7)
    assert member.next == 8


def test_replication_runs_ahead_until_the_window_is_full() -> None:
    member = progress(4, 5)
    member.become_replicate()
    member.sent_entries(2, 20)
    assert (member.next, member.is_paused) == (7, False)
    member.sent_entries(1, 10)
    assert (member.next, member.is_paused) == (8, True)
    member.maybe_update(6)
    member.inflights.free_up_to(6)
    assert not member.is_paused
    assert "inflight=1" in member.describe()


def test_after_a_snapshot_probing_goes_on_behind_it() -> None:
    member = progress(2, 5)
    member.become_snapshot(20)
    assert member.is_paused
    assert "pending-snapshot=20" in member.describe()
    member.become_probe()
    assert member.next == 21
    member.become_snapshot(30)
    member.pending_snapshot = 0  # it failed
    member.become_probe()
    assert member.next == 3


# Reads


def read_request(text: bytes) -> Message:
    return Message(type=MessageType.READ_INDEX, entries=(Entry(0, 0, text),))


def test_one_round_confirms_every_read_before_it() -> None:
    queue, voters = ReadOnlyQueue(), ConfState((1, 2, 3))
    assert queue.context() == b""
    queue.add(read_request(b"a"), 5)
    first = queue.context()
    queue.add(read_request(b"b"), 6)
    second = queue.context()
    queue.acknowledge(1, second)
    assert not queue.take_confirmed(voters)
    queue.acknowledge(2, first)
    assert [(request.entries[0].data, index) for request, index in queue.take_confirmed(voters)] == [(b"a", 5)]
    queue.acknowledge(2, first)  # again, late
    assert not queue.take_confirmed(voters)
    queue.acknowledge(3, second)
    assert [(request.entries[0].data, index) for request, index in queue.take_confirmed(voters)] == [(b"b", 6)]
    assert queue.context() == b""


def test_other_contexts_confirm_nothing() -> None:
    queue = ReadOnlyQueue()
    queue.add(read_request(b"a"), 5)
    for member_id in (1, 2, 3):
        queue.acknowledge(member_id, b"not eight bytes")
    assert not queue.take_confirmed(ConfState((1, 2, 3)))


# Settings


@pytest.mark.parametrize(
    "settings",
    [
        {"id": 0},
        {"heartbeat_ticks": 0},
        {"election_ticks": 1},
        {"max_inflight_messages": 0},
        {"max_inflight_bytes": 10},
        {"check_quorum": False, "read_only_option": ReadOnlyOption.LEASE_BASED},
    ],
)
def test_settings_that_cannot_work(settings: dict[str, object]) -> None:
    accepted: dict[str, object] = {"id": 1, "random_below": lambda limit: 0, "codec": ProtobufConfChangeCodec()}
    Config(**accepted)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        Config(**(accepted | settings))  # type: ignore[arg-type]


def test_a_write_that_was_overtaken_does_not_count() -> None:
    """While an entry is being written it is replaced, and then comes back: the write is of the first one."""
    log = RaftLog(None, [Entry(1, 1)])
    log.maybe_append(1, 1, [Entry(2, 2, b"a")], 1)
    assert log.take_unwritten() == (Entry(2, 2, b"a"),)
    log.maybe_append(1, 1, [Entry(2, 3, b"b")], 1)
    log.maybe_append(1, 1, [Entry(2, 2, b"a")], 1)
    log.mark_stable()
    assert log.stable == 1
    assert log.take_unwritten() == (Entry(2, 2, b"a"),)
    log.mark_stable()
    assert log.stable == 2
