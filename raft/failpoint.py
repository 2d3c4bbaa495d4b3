"""Named points at which a test may make things go wrong; free unless one is armed.

    raft_before_save       a batch is about to be written
    raft_after_save        it is durable, and nothing has been told so yet
    raft_before_apply      committed entries are about to be applied
    raft_before_snapshot   a snapshot is about to be stored
    wal_before_sync        a batch is written and not durable
    wal_after_sync         it is durable
    wal_before_rename      a new segment is complete under its temporary name
    snap_before_rename     a snapshot file is complete under its temporary name

`arm("wal_before_sync", action)` makes the next passage call `action`, which may raise, block or end the process. Some
points lie on the worker thread.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["arm", "disarm", "failpoint"]

_armed: dict[str, Callable[[], None]] = {}


def failpoint(name: str) -> None:
    """Call what is armed for `name`, if anything."""
    if _armed and (action := _armed.get(name)):
        action()


def arm(name: str, action: Callable[[], None]) -> None:
    """Let every passage of the point call `action`, until `disarm`."""
    _armed[name] = action


def disarm(name: str | None = None) -> None:
    """Free one point, or all of them."""
    if name is None:
        _armed.clear()
    else:
        _armed.pop(name, None)
