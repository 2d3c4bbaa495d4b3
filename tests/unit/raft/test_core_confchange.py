"""The algebra of configurations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.core import (
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeType,
    ConfChangeV2,
    ConfState,
    apply_change,
    check_conf_state,
    is_leave,
)
from raft.errors import ConfChangeError

AUTO, IMPLICIT, EXPLICIT = ConfChangeTransition
SIGNS = {
    "+": ConfChangeType.ADD_NODE,
    "-": ConfChangeType.REMOVE_NODE,
    "~": ConfChangeType.ADD_LEARNER_NODE,
    "=": ConfChangeType.UPDATE_NODE,
}
LEAVE = ConfChangeV2()


def change(text: str, transition: ConfChangeTransition = AUTO) -> ConfChangeV2:
    return ConfChangeV2(transition, tuple(ConfChangeSingle(SIGNS[word[0]], int(word[1:])) for word in text.split()))


THREE = ConfState((1, 2, 3))


@pytest.mark.parametrize(
    ("state", "wish", "expected"),
    [
        (ConfState(), change("+1"), ConfState((1,))),
        (ConfState((1,)), change("+2"), ConfState((1, 2))),
        (THREE, change("-3"), ConfState((1, 2))),
        (THREE, change("~4"), ConfState((1, 2, 3), (4,))),
        (THREE, change("~3"), ConfState((1, 2), (3,))),
        (ConfState((1, 2), (3,)), change("+3"), THREE),
        (ConfState((1, 2), (3,)), change("-3"), ConfState((1, 2))),
        (ConfState((1, 2), (3,)), change("~3"), ConfState((1, 2), (3,))),
        # Repeating and touching nobody changes nothing.
        (THREE, change("+3"), THREE),
        (THREE, change("-9"), THREE),
        (THREE, change("=2"), THREE),
        (THREE, change("+0"), THREE),
        # More than one operation goes through a joint configuration, as does whoever asks for one.
        (THREE, change("+4 -1"), ConfState((2, 3, 4), (), (1, 2, 3), auto_leave=True)),
        (THREE, change("+4", IMPLICIT), ConfState((1, 2, 3, 4), (), (1, 2, 3), auto_leave=True)),
        (THREE, change("+4", EXPLICIT), ConfState((1, 2, 3, 4), (), (1, 2, 3))),
        # A voter that is demoted still votes in the outgoing half.
        (THREE, change("~3 +4", EXPLICIT), ConfState((1, 2, 4), (), (1, 2, 3), (3,))),
        (THREE, change("~3 +3", EXPLICIT), ConfState((1, 2, 3), (), (1, 2, 3))),
        (ConfState((1, 2, 4), (5,), (1, 2, 3), (3,)), LEAVE, ConfState((1, 2, 4), (3, 5))),
        (ConfState((2, 3, 4), (), (1, 2, 3), auto_leave=True), LEAVE, ConfState((2, 3, 4))),
    ],
)
def test_changes(state: ConfState, wish: ConfChangeV2, expected: ConfState) -> None:
    assert apply_change(state, wish) == expected


JOINT = ConfState((2, 3, 4), (), (1, 2, 3))


@pytest.mark.parametrize(
    ("state", "wish", "reason"),
    [
        (THREE, LEAVE, "not joint"),
        (ConfState((1,)), change("-1"), "every voter"),
        (THREE, change("-1 -2 -3"), "every voter"),
        (ConfState((1,)), change("~1"), "every voter"),
        (JOINT, change("+5"), "joint"),
        (JOINT, change("+5 +6"), "already joint"),
        (ConfState(), change("+1 +2"), "without voters"),
    ],
)
def test_changes_that_do_not_fit(state: ConfState, wish: ConfChangeV2, reason: str) -> None:
    with pytest.raises(ConfChangeError, match=reason):
        apply_change(state, wish)


@pytest.mark.parametrize(
    "state",
    [
        ConfState((2, 1)),
        ConfState((1, 1)),
        ConfState((0, 1)),
        ConfState((1, 2), (2,)),
        ConfState((1,), (2,), (2, 3)),
        ConfState((1,), (), (), (2,)),
        ConfState((1,), auto_leave=True),
    ],
)
def test_states_that_cannot_be(state: ConfState) -> None:
    with pytest.raises(ConfChangeError):
        check_conf_state(state)


def test_only_an_empty_automatic_change_is_a_leave() -> None:
    assert is_leave(LEAVE)
    assert is_leave(ConfChangeV2(context=b"why"))
    assert not is_leave(ConfChangeV2(EXPLICIT))
    assert not is_leave(change("+1"))


SINGLES = st.builds(ConfChangeSingle, st.sampled_from(ConfChangeType), st.integers(0, 6))
CHANGES = st.builds(ConfChangeV2, st.sampled_from(ConfChangeTransition), st.lists(SINGLES, max_size=4).map(tuple))


@given(st.lists(CHANGES, max_size=12))
def test_whatever_is_applied_the_state_stays_sound_and_majorities_overlap(changes: list[ConfChangeV2]) -> None:
    state = THREE
    for wish in changes:
        try:
            following = apply_change(state, wish)
        except ConfChangeError:
            continue
        check_conf_state(following)
        before, after = set(state.voters), set(following.voters)
        if not state.joint and not following.joint:
            assert len(before ^ after) <= 1
        elif following.joint:
            assert set(following.voters_outgoing) == before
        else:
            assert before == after
        state = following


@given(CHANGES)
def test_joint_and_simple_changes_end_the_same(wish: ConfChangeV2) -> None:
    """A change that the simple protocol can make leads to where the joint one does."""
    simple = ConfChangeV2(AUTO, wish.changes[:1])
    joint = ConfChangeV2(EXPLICIT, wish.changes[:1])
    if not simple.changes:
        return
    try:
        expected = apply_change(THREE, simple)
    except ConfChangeError:
        with pytest.raises(ConfChangeError):
            apply_change(THREE, joint)
        return
    assert apply_change(apply_change(THREE, joint), LEAVE) == expected
