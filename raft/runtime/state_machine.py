"""The seam to what is replicated, and how a member picks up where it left off."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from raft.core import (
    ConfChangeV2,
    Config,
    ConfState,
    Entry,
    EntryType,
    Peer,
    RawNode,
    Snapshot,
    apply_change,
)
from raft.errors import ConfChangeError, RaftError
from raft.runtime.conf_history import ConfHistory
from raft.wal import StoredState

__all__ = ["StateMachine", "build_node"]


class StateMachine(Protocol):
    """What the log is for. All methods are called on the event loop, in log order, and must not block for long.

    An exception from any of them is fatal to the member: it can no longer be what the others are.
    """

    def apply(self, entries: Sequence[Entry]) -> None:
        """Committed normal entries, each exactly once from the restart point on. Those a new leader begins with have no
        data and count only as progress of the applied index.
        """

    def admits(self, entry: Entry, change: ConfChangeV2) -> bool:
        """Whether a committed change of membership may take effect; every member must come to the same answer.

        Followed by `apply_conf_change` for the same entry. `entry.data` has the change in the form it was proposed in.
        """

    def apply_conf_change(self, entry: Entry, change: ConfChangeV2, conf_state: ConfState) -> None:
        """A committed change of membership, and the configuration in force now.

        A change that was not admitted, or did not fit, comes as one without operations and has left the configuration
        as it was.
        """

    def restore(self, snapshot: Snapshot) -> Awaitable[None] | None:
        """A snapshot takes the place of everything: one from the leader, or at the start one that is ahead of
        `applied_index`. Nothing is applied before what this returns, if anything, is done.
        """


def build_node(
    config: Config, stored: StoredState, applied: int, conf_state: ConfState | None, peers: Sequence[Peer]
) -> tuple[RawNode, ConfHistory]:
    """A node that goes on from what is stored, or founds a cluster; and the configurations since the snapshot.

    Args:
        applied: what the state machine has applied, at least the stored snapshot.
        conf_state: the configuration at `applied`; None to work it out from the log, which is right as long as the
            state machine admits every change.

    Raises:
        RaftError: the state machine has applied entries that the log has not.
    """
    snapshot = stored.snapshot
    base = snapshot.index if snapshot else 0
    last = stored.entries[-1].index if stored.entries else base
    if applied > last:
        raise RaftError(
            f"the state machine is at index {applied} and the log ends at {last}: they do not belong together"
        )
    history = ConfHistory(applied, conf_state) if conf_state is not None else _replay(config, stored, applied)
    node = RawNode(
        config,
        snapshot=snapshot,
        entries=stored.entries,
        hard_state=stored.hard_state,
        conf_state=history.newest,
        applied=applied,
    )
    if stored.is_new and peers:
        node.bootstrap(peers)
    return node, history


def _replay(config: Config, stored: StoredState, applied: int) -> ConfHistory:
    """The configurations from the snapshot to `applied`."""
    snapshot = stored.snapshot
    base = snapshot.index if snapshot else 0
    state = snapshot.conf_state if snapshot else ConfState()
    history = ConfHistory(base, state)
    for entry in stored.entries[: applied - base]:
        if entry.type is not EntryType.NORMAL:
            try:
                state = apply_change(state, config.codec.decode(entry))
            except ConfChangeError:
                pass  # as when it was applied
            history.note(entry.index, state)
    return history
