"""The simulator finds bugs: each of these, put in on purpose, is caught within a few seeds.

LEDGER.md says what each one would do to a real cluster.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from raft.core import Message, election, quorum, reads, state
from raft.core.log import RaftLog
from raft.core.state import Raft
from raft.wal import log as wal_log
from tests.sim.disk import SimDisk
from tests.sim.world import LivenessError, World

SEEDS_MAX = int(os.environ.get("SEEDS", 200))


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


def unfinished_writes_left_behind(patch: pytest.MonkeyPatch) -> None:
    def only_seek(files: Any, tail: Any, offset: int, segment_bytes: int) -> None:
        tail.seek(offset)

    patch.setattr(wal_log, "_clear_from", only_seek)


def names_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SimDisk, "fsync_dir", lambda self, path: None)


# Where each was found last. A change of the simulator makes other histories of the same seeds, so when one of these no
# longer shows its bug, the first few others are tried.
BUGS = {
    promises_before_the_disk: 17,
    commit_by_counting_old_terms: 63,
    no_sync: 1,
    reads_without_confirmation: 63,
    votes_for_outdated_logs: 2,
    two_votes_in_a_term: 35,
    unfinished_writes_left_behind: 123,
    names_not_synced: 2,
}
# Figure 8 of the paper needs leaders that follow each other quickly, and appends of one entry.
FOCUS: dict[Callable[[pytest.MonkeyPatch], None], dict[str, Any]] = {
    commit_by_counting_old_terms: {
        "size": 5,
        "pre_vote": False,
        "check_quorum": False,
        "max_size_per_message_bytes": 0,
        "max_inflight_messages": 1,
        "membership_changes": False,
        "misfortunes": ("crash_leader", "isolate_leader", "isolate_leader", "mend_network"),
        "every_ms": 60,
    }
}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_the_simulator_finds(bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    bug(monkeypatch)
    for seed in (BUGS[bug], *range(1, SEEDS_MAX + 1)):
        try:
            World(seed, **FOCUS.get(bug, {})).run()
        except LivenessError:
            continue  # a bug in safety has to be seen as one
        except Exception as error:
            print(f"{bug.__name__}: seed {seed}: {type(error).__name__}: {str(error)[:150]}")
            return
    pytest.fail(f"{bug.__name__} went unnoticed in {SEEDS_MAX} seeds")
