"""Where databases wait that came from the leader, and the configuration kept in a database.

member/snap/sending-<number>.db            the leader's copy, while it is being sent
member/snap/<index in hexadecimal>.snap.db what has come, as etcd names it
"""

from __future__ import annotations

import json

from kvstore.environment import FileSystem
from raft.core import ConfState

__all__ = ["decode_conf_state", "encode_conf_state", "received_path", "remove_leftovers", "sending_path"]

_SENDING = "sending-"
_RECEIVED_SUFFIX = ".snap.db"


def encode_conf_state(state: ConfState) -> bytes:
    """A configuration as etcd keeps it in its database."""
    record: dict[str, object] = {
        name: list(members)
        for name, members in (
            ("voters", state.voters),
            ("learners", state.learners),
            ("voters_outgoing", state.voters_outgoing),
            ("learners_next", state.learners_next),
        )
        if members
    }
    return json.dumps({**record, "auto_leave": state.auto_leave}, separators=(",", ":")).encode()


def decode_conf_state(stored: bytes) -> ConfState | None:
    """Read what `encode_conf_state` wrote; None for nothing."""
    if not stored:
        return None
    record = json.loads(stored)
    names = ("voters", "learners", "voters_outgoing", "learners_next")
    voters, learners, outgoing, learners_next = (tuple(record.get(name) or ()) for name in names)
    return ConfState(voters, learners, outgoing, learners_next, bool(record.get("auto_leave")))


def sending_path(snap_path: str, number: int) -> str:
    """Where a copy of the database is while it is being sent."""
    return f"{snap_path}/{_SENDING}{number}.db"


def received_path(snap_path: str, index: int) -> str:
    """Where a database that came as of entry `index` waits."""
    return f"{snap_path}/{index:016x}{_RECEIVED_SUFFIX}"


def remove_leftovers(files: FileSystem, snap_path: str) -> None:
    """Remove what a crash left behind; databases that came and are still needed have been used by now."""
    for name in files.listdir(snap_path):
        if name.startswith(_SENDING) or name.endswith(_RECEIVED_SUFFIX):
            files.remove(f"{snap_path}/{name}")
