"""The driver: one member with a real log, and three members joined in the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from raft import failpoint
from raft.core import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfChangeV2,
    ConfState,
    Entry,
    Message,
    MessageType,
    Peer,
    Role,
    Snapshot,
)
from raft.environment import real_environment
from raft.errors import DataDirInUseError, RaftError, StoppedError
from raft.runtime import Driver, DriverConfig, LocalNetwork, Transport
from raft.runtime.transport_grpc import GrpcTransport
from raft.runtime.worker import DiskWorker, Worker
from raft.wal import WAL

WAIT_SECONDS = 20


class Journal:
    """A state machine that remembers what it was told."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.applied = 0
        self.last_term = 0
        self.conf_states: list[ConfState] = []
        self.changed = asyncio.Event()
        self.batches: list[int] = []

    def apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._advance(entry.index)
            self.last_term = entry.term
            if entry.data:
                self.data.append(entry.data)
        self.batches.append(len(entries))

    def admits(self, entry: Entry, change: ConfChangeV2) -> bool:
        return True

    def apply_conf_change(self, entry: Entry, change: ConfChangeV2, conf_state: ConfState) -> None:
        self._advance(entry.index)
        self.conf_states.append(conf_state)

    def restore(self, snapshot: Snapshot) -> None:
        self.applied = snapshot.index
        self.data = snapshot.data.split(b",") if snapshot.data else []
        self.changed.set()

    def _advance(self, index: int) -> None:
        assert index == self.applied + 1, f"{index} applied after {self.applied}"
        self.applied = index
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture(autouse=True)
def _no_failpoints_left() -> AsyncIterator[None]:
    yield
    failpoint.disarm()


def make_driver(
    path: Path,
    journal: Journal,
    *,
    member_id: int = 1,
    peers: Sequence[int] = (1,),
    network: LocalNetwork | None = None,
    transport: Transport | None = None,
    on_fatal: Callable[[BaseException], None] | None = None,
    on_leader_change: Callable[[int], None] | None = None,
    start_worker: Callable[[asyncio.AbstractEventLoop, str], Worker] = DiskWorker,
    **settings: int,
) -> Driver:
    settings.setdefault("segment_bytes", 1 << 16)
    config = DriverConfig(
        member_id=member_id,
        wal_dir=str(path / f"{member_id}" / "wal"),
        snap_dir=str(path / f"{member_id}" / "snap"),
        tick_seconds=0.02,
        **settings,  # type: ignore[arg-type]
    )
    return Driver(
        config,
        real_environment(),
        journal,
        peers=[Peer(peer, b"member %d" % peer) for peer in peers],
        metadata=b"the cluster",
        applied_index=journal.applied,
        transport=network.transport(member_id) if network else transport,
        on_fatal=on_fatal,
        on_leader_change=on_leader_change,
        start_worker=start_worker,
    )


async def test_a_cluster_of_one_leads_at_once_and_applies(tmp_path: Path) -> None:
    journal = Journal()
    leaders: list[int] = []
    driver = make_driver(tmp_path, journal, on_leader_change=leaders.append)
    await driver.start()
    driver.propose(b"a")
    driver.propose(b"b")
    await journal.until(lambda: journal.data == [b"a", b"b"])
    assert driver.is_leader
    assert driver.leader_id == 1
    assert leaders == [1]
    assert journal.conf_states == [ConfState((1,))]
    status = driver.status()
    assert (status.role, status.leader_id, status.dropped_proposals) == (Role.LEADER, 1, 0)
    assert status.applied_index == status.commit_index == journal.applied
    await driver.stop()
    with pytest.raises(StoppedError):
        driver.propose(b"c")
    with pytest.raises(StoppedError):
        await driver.read_index()
    await driver.stop()  # harmless


async def test_a_restart_applies_only_what_is_new(tmp_path: Path) -> None:
    journal = Journal()
    driver = make_driver(tmp_path, journal)
    await driver.start()
    for number in range(10):
        driver.propose(b"%d" % number)
    await journal.until(lambda: len(journal.data) == 10)
    await driver.stop()

    for _ in range(2):  # the state machine has it all: nothing is applied again but the new leader's empty entry
        before = journal.applied
        driver = make_driver(tmp_path, journal)
        await driver.start()
        assert driver.metadata == b"the cluster"
        await journal.until(lambda before=before: journal.applied > before)
        assert len(journal.data) == 10
        assert driver.conf_state == ConfState((1,))
        await driver.stop()

    fresh = Journal()  # the state machine has lost everything: all of it is applied again
    driver = make_driver(tmp_path, fresh)
    await driver.start()
    await fresh.until(lambda: fresh.applied > journal.applied)
    assert fresh.data == journal.data
    await driver.stop()


async def test_a_state_machine_ahead_of_its_log_is_refused(tmp_path: Path) -> None:
    journal = Journal()
    driver = make_driver(tmp_path, journal)
    await driver.start()
    driver.propose(b"a")
    await journal.until(lambda: bool(journal.data))
    await driver.stop()
    journal.applied += 100
    driver = make_driver(tmp_path, journal)
    with pytest.raises(RaftError, match="do not belong together"):
        await driver.start()
    journal.applied -= 100
    driver = make_driver(tmp_path, journal)  # and the log was let go
    await driver.start()
    await driver.stop()


async def test_a_data_directory_in_use_is_refused(tmp_path: Path) -> None:
    driver = make_driver(tmp_path, Journal())
    await driver.start()
    with pytest.raises(DataDirInUseError):
        await make_driver(tmp_path, Journal()).start()
    await driver.stop()


async def test_what_arrives_during_a_write_goes_into_the_next(tmp_path: Path) -> None:
    journal = Journal()
    driver = make_driver(tmp_path, journal)
    await driver.start()
    await driver.read_index()
    writes = 0
    entered, proceed = threading.Event(), threading.Event()

    def hold() -> None:
        nonlocal writes
        writes += 1
        entered.set()
        proceed.wait(WAIT_SECONDS)

    failpoint.arm("raft_before_save", hold)
    driver.propose(b"first")
    await asyncio.to_thread(entered.wait, WAIT_SECONDS)
    for number in range(100):
        driver.propose(b"%d" % number)
        await asyncio.sleep(0)
    assert not journal.data
    proceed.set()
    await journal.until(lambda: len(journal.data) == 101)
    assert writes == 2
    await driver.stop()


async def test_nothing_is_applied_before_it_is_durable(tmp_path: Path) -> None:
    journal = Journal()
    failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    driver = make_driver(tmp_path, journal, on_fatal=failed.set_result)
    await driver.start()
    await driver.read_index()
    driver.propose(b"kept")
    await journal.until(lambda: journal.data == [b"kept"])

    def full() -> None:
        raise OSError(28, "No space left on device")

    failpoint.arm("wal_before_sync", full)
    driver.propose(b"lost")
    error = await asyncio.wait_for(failed, WAIT_SECONDS)
    assert "No space left" in str(error)
    assert journal.data == [b"kept"]
    with pytest.raises(StoppedError, match="No space left"):
        driver.propose(b"later")
    await driver.stop()
    failpoint.disarm()
    driver = make_driver(tmp_path, journal)
    await driver.start()
    await driver.read_index()
    assert journal.data[0] == b"kept"
    await driver.stop()


async def test_a_failing_state_machine_ends_the_member(tmp_path: Path) -> None:
    class Broken(Journal):
        def apply(self, entries: Sequence[Entry]) -> None:
            if any(entry.data == b"poison" for entry in entries):
                raise RuntimeError("cannot apply")
            super().apply(entries)

    journal = Broken()
    failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    driver = make_driver(tmp_path, journal, on_fatal=failed.set_result)
    await driver.start()
    driver.propose(b"poison")
    assert str(await asyncio.wait_for(failed, WAIT_SECONDS)) == "cannot apply"
    with pytest.raises(StoppedError):
        await driver.read_index()
    await driver.stop()


async def test_read_index_follows_what_was_applied(tmp_path: Path) -> None:
    journal = Journal()
    driver = make_driver(tmp_path, journal)
    await driver.start()
    assert await asyncio.wait_for(driver.read_index(), WAIT_SECONDS) >= 2
    driver.propose(b"a")
    await journal.until(lambda: journal.data == [b"a"])
    assert await driver.read_index() == journal.applied
    await driver.stop()


async def test_an_answer_to_a_read_of_an_earlier_life_is_ignored(tmp_path: Path) -> None:
    """The leader may still be busy with a request that the member sent before it was restarted."""
    contexts = []
    for _ in range(2):
        network = LocalNetwork()
        requests: asyncio.Queue[Message] = asyncio.Queue()
        leader = network.transport(2)
        await leader.start(_Peer(requests))
        driver = make_driver(tmp_path, Journal(), peers=(1, 2, 3), network=network)
        await driver.start()
        driver.receive(Message(type=MessageType.HEARTBEAT, sender=2, to=1, term=5, commit=0))
        read = asyncio.ensure_future(driver.read_index())
        while (request := await asyncio.wait_for(requests.get(), WAIT_SECONDS)).type is not MessageType.READ_INDEX:
            pass
        contexts.append(request.entries[0].data)
        read.cancel()
        await driver.stop()
    assert contexts[0] != contexts[1]


class _Peer:
    """Takes note of what a member sends."""

    def __init__(self, received: asyncio.Queue[Message]) -> None:
        self._received = received

    def receive(self, message: Message) -> None:
        self._received.put_nowait(message)

    def report_unreachable(self, member_id: int) -> None:
        pass

    def report_snapshot(self, member_id: int, *, ok: bool) -> None:
        pass


async def test_snapshots_shorten_the_log_and_are_restarted_from(tmp_path: Path) -> None:
    journal = Journal()
    driver = make_driver(tmp_path, journal, segment_bytes=2048, catch_up_entries=5, max_snapshots=2)
    await driver.start()
    wal_dir = tmp_path / "1" / "wal"
    for number in range(200):
        driver.propose(b"%d" % number)
        if number % 50 == 49:
            await journal.until(lambda number=number: len(journal.data) == number + 1)
            await driver.save_snapshot(journal.applied, b",".join(journal.data))
    assert driver.status().snapshot_index == journal.applied
    assert driver.status().first_index == journal.applied - 4
    assert len(list((tmp_path / "1" / "snap").iterdir())) == 2
    first_segment = min(path.name for path in wal_dir.iterdir())
    assert not first_segment.startswith("0000000000000000-")
    with pytest.raises(ValueError, match="no snapshot"):
        await driver.save_snapshot(journal.applied + 1, b"")
    driver.propose(b"behind")
    await journal.until(lambda: journal.data[-1] == b"behind")
    await driver.stop()

    fresh = Journal()
    driver = make_driver(tmp_path, fresh, segment_bytes=2048)
    await driver.start()
    await driver.read_index()
    assert fresh.data == journal.data
    assert driver.conf_state == ConfState((1,))
    await driver.stop()


async def test_stopping_while_a_snapshot_is_being_saved_is_no_failure(tmp_path: Path) -> None:
    journal = Journal()
    failures: list[BaseException] = []
    driver = make_driver(tmp_path, journal, on_fatal=failures.append)
    await driver.start()
    driver.propose(b"a")
    await journal.until(lambda: journal.data == [b"a"])
    reached, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        assert go_on.wait(WAIT_SECONDS)

    failpoint.arm("raft_before_snapshot", hold)
    saving = asyncio.ensure_future(driver.save_snapshot(driver.applied_index, b"a"))
    await asyncio.to_thread(reached.wait, WAIT_SECONDS)
    stopping = asyncio.ensure_future(driver.stop())
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(StoppedError):
        await saving
    await stopping
    assert failures == []


# Three members


class Cluster:
    def __init__(self, path: Path, size: int = 3, **settings: int) -> None:
        self.network = LocalNetwork()
        self.ids = list(range(1, size + 1))
        self.journals = {member_id: Journal() for member_id in self.ids}
        self.path = path
        self.settings = settings
        self.drivers = {member_id: self.make(member_id, self.ids) for member_id in self.ids}

    def make(self, member_id: int, peers: Sequence[int]) -> Driver:
        journal = self.journals[member_id]
        return make_driver(
            self.path,
            journal,
            member_id=member_id,
            peers=peers,
            network=self.network,
            on_leader_change=lambda _: journal.changed.set(),
            **self.settings,
        )

    async def start(self) -> None:
        for driver in self.drivers.values():
            await driver.start()

    async def stop(self) -> None:
        for driver in self.drivers.values():
            await driver.stop()

    async def leader(self, but: int = 0) -> Driver:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                for driver in self.drivers.values():
                    if driver.is_leader and driver.config.member_id != but:
                        return driver
                await asyncio.sleep(0.005)

    async def until_all(self, condition: Callable[[Journal], bool], but: int = 0) -> None:
        for member_id, journal in self.journals.items():
            if member_id != but:
                await journal.until(lambda journal=journal: condition(journal))


async def test_three_members_agree_whoever_is_asked(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.start()
    for member_id, driver in cluster.drivers.items():
        driver.propose(b"from %d" % member_id)  # before there is a leader: they wait for one
    await cluster.until_all(lambda journal: len(journal.data) == 3)
    assert len({tuple(journal.data) for journal in cluster.journals.values()}) == 1
    for driver in cluster.drivers.values():
        index = await asyncio.wait_for(driver.read_index(), WAIT_SECONDS)
        assert driver.applied_index >= index
    await cluster.stop()


async def test_a_new_leader_takes_over_and_the_old_one_catches_up(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.start()
    old = await cluster.leader()
    old_id = old.config.member_id
    old.propose(b"before")
    await cluster.until_all(lambda journal: journal.data == [b"before"])
    cluster.network.isolate(old_id)
    new = await cluster.leader(but=old_id)
    read = asyncio.ensure_future(old.read_index())
    new.propose(b"after")
    await cluster.until_all(lambda journal: journal.data == [b"before", b"after"], but=old_id)
    assert not read.done()  # a leader that was cut off may not answer
    cluster.network.heal()
    await cluster.until_all(lambda journal: journal.data == [b"before", b"after"])
    assert await asyncio.wait_for(read, WAIT_SECONDS) >= cluster.journals[old_id].applied - 1
    await cluster.stop()


async def submitted(driver: Driver) -> None:
    """Return when everything proposed has been handed to the core and has left."""
    while driver.status().waiting_proposals:
        await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_proposals_lost_with_their_leader_can_be_made_again(tmp_path: Path) -> None:
    """Each is applied once, although its proposer cannot know whether the old leader has taken it."""
    cluster = Cluster(tmp_path)
    await cluster.start()
    leader = await cluster.leader()
    await leader.read_index()
    leader_id = leader.config.member_id
    follower_id = next(member_id for member_id in cluster.ids if member_id != leader_id)
    follower, journal = cluster.drivers[follower_id], cluster.journals[follower_id]
    await follower.read_index()
    cluster.network.cut.add((follower_id, leader_id))  # what it forwards is lost
    assert [follower.propose(data) for data in (b"a", b"b", b"c")] == [0, 1, 2]
    await submitted(follower)
    term = follower.term
    assert list(follower.lost_before(term)) == [], "they may still come"
    cluster.network.isolate(leader_id)
    await journal.until(lambda: journal.last_term > term)
    assert follower.lost_before(journal.last_term) == range(3)
    assert follower.fate_unknown_below == 0
    for number in follower.lost_before(journal.last_term):
        follower.propose((b"a", b"b", b"c")[number])
    cluster.network.heal()
    await cluster.until_all(lambda journal: journal.data == [b"a", b"b", b"c"])
    await cluster.stop()


async def test_a_snapshot_from_the_leader_hides_what_became_of_proposals(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, catch_up_entries=0)
    await cluster.start()
    leader = await cluster.leader()
    await leader.read_index()
    leader_id = leader.config.member_id
    follower_id = next(member_id for member_id in cluster.ids if member_id != leader_id)
    follower, journal = cluster.drivers[follower_id], cluster.journals[follower_id]
    await follower.read_index()
    cluster.network.cut.add((leader_id, follower_id))  # it can still propose and hears no more
    follower.propose(b"a")
    await cluster.until_all(lambda journal: journal.data == [b"a"], but=follower_id)
    assert journal.data == []
    await leader.save_snapshot(cluster.journals[leader_id].applied, b"a")
    cluster.network.heal()
    await journal.until(lambda: journal.data == [b"a"])
    assert follower.fate_unknown_below == 1
    assert list(follower.lost_before(follower.term + 1)) == []
    await cluster.stop()


async def test_leadership_can_be_handed_over(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.start()
    old = await cluster.leader()
    await old.read_index()
    await asyncio.wait_for(old.transfer_leadership(), WAIT_SECONDS)
    assert not old.is_leader
    new = await cluster.leader()
    target = next(member_id for member_id in cluster.ids if member_id != new.config.member_id)
    await new.read_index()
    await asyncio.wait_for(new.transfer_leadership(target), WAIT_SECONDS)
    assert cluster.drivers[target].is_leader
    await cluster.stop()


async def test_members_join_by_snapshot_and_leave(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, catch_up_entries=0)
    await cluster.start()
    leader = await cluster.leader()
    journal = cluster.journals[leader.config.member_id]
    for number in range(20):
        leader.propose(b"%d" % number)
    await journal.until(lambda: len(journal.data) == 20)
    await leader.save_snapshot(journal.applied, b",".join(journal.data))

    cluster.ids.append(4)
    cluster.journals[4] = Journal()
    cluster.drivers[4] = cluster.make(4, ())
    await cluster.drivers[4].start()
    leader.propose_conf_change(ConfChange(ConfChangeType.ADD_NODE, 4, b"member 4", id=77))
    await cluster.journals[4].until(lambda: len(cluster.journals[4].data) == 20)
    await cluster.until_all(lambda journal: bool(journal.conf_states) or journal.applied > 0)
    removed = next(member_id for member_id in (1, 2, 3) if member_id != leader.config.member_id)
    leader.propose_conf_change(ConfChangeV2(changes=(ConfChangeSingle(ConfChangeType.REMOVE_NODE, removed),)))
    await journal.until(lambda: journal.conf_states[-1].voters == tuple({1, 2, 3, 4} - {removed}))
    leader.propose(b"last")
    await cluster.until_all(lambda journal: bool(journal.data) and journal.data[-1] == b"last", but=removed)
    await cluster.stop()
    # The newcomer starts again from the snapshot that it was sent.
    again = Journal()
    again.applied = cluster.journals[4].applied
    again.data = cluster.journals[4].data
    cluster.journals[4] = again
    driver = cluster.make(4, ())
    await driver.start()
    assert driver.conf_state.voters == tuple(sorted({1, 2, 3, 4} - {removed}))
    await driver.stop()


async def test_a_single_voter_sends_heartbeats_to_its_learners(tmp_path: Path) -> None:
    """Or a learner that has missed an append would never hear of it again."""
    cluster = Cluster(tmp_path, size=1, max_inflight_messages=1)
    await cluster.start()
    leader, journal = cluster.drivers[1], Journal()
    await leader.read_index()
    cluster.journals[2] = journal
    cluster.drivers[2] = cluster.make(2, [])
    await cluster.drivers[2].start()
    leader.propose_conf_change(ConfChange(ConfChangeType.ADD_LEARNER_NODE, 2))
    leader.propose(b"a")
    await journal.until(lambda: journal.data == [b"a"])
    cluster.network.cut.add((1, 2))
    leader.propose(b"b")
    await cluster.journals[1].until(lambda: cluster.journals[1].data == [b"a", b"b"])
    await submitted(leader)
    cluster.network.heal()
    await journal.until(lambda: journal.data == [b"a", b"b"])
    await cluster.stop()


async def test_a_follower_can_be_told_that_its_leader_is_gone(tmp_path: Path) -> None:
    leaders: list[int] = []
    network = LocalNetwork()
    driver = make_driver(tmp_path, Journal(), peers=(1, 2, 3), network=network, on_leader_change=leaders.append)
    await driver.start()
    driver.receive(Message(type=MessageType.HEARTBEAT, sender=2, to=1, term=5, commit=0))
    while not leaders:
        await asyncio.sleep(0)
    assert leaders == [2]
    driver.forget_leader()
    while len(leaders) < 2:
        await asyncio.sleep(0)
    assert leaders == [2, 0]
    await driver.stop()


async def test_unexpected_messages_are_ignored(tmp_path: Path) -> None:
    journal = Journal()
    driver = make_driver(tmp_path, journal)
    await driver.start()
    await driver.read_index()
    driver.receive(Message(type=MessageType.HUP, to=1, sender=9))
    driver.receive(Message(type=MessageType.APP_RESP, to=1, sender=9, term=1))
    driver.report_unreachable(9)
    driver.report_snapshot(9, ok=False)
    driver.propose(b"still here")
    await journal.until(lambda: journal.data == [b"still here"])
    await driver.stop()


async def test_the_log_can_be_read_without_the_driver(tmp_path: Path) -> None:
    journal = Journal()
    driver = make_driver(tmp_path, journal)
    await driver.start()
    driver.propose(b"a")
    await journal.until(lambda: journal.data == [b"a"])
    await driver.stop()
    wal, recovered = WAL.open(real_environment().files, str(tmp_path / "1" / "wal"), segment_bytes=1 << 16)
    assert [entry.data for entry in recovered.entries if entry.data and not entry.type] == [b"a"]
    assert recovered.hard_state.commit == journal.applied
    wal.close()


class HeldWorker(DiskWorker):
    """A disk that takes its time: what is written while `held` waits for `release`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        super().__init__(loop, name)
        self.held = False
        self._waiting: list[tuple[Any, Any]] = []

    def submit(self, job: Any, done: Any) -> None:
        if self.held:
            self._waiting.append((job, done))
        else:
            super().submit(job, done)

    def release(self) -> None:
        self.held = False
        waiting, self._waiting = self._waiting, []
        for job, done in waiting:
            super().submit(job, done)


async def test_a_change_that_reaches_the_leader_early_waits_for_the_one_before_it(tmp_path: Path) -> None:
    """The others have stored and applied a change that the leader's own disk is still busy with."""
    network, ids = LocalNetwork(), (1, 2, 3)
    journals = {member_id: Journal() for member_id in ids}
    workers: dict[int, HeldWorker] = {}
    drivers = {}
    for member_id in ids:

        def start_worker(loop: asyncio.AbstractEventLoop, name: str, member_id: int = member_id) -> HeldWorker:
            workers[member_id] = HeldWorker(loop, name)
            return workers[member_id]

        drivers[member_id] = make_driver(
            tmp_path, journals[member_id], member_id=member_id, peers=ids, network=network, start_worker=start_worker
        )
        await drivers[member_id].start()
    drivers[1].propose(b"first")
    for journal in journals.values():
        await journal.until(lambda journal=journal: journal.data == [b"first"])
    leader_id = drivers[1].leader_id
    follower_id = next(member_id for member_id in ids if member_id != leader_id)
    follower, journal = drivers[follower_id], journals[follower_id]
    workers[leader_id].held = True
    follower.propose_conf_change(ConfChange(ConfChangeType.ADD_LEARNER_NODE, 4))
    await journal.until(lambda: journal.conf_states[-1].learners == (4,))
    assert journals[leader_id].conf_states[-1].learners == ()
    follower.propose_conf_change(ConfChange(ConfChangeType.ADD_LEARNER_NODE, 5))
    for _ in range(20):
        await asyncio.sleep(0)  # until it has reached the leader
    workers[leader_id].release()
    await journal.until(lambda: journal.conf_states[-1].learners == (4, 5))
    for driver in drivers.values():
        await driver.stop()


async def test_three_members_over_the_network(tmp_path: Path) -> None:
    """The same, joined by gRPC; then the leader dies and the others go on."""
    ids = (1, 2, 3)
    journals = {member_id: Journal() for member_id in ids}
    transports = {
        member_id: GrpcTransport(
            real_environment(), member_id=member_id, cluster_id=0xC1, listen_urls=["http://127.0.0.1:0"]
        )
        for member_id in ids
    }
    drivers = {}
    for member_id in ids:
        drivers[member_id] = make_driver(
            tmp_path, journals[member_id], member_id=member_id, peers=ids, transport=transports[member_id]
        )
        await drivers[member_id].start()
    for member_id in ids:
        for peer_id in ids:
            await transports[member_id].add_peer(peer_id, transports[peer_id].urls)
    for number, driver in enumerate(drivers.values()):
        driver.propose(b"%d" % number)
    for journal in journals.values():
        await journal.until(lambda journal=journal: len(journal.data) == 3)
    assert len({tuple(journal.data) for journal in journals.values()}) == 1
    leader_id = drivers[1].leader_id
    await drivers.pop(leader_id).stop()
    driver = next(iter(drivers.values()))
    async with asyncio.timeout(WAIT_SECONDS):
        while not all(b"without it" in journals[member_id].data for member_id in drivers):
            driver.propose(b"without it")  # may be lost with the old leader; whoever waits tries again
            await asyncio.sleep(0.02)
    for driver in drivers.values():
        await asyncio.wait_for(driver.read_index(), WAIT_SECONDS)
    for driver in drivers.values():
        await driver.stop()
