"""The store on Raft: `raft.runtime.Driver` as the server's consensus."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from kvstore.apply import Member, MembershipChange, MembershipChangeKind, member_from_json, member_to_json
from kvstore.backend import LMDBBackend
from kvstore.environment import Environment, FileSystem
from kvstore.errors import EtcdError, StatusCode
from kvstore.server import catalogue
from kvstore.server.consensus import ConsensusSettings, ReplicatedMachine
from kvstore.server.peers import MEMBERS
from kvstore.server.snapshot_files import decode_conf_state, encode_conf_state, received_path, remove_leftovers
from raft.core import ConfChange, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType, Peer, Snapshot
from raft.errors import ProposalDroppedError, RaftError, StoppedError
from raft.runtime import Driver, DriverConfig
from raft.wire import ProtobufConfChangeCodec

if TYPE_CHECKING:
    from raft.runtime.peer_stats import TransportStats
    from raft.runtime.transport_grpc import GrpcTransport

__all__ = ["RaftConsensus", "start_raft"]

_CODEC = ProtobufConfChangeCodec()


class RaftConsensus:
    """`RunningConsensus` on a driver."""

    def __init__(
        self, driver: Driver, transport: GrpcTransport | None, environment: Environment, read_timeout_seconds: float
    ) -> None:
        self._driver = driver
        self._transport = transport
        self._clock = environment.clock
        self._read_timeout_seconds = read_timeout_seconds
        self.lost_before = driver.lost_before

    def propose(self, data: bytes) -> int:
        """See `Consensus.propose`."""
        try:
            return self._driver.propose(data)
        except StoppedError:
            raise catalogue.STOPPED.error() from None
        except ProposalDroppedError:
            raise catalogue.TOO_MANY_REQUESTS.error() from None

    def propose_change(self, change: MembershipChange, request_id: int) -> Callable[[int], bool]:
        """See `Consensus.propose_change`."""
        try:
            return self._driver.propose_conf_change(encode_change(change, request_id)).lost_before
        except StoppedError:
            raise catalogue.STOPPED.error() from None
        except ProposalDroppedError:
            raise catalogue.TOO_MANY_REQUESTS.error() from None

    async def read_index(self) -> int:
        """See `Consensus.read_index`."""
        driver = self._driver
        try:
            if driver.is_leader and len(driver.conf_state.voters) == 1:
                return await driver.read_index()  # waits for nobody but our own disk
            async with asyncio.timeout(self._read_timeout_seconds):
                return await driver.read_index()
        except StoppedError:
            raise catalogue.STOPPED.error() from None
        except TimeoutError:
            raise catalogue.TIMED_OUT.error() from None

    async def transfer_leadership(self, target_id: int) -> None:
        """See `Consensus.transfer_leadership`."""
        await self._driver.transfer_leadership(target_id)

    def matches(self) -> Mapping[int, int] | None:
        """See `Consensus.matches`."""
        return self._driver.matches()

    def connected_seconds(self, member_id: int) -> float | None:
        """See `Consensus.connected_seconds`."""
        since = None if self._transport is None else self._transport.connected_since(member_id)
        return None if since is None else self._clock.monotonic() - since

    async def call_peer(self, member_id: int, method: str, request: bytes, timeout_seconds: float) -> bytes:
        """See `Consensus.call_peer`."""
        if self._transport is None:
            raise EtcdError(StatusCode.UNAVAILABLE, f"member {member_id:x} does not answer: this member has no peers")
        from kvstore.server.peer_port import translated

        return await translated(self._transport.call(member_id, method, request, timeout_seconds))

    async def save_snapshot(self, index: int) -> None:
        """See `RunningConsensus.save_snapshot`. The state itself is in the database, so the snapshot has no data."""
        await self._driver.save_snapshot(index, b"")

    @property
    def network(self) -> TransportStats | None:
        """See `RunningConsensus.network`."""
        return None if self._transport is None else self._transport.stats

    @property
    def late_heartbeats(self) -> int:
        """See `RunningConsensus.late_heartbeats`."""
        return self._driver.late_heartbeats

    async def stop(self) -> None:
        """See `RunningConsensus.stop`."""
        await self._driver.stop()

    @property
    def leader_id(self) -> int:
        """See `Consensus.leader_id`."""
        return self._driver.leader_id

    @property
    def is_leader(self) -> bool:
        """See `Consensus.is_leader`."""
        return self._driver.is_leader

    @property
    def term(self) -> int:
        """See `Consensus.term`."""
        return self._driver.term

    @property
    def commit_index(self) -> int:
        """See `Consensus.commit_index`."""
        return self._driver.commit_index


# Changes of membership, as etcd has them in its log


def encode_change(change: MembershipChange, request_id: int) -> ConfChange:
    """A change for the log; what it is about goes along as etcd's JSON."""
    member = change.member
    if change.kind is MembershipChangeKind.REMOVE:
        return ConfChange(ConfChangeType.REMOVE_NODE, member.member_id, id=request_id)
    if change.kind is MembershipChangeKind.UPDATE:
        return ConfChange(ConfChangeType.UPDATE_NODE, member.member_id, member_to_json(member), request_id)
    if change.kind is MembershipChangeKind.PROMOTE:
        context = json.dumps({"id": member.member_id, "peerURLs": None, "isPromote": True}, separators=(",", ":"))
        return ConfChange(ConfChangeType.ADD_NODE, member.member_id, context.encode(), request_id)
    kind = ConfChangeType.ADD_LEARNER_NODE if member.is_learner else ConfChangeType.ADD_NODE
    return ConfChange(kind, member.member_id, member_to_json(member), request_id)


def decode_change(change: ConfChange) -> MembershipChange:
    """What a change in the log is about.

    Raises:
        ValueError: that cannot be told.
    """
    if change.type is ConfChangeType.REMOVE_NODE:
        return MembershipChange(MembershipChangeKind.REMOVE, Member(change.node_id))
    member = dataclasses.replace(member_from_json(change.context), member_id=change.node_id)
    if change.type is ConfChangeType.UPDATE_NODE:
        return MembershipChange(MembershipChangeKind.UPDATE, member)
    if change.type is ConfChangeType.ADD_NODE and json.loads(change.context).get("isPromote"):
        return MembershipChange(MembershipChangeKind.PROMOTE, member)
    return MembershipChange(MembershipChangeKind.ADD, member)


class _RaftMachine:
    """The server's machine as the driver wants it, and the transport kept in step with the members."""

    def __init__(self, machine: ReplicatedMachine, snap_path: str, files: FileSystem, own_id: int) -> None:
        self.apply = machine.apply
        self._machine = machine
        self._snap_path = snap_path
        self._files = files
        self._own_id = own_id
        self._tasks: set[asyncio.Task[None]] = set()
        self.transport: GrpcTransport | None = None

    def admits(self, entry: Entry, change: ConfChangeV2) -> bool:
        if entry.type is not EntryType.CONF_CHANGE:
            return True
        old = _CODEC.decode_v1(entry)
        try:
            return self._machine.admits(decode_change(old), old.id)
        except ValueError:
            return False

    def apply_conf_change(self, entry: Entry, change: ConfChangeV2, conf_state: ConfState) -> None:
        old = _CODEC.decode_v1(entry) if entry.type is EntryType.CONF_CHANGE else None
        done = decode_change(old) if old is not None and change.changes else None
        request_id = old.id if old is not None else 0
        self._machine.membership_changed(entry.index, entry.term, done, request_id, encode_conf_state(conf_state))
        if done is not None and self.transport is not None:
            self._follow(self.transport, done)

    def _follow(self, transport: GrpcTransport, change: MembershipChange) -> None:
        member = change.member
        if change.kind is MembershipChangeKind.PROMOTE:
            return
        if change.kind is MembershipChangeKind.REMOVE:
            work = transport.remove_peer(member.member_id)
        elif member.member_id != self._own_id:
            work = transport.add_peer(member.member_id, member.peer_urls)
        else:
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def restore(self, snapshot: Snapshot) -> Awaitable[None]:
        path = received_path(self._snap_path, snapshot.index)
        if not self._files.exists(path):
            raise RaftError(f"the log begins after index {snapshot.index}, which the database has not reached")
        return self._restore(snapshot, path)

    async def _restore(self, snapshot: Snapshot, path: str) -> None:
        members = await self._machine.restore(snapshot.index, path)
        transport = self.transport
        if transport is None:
            return
        others = {member.member_id: member.peer_urls for member in members if member.member_id != self._own_id}
        for member_id in transport.peer_ids() - set(others):
            await transport.remove_peer(member_id)  # removed by entries that the snapshot stands for
        for member_id, urls in others.items():
            await transport.add_peer(member_id, urls)


class _UnsyncedFiles:
    """A file system that does not wait for the disk (`--unsafe-no-fsync`)."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files

    def fsync(self, file: BinaryIO) -> None:
        """Do nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)


async def start_raft(
    settings: ConsensusSettings, machine: ReplicatedMachine, backend: LMDBBackend, environment: Environment
) -> RaftConsensus:
    """Start a driver on the log of a data directory, or make one.

    Raises:
        ValueError: the log belongs to another member.
        RaftError, OSError: it cannot be used, or the peer port.
    """
    if not settings.sync:
        environment = dataclasses.replace(environment, files=cast(FileSystem, _UnsyncedFiles(environment.files)))
    own_id = settings.identity.member_id
    config = DriverConfig(
        member_id=own_id,
        wal_dir=settings.wal_path,
        snap_dir=settings.snap_path,
        tick_seconds=settings.heartbeat_interval_ms / 1000,
        election_timeout_ticks=max(2, settings.election_timeout_ms // settings.heartbeat_interval_ms),
        pre_vote=settings.pre_vote,
        catch_up_entries=settings.catch_up_entries,
        max_snapshots=settings.max_snapshots or sys.maxsize,
    )
    adapter = _RaftMachine(machine, settings.snap_path, environment.files, own_id)
    adapter.transport = _transport(settings, backend, environment)
    own = next((member for member in (*settings.founders, *settings.known) if member.member_id == own_id), None)
    driver = Driver(
        config,
        environment,
        adapter,
        peers=[Peer(member.member_id, member_to_json(member)) for member in settings.founders],
        metadata=settings.identity.encode(),
        applied_index=settings.applied_index,
        conf_state=decode_conf_state(settings.conf_state),
        force_new_cluster=member_to_json(own or Member(own_id)) if settings.force_new_cluster else None,
        transport=adapter.transport,
        on_fatal=settings.on_fatal,
        on_sync=settings.on_sync,
    )
    driver.on_leader_change = lambda leader_id: machine.leadership_changed(leader_id, driver.is_leader, driver.term)
    await driver.start()
    if driver.metadata != settings.identity.encode():
        await driver.stop()
        raise ValueError(f"the log in {settings.wal_path} belongs to another member than the database beside it")
    remove_leftovers(environment.files, settings.snap_path)
    return RaftConsensus(driver, adapter.transport, environment, settings.request_timeout_seconds)


def _transport(settings: ConsensusSettings, backend: LMDBBackend, environment: Environment) -> GrpcTransport | None:
    if settings.peers is None:
        return None
    from kvstore.server.peer_port import answering
    from kvstore.server.snapshot_bodies import DatabaseBodies
    from raft.runtime.transport_grpc import GrpcTransport

    own_id = settings.identity.member_id
    return GrpcTransport(
        environment,
        member_id=own_id,
        cluster_id=settings.identity.cluster_id,
        listen_urls=settings.peers.listen_urls,
        peers={member.member_id: member.peer_urls for member in settings.known if member.member_id != own_id},
        tls=settings.peers.tls,
        bodies=DatabaseBodies(backend, environment.files, settings.snap_path),
        handlers=(answering(settings.peers.handlers),),
        open_methods=(MEMBERS,),
        is_removed=settings.peers.is_removed,
        advertise_urls=settings.peers.advertise_urls,
        on_removed=settings.peers.on_removed,
        on_round_trip=settings.on_round_trip,
    )
