"""One member: the real core on the real log, on a simulated disk, with a small state machine."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from raft import failpoint
from raft.core import ConfChangeV2, Config, Entry, EntryType, Message, Peer, RawNode, Ready, Role, Snapshot
from raft.errors import ConfChangeError, ProposalDroppedError, UnexpectedMessageError
from raft.wal import SnapshotMark, SnapshotStore, open_store
from raft.wal.log import Batch
from raft.wire import ProtobufConfChangeCodec
from tests.sim.disk import SimDisk

if TYPE_CHECKING:
    from tests.sim.world import World

SEGMENT_BYTES = 8192
CODEC = ProtobufConfChangeCodec()


class PowerLossError(Exception):
    """Raised where a failpoint cuts the power."""


class Registers:
    """A few registers. A write is taken once, however often it is in the log (thesis, section 6.3)."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.seen: set[int] = set()
        self.digest = 0

    def apply(self, entry: Entry) -> int | None:
        """Returns the number of the write in the entry."""
        if not entry.data or entry.type is not EntryType.NORMAL:
            return None
        number_text, key = entry.data.decode().split(" ")[:2]
        number = int(number_text)
        if number not in self.seen:
            self.seen.add(number)
            self.values[key] = number
        return number

    def dump(self) -> bytes:
        return json.dumps([self.values, sorted(self.seen), self.digest]).encode()

    @classmethod
    def load(cls, data: bytes) -> Registers:
        result = cls()
        result.values, seen, result.digest = json.loads(data)
        result.seen = set(seen)
        return result


class Member:
    """A member that can crash and come back; `incarnation` tells events of the present life from earlier ones."""

    def __init__(self, world: World, member_id: int, peers: list[int]) -> None:
        self.world = world
        self.id = member_id
        self.peers = peers
        self.chance: random.Random = world.chance
        self.disk = SimDisk(world.chance)
        self.incarnation = 0
        self.alive = False
        self.tick_period = 10 + world.chance.randrange(-3, 4)  # clocks run at different speeds
        self.slow_disk = False
        self.node: RawNode
        self.start()

    # Life

    def start(self) -> None:
        """Read the disk and begin."""
        world = self.world
        self.incarnation += 1
        self.alive = True
        self.storing: tuple[Ready, Batch] | None = None
        self.reads: dict[bytes, int] = {}  # context -> client operation
        self.waiting: list[tuple[int, int]] = []  # (read index, client operation)
        self.snapshots = SnapshotStore(self.disk, "d/snap", keep=2)
        self.wal, stored = open_store(self.disk, "d/wal", self.snapshots, b"sim", segment_bytes=SEGMENT_BYTES)
        snapshot = stored.snapshot
        self.registers = Registers.load(snapshot.data) if snapshot else Registers()
        self.applied = snapshot.index if snapshot else 0
        if snapshot:
            world.canon.restores(self.id, snapshot.index, self.registers.digest)
        settings = world.settings
        config = Config(
            id=self.id,
            random_below=self.chance.randrange,
            codec=CODEC,
            election_ticks=10,
            heartbeat_ticks=3,
            max_size_per_message_bytes=settings.max_size_per_message_bytes,
            max_inflight_messages=settings.max_inflight_messages,
            pre_vote=settings.pre_vote,
            check_quorum=settings.check_quorum,
        )
        self.node = RawNode(
            config,
            snapshot=snapshot,
            entries=stored.entries,
            hard_state=stored.hard_state,
            applied=self.applied,
        )
        self.role = Role.FOLLOWER
        if stored.is_new and self.peers:
            self.node.bootstrap([Peer(peer) for peer in self.peers])
        world.log(f"{self.id} starts: term {self.node.term}, log to {self.node.last_index}, torn: {stored.torn_path}")
        world.at(self.chance.randrange(self.tick_period), self.tick, self.incarnation)
        self.process()

    def crash(self) -> None:
        """Lose power, perhaps in the middle of a write."""
        if not self.alive:
            return
        self.alive = False
        self.world.log(f"{self.id} crashes")
        if self.storing is not None:
            ready, batch = self.storing
            self._write_partly(ready, batch)
        self.disk.crash()
        for operation in [*self.reads.values(), *(number for _, number in self.waiting)]:
            self.world.read_failed(operation)

    def _write_partly(self, ready: Ready, batch: Batch) -> None:
        point = self.chance.choice(
            (None, "snap_before_rename", "wal_before_sync", "wal_after_sync", "wal_before_rename")
        )

        def lose_power() -> None:
            raise PowerLossError

        if point is None:
            return
        failpoint.arm(point, lose_power)
        try:
            if ready.snapshot is not None:
                self.snapshots.save(ready.snapshot)
            self.wal.commit(batch)
        except (PowerLossError, OSError):
            pass
        finally:
            failpoint.disarm()

    # Events

    def tick(self, incarnation: int) -> None:
        if not self.alive or incarnation != self.incarnation:
            return
        self.node.tick()
        self.process()
        self.world.at(self.tick_period, self.tick, incarnation)

    def receive(self, message: Message) -> None:
        if not self.alive:
            return
        try:
            self.node.step(message)
        except (UnexpectedMessageError, ProposalDroppedError):
            return
        self.process()

    def propose(self, data: bytes) -> bool:
        try:
            self.node.propose([data])
        except ProposalDroppedError:
            return False
        self.process()
        return True

    def propose_conf_change(self, change: ConfChangeV2) -> None:
        try:
            self.node.propose_conf_change(change)
        except ProposalDroppedError:
            return
        self.process()

    def read(self, operation: int) -> None:
        context = b"%d.%d.%d" % (self.id, self.incarnation, operation)
        self.reads[context] = operation
        self.node.read_index(context)
        self.process()

    def transfer(self, to: int) -> None:
        self.node.transfer_leadership(to)
        self.process()

    def snapshot(self) -> None:
        """Make a snapshot and shorten the log, unless the disk is busy."""
        node = self.node
        known = node.snapshot.index if node.snapshot else 0
        if self.storing is not None or self.applied <= known or node.first_index > self.applied:
            return
        snapshot = node.create_snapshot(self.applied, node.conf_state, self.registers.dump())
        try:
            self.snapshots.save(snapshot)
            self.wal.save_snapshot(SnapshotMark(snapshot.index, snapshot.term, snapshot.conf_state))
        except OSError:
            self.crash()
            return
        node.compact(max(node.first_index - 1, self.applied - self.chance.randrange(10)))
        self.snapshots.remove_old()
        self.wal.release(self.snapshots.oldest_kept())
        self.world.log(f"{self.id} snapshot at {snapshot.index}, log from {node.first_index}")

    # The loop

    def process(self) -> None:
        """Do what the core asks for."""
        world, node = self.world, self.node
        self.role = world.canon.role(node, self.role)
        while self.alive and node.has_ready:
            ready = node.ready()
            if ready.entries:
                world.canon.stores(node, ready.entries)
            for message in ready.messages:
                world.network.send(message)
            if ready.must_sync:
                self._store(ready)
            elif ready.hard_state is not None:
                self.wal.append(ready.hard_state, ())
            for state in ready.read_states:
                if (operation := self.reads.pop(state.context, None)) is not None:
                    self.waiting.append((state.index, operation))
            if ready.committed_entries:
                self._apply(ready.committed_entries)
            if self.waiting:
                self._answer_reads()
            self.role = world.canon.role(node, self.role)

    def _store(self, ready: Ready) -> None:
        if ready.snapshot is not None:
            snapshot = ready.snapshot
            self.wal.append_snapshot(SnapshotMark(snapshot.index, snapshot.term, snapshot.conf_state))
        self.wal.append(ready.hard_state, ready.entries)
        self.storing = (ready, self.wal.seal())
        latency = self.chance.randrange(50, 300) if self.slow_disk else self.chance.randrange(1, 8)
        self.world.at(latency, self._stored, self.incarnation)

    def _stored(self, incarnation: int) -> None:
        if not self.alive or incarnation != self.incarnation or self.storing is None:
            return
        ready, batch = self.storing
        try:
            if ready.snapshot is not None:
                self.snapshots.save(ready.snapshot)
            self.wal.commit(batch)
        except OSError as error:
            self.world.log(f"{self.id} cannot write: {error}")
            self.storing = None
            self.crash()
            return
        self.storing = None
        self.node.persisted()
        if ready.snapshot is not None:
            self._restore(ready.snapshot)
        self.process()

    def _restore(self, snapshot: Snapshot) -> None:
        self.registers = Registers.load(snapshot.data)
        self.world.canon.restores(self.id, snapshot.index, self.registers.digest)
        self.applied = snapshot.index
        self.node.applied(snapshot.index)
        self.world.log(f"{self.id} restored the snapshot at {snapshot.index}")

    def _apply(self, entries: tuple[Entry, ...]) -> None:
        registers, canon = self.registers, self.world.canon
        for entry in entries:
            if entry.index != self.applied + 1:
                raise AssertionError(f"{self.id} applies {entry.index} after {self.applied}")
            registers.digest = canon.applies(self.id, entry, registers.digest)
            self.applied = entry.index
            if entry.type is not EntryType.NORMAL:
                self._apply_conf_change(entry)
            elif (number := registers.apply(entry)) is not None:
                self.world.write_applied(self, number)
        self.node.applied(self.applied)

    def _apply_conf_change(self, entry: Entry) -> None:
        try:
            state = self.node.apply_conf_change(CODEC.decode(entry))
        except ConfChangeError:
            return
        self.world.conf_state_applied(entry.index, state)

    def _answer_reads(self) -> None:
        waiting, self.waiting = self.waiting, []
        for index, operation in waiting:
            if index <= self.applied:
                self.world.read_answered(operation, self.registers.values)
            else:
                self.waiting.append((index, operation))
