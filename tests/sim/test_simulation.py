"""Histories from seeds.

SEEDS=1000 runs that many instead of the usual number, FIRST=5001 begins there instead of at 1; SEED=42 runs one and
prints what happened in it (with -s).
"""

from __future__ import annotations

import os

import pytest

from tests.sim.linearizability import Operation, is_linearizable
from tests.sim.world import World

SEEDS_BY_DEFAULT = 200
BATCH = 20


def run_seed(seed: int) -> World:
    world = World(seed)
    try:
        world.run()
    except BaseException as error:
        print("\n".join(world.transcript[-400:]))
        raise AssertionError(f"seed {seed} failed; replay it with SEED={seed}: {error}") from error
    return world


def seeds() -> list[int]:
    if "SEED" in os.environ:
        return [int(os.environ["SEED"])]
    first = int(os.environ.get("FIRST", 1))
    return list(range(first, first + int(os.environ.get("SEEDS", SEEDS_BY_DEFAULT))))


@pytest.mark.parametrize("first", seeds()[::BATCH])
def test_seeds(first: int) -> None:
    """A batch of seeds; the test's parameter is the first."""
    chosen = [seed for seed in seeds() if first <= seed < first + BATCH]
    for seed in chosen:
        world = run_seed(seed)
        if "SEED" in os.environ:
            print("\n".join(world.transcript))
        assert world.canon.last_committed > 0


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
