"""One message in: first its term, then the handler for the present role.

`HANDLERS` is the whole protocol at a glance: a pair that is not in it is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from raft.core import election, leader, reads, replication
from raft.core.election import Campaign
from raft.core.state import Raft
from raft.core.types import NO_NODE, Message, MessageType, ReadOnlyOption, Role
from raft.errors import ProposalDroppedError

__all__ = ["HANDLERS", "step", "tick"]

_FROM_LEADER = frozenset({MessageType.APP, MessageType.HEARTBEAT, MessageType.SNAP})
_VOTE_REQUESTS = frozenset({MessageType.VOTE, MessageType.PRE_VOTE})
_NEEDS_PROGRESS = frozenset(
    {
        MessageType.APP_RESP,
        MessageType.HEARTBEAT_RESP,
        MessageType.SNAP_STATUS,
        MessageType.UNREACHABLE,
    }
)


def step(raft: Raft, message: Message) -> None:
    """Take one message.

    Raises:
        ProposalDroppedError: the message was a proposal that is not taken.
        LogLostError: see there; the member must stop.
    """
    if message.term and message.term != raft.term and not _settle_term(raft, message):
        return
    kind = message.type
    if kind is MessageType.HUP:
        election.hup(raft, Campaign.PRE_ELECTION if raft.config.pre_vote else Campaign.ELECTION)
    elif kind in _VOTE_REQUESTS:
        election.handle_vote_request(raft, message)
    elif handler := HANDLERS.get((raft.role, kind)):
        if kind in _NEEDS_PROGRESS and raft.role is Role.LEADER and message.sender not in raft.progress:
            return
        handler(raft, message)


def _settle_term(raft: Raft, message: Message) -> bool:
    """Adopt a higher term, answer or drop a lower one; whether the message is to be handled after that."""
    kind = message.type
    if kind is MessageType.PROP:
        raise ProposalDroppedError("proposed to the leader of another term")
    if message.term < raft.term:
        _answer_lower_term(raft, message)
        return False
    if kind in _VOTE_REQUESTS and _in_lease(raft) and message.context != election.TRANSFER_CONTEXT:
        # A leader was heard from within the election timeout: whoever asks is cut off from it, or removed (thesis,
        # section 4.2.3).
        return False
    if kind is MessageType.PRE_VOTE or (kind is MessageType.PRE_VOTE_RESP and not message.reject):
        return True  # the term in a pre-vote is one that nobody has entered yet
    if kind is MessageType.VOTE and not raft.is_leader:
        # Only a vote that is granted starts the wait anew (paper, figure 2), else a candidate that cannot win and whose
        # clock is fast, could keep the one that can from ever standing.
        elapsed, timeout = raft.election_elapsed, raft.randomized_election_ticks
        raft.become_follower(message.term, NO_NODE)
        raft.election_elapsed, raft.randomized_election_ticks = elapsed, timeout
    else:
        raft.become_follower(message.term, message.sender if kind in _FROM_LEADER else NO_NODE)
    return True


def _in_lease(raft: Raft) -> bool:
    return raft.config.check_quorum and raft.lead != NO_NODE and raft.election_elapsed < raft.config.election_ticks


def _answer_lower_term(raft: Raft, message: Message) -> None:
    kind = message.type
    if kind in (MessageType.HEARTBEAT, MessageType.APP):
        # A member whose term has run ahead may be unable to win, because it is no voter, or votes are refused while the
        # old leader is heard. This answer makes that leader step down so that everyone meets in one term (paper, 5.1).
        raft.reply(MessageType.APP_RESP, message.sender)
    elif kind is MessageType.PRE_VOTE:
        # Dropping it could leave a mixed cluster without leader: the asker must learn of the higher term.
        raft.send(
            Message(type=MessageType.PRE_VOTE_RESP, to=message.sender, sender=raft.id, term=raft.term, reject=True)
        )


def tick(raft: Raft) -> None:
    """Let one unit of time pass."""
    raft.election_elapsed += 1
    if raft.silent_ticks:
        raft.silent_ticks -= 1
    if raft.role is Role.LEADER:
        _tick_leader(raft)
    elif raft.election_elapsed >= raft.randomized_election_ticks and raft.promotable:
        raft.election_elapsed = 0
        raft.draw_election_timeout()
        step(raft, Message(type=MessageType.HUP, sender=raft.id))


def _tick_leader(raft: Raft) -> None:
    raft.heartbeat_elapsed += 1
    if raft.election_elapsed >= raft.config.election_ticks:
        raft.election_elapsed = 0
        if raft.config.check_quorum:
            leader.handle_check_quorum(raft, Message(type=MessageType.CHECK_QUORUM, sender=raft.id))
        raft.lead_transferee = NO_NODE  # it had its time
    if raft.role is Role.LEADER and raft.heartbeat_elapsed >= raft.config.heartbeat_ticks:
        raft.heartbeat_elapsed = 0
        raft.broadcast_heartbeat()


def _heard_from_leader(handler: Callable[[Raft, Message], None]) -> Callable[[Raft, Message], None]:
    """A follower hears from the leader of its term; a candidate learns that someone else has won."""

    def handle(raft: Raft, message: Message) -> None:
        if raft.role is not Role.FOLLOWER:
            raft.become_follower(message.term, message.sender)
        raft.election_elapsed = 0
        raft.lead = message.sender
        handler(raft, message)

    return handle


def _forward(raft: Raft, message: Message) -> None:
    """Pass a request on to the leader; without one it is lost, and whoever waits asks again."""
    if raft.lead != NO_NODE:
        raft.send(replace(message, to=raft.lead))


def _forward_proposal(raft: Raft, message: Message) -> None:
    """Pass a proposal of this member on to the leader of this term, and to no other.

    So it is appended in this term or never. Once a member has applied an entry of a later term, it has applied all
    that will ever be committed of the earlier ones, and may propose anew what was not among it.
    """
    if raft.lead == NO_NODE:
        raise ProposalDroppedError("no leader")
    if not raft.config.forward_proposals:
        raise ProposalDroppedError("proposals are not forwarded")
    if message.sender != raft.id:
        raise ProposalDroppedError("forwarded to somebody who does not lead")
    raft.send(replace(message, to=raft.lead, term=raft.term))


def _drop_proposal(raft: Raft, message: Message) -> None:
    raise ProposalDroppedError("no leader")


def _forget_leader(raft: Raft, message: Message) -> None:
    """Become leaderless in the same term; refused with reads by lease, which rest on members not doing this."""
    if raft.config.read_only_option is not ReadOnlyOption.LEASE_BASED:
        raft.lead = NO_NODE


def _beat(raft: Raft, message: Message) -> None:
    raft.broadcast_heartbeat()


_append = _heard_from_leader(replication.handle_append)
_heartbeat = _heard_from_leader(replication.handle_heartbeat)
_snapshot = _heard_from_leader(replication.handle_snapshot)

HANDLERS: dict[tuple[Role, MessageType], Callable[[Raft, Message], None]] = {
    (Role.FOLLOWER, MessageType.PROP): _forward_proposal,
    (Role.FOLLOWER, MessageType.APP): _append,
    (Role.FOLLOWER, MessageType.HEARTBEAT): _heartbeat,
    (Role.FOLLOWER, MessageType.SNAP): _snapshot,
    (Role.FOLLOWER, MessageType.TRANSFER_LEADER): _forward,
    (Role.FOLLOWER, MessageType.TIMEOUT_NOW): election.handle_timeout_now,
    (Role.FOLLOWER, MessageType.READ_INDEX): _forward,
    (Role.FOLLOWER, MessageType.READ_INDEX_RESP): reads.handle_read_index_response,
    (Role.FOLLOWER, MessageType.FORGET_LEADER): _forget_leader,
    (Role.PRE_CANDIDATE, MessageType.PROP): _drop_proposal,
    (Role.PRE_CANDIDATE, MessageType.APP): _append,
    (Role.PRE_CANDIDATE, MessageType.HEARTBEAT): _heartbeat,
    (Role.PRE_CANDIDATE, MessageType.SNAP): _snapshot,
    (Role.PRE_CANDIDATE, MessageType.PRE_VOTE_RESP): election.handle_vote_response,
    (Role.CANDIDATE, MessageType.PROP): _drop_proposal,
    (Role.CANDIDATE, MessageType.APP): _append,
    (Role.CANDIDATE, MessageType.HEARTBEAT): _heartbeat,
    (Role.CANDIDATE, MessageType.SNAP): _snapshot,
    (Role.CANDIDATE, MessageType.VOTE_RESP): election.handle_vote_response,
    (Role.LEADER, MessageType.BEAT): _beat,
    (Role.LEADER, MessageType.CHECK_QUORUM): leader.handle_check_quorum,
    (Role.LEADER, MessageType.PROP): leader.handle_proposal,
    (Role.LEADER, MessageType.READ_INDEX): reads.handle_read_index,
    (Role.LEADER, MessageType.APP_RESP): replication.handle_append_response,
    (Role.LEADER, MessageType.HEARTBEAT_RESP): replication.handle_heartbeat_response,
    (Role.LEADER, MessageType.SNAP_STATUS): replication.handle_snapshot_status,
    (Role.LEADER, MessageType.UNREACHABLE): replication.handle_unreachable,
    (Role.LEADER, MessageType.TRANSFER_LEADER): leader.handle_transfer,
}
