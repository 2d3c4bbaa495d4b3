"""A running member: one core, its log on disk, its state machine, its peers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from raft.core import (
    NO_NODE,
    ConfChange,
    ConfChangeV2,
    ConfState,
    Entry,
    EntryType,
    Message,
    MessageType,
    Peer,
    RawNode,
    Ready,
    Role,
    Snapshot,
)
from raft.environment import Environment, TimerHandle
from raft.errors import ConfChangeError, ProposalDroppedError, RaftError, StoppedError, UnexpectedMessageError
from raft.failpoint import failpoint
from raft.runtime.conf_history import ConfHistory
from raft.runtime.config import TICKS_PER_HEARTBEAT, DriverConfig, Status
from raft.runtime.force_new_cluster import force_new_cluster
from raft.runtime.proposals import ProposalQueue, SubmittedChange
from raft.runtime.reads import CONTEXT_BYTES, ReadQueue
from raft.runtime.state_machine import StateMachine, build_node
from raft.runtime.transport import NullTransport, Transport
from raft.runtime.worker import DiskWorker, Worker
from raft.wal import WAL, SnapshotMark, SnapshotStore, StoredState, open_store

__all__ = ["Driver"]

EARLY_CHANGES_MAX = 1000
"""Changes of membership from others that may wait for one before them."""


class Driver:
    """Runs one member on the present event loop.

    Whatever arrives in one turn of the loop – proposals, reads, messages – is handed to the core together and makes one
    batch. One batch at a time is on its way to the disk, on a thread that does nothing else; what arrives meanwhile
    makes up the next. Committed entries are applied on the loop while the disk is busy with that.

    When the log cannot be written, or the state machine fails, the member stops at once: nothing more is acknowledged,
    `on_fatal` is called with the error, and everything waiting gets `StoppedError`.

    Attributes:
        on_leader_change: called with the id of the new leader, 0 when there is none.
        on_fatal: called once with the error that ended the member.
        on_sync: called with the seconds that a write to the log took until it was durable.
        late_heartbeats: heartbeats of this member, as a leader, that went out more than one interval late.
    """

    def __init__(
        self,
        config: DriverConfig,
        environment: Environment,
        state_machine: StateMachine,
        *,
        peers: Sequence[Peer] = (),
        metadata: bytes = b"",
        applied_index: int = 0,
        conf_state: ConfState | None = None,
        force_new_cluster: bytes | None = None,
        transport: Transport | None = None,
        on_leader_change: Callable[[int], None] | None = None,
        on_fatal: Callable[[BaseException], None] | None = None,
        on_sync: Callable[[float], None] | None = None,
        start_worker: Callable[[asyncio.AbstractEventLoop, str], Worker] = DiskWorker,
    ) -> None:
        """Nothing happens before `start`.

        Args:
            config: the settings.
            environment: clocks, chance and files.
            state_machine: what committed entries are applied to.
            peers: the founding members, this one among them; used when there is no log yet. Without them, a member that
                has no log waits to be added and sent one.
            metadata: goes into a new log; for etcd's tools a serialized etcdserverpb.Metadata.
            applied_index: the state machine already has everything up to here.
            conf_state: the configuration at `applied_index`, where the state machine keeps it; it must, if it does not
                admit every change of membership.
            force_new_cluster: remove every other member before starting; the bytes go along with the entry that makes
                this member a voter, if it was none.
            transport: to the peers; a member without any needs none.
            on_leader_change, on_fatal, on_sync: see above.
            start_worker: makes what waits for the disk, given the event loop and a name; a simulator brings its own.
        """
        self.config = config
        self._environment = environment
        self._state_machine = state_machine
        self._peers = tuple(peers)
        self._metadata = metadata
        self._restart_index = applied_index
        self._restart_conf_state = conf_state
        self._force_new_cluster = force_new_cluster
        self._transport: Transport = transport or NullTransport()
        self.on_leader_change = on_leader_change
        self.on_fatal = on_fatal
        self.on_sync = on_sync
        self._start_worker = start_worker
        self._snapshots = SnapshotStore(environment.files, config.snap_dir, keep=config.max_snapshots)
        self._proposals = ProposalQueue(config.max_waiting_bytes, config.max_batch_bytes)
        self._reads = ReadQueue(environment.randomness.token_bytes(CONTEXT_BYTES))
        self._inbox: deque[Callable[[], None]] = deque()
        self._early_changes: list[Message] = []
        self._turn_scheduled = False
        self._running = False
        self._stopped = False
        self._failure: BaseException | None = None
        self._ticks = 0
        self._tick_timer: TimerHandle | None = None
        self._ticked_at = 0.0
        self.late_heartbeats = 0
        self._leader_id = NO_NODE
        self._leader_waiters: list[asyncio.Future[None]] = []
        self._storing: Ready | None = None
        self._restoring: asyncio.Future[None] | None = None
        self._disk_idle: asyncio.Event = asyncio.Event()
        self._disk_idle.set()
        # Set by start.
        self._loop: asyncio.AbstractEventLoop
        self._worker: Worker
        self._wal: WAL
        self._conf_history: ConfHistory
        self._node: RawNode

    # Life

    async def start(self) -> None:
        """Read the log, or make it, and begin. A cluster of one elects itself at once.

        Raises:
            DataDirInUseError, CorruptLogError, OSError: the log cannot be used, or the transport's address.
            RaftError: the log and the state machine do not belong together.
        """
        self._loop = asyncio.get_running_loop()
        self._worker = self._start_worker(self._loop, f"raft-disk-{self.config.member_id:x}")
        try:
            self._wal, stored = await self._worker.run(self._open_store)
        except BaseException:
            self._worker.stop()
            raise
        try:
            self._metadata = stored.metadata
            if stored.snapshot is not None and stored.snapshot.index > self._restart_index:
                restoring = self._state_machine.restore(stored.snapshot)
                if restoring is not None:
                    await restoring
                self._restart_index, self._restart_conf_state = stored.snapshot.index, stored.snapshot.conf_state
            if self._force_new_cluster is not None and not stored.is_new:
                stored = await self._worker.run(partial(self._make_new_cluster, stored, self._force_new_cluster))
            core = self.config.core(self._environment.randomness)
            self._node, self._conf_history = build_node(
                core, stored, self._restart_index, self._restart_conf_state, self._peers
            )
            self._running = True
            await self._transport.start(self)
        except BaseException:
            self._running = False
            await self._worker.run(self._wal.close)
            self._worker.stop()
            raise
        self._schedule_tick()
        self._schedule_turn()

    def _make_new_cluster(self, stored: StoredState, context: bytes) -> StoredState:
        state = self._restart_conf_state or (stored.snapshot.conf_state if stored.snapshot else ConfState())
        return force_new_cluster(self._wal, stored, self.config.member_id, state, context)

    def _open_store(self) -> tuple[WAL, StoredState]:
        return open_store(
            self._environment.files,
            self.config.wal_dir,
            self._snapshots,
            self._metadata,
            segment_bytes=self.config.segment_bytes,
        )

    async def stop(self) -> None:
        """Finish the write under way, store what is left and let go of everything. Nothing more is accepted."""
        if self._stopped or not (self._running or self._failure):
            return
        self._running = False
        self._stopped = True
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        await self._transport.stop()
        await self._disk_idle.wait()
        if self._restoring is not None:
            await asyncio.wait([self._restoring])
        self._reads.fail(StoppedError("the member is stopping"))
        self._release_leader_waiters()
        self._failure = self._failure or StoppedError("the member has stopped")
        try:
            await self._worker.run(self._wal.close)
        finally:
            self._worker.stop()

    def _fail(self, error: BaseException) -> None:
        """End the member: nothing may be acknowledged from here on."""
        if self._failure is not None:
            return
        self._failure = error
        self._running = False
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        self._reads.fail(StoppedError(f"the member has failed: {error}"))
        self._release_leader_waiters()
        if self.on_fatal is not None:
            self.on_fatal(error)

    def _check_running(self) -> None:
        if not self._running:
            raise StoppedError(f"the member is not running: {self._failure}")

    # Requests

    def propose(self, data: bytes) -> int:
        """Propose an entry. It is applied here once it is committed, or never: whoever waits needs a timeout.

        Without a leader it waits for one. Returns the number of the proposal, counted from 0 since the start, which
        `lost_before` knows it by.

        Raises:
            StoppedError: the member is not running.
            ProposalDroppedError: `max_waiting_bytes` of proposals are waiting already; this one has no number.
        """
        if not self._running:
            self._check_running()
        number = self._proposals.add(data)
        if not self._turn_scheduled:
            self._schedule_turn()
        return number

    def lost_before(self, term: int) -> range:
        """The numbers of the proposals that were made in terms older than `term`: applied by now, or lost for good.

        To be asked when the first entry of `term` is applied: what is still unanswered among them will never be
        applied, and may be proposed again without being done twice. Proposals that a snapshot from the leader may cover
        are left out, see `fate_unknown_below`.
        """
        return range(self._proposals.fate_unknown_below, self._proposals.submitted_before(term))

    @property
    def fate_unknown_below(self) -> int:
        """Proposals below this number, when not seen applied, may have been: in what a snapshot from the leader has
        replaced. They must not be proposed again. Up to date when `StateMachine.restore` is called.
        """
        return self._proposals.fate_unknown_below

    def propose_conf_change(self, change: ConfChange | ConfChangeV2) -> SubmittedChange:
        """Propose a change of membership; like `propose`. One that does not fit becomes an empty entry.

        Raises:
            StoppedError: the member is not running.
            ProposalDroppedError: too many are waiting for a leader already.
        """
        self._check_running()
        submitted = self._proposals.add_conf_change(change)
        self._schedule_turn()
        return submitted

    async def read_index(self) -> int:
        """The index of a linearizable read: whatever was acknowledged before this call is in the state machine now.

        Without a leader this waits for one; whoever calls sets the time limit.

        Raises:
            StoppedError: the member is not running, or stops.
        """
        self._check_running()
        node = self._node
        if node.is_leader and node.is_singleton and node.has_committed_in_term:
            index = node.commit_index
            if node.applied_index >= index:
                return index
        future: asyncio.Future[int] = self._loop.create_future()
        self._reads.add(future)
        self._schedule_turn()
        return await future

    async def transfer_leadership(self, to: int = NO_NODE) -> None:
        """Hand leadership to `to`, or to the voter that is furthest, and wait until somebody else leads.

        Returns without effect when there is no other voter or this member does not lead and `to` is not given. Gives up
        silently when the transfer fails within an election timeout: look at `leader_id`.

        Raises:
            StoppedError: the member is not running.
        """
        self._check_running()
        target = to or self._best_successor()
        if target == NO_NODE or target == self._node.leader:
            return
        changed: asyncio.Future[None] = self._loop.create_future()
        self._leader_waiters.append(changed)
        self._enqueue(lambda: self._node.transfer_leadership(target))
        give_up = self._environment.clock.call_later(
            2 * self.config.election_timeout_seconds, lambda: _resolve(changed)
        )
        try:
            await changed
        finally:
            give_up.cancel()

    def forget_leader(self) -> None:
        """Let this member, when it follows, vote at once for somebody else; see `RawNode.forget_leader`.

        For whoever knows that the leader is gone. Without effect when reads are by lease.
        """
        self._check_running()
        self._enqueue(self._node.forget_leader)

    def _best_successor(self) -> int:
        node = self._node
        if not node.is_leader:
            return NO_NODE
        candidates = [voter for voter in node.conf_state.all_voters() if voter != node.id]

        def match(member_id: int) -> int:
            member = node.progress(member_id)
            return member.match if member else 0

        return max(candidates, key=match, default=NO_NODE)

    async def save_snapshot(self, index: int, data: bytes) -> None:
        """Store a snapshot of the state machine at `index`, and drop what it makes superfluous.

        The state machine at `index` must be durable by itself before. `catch_up_entries` stay in the log, if
        they are not more than `catch_up_bytes`.

        Raises:
            StoppedError: the member is not running, or the disk fails.
            ValueError: `index` is not applied, or older than the newest snapshot.
        """
        self._check_running()
        node = self._node
        snapshot = node.create_snapshot(index, self._conf_history.at(index), data)
        mark = SnapshotMark(snapshot.index, snapshot.term, snapshot.conf_state)
        try:
            await self._worker.run(lambda: self._save_snapshot_file(snapshot))
            self._check_running()
            self._wal.append_snapshot(mark)
            batch = self._wal.seal()
            await self._worker.run(lambda: self._wal.commit(batch))
        except StoppedError:
            raise  # it was stopped meanwhile, which is no failure
        except (OSError, RaftError) as error:
            self._fail(error)
            raise StoppedError(f"the snapshot at {index} could not be stored: {error}") from error
        self._check_running()
        await self.compact(node.index_before(index, self.config.catch_up_entries, self.config.catch_up_bytes))

    async def compact(self, index: int) -> None:
        """Drop the log up to `index`, in memory and on disk; a snapshot must cover it.

        On disk the log reaches back to the oldest snapshot that is kept, in case a newer one turns out damaged.

        Raises:
            StoppedError: the member is not running.
            ValueError: no snapshot covers `index`.
        """
        self._check_running()
        self._node.compact(index)
        self._conf_history.forget_before(index)
        await self._worker.run(self._release_files)

    def _save_snapshot_file(self, snapshot: Snapshot) -> None:
        failpoint("raft_before_snapshot")
        self._snapshots.save(snapshot)

    def _release_files(self) -> None:
        self._snapshots.remove_old()
        self._wal.release(self._snapshots.oldest_kept())

    # Facts

    @property
    def leader_id(self) -> int:
        """The leader as far as known, or 0."""
        return self._leader_id

    @property
    def is_leader(self) -> bool:
        """Whether this member leads, as far as it knows."""
        return self._running and self._node.is_leader

    @property
    def commit_index(self) -> int:
        """The last index known to be committed."""
        return self._node.commit_index

    @property
    def applied_index(self) -> int:
        """How far the state machine has come."""
        return self._node.applied_index

    @property
    def term(self) -> int:
        """The present term."""
        return self._node.term

    @property
    def metadata(self) -> bytes:
        """What the log was made with; known after `start`."""
        return self._metadata

    def matches(self) -> dict[int, int] | None:
        """How far each member's log agrees with this one's, by member id; None where this member does not lead."""
        node = self._node
        if not self.is_leader:
            return None
        return {
            member_id: progress.match
            for member_id in node.conf_state.members()
            if (progress := node.progress(member_id)) is not None
        }

    @property
    def conf_state(self) -> ConfState:
        """The configuration in force."""
        return self._node.conf_state

    def status(self) -> Status:
        """Where this member stands."""
        return Status.of(self._node, len(self._proposals), self._proposals.dropped)

    # What transports call

    def receive(self, message: Message) -> None:
        """A message from a peer; see `Receiver`."""
        if message.type is MessageType.PROP and any(entry.type is not EntryType.NORMAL for entry in message.entries):
            self._enqueue(lambda: self._step_change(message))
        else:
            self._enqueue(lambda: self._node.step(message))

    def _step_change(self, message: Message) -> None:
        """A change of membership, forwarded to the leader: it waits for the one before it to be applied here.

        Its sender may have applied that already, for a leader commits what a quorum of others has stored and applies
        only what it has stored itself; and a change that comes too soon would become an empty entry.
        """
        if self._node.may_change_members:
            self._node.step(message)
        elif len(self._early_changes) < EARLY_CHANGES_MAX:
            self._early_changes.append(message)

    def report_unreachable(self, member_id: int) -> None:
        """See `Receiver`."""
        self._enqueue(lambda: self._node.report_unreachable(member_id))

    def report_snapshot(self, member_id: int, *, ok: bool) -> None:
        """See `Receiver`."""
        self._enqueue(lambda: self._node.report_snapshot(member_id, ok=ok))

    # The loop

    def _enqueue(self, call: Callable[[], None]) -> None:
        if self._running:
            self._inbox.append(call)
            self._schedule_turn()

    def _schedule_turn(self) -> None:
        if not self._turn_scheduled and self._running:
            self._turn_scheduled = True
            self._loop.call_soon(self._turn)

    def _schedule_tick(self) -> None:
        # Who is alone has nobody to send heartbeats to and no election to lose; it only watches for newcomers.
        divisor = 1 if self._node.is_alone else TICKS_PER_HEARTBEAT
        self._tick_timer = self._environment.clock.call_later(self.config.tick_seconds / divisor, self._tick)

    def _tick(self) -> None:
        if not self._running:
            return
        self._ticks += 1
        now, before = self._environment.clock.monotonic(), self._ticked_at
        self._ticked_at = now
        if not self._node.is_alone:
            if now - before > 2 * self.config.tick_seconds and self._ticks > 1 and self._node.is_leader:
                self.late_heartbeats += len(self._node.conf_state.members()) - 1
            self._enqueue(self._node.tick)
            if (
                self._reads.has_unanswered
                and self._ticks % (self.config.election_timeout_ticks * TICKS_PER_HEARTBEAT) == 0
            ):
                self._enqueue(lambda: self._reads.repeat(self._node))
        self._schedule_tick()

    def _turn(self) -> None:
        """Take what has arrived, then do what the core asks for."""
        self._turn_scheduled = False
        if not self._running:
            return
        node = self._node
        applied_index = node.applied_index
        try:
            while self._inbox:
                call = self._inbox.popleft()
                try:
                    call()
                except (ProposalDroppedError, UnexpectedMessageError):
                    pass  # the sender repeats what matters
            if self._proposals.drain(node):
                self._schedule_turn()
            self._reads.drain(node)
            while node.has_ready and self._failure is None:
                ready = node.ready()
                self._handle(ready)
                if ready.committed_entries and node.has_ready:
                    self._schedule_turn()  # a long log is applied page by page, and others get their turn in between
                    break
            if self._proposals.has_changes and node.applied_index > applied_index:
                self._schedule_turn()  # the change before it may be among what was applied
            if node.is_singleton and node.role is Role.FOLLOWER:
                node.campaign()
                if node.has_ready:
                    self._schedule_turn()
        except Exception as error:  # whatever it is, the member is no longer what the others take it for
            self._fail(error)

    def _handle(self, ready: Ready) -> None:
        """What a `Ready` asks for. The disk is started first and waited for last."""
        if ready.messages:
            self._transport.send(ready.messages)
        if ready.must_sync:
            self._store(ready)
        elif ready.hard_state is not None:
            self._wal.append(ready.hard_state, ())  # goes out with the next batch
        if ready.soft_state is not None and ready.soft_state.leader != self._leader_id:
            self._lead_changed(ready.soft_state.leader)
        for state in ready.read_states:
            self._reads.answered(state, self._node.applied_index)
        if ready.committed_entries:
            self._apply(ready.committed_entries)

    def _lead_changed(self, leader_id: int) -> None:
        self._leader_id = leader_id
        if leader_id not in (NO_NODE, self.config.member_id):
            self._release_leader_waiters()
        if leader_id != NO_NODE:
            self._reads.repeat(self._node)
            self._schedule_turn()  # proposals may have waited for a leader
        if self.on_leader_change is not None:
            self.on_leader_change(leader_id)

    def _release_leader_waiters(self) -> None:
        waiters, self._leader_waiters = self._leader_waiters, []
        for waiter in waiters:
            _resolve(waiter)

    # The disk

    def _store(self, ready: Ready) -> None:
        snapshot = ready.snapshot
        if snapshot is not None:
            self._wal.append_snapshot(SnapshotMark(snapshot.index, snapshot.term, snapshot.conf_state))
        self._wal.append(ready.hard_state, ready.entries)
        batch = self._wal.seal()
        self._storing = ready
        self._disk_idle.clear()

        def save() -> float:
            failpoint("raft_before_save")
            started = self._environment.clock.monotonic()
            if snapshot is not None:
                self._snapshots.save(snapshot)
            self._wal.commit(batch)
            failpoint("raft_after_save")
            return self._environment.clock.monotonic() - started

        self._worker.submit(save, self._stored)

    def _stored(self, seconds: float | None, error: BaseException | None) -> None:
        ready, self._storing = self._storing, None
        self._disk_idle.set()
        if error is not None:
            self._fail(error)
            return
        if not self._running:
            return
        assert ready is not None
        if self.on_sync is not None and seconds is not None:
            self.on_sync(seconds)
        try:
            self._node.persisted()
            if ready.snapshot is not None:
                self._restore(ready.snapshot)
        except Exception as failure:  # see _turn
            self._fail(failure)
            return
        self._turn()

    # The state machine

    def _restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot in place. The core hands out nothing to apply until it is told that this is done."""
        self._proposals.restored(snapshot.term)
        restoring = self._state_machine.restore(snapshot)
        if restoring is None:
            self._restored(snapshot)
            return
        self._restoring = self._loop.create_task(_one_after_the_other(self._restoring, restoring))
        self._restoring.add_done_callback(lambda done: self._after_restoring(snapshot, done))

    def _after_restoring(self, snapshot: Snapshot, done: asyncio.Future[None]) -> None:
        if self._restoring is done:
            self._restoring = None
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is not None:
            self._fail(error)
        elif self._running:
            self._restored(snapshot)
            self._schedule_turn()

    def _restored(self, snapshot: Snapshot) -> None:
        self._conf_history = ConfHistory(snapshot.index, snapshot.conf_state)
        self._node.applied(snapshot.index)
        self._reads.applied(snapshot.index)

    def _apply(self, entries: tuple[Entry, ...]) -> None:
        failpoint("raft_before_apply")
        start = 0
        for position, entry in enumerate(entries):
            if entry.type is EntryType.NORMAL:
                continue
            if position > start:
                self._state_machine.apply(entries[start:position])
            self._apply_conf_change(entry)
            start = position + 1
        if start == 0:
            self._state_machine.apply(entries)
        elif start < len(entries):
            self._state_machine.apply(entries[start:])
        last = entries[-1].index
        self._node.applied(last)
        self._reads.applied(last)
        if self._early_changes:
            early, self._early_changes = self._early_changes, []
            for message in early:
                self.receive(message)

    def _apply_conf_change(self, entry: Entry) -> None:
        node = self._node
        try:
            change = node.config.codec.decode(entry)
            if not self._state_machine.admits(entry, change):
                raise ConfChangeError("not admitted")
            state = node.apply_conf_change(change)
        except ConfChangeError:
            change, state = ConfChangeV2(), node.conf_state  # every member finds the same, and goes on as it was
        self._conf_history.note(entry.index, state)
        self._state_machine.apply_conf_change(entry, change, state)


async def _one_after_the_other(before: asyncio.Future[None] | None, work: Awaitable[None]) -> None:
    if before is not None:
        await asyncio.wait([before])
    await work


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
