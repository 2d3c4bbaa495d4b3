"""Majorities, single and joint."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.core import ConfState, VoteResult, committed_index, tally
from raft.core.quorum import UNBOUNDED_INDEX

IDS = tuple(range(1, 8))


@pytest.mark.parametrize(
    ("voters", "acked", "expected"),
    [
        ((), {}, UNBOUNDED_INDEX),
        ((1,), {1: 7}, 7),
        ((1,), {}, 0),
        ((1, 2), {1: 7}, 0),
        ((1, 2), {1: 7, 2: 5}, 5),
        ((1, 2, 3), {1: 7, 2: 5}, 5),
        ((1, 2, 3), {1: 7}, 0),
        ((1, 2, 3, 4), {1: 7, 2: 5, 3: 4}, 4),
        ((1, 2, 3, 4, 5), {1: 3, 2: 5, 3: 5, 4: 7, 5: 9}, 5),
        ((1, 2, 3, 4, 5), {1: 3, 2: 5, 3: 5}, 3),
    ],
)
def test_one_majority(voters: tuple[int, ...], acked: dict[int, int], expected: int) -> None:
    assert committed_index(ConfState(voters), lambda member_id: acked.get(member_id, 0)) == expected


@pytest.mark.parametrize(
    ("incoming", "outgoing", "acked", "expected"),
    [
        ((1, 2, 3), (1, 2, 3), {1: 7, 2: 5}, 5),
        ((1, 2, 3), (4, 5, 6), {1: 7, 2: 7, 3: 7}, 0),
        ((1, 2, 3), (4, 5, 6), {1: 7, 2: 7, 4: 3, 5: 4}, 3),
        ((1, 2, 4), (1, 2, 3), {1: 9, 2: 8}, 8),
        ((1, 4, 5), (1, 2, 3), {1: 9, 2: 8}, 0),
        ((4,), (1, 2, 3), {1: 9, 2: 8, 4: 2}, 2),
    ],
)
def test_two_majorities(
    incoming: tuple[int, ...], outgoing: tuple[int, ...], acked: dict[int, int], expected: int
) -> None:
    state = ConfState(incoming, voters_outgoing=outgoing)
    assert committed_index(state, lambda member_id: acked.get(member_id, 0)) == expected


@given(
    st.lists(st.sampled_from(IDS), min_size=1, unique=True), st.dictionaries(st.sampled_from(IDS), st.integers(0, 9))
)
def test_committed_means_that_a_majority_has_it(voters: list[int], acked: dict[int, int]) -> None:
    def value(member_id: int) -> int:
        return acked.get(member_id, 0)

    index = committed_index(ConfState(tuple(sorted(voters))), value)
    needed = len(voters) // 2 + 1
    by_definition = max(min(map(value, majority)) for majority in combinations(voters, needed))
    assert index == by_definition


@pytest.mark.parametrize(
    ("voters", "votes", "expected"),
    [
        ((), {}, VoteResult.WON),
        ((1,), {}, VoteResult.PENDING),
        ((1,), {1: True}, VoteResult.WON),
        ((1,), {1: False}, VoteResult.LOST),
        ((1, 2), {1: True}, VoteResult.PENDING),
        ((1, 2), {1: False}, VoteResult.LOST),
        ((1, 2, 3), {1: True, 2: True}, VoteResult.WON),
        ((1, 2, 3), {1: True, 2: False}, VoteResult.PENDING),
        ((1, 2, 3), {1: True, 2: False, 3: False}, VoteResult.LOST),
        ((1, 2, 3), {1: True, 9: True}, VoteResult.PENDING),
        ((1, 2, 3, 4), {1: True, 2: True}, VoteResult.PENDING),
        ((1, 2, 3, 4), {1: False, 2: False}, VoteResult.LOST),
    ],
)
def test_votes(voters: tuple[int, ...], votes: dict[int, bool], expected: VoteResult) -> None:
    assert tally(ConfState(voters), votes) is expected


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ({1: True, 2: True}, VoteResult.PENDING),
        ({1: True, 2: True, 4: True, 5: True}, VoteResult.WON),
        ({1: True, 2: True, 4: False, 5: False}, VoteResult.LOST),
        ({1: False, 2: False}, VoteResult.LOST),
        ({1: False, 2: True, 4: True, 5: True}, VoteResult.PENDING),
    ],
)
def test_votes_of_two_majorities(votes: dict[int, bool], expected: VoteResult) -> None:
    assert tally(ConfState((1, 2, 3), voters_outgoing=(4, 5, 6)), votes) is expected
