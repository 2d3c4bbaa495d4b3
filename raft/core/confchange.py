"""The algebra of configurations: pure functions from one `ConfState` to the next.

Simple changes alter at most one voter. Anything else goes through a joint configuration (Ongaro's thesis, section
4.3): entering it copies the voters to `voters_outgoing` and applies the operations to `voters`; leaving it drops the
outgoing half. A voter that is demoted in a joint configuration still votes in the outgoing half, so it waits in
`learners_next`:

    voters 1 2 3                      --demote 3, add 4, joint-->
    voters 1 2 4, outgoing 1 2 3, learners next 3     --leave-->
    voters 1 2 4, learners 3
"""

from __future__ import annotations

from raft.core.types import (
    NO_NODE,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeType,
    ConfChangeV2,
    ConfState,
)
from raft.errors import ConfChangeError

__all__ = ["apply_change", "check_conf_state", "is_leave"]


def is_leave(change: ConfChangeV2) -> bool:
    """Whether the change asks to leave a joint configuration (`context` may be set all the same)."""
    return change.transition is ConfChangeTransition.AUTO and not change.changes


def check_conf_state(state: ConfState) -> None:
    """Raise `ConfChangeError` unless the state is one that the functions here could have made."""
    for ids in (state.voters, state.learners, state.voters_outgoing, state.learners_next):
        if tuple(sorted(set(ids))) != ids or NO_NODE in ids:
            raise ConfChangeError(f"member ids are not sorted, unique and non-zero: {ids}")
    voters = {*state.voters, *state.voters_outgoing}
    if both := voters.intersection(state.learners):
        raise ConfChangeError(f"members {sorted(both)} are voters and learners at once")
    if strays := set(state.learners_next) - set(state.voters_outgoing):
        raise ConfChangeError(f"members {sorted(strays)} wait to become learners and are not outgoing voters")
    if not state.joint and state.auto_leave:
        raise ConfChangeError("a configuration that is not joint cannot be left")


def apply_change(state: ConfState, change: ConfChangeV2) -> ConfState:
    """The configuration after `change`.

    Raises:
        ConfChangeError: the change does not fit the state: entering a joint configuration twice, leaving one that is
            not there, removing every voter, or changing several voters by the simple protocol.
    """
    if is_leave(change):
        return _leave_joint(state)
    if change.transition is not ConfChangeTransition.AUTO or len(change.changes) > 1:
        auto_leave = change.transition is not ConfChangeTransition.JOINT_EXPLICIT
        return _enter_joint(state, change.changes, auto_leave)
    return _simple(state, change.changes)


def _simple(state: ConfState, changes: tuple[ConfChangeSingle, ...]) -> ConfState:
    if state.joint:
        raise ConfChangeError("a simple change cannot be applied in a joint configuration")
    changed = _operate(state, changes)
    if len(set(state.voters).symmetric_difference(changed.voters)) > 1:
        raise ConfChangeError("more than one voter changed without a joint configuration")
    return changed


def _enter_joint(state: ConfState, changes: tuple[ConfChangeSingle, ...], auto_leave: bool) -> ConfState:
    if state.joint:
        raise ConfChangeError("the configuration is already joint")
    if not state.voters:
        raise ConfChangeError("a configuration without voters cannot become joint")
    outgoing = ConfState(state.voters, state.learners, voters_outgoing=state.voters, auto_leave=auto_leave)
    return _operate(outgoing, changes)


def _leave_joint(state: ConfState) -> ConfState:
    if not state.joint:
        raise ConfChangeError("the configuration is not joint")
    return ConfState(state.voters, tuple(sorted({*state.learners, *state.learners_next})))


def _operate(state: ConfState, changes: tuple[ConfChangeSingle, ...]) -> ConfState:
    voters, learners, learners_next = set(state.voters), set(state.learners), set(state.learners_next)
    for change in changes:
        member = change.node_id
        if member == NO_NODE or change.type is ConfChangeType.UPDATE_NODE:
            continue  # an application may blank out a change that it refuses
        was_learner = member in learners
        if change.type is ConfChangeType.ADD_LEARNER_NODE and was_learner:
            continue
        voters.discard(member)
        learners.discard(member)
        learners_next.discard(member)
        if change.type is ConfChangeType.ADD_NODE:
            voters.add(member)
        elif change.type is ConfChangeType.ADD_LEARNER_NODE:
            (learners_next if member in state.voters_outgoing else learners).add(member)
    if not voters:
        raise ConfChangeError("every voter would be removed")
    return ConfState(
        tuple(sorted(voters)),
        tuple(sorted(learners)),
        state.voters_outgoing,
        tuple(sorted(learners_next)),
        state.auto_leave,
    )
