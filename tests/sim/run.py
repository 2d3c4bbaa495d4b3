"""Many histories, on all cores: `make sim SEEDS=100000 [FIRST=1]`; or one, told in full: `SEED=42`.

A seed that fails prints what was wrong and the command that replays it; the rest go on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.sim.world import World

CHUNK = 25
TRANSCRIPT_LINES_MAX = 60


def replay_command(seed: int) -> str:
    """The command that tells the history of a seed."""
    return f"make sim SEED={seed}"


def run_seed(seed: int) -> str:
    """Run one history; returns what was wrong and how it came to that, or nothing."""
    world = World(seed)
    try:
        world.run()
        if not world.canon.last_committed:
            raise AssertionError("nothing was committed")
    except Exception as error:
        ending = "\n".join(world.transcript[-TRANSCRIPT_LINES_MAX:])
        return f"{ending}\nseed {seed} fails: {type(error).__name__}: {error}\nreplay it: {replay_command(seed)}"
    return ""


def run_chunk(first: int, count: int) -> list[str]:
    """Run some histories; returns what was wrong with those that fail."""
    return [problem for seed in range(first, first + count) if (problem := run_seed(seed))]


def tell(seed: int) -> int:
    """Run one history and print all of it."""
    world = World(seed)
    try:
        world.run()
    except Exception as error:
        print("\n".join(world.transcript))
        print(f"seed {seed} fails: {type(error).__name__}: {error}")
        return 1
    print("\n".join(world.transcript))
    print(f"seed {seed} is fine: {world.canon.last_committed} entries committed")
    return 0


class Progress:
    """A line on a terminal that is written anew; nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._start = time.monotonic()  # for the person who waits, not for the simulation
        self._on_terminal = sys.stderr.isatty()

    def show(self, done: int, failed: int) -> None:
        """So many are done."""
        if not self._on_terminal:
            return
        seconds = time.monotonic() - self._start
        left = seconds / done * (self._total - done) if done else 0
        line = f"{done}/{self._total} histories, {done / max(seconds, 0.001):.0f}/s, {left:.0f} s left, {failed} failed"
        print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._on_terminal:
            print(file=sys.stderr)


def chunks(first: int, count: int) -> Iterator[tuple[int, int]]:
    """Pieces of work."""
    for start in range(first, first + count, CHUNK):
        yield start, min(CHUNK, first + count - start)


def run_many(first: int, count: int, jobs: int) -> int:
    """Run histories on `jobs` cores; returns how many fail."""
    progress, done, failed = Progress(count), 0, 0
    with ProcessPoolExecutor(jobs) as pool:
        pieces = list(chunks(first, count))
        for (_, size), problems in zip(pieces, pool.map(run_chunk, *zip(*pieces, strict=True)), strict=True):
            done += size
            failed += len(problems)
            for problem in problems:
                print(f"\r{problem}\n", flush=True)
            progress.show(done, failed)
    progress.end()
    print(f"{count} histories from seed {first} on: {failed} failed")
    return failed


def main() -> int:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first one")
    parser.add_argument("--seed", type=int, help="only this one, with its transcript")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (all cores)")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return tell(arguments.seed)
    return 1 if run_many(arguments.first, arguments.seeds, arguments.jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
