"""The simulator finds bugs: each of these, put in on purpose, is caught within a few seeds.

LEDGER.md says what each one would do to a real cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from raft.core import ConfState, Message, election, quorum, reads, state
from raft.core.log import RaftLog
from raft.core.state import Raft
from raft.wal import log as wal_log
from tests.sim.disk import SimDisk
from tests.sim.world import World

SEEDS_MAX = 1500


def promises_before_the_disk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(state, "_AFTER_PERSIST", frozenset({state.MessageType.VOTE}))

    def send(self: Raft, message: Message) -> None:
        (self.after_persist if message.to == self.id else self.messages).append(message)

    patch.setattr(Raft, "send", send)


def commit_by_counting_old_terms(patch: pytest.MonkeyPatch) -> None:
    def maybe_commit(self: Raft) -> bool:
        index = quorum.committed_index(self.conf_state, lambda member_id: self.progress[member_id].match)
        if index <= self.log.committed:
            return False
        self.log.commit_to(index)
        return True

    patch.setattr(Raft, "maybe_commit", maybe_commit)


def no_sync(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimDisk, "fsync", lambda self, file: None)


def reads_without_confirmation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reads, "_confirm", lambda raft, message: reads._answer(raft, message, raft.log.committed))


def votes_for_outdated_logs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RaftLog, "is_up_to_date", lambda self, index, term: True)


def two_votes_in_a_term(patch: pytest.MonkeyPatch) -> None:
    original = election.handle_vote_request

    def forgetful(raft: Raft, message: Message) -> None:
        raft.vote = 0
        original(raft, message)

    patch.setattr(election, "handle_vote_request", forgetful)


def one_majority_of_two(patch: pytest.MonkeyPatch) -> None:
    original = quorum.committed_index

    def incoming_only(configuration: ConfState, acked: Callable[[int], int]) -> int:
        return original(ConfState(configuration.voters), acked)

    patch.setattr(state, "committed_index", incoming_only)
    tally = quorum.tally
    patch.setattr(state, "tally", lambda configuration, votes: tally(ConfState(configuration.voters), votes))


def unfinished_writes_left_behind(patch: pytest.MonkeyPatch) -> None:
    def only_seek(files: Any, tail: Any, offset: int, segment_bytes: int) -> None:
        tail.seek(offset)

    patch.setattr(wal_log, "_clear_from", only_seek)


def names_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimDisk, "fsync_dir", lambda self, path: None)


def lost_tail_of_an_append(patch: pytest.MonkeyPatch) -> None:
    original = RaftLog.maybe_append

    def claims_more(self: RaftLog, prev_index: int, prev_term: int, entries: Sequence[Any], commit: int) -> int | None:
        last = original(self, prev_index, prev_term, entries, commit)
        return None if last is None else max(last, min(self.last_index, last + 1))

    patch.setattr(RaftLog, "maybe_append", claims_more)


BUGS = [
    promises_before_the_disk,
    commit_by_counting_old_terms,
    no_sync,
    reads_without_confirmation,
    votes_for_outdated_logs,
    two_votes_in_a_term,
    one_majority_of_two,
    unfinished_writes_left_behind,
    names_not_synced,
    lost_tail_of_an_append,
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_the_simulator_finds(bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    bug(monkeypatch)
    for seed in range(1, SEEDS_MAX + 1):
        try:
            World(seed).run()
        except Exception as error:
            print(f"{bug.__name__}: seed {seed}: {type(error).__name__}: {str(error)[:150]}")
            return
    pytest.fail(f"{bug.__name__} went unnoticed in {SEEDS_MAX} seeds")
