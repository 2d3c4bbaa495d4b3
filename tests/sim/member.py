"""One member: the real driver on the real log; its loop, clock, network and disk are simulated."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from raft import failpoint
from raft.core import ConfChangeV2, Message, Peer, RawNode, Ready
from raft.core.state import Raft
from raft.environment import Environment
from raft.errors import LogLostError, ProposalDroppedError, RaftError, StoppedError
from raft.runtime import Driver, DriverConfig, Receiver
from tests.sim.disk import SimDisk
from tests.sim.loop import Life, SimClock, SimWorker
from tests.sim.machine import Machine

if TYPE_CHECKING:
    from tests.sim.world import World

SEGMENT_BYTES = 8192
HEARTBEAT_SECONDS = 0.05
ELECTION_TIMEOUT_TICKS = 2
WRITE_POINTS = (None, "snap_before_rename", "wal_before_sync", "wal_after_sync", "wal_before_rename")


class PowerLossError(Exception):
    """Raised where a failpoint cuts the power."""


class SimRandomness:
    """A `raft.environment.Randomness` from the world's chance."""

    def __init__(self, chance: random.Random) -> None:
        self.uniform = chance.uniform
        self.below = chance.randrange
        self.token_bytes = chance.randbytes

    def uuid4(self) -> str:
        raise NotImplementedError


class SimTransport:
    """A `raft.runtime.Transport` into the world's network."""

    def __init__(self, world: World) -> None:
        self._network = world.network

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._network.send(message)

    async def start(self, receiver: Receiver) -> None:
        pass

    async def stop(self) -> None:
        pass


class SimDriver(Driver):
    """The driver, watched: every store, every sync and every turn is a step after which the promises are checked."""

    member: Member

    @property
    def node(self) -> RawNode:
        """The core."""
        return self._node

    def _handle(self, ready: Ready) -> None:
        if ready.entries:
            self.member.world.canon.stores(self._node, ready.entries)
        super()._handle(ready)

    def _stored(self, seconds: float | None, error: BaseException | None) -> None:
        if error is None and self._storing is not None:
            self.member.note_durable(self._storing)
        super()._stored(seconds, error)

    def _turn(self) -> None:
        super()._turn()
        self.member.check()


class Member:
    """A member that can crash and come back.

    Attributes:
        alive: the process takes part; it may be paused.
        refused: it has found out that its log was lost, and is never started again.
        durable: what is surely on its disk, index to term, behind `durable_snapshot`.
        lost: what was on the disk that it has lost.
        reading: reads of clients that wait for an answer from this life.
    """

    def __init__(self, world: World, member_id: int, peers: list[int]) -> None:
        self.world = world
        self.id = member_id
        self.chance = world.chance
        self.disk = SimDisk(world.chance)
        self.alive = self.refused = self.slow_disk = False
        self.speed = 1 + world.chance.randrange(-30, 31) / 100  # clocks run at different speeds
        self.durable: dict[int, int] = {}
        self.durable_snapshot = 0
        self.lost: dict[int, int] = {}
        self._peers = peers
        self.start()

    @property
    def node(self) -> RawNode:
        """The core."""
        return self.driver.node

    # Life

    def start(self) -> None:
        """Read the disk and begin."""
        world = self.world
        self.alive = True
        self.life = Life(world.timeline)
        self.machine = Machine(world, self.id)
        self.reading: set[int] = set()
        self._backlog: list[Message] = []  # what has come during a pause; requests may be read before it
        self.clock = SimClock(self.life, self.speed)
        self._worker = SimWorker(self.life, self._disk_latency)
        self._checked_commit = 0
        self.driver = SimDriver(
            self._config(),
            Environment(self.clock, SimRandomness(self.chance), self.disk),
            self.machine,
            peers=[Peer(peer) for peer in self._peers],
            metadata=b"sim",
            transport=SimTransport(world),
            on_fatal=self._failed,
            start_worker=lambda loop, name: self._worker,
        )
        self.driver.member = self
        self.life.run_at_once(self.driver.start())
        self.machine.driver = self.driver
        self._worker.starting = False
        self._seen_conf_state = self.node.conf_state
        self._note_stored()
        self._watch_elections(self.node._raft)
        world.log(f"{self.id} starts: term {self.node.term}, log to {self.node.last_index}")

    def _config(self) -> DriverConfig:
        settings = self.world.settings
        return DriverConfig(
            member_id=self.id,
            wal_dir="d/wal",
            snap_dir="d/snap",
            tick_seconds=HEARTBEAT_SECONDS,
            election_timeout_ticks=ELECTION_TIMEOUT_TICKS,
            segment_bytes=SEGMENT_BYTES,
            max_snapshots=2,
            catch_up_entries=self.chance.randrange(10),
            pre_vote=settings.pre_vote,
            check_quorum=settings.check_quorum,
            max_size_per_message_bytes=settings.max_size_per_message_bytes,
            max_inflight_messages=settings.max_inflight_messages,
            max_inflight_bytes=settings.max_inflight_bytes,
            max_uncommitted_bytes=settings.max_uncommitted_bytes,
            max_batch_bytes=settings.max_batch_bytes,
        )

    def _note_stored(self) -> None:
        """What was found on the disk; the log that founds a cluster is not written yet."""
        node = self.node
        founds = bool(self._peers) and node.term == 1 and node.snapshot is None
        self.durable_snapshot = node.snapshot.index if node.snapshot else 0
        entries = () if founds else node.entries(node.first_index, node.last_index)
        self.durable = {entry.index: entry.term for entry in entries}

    def _watch_elections(self, raft: Raft) -> None:
        def become_leader() -> None:
            Raft.become_leader(raft)
            self.world.log(f"{self.id} leads in term {raft.term}")
            self.world.canon.leads(self.node)

        raft.become_leader = become_leader  # type: ignore[method-assign]

    def _disk_latency(self) -> int:
        return self.chance.randrange(50, 300) if self.slow_disk else self.chance.randrange(1, 8)

    def crash(self) -> None:
        """Lose power, perhaps in the middle of a write."""
        if self.life.dead:
            return
        self.alive = False
        self.life.dead = True
        self.world.log(f"{self.id} crashes")
        if self._worker.jobs:
            self._write_partly()
        self.disk.crash()
        self._end_reads()

    def _end_reads(self) -> None:
        for operation in sorted(self.reading):
            self.world.read_failed(operation)

    def _write_partly(self) -> None:
        point = self.chance.choice(WRITE_POINTS)

        def lose_power() -> None:
            raise PowerLossError

        if point is None:
            return
        failpoint.arm(point, lose_power)
        try:
            self._worker.jobs[0][0]()
        except (PowerLossError, OSError, RaftError):
            pass
        finally:
            failpoint.disarm()

    def stop(self) -> None:
        """End in good order, as on SIGTERM."""

        async def stop() -> None:
            try:
                await self.driver.stop()
            except (OSError, RaftError) as error:  # what is left could not be written; it was promised to nobody
                self.world.log(f"{self.id} ends: {error}")
                self.crash()
                return
            self.life.dead = True
            self._end_reads()
            self.world.log(f"{self.id} has stopped")

        self.alive = False
        self.world.log(f"{self.id} stops")
        self.life.call(self.life.start, stop)

    def pause(self) -> None:
        """Do nothing until `resume`, as after SIGSTOP."""
        self.life.paused = True
        self.world.log(f"{self.id} is paused")

    def resume(self) -> None:
        """Go on where it was paused, if it is still there."""
        if self.life.paused and not self.life.dead:
            self.world.log(f"{self.id} goes on")
            backlog, self._backlog = self._backlog, []
            self.life.resume()
            for message in backlog:
                self.life.later(self.chance.randrange(30), self.driver.receive, message)

    def wipe(self) -> None:
        """Come back with an empty disk under the same identity: as who joins, or as who founds a cluster."""
        self.crash()
        self.lost = self.durable
        self.disk = SimDisk(self.chance)
        if self.chance.random() < 0.5:
            self._peers = []
        self.world.log(f"{self.id} has lost its disk")
        self.start()

    def _failed(self, error: BaseException) -> None:
        """The driver has given up."""
        self.world.log(f"{self.id} fails: {error}")
        if isinstance(error, LogLostError):
            self.refused = True
        elif not isinstance(error, OSError):
            self.world.timeline.failure = error
        self.crash()

    # Requests

    def receive(self, message: Message) -> None:
        """A message arrives."""
        if self.life.paused:
            self._backlog.append(message)
        else:
            self.life.call(self.driver.receive, message)

    def write(self, number: int, data: bytes) -> None:
        """Propose a write."""
        self.life.call(self._write, number, data)

    def _write(self, number: int, data: bytes) -> None:
        if self.alive:
            self.machine.propose(number, data)

    def read(self, operation: int, key: str) -> None:
        """Read a register, linearizably."""
        self.reading.add(operation)

        async def read() -> None:
            try:
                await self.driver.read_index()
            except StoppedError:
                return
            self.reading.discard(operation)
            self.world.read_answered(operation, self.machine.values.get(key, 0))

        self.life.call(self.life.start, read)

    def change(self, change: ConfChangeV2) -> None:
        """Propose a change of membership."""
        self.life.call(self._change, change)

    def _change(self, change: ConfChangeV2) -> None:
        try:
            self.driver.propose_conf_change(change)
        except (StoppedError, ProposalDroppedError):
            pass  # whoever wants it asks again

    def transfer(self, to: int) -> None:
        """Ask for another leader."""

        async def transfer() -> None:
            try:
                await self.driver.transfer_leadership(to)
            except StoppedError:
                pass

        self.life.call(self.life.start, transfer)

    def snapshot(self) -> None:
        """Make a snapshot and shorten the log."""
        self.life.call(self._snapshot)

    def _snapshot(self) -> None:
        index, data = self.machine.applied, self.machine.dump()
        known = self.node.snapshot.index if self.node.snapshot else 0
        if index <= known:
            return

        async def save() -> None:
            try:
                await self.driver.save_snapshot(index, data)
                self.world.log(f"{self.id} has a snapshot at {index}, log from {self.node.first_index}")
            except (StoppedError, ValueError):
                pass  # it ends, or a newer one has come from the leader

        self.life.start(save)

    # Checks

    def note_durable(self, ready: Ready) -> None:
        """A write is finished."""
        durable = self.durable
        if ready.snapshot is not None:
            self.durable_snapshot = ready.snapshot.index
            durable.clear()
        if ready.entries:
            for entry in ready.entries:
                durable[entry.index] = entry.term
            index = ready.entries[-1].index + 1
            while index in durable:
                del durable[index]
                index += 1

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry is surely on this member's disk, or was on the one that it has lost."""
        return index <= self.durable_snapshot or term in (self.durable.get(index), self.lost.get(index))

    def check(self) -> None:
        """What a leader counts as committed is on the disks of a quorum."""
        if self.life.dead:
            return
        node = self.node
        commit, state = node.commit_index, node.conf_state
        if commit > self._checked_commit:
            self._checked_commit = commit
            if node.is_leader:
                self.world.check_committed(self, commit, (self._seen_conf_state, state))
        self._seen_conf_state = state
