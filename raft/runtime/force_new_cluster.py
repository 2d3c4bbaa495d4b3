"""Making a cluster of one out of a member whose peers are lost for good (etcd `--force-new-cluster`).

The log is given an end that says so: whatever was never committed goes, and every other member is removed by entries
that count as committed. From there the member goes on as any restart does.
"""

from __future__ import annotations

from dataclasses import replace

from raft.core import ConfChange, ConfChangeType, ConfState, Entry, EntryType
from raft.errors import ConfChangeError
from raft.wal import WAL, StoredState
from raft.wire import ProtobufConfChangeCodec

__all__ = ["force_new_cluster"]

_CODEC = ProtobufConfChangeCodec()


def force_new_cluster(
    wal: WAL, stored: StoredState, member_id: int, conf_state: ConfState, context: bytes
) -> StoredState:
    """Write the end that leaves `member_id` alone; returns what is stored now. Blocks on the disk.

    Args:
        conf_state: the configuration that the state machine has, at its applied index.
        context: goes into the entry that adds the member, in case it was no voter.

    Raises:
        OSError: the disk's.
    """
    commit = stored.hard_state.commit
    entries = [entry for entry in stored.entries if entry.index <= commit]
    others = _members(conf_state, entries) - {member_id}
    changes = [ConfChange(ConfChangeType.ADD_NODE, member_id, context)] if member_id not in conf_state.voters else []
    changes += [ConfChange(ConfChangeType.REMOVE_NODE, other) for other in sorted(others)]
    term = max(1, stored.hard_state.term)
    added = [
        replace(_CODEC.encode(change), index=index, term=term) for index, change in enumerate(changes, start=commit + 1)
    ]
    hard_state = stored.hard_state._replace(term=term, commit=commit + len(added))
    wal.append(hard_state, added)
    wal.commit(wal.seal())
    return replace(stored, hard_state=hard_state, entries=(*entries, *added))


def _members(conf_state: ConfState, entries: list[Entry]) -> set[int]:
    """Everyone who is a member, or was named by a change since."""
    members = set(conf_state.members())
    for entry in entries:
        if entry.type is EntryType.NORMAL:
            continue
        try:
            members |= {change.node_id for change in _CODEC.decode(entry).changes}
        except ConfChangeError:
            pass
    return members
