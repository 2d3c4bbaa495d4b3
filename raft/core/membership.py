"""Changes of membership: proposed by a leader, in force when applied (Ongaro's thesis, chapter 4).

One change may be under way at a time: in the log and not yet applied. Unlike in the thesis a change takes effect when
it is applied, not when it is appended, which is safe under the same rule.
"""

from __future__ import annotations

from raft.core import commit, confchange
from raft.core.state import Raft
from raft.core.types import NO_NODE, ConfChangeV2, ConfState, Entry, EntryType
from raft.errors import ConfChangeError

__all__ = ["adopt", "apply", "check_proposed"]


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


def adopt(raft: Raft, conf_state: ConfState) -> None:
    """Go by `conf_state` from now on."""
    raft.conf_state = conf_state
    raft.track_members()
    if not raft.is_leader:
        return
    if raft.config.step_down_on_removal and not conf_state.is_voter(raft.id):
        raft.become_follower(raft.term, NO_NODE)
        return
    commit.advance(raft)  # a smaller quorum may have stored more
    raft.want_append_to_all(even_if_empty=False)  # newcomers need not wait for the next heartbeat
    if raft.lead_transferee != NO_NODE and not conf_state.is_voter(raft.lead_transferee):
        raft.lead_transferee = NO_NODE
