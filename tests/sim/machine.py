"""What the simulated members replicate: a few registers; and how they propose.

A server proposes as this one does: what is lost with a leader is proposed again, what a snapshot may hide is not.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING

from raft.core import ConfChangeV2, ConfState, Entry, EntryType, Snapshot
from raft.errors import ProposalDroppedError
from raft.runtime import Driver

if TYPE_CHECKING:
    from tests.sim.world import World


def write_number(entry: Entry) -> int | None:
    """The number of the write in an entry; None when it holds something else."""
    if not entry.data or entry.type is not EntryType.NORMAL:
        return None
    return int(entry.data.partition(b" ")[0])


class Machine:
    """The state machine of one life of a member.

    Attributes:
        values: the registers; the value of a write is its number.
        written: the numbers of all writes so far.
        digest: of the whole history.
        unanswered: what this member has proposed and not seen applied: the driver's number to the write.
        members: who belongs to the cluster.
        removed: who did; an id never comes back.
    """

    def __init__(self, world: World, member_id: int) -> None:
        self._world = world
        self._member_id = member_id
        self.driver: Driver | None = None
        self.values: dict[str, int] = {}
        self.written: set[int] = set()
        self.digest = 0
        self.applied = 0
        self._applied_term = 0
        self.unanswered: dict[int, tuple[int, bytes]] = {}
        self.members: set[int] = set()
        self.removed: set[int] = set()

    def propose(self, number: int, data: bytes) -> None:
        """Propose a write."""
        assert self.driver is not None
        try:
            self.unanswered[self.driver.propose(data)] = (number, data)
        except ProposalDroppedError:
            self._world.log(f"{self._member_id} refuses write {number}")

    def _propose_again(self, term: int) -> None:
        assert self.driver is not None
        lost = self.driver.lost_before(term)
        for driver_number in [it for it in self.unanswered if it in lost]:
            number, data = self.unanswered.pop(driver_number)
            self._world.log(f"{self._member_id} makes write {number} again: it was lost before term {term}")
            self.propose(number, data)

    # raft.runtime.StateMachine

    def apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            number = write_number(entry)
            if number is not None:
                key = entry.data.split(b" ", 2)[1].decode()
                self.values[key] = number
                self.written.add(number)
            self._advance(entry)
            if number is not None:
                self._answer(number)

    def _answer(self, number: int) -> None:
        for driver_number, (its_number, _) in self.unanswered.items():
            if its_number == number:
                del self.unanswered[driver_number]
                self._world.write_answered(number)
                return

    def admits(self, entry: Entry, change: ConfChangeV2) -> bool:
        """Some changes are refused when they come to be applied; leaving a joint configuration never is."""
        if any(single.node_id in self.removed for single in change.changes):
            return False
        founds = entry.index <= self._world.settings.size
        return founds or not change.changes or entry.index % 7 != 0

    def apply_conf_change(self, entry: Entry, change: ConfChangeV2, conf_state: ConfState) -> None:
        self._world.conf_state_applied(self._member_id, entry.index, conf_state)
        self.removed |= self.members.difference(conf_state.members())
        self.members = set(conf_state.members())
        self._advance(entry)

    def _advance(self, entry: Entry) -> None:
        if entry.index != self.applied + 1:
            raise AssertionError(f"{self._member_id} applies {entry.index} after {self.applied}")
        assert self.driver is not None
        self.digest = self._world.canon.applies(self._member_id, self.driver.term, entry, self.digest)
        self.applied = entry.index
        if entry.term > self._applied_term:
            self._applied_term = entry.term
            if self.unanswered:
                self._propose_again(entry.term)

    def restore(self, snapshot: Snapshot) -> Awaitable[None] | None:
        """At the start at once; later it may take a while."""
        if self.driver is None or self._world.chance.random() < 0.5:
            self._restore(snapshot)
            return None
        return self._restore_slowly(snapshot)

    async def _restore_slowly(self, snapshot: Snapshot) -> None:
        await self._world.members[self._member_id].clock.sleep(self._world.chance.randrange(100) / 1000)
        self._restore(snapshot)

    def _restore(self, snapshot: Snapshot) -> None:
        self.values, written, self.digest, members, removed = json.loads(snapshot.data)
        self.written, self.members, self.removed = set(written), set(members), set(removed)
        self._world.canon.restores(self._member_id, snapshot.index, self.digest)
        self.applied, self._applied_term = snapshot.index, snapshot.term
        self._world.log(f"{self._member_id} takes the snapshot at {snapshot.index}")
        if self.driver is not None:
            for driver_number in [it for it in self.unanswered if it < self.driver.fate_unknown_below]:
                del self.unanswered[driver_number]

    def dump(self) -> bytes:
        """What a snapshot of now holds."""
        sets = (sorted(self.written), sorted(self.members), sorted(self.removed))
        return json.dumps([self.values, sets[0], self.digest, *sets[1:]]).encode()
