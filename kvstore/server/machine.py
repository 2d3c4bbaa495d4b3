"""What consensus drives: the state machine, and who must hear of progress and leadership."""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.apply import CommittedEntry, HeaderSource, StateMachine
from kvstore.mvcc import Lessor
from kvstore.server.metrics import MemberMetrics
from kvstore.server.snapshotter import Snapshotter

__all__ = ["LoggedMachine"]


class LoggedMachine:
    """`ReplicatedMachine` on the applier's state machine.

    Args:
        lease_grace_seconds: what a new leader adds to every lease, for renewals lost while there was none.
    """

    def __init__(
        self,
        state_machine: StateMachine,
        lessor: Lessor,
        headers: HeaderSource,
        metrics: MemberMetrics,
        lease_grace_seconds: float,
    ) -> None:
        self._state_machine = state_machine
        self._lessor = lessor
        self._headers = headers
        self._lease_grace_seconds = lease_grace_seconds
        self.snapshotter: Snapshotter | None = None
        self._metrics = metrics

    def apply(self, entries: Sequence[CommittedEntry]) -> None:
        """See `ReplicatedMachine.apply`."""
        self._state_machine.apply(entries)
        if self.snapshotter is not None:
            self.snapshotter.applied()

    def conf_changed(self, index: int, term: int) -> None:
        """See `ReplicatedMachine.conf_changed`."""
        self._state_machine.note_applied(index, term)

    def leadership_changed(self, is_leader: bool, term: int) -> None:
        """See `ReplicatedMachine.leadership_changed`."""
        self._headers.raft_term = max(self._headers.raft_term, term)
        self._metrics.leader_changes += 1
        if is_leader and not self._lessor.primary:
            self._lessor.promote(self._lease_grace_seconds)
        elif not is_leader and self._lessor.primary:
            self._lessor.demote()
