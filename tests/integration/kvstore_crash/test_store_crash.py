"""A member killed at any moment: what it acknowledged is there, no revision is given out twice, watching goes on."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

WRITER = Path(__file__).with_name("writer.py")
ROUNDS = 24
ROUND_SECONDS_MAX = 60.0


@dataclass
class Truth:
    """What must never be lost again.

    Attributes:
        changes: by revision: key and value (`-` for a deletion), once acknowledged or seen.
        compacted: history below it may be gone.
        acknowledged: how many writes were.
    """

    changes: dict[int, tuple[str, str]] = field(default_factory=dict)
    compacted: int = 1
    acknowledged: int = 0

    def learn(self, revision: int, key: str, value: str) -> None:
        known = self.changes.setdefault(revision, (key, value))
        assert known == (key, value), f"revision {revision} was given out twice: {known} and {(key, value)}"


def run_round(path: Path, number: int, seconds: float, truth: Truth) -> None:
    """Start the writer, check what it has, let it write for a while, and kill it."""
    process = subprocess.Popen(
        [sys.executable, str(WRITER), str(path), str(number)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    watchdog = threading.Timer(ROUND_SECONDS_MAX, process.kill)
    watchdog.start()
    lines: list[list[str]] = []
    for line in process.stdout:
        lines.append(line.split())
        if line == "begin\n":
            break
    else:
        watchdog.cancel()
        assert process.stderr is not None
        raise AssertionError(f"round {number} did not start: {process.stderr.read()}")
    killer = threading.Timer(seconds, process.kill)
    killer.start()
    rest = process.stdout.read().splitlines()
    process.wait()
    watchdog.cancel()
    killer.cancel()
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()
    assert process.returncode == -9, errors
    check_start(lines, truth)
    for line in rest:
        words = line.split()
        if len(words) == 4:  # the last line may be cut
            truth.learn(int(words[1]), words[2], words[3])
            truth.acknowledged += 1


def check_start(lines: list[list[str]], truth: Truth) -> None:
    """What a member has after a crash, against everything known before."""
    revision, compacted = map(int, lines[0][1:])
    assert compacted >= truth.compacted
    truth.compacted = compacted
    events = {int(words[1]): (words[2], words[3]) for words in lines if words[0] == "event"}
    assert list(events) == sorted(events)
    assert revision >= max(truth.changes, default=1)
    for known, change in truth.changes.items():
        if known > compacted:
            assert events.get(known) == change, f"revision {known} was lost"
    for seen, change in events.items():
        truth.learn(seen, *change)
    assert max(truth.changes, default=1) == revision
    expected: dict[str, tuple[str, int]] = {}
    for known in sorted(truth.changes):
        key, value = truth.changes[known]
        if value == "-":
            expected.pop(key, None)
        else:
            expected[key] = (value, known)
    assert {words[1]: (words[2], int(words[3])) for words in lines if words[0] == "have"} == expected


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    truth = Truth()
    try:
        for number in range(ROUNDS):
            run_round(tmp_path / "data", number, chance.uniform(0.0, 0.25), truth)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, round {number}: {error}") from error
    assert truth.acknowledged > 200
    assert truth.compacted > 1, "no compaction was ever crossed"
