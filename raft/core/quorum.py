"""Majorities: which index they have stored, and how they have voted.

A configuration is one set of voters, or two while it is joint; then both must agree (Ongaro's thesis, section 4.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, unique
from typing import Final

from raft.core.types import ConfState

__all__ = ["UNBOUNDED_INDEX", "VoteResult", "committed_index", "tally"]

UNBOUNDED_INDEX: Final = 2**64 - 1
"""What a majority of nobody has stored: it never stands in the way of the other half of a joint configuration."""


@unique
class VoteResult(Enum):
    """Where a vote stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def _majority_index(voters: tuple[int, ...], acked: Callable[[int], int]) -> int:
    count = len(voters)
    if count == 1:
        return acked(voters[0])
    if count == 0:
        return UNBOUNDED_INDEX
    # With n voters sorted upwards, n//2 + 1 of them have at least the value at (n - 1) // 2.
    return sorted(map(acked, voters))[(count - 1) // 2]


def committed_index(configuration: ConfState, acked: Callable[[int], int]) -> int:
    """The highest index that every majority needed has acknowledged; `acked` answers 0 for who has said nothing.

    Five voters at 3, 5, 5, 7 and 9: three of them have 5 or more, so the answer is 5.
    """
    index = _majority_index(configuration.voters, acked)
    if configuration.voters_outgoing:
        return min(index, _majority_index(configuration.voters_outgoing, acked))
    return index


def _majority_tally(voters: tuple[int, ...], votes: Mapping[int, bool]) -> VoteResult:
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    needed = len(voters) // 2 + 1
    if not voters or granted >= needed:
        return VoteResult.WON
    if len(voters) - refused < needed:
        return VoteResult.LOST
    return VoteResult.PENDING


def tally(configuration: ConfState, votes: Mapping[int, bool]) -> VoteResult:
    """Whether `votes` (member id to granted) decide an election; votes of non-voters do not count."""
    result = _majority_tally(configuration.voters, votes)
    if not configuration.voters_outgoing:
        return result
    outgoing = _majority_tally(configuration.voters_outgoing, votes)
    if result is outgoing:
        return result
    if VoteResult.LOST in (result, outgoing):
        return VoteResult.LOST
    return VoteResult.PENDING
