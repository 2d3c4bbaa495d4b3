"""Changes of membership: proposed by a leader, in force when applied (Ongaro's thesis, chapter 4).

One change may be under way at a time: in the log and not yet applied. Unlike in the thesis a change takes effect when
it is applied, not when it is appended, which is safe under the same rule.
"""

from __future__ import annotations

from raft.core import commit, confchange
from raft.core.quorum import VoteResult, tally
from raft.core.state import Raft
from raft.core.types import NO_NODE, ConfChangeV2, ConfState, Entry, EntryType, MessageType
from raft.errors import ConfChangeError

__all__ = ["adopt", "apply", "check_proposed", "heard"]


def check_proposed(raft: Raft, entries: list[Entry]) -> None:
    """Turn membership changes that may not be proposed now into empty entries, in place.

    The check is a best effort: it goes by the configuration applied here, which the log may be ahead of.
    """
    for position, entry in enumerate(entries):
        if entry.type is EntryType.NORMAL:
            continue
        if raft.config.validate_conf_changes and not _may_propose(raft, entry):
            entries[position] = Entry(entry.index, entry.term)
        else:
            raft.pending_conf_index = entry.index


def _may_propose(raft: Raft, entry: Entry) -> bool:
    if raft.pending_conf_index > raft.log.applied:
        return False
    try:
        change = raft.config.codec.decode(entry)
    except ConfChangeError:
        return False
    return raft.conf_state.joint == confchange.is_leave(change)


def apply(raft: Raft, change: ConfChangeV2) -> ConfState:
    """Put a committed change in force; raises ConfChangeError, leaving everything as it was, when it does not fit."""
    adopt(raft, confchange.apply_change(raft.conf_state, change))
    return raft.conf_state


def heard(raft: Raft, member_id: int, context: bytes) -> None:
    """A member has answered a heartbeat of a leader that is leaving; the last one it needs lets it go.

    Until then it must stay, or the others could be stuck: who does not know that the change is committed still needs
    the votes of the old configuration to be elected, and gets none from members whose logs go on behind it. Once a
    majority of the new configuration knows, whichever of them has the longest log can win.
    """
    if not raft.leaving_index or context != raft.leaving_context():
        return
    raft.informed[member_id] = True
    if tally(raft.conf_state, raft.informed) is not VoteResult.WON:
        return
    voters = [voter for voter in raft.conf_state.voters if voter in raft.informed]
    successor = max(voters, key=lambda voter: raft.progress[voter].match)
    raft.reply(MessageType.TIMEOUT_NOW, successor)
    raft.become_follower(raft.term, NO_NODE)


def adopt(raft: Raft, conf_state: ConfState) -> None:
    """Go by `conf_state` from now on."""
    raft.conf_state = conf_state
    raft.track_members()
    if not raft.is_leader:
        return
    if raft.config.step_down_on_removal and not conf_state.is_voter(raft.id):
        raft.leaving_index = raft.log.committed
        raft.broadcast_heartbeat()
    commit.advance(raft)  # a smaller quorum may have stored more
    raft.want_append_to_all(even_if_empty=False)  # newcomers need not wait for the next heartbeat
    if raft.lead_transferee != NO_NODE and not conf_state.is_voter(raft.lead_transferee):
        raft.lead_transferee = NO_NODE
