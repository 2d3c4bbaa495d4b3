"""What follows when a leader's commit index moves."""

from __future__ import annotations

from raft.core import reads
from raft.core.state import Raft

__all__ = ["advance"]


def advance(raft: Raft) -> None:
    """Commit what a quorum has stored by now, and tell the members that could not know."""
    if not raft.maybe_commit():
        return
    reads.release_postponed(raft)
    for member_id, member in raft.progress.items():
        if member_id != raft.id:
            raft.want_append(member_id, even_if_empty=member.can_bump_commit(raft.log.committed))
