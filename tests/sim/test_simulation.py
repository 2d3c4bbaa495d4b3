"""Histories from seeds: the usual number here, any number by `make sim`."""

from __future__ import annotations

import random

import pytest

from tests.sim.linearizability import INFINITY, Operation, is_linearizable, search_order
from tests.sim.run import run_chunk
from tests.sim.world import World

SEEDS = 1000
BATCH = 50


@pytest.mark.parametrize("first", range(1, SEEDS + 1, BATCH))
def test_seeds(first: int) -> None:
    """A batch of seeds; the test's parameter is the first."""
    problems = run_chunk(first, BATCH)
    assert not problems, "\n\n".join(problems)


@pytest.mark.parametrize("seed", range(1, 13))
def test_a_member_that_lost_its_disk_is_refused_and_the_others_go_on(seed: int) -> None:
    world = World(
        seed,
        size=3 + seed % 3,
        membership_changes=False,
        misfortunes=("wipe", "snapshot", "burst", "transfer"),
        every_ms=500,
    )
    world.run()
    wiped = [line for line in world.transcript if line.endswith("has lost its disk")]
    refused = [member for member in world.members.values() if member.refused]
    assert wiped
    assert len(refused) == len(wiped)
    assert not {member.id for member in refused}.intersection(world.conf_state.members())


def test_a_seed_is_a_history() -> None:
    """The same seed gives the same events, another one others."""
    first, again, other = World(7), World(7), World(8)
    for world in (first, again, other):
        world.run()
    assert first.transcript == again.transcript
    assert first.canon.digests == again.canon.digests
    assert first.transcript != other.transcript


def write(value: int, called: int, returned: int = 1 << 60) -> Operation:
    return Operation(0, True, value, called, returned)


def read(value: int, called: int, returned: int) -> Operation:
    return Operation(0, False, value, called, returned)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], True),
        ([read(0, 1, 2)], True),
        ([read(1, 1, 2)], False),
        ([write(1, 1, 2), read(1, 3, 4)], True),
        ([write(1, 1, 2), read(0, 3, 4)], False),
        ([write(1, 1, 5), read(0, 2, 3), read(1, 2, 4)], True),
        ([write(1, 1, 5), read(1, 2, 3), read(0, 4, 5)], False),
        ([write(1, 1), read(0, 2, 3), read(1, 9, 10)], True),
        ([write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)], False),
        ([write(1, 1, 4), write(2, 2, 3), read(1, 5, 6)], True),
        ([write(1, 1, 4), write(2, 2, 3), read(1, 5, 6), read(2, 7, 8)], False),
    ],
)
def test_linearizability(history: list[Operation], expected: bool) -> None:
    assert is_linearizable(history) is expected


def test_both_ways_to_decide_agree() -> None:
    chance = random.Random(1)
    counts = {True: 0, False: 0}
    for _ in range(5000):
        writes = range(1, chance.randrange(2, 6))
        history = []
        for value in writes:
            called = chance.randrange(12)
            history.append(write(value, called, chance.choice((INFINITY, called + chance.randrange(6)))))
        for _ in range(chance.randrange(1, 5)):
            called = chance.randrange(12)
            history.append(read(chance.randrange(len(writes) + 1), called, called + chance.randrange(6)))
        expected = search_order(history)
        assert is_linearizable(history) is expected, history
        counts[expected] += 1
    assert min(counts.values()) > 500
