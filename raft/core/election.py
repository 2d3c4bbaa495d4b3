"""Elections: standing, voting and counting (paper, section 5.2 and 5.4.1; thesis, sections 3.10 and 9.6)."""

from __future__ import annotations

from enum import Enum, unique

from raft.core.quorum import VoteResult
from raft.core.state import Raft
from raft.core.types import NO_NODE, EntryType, Message, MessageType, Role

__all__ = [
    "TRANSFER_CONTEXT",
    "Campaign",
    "campaign",
    "handle_timeout_now",
    "handle_vote_request",
    "handle_vote_response",
    "hup",
]

TRANSFER_CONTEXT = b"CampaignTransfer"
"""Marks vote requests made on the leader's wish, so that the lease of that leader does not stand in their way."""


@unique
class Campaign(Enum):
    """Why and how a member stands."""

    PRE_ELECTION = "pre-election"
    ELECTION = "election"
    TRANSFER = "transfer"


def hup(raft: Raft, kind: Campaign) -> None:
    """Stand for election, unless this member leads already or may not."""
    if raft.is_leader or not raft.promotable or _has_unapplied_conf_change(raft):
        return
    campaign(raft, kind)


def _has_unapplied_conf_change(raft: Raft) -> bool:
    """A change that is committed but not applied here could make this member count votes by an old configuration."""
    log = raft.log
    if log.applied >= log.committed:
        return False
    return any(entry.type is not EntryType.NORMAL for entry in log.between(log.applied + 1, log.committed))


def campaign(raft: Raft, kind: Campaign) -> None:
    """Become (pre-)candidate and ask every voter."""
    if kind is Campaign.PRE_ELECTION:
        raft.become_pre_candidate()
        request, term = MessageType.PRE_VOTE, raft.term + 1
        count_vote(raft, raft.id, granted=True)  # promises nothing, so it need not be durable
        if raft.role is not Role.PRE_CANDIDATE:
            return  # the only voter has gone straight on to the election
    else:
        raft.become_candidate()
        request, term = MessageType.VOTE, raft.term
        # The vote for oneself counts once it is durable.
        raft.send(Message(type=MessageType.VOTE_RESP, to=raft.id, sender=raft.id, term=term))
    context = TRANSFER_CONTEXT if kind is Campaign.TRANSFER else b""
    for voter in raft.conf_state.all_voters():
        if voter != raft.id:
            raft.send(
                Message(
                    type=request,
                    to=voter,
                    sender=raft.id,
                    term=term,
                    index=raft.log.last_index,
                    log_term=raft.log.last_term,
                    context=context,
                )
            )


def count_vote(raft: Raft, voter: int, *, granted: bool) -> None:
    """Take note of a vote (the first of each voter counts) and act when it decides."""
    raft.votes.setdefault(voter, granted)
    result = raft.tally_votes()
    if result is VoteResult.WON:
        if raft.role is Role.PRE_CANDIDATE:
            campaign(raft, Campaign.ELECTION)
        else:
            raft.become_leader()
    elif result is VoteResult.LOST:
        raft.become_follower(raft.term, NO_NODE)


def handle_vote_request(raft: Raft, message: Message) -> None:
    """Grant or refuse a vote or a pre-vote.

    A learner votes as well: it may have been promoted without knowing, and the candidate's newer configuration may
    depend on it.
    """
    if raft.silent_ticks:
        return
    is_real = message.type is MessageType.VOTE
    answer = MessageType.VOTE_RESP if is_real else MessageType.PRE_VOTE_RESP
    may_vote = (
        raft.vote == message.sender
        or (raft.vote == NO_NODE and raft.lead == NO_NODE)
        or (not is_real and message.term > raft.term)
    )
    if may_vote and raft.log.is_up_to_date(message.index, message.log_term):
        # The answer carries the term asked about: for a pre-vote that is not ours, which would be dropped as old.
        raft.send(Message(type=answer, to=message.sender, sender=raft.id, term=message.term))
        if is_real:
            raft.grant_vote(message.sender)
    else:
        raft.send(Message(type=answer, to=message.sender, sender=raft.id, term=raft.term, reject=True))


def handle_vote_response(raft: Raft, message: Message) -> None:
    """Count an answer to the request of the present role; late answers to the other kind are ignored."""
    wanted = MessageType.PRE_VOTE_RESP if raft.role is Role.PRE_CANDIDATE else MessageType.VOTE_RESP
    if message.type is wanted:
        count_vote(raft, message.sender, granted=not message.reject)


def handle_timeout_now(raft: Raft, message: Message) -> None:
    """The leader wants this member to take over: no pre-vote, there is no partition to recover from."""
    hup(raft, Campaign.TRANSFER)
