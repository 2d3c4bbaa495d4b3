"""Proposals per second through the driver: one voter, log on disk, every acknowledgement after its fsync.

python -m hack.bench.raft [--seconds 2] [--dir DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import uvloop

from hack.bench.report import Row, print_rows
from raft.core import ConfChangeV2, ConfState, Entry, Peer, Snapshot
from raft.environment import real_environment
from raft.runtime import Driver, DriverConfig

VALUE_BYTES = 1024
OUTSTANDING = (1, 32, 256)
# The driver may cost a store that reaches real etcd's 22,000 puts a second only a small part of its time.
TARGETS = {1: None, 32: ">= 10000", 256: ">= 40000"}


class _Echo:
    """A state machine that answers whoever proposed; proposals come back in order."""

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()

    def apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.data:
                future = self.waiting.popleft()
                if not future.done():
                    future.set_result(None)

    def admits(self, entry: Entry, change: ConfChangeV2) -> bool:
        return True

    def apply_conf_change(self, entry: Entry, change: ConfChangeV2, conf_state: ConfState) -> None:
        pass

    def restore(self, snapshot: Snapshot) -> None:
        pass


async def measure(directory: Path, outstanding: int, seconds: float) -> list[Row]:
    """Keep `outstanding` proposals under way for `seconds`."""
    echo = _Echo()
    syncs: list[float] = []
    config = DriverConfig(member_id=1, wal_dir=str(directory / "wal"), snap_dir=str(directory / "snap"))
    driver = Driver(config, real_environment(), echo, peers=[Peer(1)], on_sync=syncs.append)
    await driver.start()
    await driver.read_index()
    loop = asyncio.get_running_loop()
    value = bytes(range(256)) * (VALUE_BYTES // 256)
    done = 0

    async def client(until: float) -> None:
        nonlocal done
        while loop.time() < until:
            future: asyncio.Future[None] = loop.create_future()
            echo.waiting.append(future)
            driver.propose(value)
            await future
            done += 1

    syncs.clear()
    start = loop.time()
    await asyncio.gather(*(client(start + seconds) for _ in range(outstanding)))
    elapsed = loop.time() - start
    await driver.stop()
    syncs.sort()
    return [
        Row(f"raft: proposals, 1 voter, {outstanding} outstanding", done / elapsed, "/s", TARGETS[outstanding]),
        Row(f"raft: median write and fdatasync, {outstanding} outstanding", syncs[len(syncs) // 2] * 1e6, "us"),
    ]


def run(seconds: float = 2.0, directory: str | None = None) -> list[Row]:
    """All figures."""
    result: list[Row] = []
    for outstanding in OUTSTANDING:
        with tempfile.TemporaryDirectory(dir=directory) as path:
            result += uvloop.run(measure(Path(path), outstanding, seconds))
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--dir", help="where the log is written; decides which disk is measured")
    arguments = parser.parse_args()
    print_rows(run(arguments.seconds, arguments.dir))


if __name__ == "__main__":
    main()
