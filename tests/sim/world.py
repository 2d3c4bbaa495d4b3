"""A cluster, its clients and its misfortunes, all from one seed."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from raft.core import (
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeType,
    ConfChangeV2,
    ConfState,
)
from tests.sim.checks import Canon, SafetyError
from tests.sim.linearizability import Operation, is_linearizable
from tests.sim.member import Member
from tests.sim.network import Network

CHAOS_MS = 2500
HEAL_MS = 20_000
CLIENT_TIMEOUT_MS = 400
KEYS = ("a", "b")
MEMBERS_MAX = 6
MISFORTUNES = (
    "crash",
    "crash_leader",
    "isolate_leader",
    "partition",
    "one_way_cut",
    "mend_network",
    "bad_network",
    "slow_disk",
    "full_disk",
    "transfer",
    "snapshot",
    "burst",
)


class LivenessError(AssertionError):
    """Everything works and nothing moves."""


@dataclass(frozen=True)
class Settings:
    """What differs from seed to seed for the whole run."""

    size: int
    pre_vote: bool
    check_quorum: bool
    max_size_per_message_bytes: int
    max_inflight_messages: int
    membership_changes: bool
    misfortunes: tuple[str, ...]
    every_ms: int


class World:
    """One history. `run` raises when something is wrong; `transcript` says what happened."""

    def __init__(self, seed: int, **focus: Any) -> None:
        """`focus` fixes some of the settings that the seed would choose."""
        self.seed = seed
        self.chance = random.Random(seed)
        self.now = 0
        self.transcript: list[str] = []
        self._events: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = itertools.count()
        self.canon = Canon()
        chance = self.chance
        self.settings = Settings(
            size=chance.choice((1, 2, 3, 3, 3, 4, 5)),
            pre_vote=chance.random() < 0.7,
            check_quorum=chance.random() < 0.7,
            max_size_per_message_bytes=chance.choice((0, 200, 1 << 20)),
            max_inflight_messages=chance.choice((1, 3, 256)),
            membership_changes=chance.random() < 0.5,
            # A few kinds at a time reach states that all of them together hardly ever do (swarm testing).
            misfortunes=tuple(chance.sample(MISFORTUNES, chance.choice((2, 3, 4, 6, len(MISFORTUNES))))),
            every_ms=chance.choice((60, 120, 200)),
        )
        self.settings = replace(self.settings, **focus)
        self.network = Network(self)
        self.members: dict[int, Member] = {}
        self._operations: dict[int, tuple[str, Operation]] = {}
        self._writers: dict[int, Member] = {}
        self._numbers = itertools.count(1)
        self._clients = itertools.count(1)
        founders = list(range(1, self.settings.size + 1))
        self._conf_state = ConfState(tuple(founders))
        self._conf_index = 0
        self._ever_members: set[int] = set()
        self._next_id = self.settings.size + 1
        self._healed = False
        self.log(str(self.settings))
        for member_id in founders:
            self.members[member_id] = Member(self, member_id, founders)

    # Time

    def at(self, delay_ms: int, call: Callable[..., None], *arguments: Any) -> None:
        """Call later."""
        heapq.heappush(self._events, (self.now + delay_ms, next(self._sequence), call, arguments))

    def _run_until(self, condition: Callable[[], bool], limit_ms: int) -> bool:
        end = self.now + limit_ms
        while self._events and self._events[0][0] <= end:
            self.now, _, call, arguments = heapq.heappop(self._events)
            call(*arguments)
            if condition():
                return True
        return False

    def log(self, line: str) -> None:
        """One line of the transcript."""
        self.transcript.append(f"{self.now:6} {line}")

    # The history

    def run(self) -> None:
        """Let misfortune rule, then heal everything and require progress."""
        self.at(self.chance.randrange(20), self._client)
        self.at(self.chance.randrange(200), self._misfortune)
        self._run_until(lambda: False, CHAOS_MS)
        self._heal()
        self._require_progress()
        self._check_histories()

    def _alive(self) -> list[Member]:
        return [member for member in self.members.values() if member.alive]

    # Clients

    def _client(self) -> None:
        alive = self._alive()
        if alive:
            member = self.chance.choice(alive)
            key = self.chance.choice(KEYS)
            if self.chance.random() < 0.6:
                self.write(member, key)
            else:
                self._read(member, key)
        if not self._healed:
            self.at(self.chance.randrange(5, 40), self._client)

    def write(self, member: Member, key: str) -> int:
        """Start a write; its value is its number."""
        number = next(self._numbers)
        operation = Operation(next(self._clients), True, number, self.now)
        self._operations[number] = (key, operation)
        self._writers[number] = member
        padding = b"x" * self.chance.choice((0, 10, 100, 1000))
        if not member.propose(b"%d %s %s" % (number, key.encode(), padding)):
            del self._operations[number]  # refused: it never happened
        return number

    def write_applied(self, member: Member, number: int) -> None:
        """A member has applied a write; the one that proposed it answers its client."""
        if self._writers.get(number) is member:
            operation = self._operations[number][1]
            if operation.returned > self.now and self.now - operation.called <= CLIENT_TIMEOUT_MS:
                operation.returned = self.now

    def _read(self, member: Member, key: str) -> None:
        number = next(self._numbers)
        self._operations[number] = (key, Operation(next(self._clients), False, 0, self.now))
        member.read(number)

    def read_answered(self, number: int, values: dict[str, int]) -> None:
        """A member answers a read."""
        if number in self._operations:
            key, operation = self._operations[number]
            operation.value = values.get(key, 0)
            operation.returned = self.now

    def read_failed(self, number: int) -> None:
        """A read will not be answered."""
        self._operations.pop(number, None)

    def is_answered(self, number: int) -> bool:
        """Whether a write was acknowledged."""
        return number in self._operations and self._operations[number][1].returned <= self.now

    def _check_histories(self) -> None:
        for key in KEYS:
            history = [
                operation
                for its_key, operation in self._operations.values()
                if its_key == key and (operation.is_write or operation.returned <= self.now)
            ]
            if not is_linearizable(history):
                raise SafetyError(f"the history of register {key} is not linearizable: {history}")

    # Misfortunes

    def _misfortune(self) -> None:
        if self._healed:
            return
        chance = self.chance
        kinds = [*self.settings.misfortunes]
        if self.settings.membership_changes:
            kinds += ["change_membership"] * len(kinds)
            if self._conf_state.joint:
                kinds += ["part_configurations"] * len(kinds)
        getattr(self, f"_{chance.choice(kinds)}")()
        self.at(chance.randrange(10, self.settings.every_ms), self._misfortune)

    def _leader(self) -> Member | None:
        leaders = [member for member in self._alive() if member.node.is_leader]
        return self.chance.choice(leaders) if leaders else None

    def _isolate_leader(self) -> None:
        """Leave a leader with a minority and, more often than not, with proposals that it cannot commit."""
        leader = self._leader()
        if leader is None:
            return
        others = [member_id for member_id in sorted(self.members) if member_id != leader.id]
        friends = self.chance.sample(others, self.chance.randrange(0, len(others) // 2 + 1)) if others else []
        side = {leader.id, *friends}
        self._part(side, set(others) - side)
        self.log(f"leader {leader.id} is left with {sorted(friends)}")
        if self.chance.random() < 0.7:
            self._burst_at(leader)
        if self.chance.random() < 0.7:
            self.at(self.chance.randrange(100, 500), self._mend_network)

    def _crash_leader(self) -> None:
        leader = self._leader()
        if leader is not None:
            self._burst_at(leader)
            self.at(self.chance.randrange(10), self._crash_now, leader)
            self.at(self.chance.randrange(20, 400), self._restart, leader)

    def _crash_now(self, member: Member) -> None:
        if not self._healed:
            member.crash()

    def _burst(self) -> None:
        alive = self._alive()
        if alive:
            self._burst_at(self.chance.choice(alive))

    def _burst_at(self, member: Member) -> None:
        for _ in range(self.chance.randrange(1, 6)):
            if member.alive:
                self.write(member, self.chance.choice(KEYS))

    def _part_configurations(self) -> None:
        """In a joint configuration: those who come on one side, those who go on the other."""
        state = self._conf_state
        newcomers = set(state.voters) - set(state.voters_outgoing)
        leavers = set(state.voters_outgoing) - set(state.voters)
        rest = [member_id for member_id in sorted(self.members) if member_id not in newcomers | leavers]
        with_newcomers = {member_id for member_id in rest if self.chance.random() < 0.5}
        self._part(newcomers | with_newcomers, leavers | (set(rest) - with_newcomers))
        self.log(f"configurations parted: {sorted(newcomers | with_newcomers)} from the others")

    def _part(self, left: set[int], right: set[int]) -> None:
        self.network.cut |= {(a, b) for a in left for b in right} | {(b, a) for a in left for b in right}

    def _crash(self) -> None:
        alive = self._alive()
        if not alive:
            return
        victims = alive if self.chance.random() < 0.1 else [self.chance.choice(alive)]
        for member in victims:
            member.crash()
            self.at(self.chance.randrange(10, 400), self._restart, member)

    def _restart(self, member: Member) -> None:
        if not member.alive and not self._healed:
            member.disk.full = False
            member.start()

    def _partition(self) -> None:
        ids = sorted(self.members)
        left = {member_id for member_id in ids if self.chance.random() < 0.5}
        self.network.cut |= {(a, b) for a in ids for b in ids if (a in left) != (b in left)}
        self.log(f"partition: {sorted(left)} from the others")

    def _one_way_cut(self) -> None:
        ids = sorted(self.members)
        pair = (self.chance.choice(ids), self.chance.choice(ids))
        self.network.cut.add(pair)
        self.log(f"cut: {pair[0]} to {pair[1]}")

    def _mend_network(self) -> None:
        self.network.heal()
        self.log("network mended")

    def _bad_network(self) -> None:
        network = self.network
        network.loss = self.chance.choice((0.0, 0.05, 0.2))
        network.duplication = self.chance.choice((0.0, 0.1, 0.3))
        network.delay_max = self.chance.choice((5, 30, 120))
        self.log(f"network: loss {network.loss}, duplication {network.duplication}, delay {network.delay_max}")

    def _slow_disk(self) -> None:
        member = self.chance.choice(list(self.members.values()))
        member.slow_disk = not member.slow_disk
        self.log(f"{member.id} disk slow: {member.slow_disk}")

    def _full_disk(self) -> None:
        member = self.chance.choice(list(self.members.values()))
        if member.alive:
            member.disk.full = True
            self.log(f"{member.id} disk full")
            self.at(self.chance.randrange(50, 400), self._restart, member)

    def _transfer(self) -> None:
        alive = self._alive()
        if alive:
            target = self.chance.choice(sorted(self.members))
            self.log(f"transfer to {target}")
            self.chance.choice(alive).transfer(target)

    def _snapshot(self) -> None:
        alive = self._alive()
        if alive:
            self.chance.choice(alive).snapshot()

    def _change_membership(self) -> None:
        chance, state = self.chance, self._conf_state
        leaders = [member for member in self._alive() if member.node.is_leader]
        if not leaders:
            return
        if state.joint:
            change = ConfChangeV2()
        else:
            changes = tuple(self._random_change(state) for _ in range(chance.choice((1, 1, 2, 3))))
            transition = chance.choice(
                (ConfChangeTransition.AUTO, ConfChangeTransition.JOINT_IMPLICIT, ConfChangeTransition.JOINT_EXPLICIT)
            )
            change = ConfChangeV2(transition, changes)
        self.log(f"propose {change}")
        chance.choice(leaders).propose_conf_change(change)

    def _random_change(self, state: ConfState) -> ConfChangeSingle:
        chance = self.chance
        kind = chance.choice((ConfChangeType.ADD_NODE, ConfChangeType.ADD_LEARNER_NODE, ConfChangeType.REMOVE_NODE))
        members = state.members()
        if kind is ConfChangeType.REMOVE_NODE and len(state.voters) <= 2:
            kind = ConfChangeType.ADD_NODE
        if kind is ConfChangeType.REMOVE_NODE:
            return ConfChangeSingle(kind, chance.choice(members))
        if len(members) < MEMBERS_MAX and chance.random() < 0.6:
            # Ids are never used again, so a newcomer is always somebody new.
            member_id, self._next_id = self._next_id, self._next_id + 1
            self.members[member_id] = Member(self, member_id, [])
            return ConfChangeSingle(kind, member_id)
        if kind is ConfChangeType.ADD_LEARNER_NODE and len(state.voters) <= 2:
            kind = ConfChangeType.ADD_NODE
        return ConfChangeSingle(kind, chance.choice(members))

    def conf_state_applied(self, index: int, state: ConfState) -> None:
        """A member has applied a change of membership."""
        if index > self._conf_index:
            self._conf_index, self._conf_state = index, state
            self._ever_members.update(state.members())
            self.log(f"configuration at {index}: {state}")

    # The end

    def _heal(self) -> None:
        self.log("everything heals")
        self._healed = True
        self.network.heal()
        for member in self.members.values():
            member.disk.full = False
            member.slow_disk = False
            if not member.alive:
                member.start()

    def _require_progress(self) -> None:
        """A write started at each member is acknowledged, and everybody comes to the same state."""
        pending: dict[int, int] = {}  # member -> the write that it was given last
        done: set[int] = set()

        def propose() -> None:
            self._stop_removed()
            for member_id in self._conf_state.members():
                if member_id not in done:
                    pending[member_id] = self.write(self.members[member_id], "a")
            self.at(CLIENT_TIMEOUT_MS, propose)

        def all_done() -> bool:
            for member_id, number in pending.items():
                if self.is_answered(number):
                    done.add(member_id)
            members = self._conf_state.members()
            return (
                not self._conf_state.joint
                and set(members) <= done
                and len({self.members[member_id].applied for member_id in members}) == 1
            )

        def leave_joint() -> None:
            # An explicit joint configuration is left by whoever entered it.
            for member in self._alive():
                if self._conf_state.joint and not self._conf_state.auto_leave and member.node.is_leader:
                    member.propose_conf_change(ConfChangeV2())
            self.at(100, leave_joint)

        self.at(0, propose)
        self.at(0, leave_joint)
        if not self._run_until(all_done, HEAL_MS):
            status = [
                (member.id, member.alive, member.applied, member.node.status()) for member in self.members.values()
            ]
            raise LivenessError(f"no progress: {self._conf_state}, done {sorted(done)}, {status}")
        digests = {self.members[member_id].registers.digest for member_id in self._conf_state.members()}
        if len(digests) != 1:
            raise SafetyError("members at the same index are in different states")

    def _stop_removed(self) -> None:
        """Operators switch a removed member off; without pre-vote it would stand for election forever."""
        members = self._conf_state.members()
        if any(self.members[member_id].applied < self._conf_index for member_id in members):
            return  # somebody does not know yet and may need the vote of a member that is leaving
        for member_id in sorted(self._ever_members.difference(members)):
            self.members[member_id].alive = False
