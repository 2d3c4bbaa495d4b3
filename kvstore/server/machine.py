"""What consensus drives: the state machine, and who must hear of progress, members and leadership."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from kvstore.apply import (
    CommittedEntry,
    HeaderSource,
    Member,
    Membership,
    MembershipChange,
    MembershipChangeKind,
    StateMachine,
)
from kvstore.backend import KEY_BUCKET, LMDBBackend, LMDBFile
from kvstore.mvcc import Histories, Lessor, Store, StoreError, WatchHub
from kvstore.server import catalogue
from kvstore.server.compactor import Compactor
from kvstore.server.metrics import MemberMetrics
from kvstore.server.snapshotter import Snapshotter

__all__ = ["CONF_STATE_KEY", "LoggedMachine", "Restorable"]

CONF_STATE_KEY = b"confState"
"""In the `meta` bucket, as etcd has it: the configuration at the applied index."""

logger = logging.getLogger(__name__)


class Restorable(Protocol):
    """Something that keeps part of the database in memory."""

    def restore(self) -> None:
        """Read it again."""


class LoggedMachine:
    """`ReplicatedMachine` on the applier's state machine.

    Args:
        restorables: what else is to be read again when the database is replaced, in this order.
        lease_grace_seconds: what a new leader adds to every lease, for renewals lost while there was none.

    Attributes:
        changes: who waits for a change of membership, by request id.
        on_leadership: called with whether this member leads now, whenever leader or term may have changed.
        on_removed: called when this member was removed from the cluster.
        on_restored: called when the database was replaced by the leader's.
    """

    def __init__(
        self,
        state_machine: StateMachine,
        backend: LMDBBackend,
        hub: WatchHub,
        membership: Membership,
        lessor: Lessor,
        store: Store,
        restorables: Sequence[Restorable],
        headers: HeaderSource,
        metrics: MemberMetrics,
        compactor: Compactor,
        lease_grace_seconds: float,
    ) -> None:
        self._state_machine = state_machine
        self._backend = backend
        self._hub = hub
        self._membership = membership
        self._lessor = lessor
        self._store = store
        self._restorables = restorables
        self._headers = headers
        self._lease_grace_seconds = lease_grace_seconds
        self.snapshotter: Snapshotter | None = None
        self._metrics = metrics
        self._compactor = compactor
        self._refusals: dict[int, StoreError] = {}
        self.changes: dict[int, asyncio.Future[None]] = {}
        self.on_leadership: Callable[[bool], None] = lambda is_leader: None
        self.on_removed: Callable[[], None] = lambda: None
        self.on_restored: Callable[[], None] = lambda: None

    def apply(self, entries: Sequence[CommittedEntry]) -> None:
        """See `ReplicatedMachine.apply`."""
        self._state_machine.apply(entries)
        if self.snapshotter is not None:
            self.snapshotter.applied()

    # --- members

    def admits(self, change: MembershipChange, request_id: int) -> bool:
        """See `ReplicatedMachine.admits`."""
        try:
            self._membership.check(change)
        except StoreError as refusal:
            if request_id in self.changes:
                self._refusals[request_id] = refusal
            return False
        return True

    def membership_changed(
        self, index: int, term: int, change: MembershipChange | None, request_id: int, conf_state: bytes
    ) -> None:
        """See `ReplicatedMachine.membership_changed`."""
        if change is not None:
            self._membership.carry_out(change)
        if change is not None and request_id:  # founding members are no news
            logger.info(
                f"membership changed: {change.kind.value}",
                extra={
                    "fields": {
                        "cluster-id": f"{self._headers.cluster_id:x}",
                        "local-member-id": f"{self._headers.member_id:x}",
                        "changed-member-id": f"{change.member.member_id:x}",
                        "peer-urls": list(change.member.peer_urls),
                        "is-learner": change.member.is_learner,
                    }
                },
            )
        self._backend.put("meta", CONF_STATE_KEY, conf_state)
        self._state_machine.note_applied(index, term)
        refusal = self._refusals.pop(request_id, None)
        waiter = self.changes.pop(request_id, None)
        if waiter is not None and not waiter.done():
            if refusal is not None:
                waiter.set_exception(refusal)
            elif change is None:  # raft has not taken it, for nobody would be left to vote
                waiter.set_exception(catalogue.NOT_ENOUGH_STARTED_MEMBERS.error())
            else:
                waiter.set_result(None)
        removes = change is not None and change.kind is MembershipChangeKind.REMOVE
        if change is not None and removes and change.member.member_id == self._headers.member_id:
            self.on_removed()

    # --- leadership

    def leadership_changed(self, leader_id: int, is_leader: bool, term: int) -> None:
        """See `ReplicatedMachine.leadership_changed`."""
        self._headers.raft_term = max(self._headers.raft_term, term)
        self._metrics.leader_changes += leader_id != 0  # that it is lost is no leader seen
        if is_leader and not self._lessor.primary:
            self._lessor.promote(self._lease_grace_seconds)
        elif not is_leader and self._lessor.primary:
            self._lessor.demote()
        self.on_leadership(is_leader)

    # --- a snapshot from the leader

    async def restore(self, index: int, path: str) -> Sequence[Member]:
        """See `ReplicatedMachine.restore`. Until the database is there as a whole, the one before answers."""
        logger.info("applying snapshot", extra={"fields": {"incoming-leader-snapshot-index": index}})
        self._metrics.snapshots_in_progress += 1
        try:
            await self._restore(index, path)
        finally:
            self._metrics.snapshots_in_progress -= 1
        logger.info("applied snapshot", extra={"fields": {"current-snapshot-index": index}})
        return self._membership.members()

    async def _restore(self, index: int, path: str) -> None:
        histories = await _read_histories(path)
        if self.snapshotter is not None:
            await self.snapshotter.pause()
        await self._compactor.stop()
        notified_revision = self._store.revision
        await self._backend.replace(path)
        self._lessor.restore()
        self._store.restore(histories)
        for part in self._restorables:
            part.restore()
        if self._state_machine.applied_index != index:
            raise RuntimeError(f"the leader's database is at index {self._state_machine.applied_index}, not {index}")
        if self.snapshotter is not None:
            self.snapshotter.restored(index)
        self._hub.restart(notified_revision)
        self.on_restored()


async def _read_histories(path: str) -> Histories:
    """What the store keeps in memory, read from a file step by step: heartbeats go on meanwhile."""
    histories = Histories()
    file = LMDBFile(path)
    try:
        for _ in histories.read(file.rows(KEY_BUCKET)):
            await asyncio.sleep(0)
    finally:
        file.close()
    return histories
