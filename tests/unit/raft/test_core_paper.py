"""What the Raft paper claims, one test for a claim. Sections are the paper's (extended version) or the thesis'."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from raft.core import Config, ConfState, Entry, HardState, Message, MessageType, Peer, RawNode, Ready, Role, Snapshot
from raft.errors import LogLostError, ProposalDroppedError, UnexpectedMessageError
from raft.wire import ProtobufConfChangeCodec

VOTERS = ConfState((1, 2, 3))


def make(
    *terms: int, member_id: int = 1, state: ConfState = VOTERS, hard_state: HardState | None = None, **settings: Any
) -> RawNode:
    """A follower with these terms in its log; the last one is its own unless `hard_state` says otherwise."""
    config = Config(
        id=member_id,
        random_below=settings.pop("random_below", lambda limit: 0),
        codec=ProtobufConfChangeCodec(),
        **({"pre_vote": False, "check_quorum": False} | settings),
    )
    entries = [Entry(index, term) for index, term in enumerate(terms, start=1)]
    return RawNode(
        config, entries=entries, conf_state=state, hard_state=hard_state or HardState(terms[-1] if terms else 0)
    )


def work(node: RawNode) -> list[Message]:
    """Do everything that is due; returns the messages."""
    messages: list[Message] = []
    while node.has_ready:
        ready: Ready = node.ready()
        messages += ready.messages
        node.advance(ready)
    return messages


def elect(node: RawNode) -> None:
    node.campaign()
    work(node)
    for voter in node.conf_state.voters:
        if voter != node.id and not node.is_leader:
            node.step(Message(type=MessageType.VOTE_RESP, sender=voter, to=node.id, term=node.term))
    assert node.is_leader


def message(kind: MessageType, term: int, **fields: Any) -> Message:
    return Message(type=kind, sender=2, to=1, term=term, **fields)


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_a_higher_term_makes_anybody_a_follower(role: Role) -> None:
    """5.1: if a candidate or leader discovers that its term is out of date, it immediately reverts to follower."""
    node = make(1)
    if role is not Role.FOLLOWER:
        node.campaign()
    if role is Role.LEADER:
        elect(node)
    assert node.role is role
    node.step(message(MessageType.APP, 7, index=0, log_term=0))
    assert (node.role, node.term, node.leader) == (Role.FOLLOWER, 7, 2)


def test_a_lower_term_is_rejected() -> None:
    """5.1: if a server receives a request with a stale term number, it rejects the request."""
    node = make(1, 2)
    node.step(message(MessageType.APP, 1, index=2, log_term=2, entries=(Entry(3, 1),)))
    assert node.last_index == 2


def test_everybody_starts_as_follower() -> None:
    """5.2: when servers start up, they begin as followers."""
    assert make().role is Role.FOLLOWER


def test_a_leader_sends_heartbeats() -> None:
    """5.2: leaders send periodic heartbeats to all followers in order to maintain their authority."""
    node = make(1, heartbeat_ticks=2)
    elect(node)
    work(node)
    node.tick()
    assert not work(node)
    node.tick()
    assert [(it.type, it.to) for it in work(node)] == [(MessageType.HEARTBEAT, 2), (MessageType.HEARTBEAT, 3)]


def test_a_silent_leader_is_replaced() -> None:
    """5.2: if a follower receives no communication over an election timeout, it begins an election: it increments its
    current term, votes for itself and issues RequestVote in parallel to each of the other servers.
    """
    node = make(1, election_ticks=5)
    for _ in range(4):
        node.tick()
    assert node.role is Role.FOLLOWER
    node.tick()
    assert (node.role, node.term, node.status().vote) == (Role.CANDIDATE, 2, 1)
    assert [(it.type, it.to, it.term) for it in work(node)] == [(MessageType.VOTE, 2, 2), (MessageType.VOTE, 3, 2)]


def test_a_refused_candidate_does_not_prolong_the_wait() -> None:
    """Figure 2: the wait for a leader begins anew by hearing from one or by granting a vote, and not otherwise."""
    node = make(1, 2, election_ticks=5)
    for term in range(3, 7):
        node.tick()
        node.step(Message(type=MessageType.VOTE, sender=2, to=1, term=term, index=1, log_term=1))
        assert [it.reject for it in work(node)] == [True]
    assert node.role is Role.FOLLOWER
    node.tick()
    assert (node.role, node.term) == (Role.CANDIDATE, 7)
    node.step(Message(type=MessageType.VOTE, sender=2, to=1, term=8, index=2, log_term=2))
    assert [it.reject for it in work(node) if it.type is MessageType.VOTE_RESP] == [False]
    for _ in range(4):
        node.tick()
    assert node.role is Role.FOLLOWER


@pytest.mark.parametrize("kind", [MessageType.APP, MessageType.HEARTBEAT])
def test_a_heard_leader_is_not_replaced(kind: MessageType) -> None:
    """5.2: a server remains in follower state as long as it receives valid RPCs from a leader."""
    node = make(1, election_ticks=5)
    for _ in range(20):
        node.step(message(kind, 1, index=1, log_term=1))
        node.tick()
    assert node.role is Role.FOLLOWER


def test_election_timeouts_are_random() -> None:
    """5.2: election timeouts are chosen randomly from a fixed interval."""
    drawn = iter([0, 3, 1, 4, 2] * 20)
    waits = []
    node = make(1, election_ticks=5, random_below=lambda limit: next(drawn) % limit)
    for _ in range(5):
        count = 0
        term = node.term
        while node.term == term:
            node.tick()
            count += 1
        waits.append(count)
    assert len(set(waits)) > 2
    assert all(5 <= wait < 10 for wait in waits)


@pytest.mark.parametrize(
    ("size", "votes", "wins"), [(1, 0, True), (3, 1, True), (3, 0, False), (5, 2, True), (5, 1, False)]
)
def test_a_majority_elects(size: int, votes: int, wins: bool) -> None:
    """5.2: a candidate wins an election if it receives votes from a majority of the servers in the full cluster."""
    node = make(1, state=ConfState(tuple(range(1, size + 1))))
    node.campaign()
    work(node)
    for voter in range(2, 2 + votes):
        node.step(Message(type=MessageType.VOTE_RESP, sender=voter, to=1, term=2))
    assert node.is_leader is wins


def test_each_server_votes_once_in_a_term() -> None:
    """5.2: each server will vote for at most one candidate in a given term, on a first-come-first-served basis."""
    node = make(1)
    answers = []
    for candidate in (2, 3, 2):
        node.step(Message(type=MessageType.VOTE, sender=candidate, to=1, term=2, index=1, log_term=1))
        answers += [(it.to, it.reject) for it in work(node)]
    assert answers == [(2, False), (3, True), (2, False)]


def test_a_vote_survives_a_restart() -> None:
    """5.2 and figure 2: votedFor is updated on stable storage before responding."""
    node = make(1, hard_state=HardState(2, 2, 0))
    node.step(Message(type=MessageType.VOTE, sender=3, to=1, term=2, index=1, log_term=1))
    assert [it.reject for it in work(node)] == [True]


def test_a_candidate_yields_to_a_leader_of_its_term() -> None:
    """5.2: if the leader's term is at least as large as the candidate's, the candidate recognizes it as legitimate."""
    node = make(1)
    node.campaign()
    node.step(message(MessageType.HEARTBEAT, 2))
    assert (node.role, node.leader) == (Role.FOLLOWER, 2)


def test_a_leader_appends_and_replicates() -> None:
    """5.3: the leader appends the command to its log as a new entry, then issues AppendEntries in parallel."""
    node = make(1)
    elect(node)
    work(node)
    for follower in (2, 3):
        node.step(Message(type=MessageType.APP_RESP, sender=follower, to=1, term=2, index=2))
    work(node)
    node.propose([b"command"])
    sent = work(node)
    assert [(it.type, it.to, it.index, it.log_term, it.entries) for it in sent] == [
        (MessageType.APP, follower, 2, 2, (Entry(3, 2, b"command"),)) for follower in (2, 3)
    ]


def test_an_entry_is_committed_once_a_majority_has_it() -> None:
    """5.3: a log entry is committed once the leader has replicated it on a majority; this also commits all preceding
    entries in the leader's log.
    """
    node = make(1, 1, state=ConfState((1, 2, 3, 4, 5)))
    elect(node)
    work(node)
    for follower in (2,):
        node.step(Message(type=MessageType.APP_RESP, sender=follower, to=1, term=2, index=3))
    assert node.commit_index == 0
    node.step(Message(type=MessageType.APP_RESP, sender=3, to=1, term=2, index=3))
    assert node.commit_index == 3


def test_followers_learn_the_commit_index() -> None:
    """5.3: the leader includes the highest committed index in future AppendEntries so that the others find out."""
    node = make(1, 1)
    node.step(message(MessageType.APP, 1, index=2, log_term=1, commit=1))
    assert node.commit_index == 1
    node.step(message(MessageType.APP, 1, index=2, log_term=1, entries=(Entry(3, 1),), commit=9))
    assert node.commit_index == 3
    ready = node.ready()
    assert [entry.index for entry in ready.committed_entries] == [1, 2]  # 3 is not durable yet


@pytest.mark.parametrize(
    ("index", "term", "ok"), [(0, 0, True), (1, 1, True), (2, 2, True), (2, 1, False), (3, 3, False)]
)
def test_the_consistency_check(index: int, term: int, ok: bool) -> None:
    """5.3: if the follower does not find an entry with the same index and term, it refuses the new entries."""
    node = make(1, 2)
    node.step(message(MessageType.APP, 2, index=index, log_term=term))
    assert [it.reject for it in work(node)] == [not ok]


@pytest.mark.parametrize(
    ("previous", "entries", "stored", "after"),
    [
        ((2, 2), [(3, 3)], [(3, 3)], [1, 2, 3]),
        ((1, 1), [(2, 3), (3, 4)], [(2, 3), (3, 4)], [1, 3, 4]),
        ((0, 0), [(1, 1)], [], [1, 2]),
        ((0, 0), [(1, 3)], [(1, 3)], [3]),
    ],
)
def test_conflicting_entries_are_overwritten(
    previous: tuple[int, int], entries: list[tuple[int, int]], stored: list[tuple[int, int]], after: list[int]
) -> None:
    """5.3: conflicting entries in follower logs will be overwritten with entries from the leader's log."""
    node = make(1, 2, hard_state=HardState(4))
    sent = tuple(Entry(index, term) for index, term in entries)
    node.step(message(MessageType.APP, 4, index=previous[0], log_term=previous[1], entries=sent))
    assert [(entry.index, entry.term) for entry in node.ready().entries] == stored
    assert [entry.term for entry in node.entries(1, node.last_index)] == after


@pytest.mark.parametrize(
    ("log", "candidate", "granted"),
    [
        ((1,), (1, 1), True),
        ((1,), (2, 1), True),
        ((1, 1), (1, 1), False),
        ((1,), (1, 2), True),
        ((1, 1), (1, 2), True),
        ((2,), (1, 1), False),
        ((2,), (2, 1), False),
    ],
)
def test_votes_go_to_logs_that_are_up_to_date(log: tuple[int, ...], candidate: tuple[int, int], granted: bool) -> None:
    """5.4.1: the voter denies its vote if its own log is more up-to-date than that of the candidate."""
    node = make(*log)
    node.step(message(MessageType.VOTE, 5, index=candidate[0], log_term=candidate[1]))
    assert [not it.reject for it in work(node)] == [granted]


@pytest.mark.parametrize(("acked", "expected"), [(1, 0), (2, 0), (3, 3)])
def test_only_entries_of_the_own_term_are_counted(acked: int, expected: int) -> None:
    """5.4.2: only log entries from the leader's current term are committed by counting replicas."""
    node = make(1, 2)
    elect(node)
    work(node)
    node.step(Message(type=MessageType.APP_RESP, sender=2, to=1, term=3, index=acked))
    assert node.commit_index == expected


def test_a_new_leader_appends_an_empty_entry() -> None:
    """8: each leader commits a blank no-op entry into the log at the start of its term."""
    node = make(1)
    elect(node)
    assert node.entries(2, 2) == (Entry(2, 2),)


def test_a_leader_never_touches_its_own_entries() -> None:
    """Figure 3, leader append-only: whatever comes in its own term, a leader only appends."""
    node = make(1)
    elect(node)
    work(node)
    before = node.entries(1, node.last_index)
    node.step(message(MessageType.APP, 2, index=1, log_term=1, entries=(Entry(2, 2, b"other"),)))
    assert node.entries(1, node.last_index) == before
    assert node.is_leader


def test_a_snapshot_takes_the_place_of_the_log() -> None:
    """7: if the follower's log does not reach that far, it discards its entire log for the snapshot."""
    node = make(1, 1)
    snapshot = Snapshot(5, 3, VOTERS, b"state")
    node.step(message(MessageType.SNAP, 3, snapshot=snapshot))
    ready = node.ready()
    assert ready.snapshot == snapshot
    assert not ready.messages  # nothing is acknowledged before it is stored
    node.advance(ready)
    assert [(it.type, it.index) for it in work(node)] == [(MessageType.APP_RESP, 5)]
    assert (node.first_index, node.last_index, node.applied_index) == (6, 5, 5)


def test_an_old_snapshot_is_ignored() -> None:
    """7: a snapshot that describes a prefix of the log leaves the entries after it."""
    node = make(1, 1, 1)
    node.step(message(MessageType.SNAP, 1, snapshot=Snapshot(2, 1, VOTERS)))
    assert node.last_index == 3
    assert node.commit_index == 2
    assert node.ready().snapshot is None


def test_learners_do_not_stand() -> None:
    """Thesis 4.2.1: non-voting members receive the log and are not counted."""
    node = make(1, member_id=3, state=ConfState((1, 2), (3,)), election_ticks=2)
    for _ in range(20):
        node.tick()
    node.campaign()
    assert node.role is Role.FOLLOWER


def test_votes_are_refused_while_a_leader_is_heard() -> None:
    """Thesis 4.2.3: a RequestVote within the minimum election timeout of hearing from a leader changes nothing."""
    node = make(1, check_quorum=True, election_ticks=5)
    node.step(message(MessageType.HEARTBEAT, 1))
    work(node)
    request = Message(type=MessageType.VOTE, sender=3, to=1, term=9, index=9, log_term=9)
    node.step(request)
    assert node.term == 1
    assert not work(node)
    node.step(replace(request, context=b"CampaignTransfer"))  # with the leader's consent
    assert node.term == 9


def test_a_leader_without_quorum_steps_down() -> None:
    """Thesis 6.2: a leader steps down if an election timeout elapses without a round of heartbeats to a majority."""
    node = make(1, check_quorum=True, election_ticks=5)
    elect(node)
    for _ in range(5):
        node.tick()
    assert (node.role, node.leader) == (Role.FOLLOWER, 0)


def test_pre_votes_raise_no_terms() -> None:
    """Thesis 9.6: a candidate only increments its term if it first learns that a majority would grant their votes."""
    node = make(1, pre_vote=True)
    node.campaign()
    assert (node.role, node.term) == (Role.PRE_CANDIDATE, 1)
    assert [(it.type, it.term) for it in work(node)] == [(MessageType.PRE_VOTE, 2)] * 2
    node.step(Message(type=MessageType.PRE_VOTE_RESP, sender=2, to=1, term=2))
    assert (node.role, node.term) == (Role.CANDIDATE, 2)


# What is not in the paper


def test_proposals_without_leader_are_dropped() -> None:
    with pytest.raises(ProposalDroppedError):
        make(1).propose([b"x"])


def test_local_messages_and_answers_of_strangers_are_refused() -> None:
    node = make(1)
    with pytest.raises(UnexpectedMessageError):
        node.step(message(MessageType.HUP, 1))
    with pytest.raises(UnexpectedMessageError):
        node.step(Message(type=MessageType.APP_RESP, sender=9, to=1, term=1))


def test_a_member_that_lost_its_log_stops() -> None:
    node = make(1)
    with pytest.raises(LogLostError):
        node.step(message(MessageType.HEARTBEAT, 1, commit=5))


def test_a_member_that_starts_from_nothing_gives_no_votes_for_a_while() -> None:
    """It may have voted, lost its disk and forgotten; by then that candidate has won or given up."""

    def ask(node: RawNode, term: int) -> list[MessageType]:
        node.step(message(MessageType.VOTE, term, index=9, log_term=1))
        return [answer.type for answer in work(node) if answer.type is MessageType.VOTE_RESP]

    new = make(hard_state=HardState())
    for term in range(1, 2 * new.config.election_ticks + 1):
        assert ask(new, term) == []
        new.tick()
    assert ask(new, 99) == [MessageType.VOTE_RESP]
    assert ask(make(1), 2) == [MessageType.VOTE_RESP], "who has a log has not forgotten"


def test_only_members_without_history_found_clusters() -> None:
    with pytest.raises(ValueError, match="history"):
        make(1).bootstrap([Peer(1)])
    with pytest.raises(ValueError, match="at least one"):
        make().bootstrap([])


def test_snapshots_and_compaction_keep_their_order() -> None:
    node = make(1, 1, 1, hard_state=HardState(1, 0, 3))
    work(node)
    with pytest.raises(ValueError, match="without a snapshot"):
        node.compact(2)
    with pytest.raises(ValueError, match="no snapshot"):
        node.create_snapshot(4, VOTERS)
    node.create_snapshot(2, VOTERS, b"two")
    node.compact(2)
    assert node.first_index == 3
    with pytest.raises(ValueError, match="no snapshot"):
        node.create_snapshot(1, VOTERS)
    with pytest.raises(ValueError, match="without a snapshot"):
        node.compact(3)
