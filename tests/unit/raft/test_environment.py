"""The injected runtime."""

import uuid

import pytest

from raft.environment import Randomness, RealRandomness, SeededRandomness


@pytest.mark.parametrize("randomness", [RealRandomness(), SeededRandomness(1)])
def test_uuids_are_version_4_and_never_repeat(randomness: Randomness) -> None:
    made = [randomness.uuid4() for _ in range(2000)]  # more than one pool
    assert len(set(made)) == len(made)
    for text in made:
        parsed = uuid.UUID(text)
        assert parsed.version == 4
        assert parsed.variant == uuid.RFC_4122
        assert str(parsed) == text


def test_one_seed_is_one_history() -> None:
    first, second = SeededRandomness(7), SeededRandomness(7)
    assert [first.uuid4(), first.below(100), first.uniform(0, 1)] == [
        second.uuid4(),
        second.below(100),
        second.uniform(0, 1),
    ]
