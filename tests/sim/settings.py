"""What differs from seed to seed for a whole run."""

from __future__ import annotations

import random
from dataclasses import dataclass

MISFORTUNES = (
    "crash",
    "crash_leader",
    "stop",
    "pause",
    "isolate_leader",
    "partition",
    "one_way_cut",
    "mend_network",
    "bad_network",
    "slow_disk",
    "full_disk",
    "transfer",
    "snapshot",
    "burst",
)


@dataclass(frozen=True)
class Settings:
    """What differs from seed to seed for the whole run; the limits are those of `raft.runtime.DriverConfig`.

    Attributes:
        size: founding members.
        misfortunes: what goes wrong, one of these every 10 to `every_ms` milliseconds.
        membership_changes: members come, go and change their roles meanwhile.
    """

    size: int
    pre_vote: bool
    check_quorum: bool
    max_size_per_message_bytes: int
    max_inflight_messages: int
    max_inflight_bytes: int
    max_uncommitted_bytes: int
    max_batch_bytes: int
    membership_changes: bool
    misfortunes: tuple[str, ...]
    every_ms: int


def choose(chance: random.Random) -> Settings:
    """Settings by chance."""
    message_bytes = chance.choice((0, 200, 1 << 20))
    return Settings(
        size=chance.choice((1, 2, 3, 3, 3, 4, 5)),
        pre_vote=chance.random() < 0.7,
        check_quorum=chance.random() < 0.7,
        max_size_per_message_bytes=message_bytes,
        max_inflight_messages=chance.choice((1, 3, 256)),
        max_inflight_bytes=chance.choice((0, max(message_bytes, 500))),
        max_uncommitted_bytes=chance.choice((0, 600, 1 << 20)),
        max_batch_bytes=chance.choice((300, 1 << 20)),
        membership_changes=chance.random() < 0.5,
        # A few kinds at a time reach states that all of them together hardly ever do (swarm testing).
        misfortunes=tuple(chance.sample(MISFORTUNES, chance.choice((2, 3, 4, 6, len(MISFORTUNES))))),
        every_ms=chance.choice((60, 120, 200)),
    )
