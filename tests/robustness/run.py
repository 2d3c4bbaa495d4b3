"""`make robustness SECONDS=600 SEED=7`: longer runs, one seed after the other."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.robustness.session import run

ROUND_SECONDS_MAX = 120.0


def main() -> int:
    """Run rounds until the time is up; 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--members", type=int, default=3)
    arguments = parser.parse_args()
    started, seed = time.monotonic(), arguments.seed
    while (left := arguments.seconds - (time.monotonic() - started)) > 0:
        directory = Path(tempfile.mkdtemp(prefix=f"robustness-{seed}-"))
        report = asyncio.run(run(directory, seed=seed, seconds=min(left, ROUND_SECONDS_MAX), size=arguments.members))
        print(report.figures(), flush=True)
        if report.problems:
            print(f"seed {seed} went wrong; the logs are in {directory}\n" + "\n".join(report.problems))
            return 1
        seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
