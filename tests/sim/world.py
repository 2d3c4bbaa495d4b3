"""A cluster, its clients and its misfortunes, all from one seed."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

from raft.core import ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState
from tests.sim import settings as choices
from tests.sim.checks import Canon, SafetyError, is_quorum
from tests.sim.linearizability import Operation, is_linearizable
from tests.sim.loop import Timeline
from tests.sim.member import Member
from tests.sim.nemesis import Nemesis
from tests.sim.network import Network

CHAOS_MS = 2500
HEAL_MS = 20_000
CLIENT_TIMEOUT_MS = 1000
KEYS = ("a", "b")


class LivenessError(AssertionError):
    """Everything works and nothing moves."""


class World:
    """One history. `run` raises when something is wrong; `transcript` says what happened.

    Attributes:
        conf_state: the newest configuration that anybody has applied.
    """

    def __init__(self, seed: int, **focus: Any) -> None:
        """`focus` fixes some of the settings that the seed would choose."""
        self.seed = seed
        self.chance = random.Random(seed)
        self.timeline = Timeline()
        self.transcript: list[str] = []
        self.canon = Canon()
        self.settings = replace(choices.choose(self.chance), **focus)
        self.network = Network(self)
        self.nemesis = Nemesis(self)
        self.members: dict[int, Member] = {}
        self._operations: dict[int, tuple[str, Operation]] = {}
        self._acknowledged: set[int] = set()
        self._numbers = itertools.count(1)
        founders = list(range(1, self.settings.size + 1))
        self.conf_state = ConfState(tuple(founders))
        self._conf_index = 0
        self._ever_members: set[int] = set()
        self._next_id = self.settings.size + 1
        self._healed = False
        self.log(f"seed {seed}: {self.settings}")
        for member_id in founders:
            self.members[member_id] = Member(self, member_id, founders)

    def log(self, line: str) -> None:
        """One line of the transcript."""
        self.transcript.append(f"{self.timeline.now:6} {line}")

    # The history

    def run(self) -> None:
        """Let misfortune rule, then heal everything and require progress."""
        self.timeline.at(self.chance.randrange(20), self._client)
        self.nemesis.begin()
        self.timeline.run(CHAOS_MS)
        self._heal()
        self._require_progress()
        self._check_histories()

    def alive(self) -> list[Member]:
        """The members whose processes run."""
        return [member for member in self.members.values() if member.alive]

    def newcomer(self) -> int:
        """Start a member that waits to be added; ids are never used again."""
        member_id, self._next_id = self._next_id, self._next_id + 1
        self.members[member_id] = Member(self, member_id, [])
        return member_id

    # Clients

    def _client(self) -> None:
        alive = self.alive()
        if alive:
            member = self.chance.choice(alive)
            if self.chance.random() < 0.6:
                self.write(member)
            else:
                self._read(member)
        if not self._healed:
            self.timeline.at(self.chance.randrange(5, 40), self._client)

    def write(self, member: Member, key: str = "") -> int:
        """Start a write; its value is its number."""
        number, key = next(self._numbers), key or self.chance.choice(KEYS)
        self._operations[number] = (key, Operation(number, True, number, self.timeline.now))
        padding = b"x" * self.chance.choice((0, 10, 100, 1000))
        member.write(number, b"%d %s %s" % (number, key.encode(), padding))
        return number

    def write_answered(self, number: int) -> None:
        """The member that proposed the write has applied it and answers the client, if that is still there."""
        operation, now = self._operations[number][1], self.timeline.now
        if now - operation.called <= CLIENT_TIMEOUT_MS:
            operation.returned = now
            self._acknowledged.add(number)

    def _read(self, member: Member) -> None:
        number, key = next(self._numbers), self.chance.choice(KEYS)
        self._operations[number] = (key, Operation(number, False, 0, self.timeline.now))
        member.read(number, key)

    def read_answered(self, number: int, value: int) -> None:
        """A member answers a read."""
        if number in self._operations:
            operation = self._operations[number][1]
            operation.value, operation.returned = value, self.timeline.now

    def read_failed(self, number: int) -> None:
        """A read will not be answered."""
        self._operations.pop(number, None)

    # Checks

    def check_committed(self, leader: Member, index: int, states: tuple[ConfState, ConfState]) -> None:
        """Commitment: the leader's entry at its commit index is on the disks of a quorum.

        Within one step the leader may have counted by the configuration before it or by the one behind it.
        """
        term = leader.node.term_at(index)
        assert term is not None
        holders = {member.id for member in self.members.values() if member.holds(index, term)}
        if not any(is_quorum(state, holders) for state in states):
            raise SafetyError(f"{leader.id} counts {index} as committed and only {sorted(holders)} have it on disk")

    def conf_state_applied(self, member_id: int, index: int, state: ConfState) -> None:
        """A member has applied a change of membership.

        Only while it founds a cluster does a member know better than the entries, which add its members one by one.
        """
        if index > self.settings.size:
            self.canon.configures(member_id, index, state)
        if index > self._conf_index:
            self._conf_index, self.conf_state = index, state
            self._ever_members.update(state.members())
            self.log(f"configuration at {index}: {state}")

    def _check_histories(self) -> None:
        """What clients saw is linearizable, and nothing that was acknowledged is gone."""
        now = self.timeline.now
        for key in KEYS:
            history = [
                operation
                for its_key, operation in self._operations.values()
                if its_key == key and (operation.is_write or operation.returned <= now)
            ]
            if not is_linearizable(history):
                raise SafetyError(f"the history of register {key} is not linearizable: {history}")
        for member_id in self.conf_state.members():
            if lost := self._acknowledged - self.members[member_id].machine.written:
                raise SafetyError(f"{member_id} lacks the acknowledged writes {sorted(lost)}")

    # The end

    def _heal(self) -> None:
        self.log("everything heals")
        self._healed = True
        self.nemesis.end()
        self.network.heal()
        for member in self.members.values():
            member.disk.full = False
            member.slow_disk = False
            if member.refused:
                continue
            if member.alive:
                member.resume()
            else:
                member.crash()  # it may be still stopping
                member.start()

    def _require_progress(self) -> None:
        """A write started at each member is acknowledged, and everybody comes to the same state."""
        pending: dict[int, int] = {}  # member -> the write that it was given last
        done: set[int] = set()

        def propose() -> None:
            self._stop_removed()
            for member_id in self.conf_state.members():
                if member_id not in done and self.members[member_id].alive:
                    pending[member_id] = self.write(self.members[member_id], "a")
            self.timeline.at(400, propose)

        def all_done() -> bool:
            members = self.conf_state.members()
            # A leader that is leaving may have told its clients of more than the others know to be committed.
            newest = self.canon.last_committed
            if self.conf_state.joint or any(self.members[it].machine.applied != newest for it in members):
                return False
            done.update(member_id for member_id, number in pending.items() if number in self._acknowledged)
            return done.issuperset(members)

        def mend_configuration() -> None:
            # An explicit joint configuration is left by whoever entered it; a member that was refused is replaced.
            for leader in [member for member in self.alive() if member.node.is_leader]:
                if self.conf_state.joint:
                    if not self.conf_state.auto_leave:
                        leader.change(ConfChangeV2())
                    continue
                for member_id in self.conf_state.members():
                    if self.members[member_id].refused:
                        remove = ConfChangeSingle(ConfChangeType.REMOVE_NODE, member_id)
                        leader.change(ConfChangeV2(changes=(remove,)))
                        break
            self.timeline.at(100, mend_configuration)

        self.timeline.at(0, propose)
        self.timeline.at(0, mend_configuration)
        if not self.timeline.run(HEAL_MS, all_done):
            status = [
                (member.id, member.alive, member.machine.applied, member.node.status())
                for member in self.members.values()
            ]
            raise LivenessError(f"no progress: {self.conf_state}, done {sorted(done)}, {status}")
        digests = {self.members[member_id].machine.digest for member_id in self.conf_state.members()}
        if len(digests) != 1:
            raise SafetyError("members at the same index are in different states")

    def _stop_removed(self) -> None:
        """Operators switch a removed member off; without pre-vote it would stand for election forever."""
        members = self.conf_state.members()
        if any(self.members[member_id].machine.applied < self._conf_index for member_id in members):
            return  # somebody does not know yet and may need the vote of a member that is leaving
        for member_id in sorted(self._ever_members.difference(members)):
            self.members[member_id].alive = False
            self.members[member_id].life.dead = True
