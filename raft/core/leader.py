"""What only a leader does: take proposals, keep its authority, hand it over."""

from __future__ import annotations

from raft.core import membership
from raft.core.state import Raft
from raft.core.types import NO_NODE, Entry, Message, MessageType
from raft.errors import ProposalDroppedError

__all__ = ["handle_check_quorum", "handle_proposal", "handle_transfer", "propose"]


def propose(raft: Raft, entries: list[Entry]) -> None:
    """Append entries that carry the leader's term and the indexes behind its log.

    Raises:
        ProposalDroppedError: leadership is moving, this leader is no member any more, or too much is uncommitted.
    """
    if raft.leaving_index or raft.id not in raft.progress:
        raise ProposalDroppedError("this leader has been removed")
    if raft.lead_transferee != NO_NODE:
        raise ProposalDroppedError("leadership is being transferred")
    pending = raft.pending_conf_index
    membership.check_proposed(raft, entries)
    if not raft.append_as_leader(entries):
        raft.pending_conf_index = pending
        raise ProposalDroppedError("too much is proposed and not committed")


def handle_proposal(raft: Raft, message: Message) -> None:
    """Take a proposal that a follower of this term has forwarded, or a change of membership of this member's own.

    Raises:
        ProposalDroppedError: it does not say for which term it was meant; and see `propose`.
    """
    if not message.term and message.sender != raft.id:
        raise ProposalDroppedError("forwarded without a term")
    first, term = raft.log.last_index + 1, raft.term
    propose(raft, [Entry(first + offset, term, entry.data, entry.type) for offset, entry in enumerate(message.entries)])


def handle_check_quorum(raft: Raft, message: Message) -> None:
    """Step down when a quorum has been silent for an election timeout (thesis, section 6.2)."""
    if not raft.quorum_active():
        raft.become_follower(raft.term, NO_NODE)
        return
    for member_id, member in raft.progress.items():
        if member_id != raft.id:
            member.recent_active = False


def handle_transfer(raft: Raft, message: Message) -> None:
    """Hand leadership to the message's sender, bringing its log up to date first (thesis, section 3.10)."""
    target = message.sender
    if target not in raft.progress or not raft.conf_state.is_voter(target) or target == raft.lead_transferee:
        return
    raft.lead_transferee = NO_NODE  # another transfer gives way to this one
    if target == raft.id:
        return
    raft.election_elapsed = 0  # it has one election timeout to succeed
    raft.lead_transferee = target
    if raft.progress[target].match == raft.log.last_index:
        raft.reply(MessageType.TIMEOUT_NOW, target)
    else:
        raft.want_append(target, even_if_empty=True)
