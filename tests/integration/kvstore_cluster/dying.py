"""`mini-etcd` that is killed at a chosen point of taking a snapshot: `python -m … POINT FLAG…`.

receiving   part of the leader's database is written
accepted    all of it is there, and the log has not noted the snapshot
noted       the log has noted it
replacing   it is about to take the place of the old database
replaced    it has
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kvstore.__main__ import main
from kvstore.backend import LMDBBackend
from raft.failpoint import arm
from raft.runtime import peer_snapshot


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_when_received(snap: Path) -> None:
    if any(snap.glob("*.snap.db")):
        die()


def dying(method: Callable[..., Any], *, first: bool) -> Callable[..., Any]:
    def call(*arguments: Any) -> None:
        if not first:
            method(*arguments)
        die()

    return call


def prepare(point: str, snap: Path) -> None:
    if point == "receiving":
        peer_snapshot._Partial.write = dying(peer_snapshot._Partial.write, first=False)  # type: ignore[method-assign]
    elif point in ("accepted", "noted"):
        arm("raft_before_save" if point == "accepted" else "raft_after_save", lambda: die_when_received(snap))
    else:
        replace = dying(LMDBBackend._replace, first=point == "replacing")
        LMDBBackend._replace = replace  # type: ignore[method-assign]


if __name__ == "__main__":
    data_dir = next(flag.partition("=")[2] for flag in sys.argv if flag.startswith("--data-dir="))
    prepare(sys.argv[1], Path(data_dir) / "member" / "snap")
    sys.exit(main(sys.argv[2:]))
