"""A member on a log that commits at once and keeps nothing: the services without Raft."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kvstore.app import Member, Options, start_member
from kvstore.apply import MembershipChange, MembershipChangeKind
from kvstore.backend import LMDBBackend
from kvstore.environment import Environment, real_environment
from kvstore.errors import EtcdError, StatusCode
from kvstore.server.consensus import ConsensusSettings, ReplicatedMachine
from raft.wal import WAL


class FakeConsensus:
    """A single voter whose disk is infinitely fast: what is proposed in one turn of the loop commits in the next.

    `hold` keeps entries back until `release`, to look at what happens while a write is under way.
    """

    def __init__(self, settings: ConsensusSettings, machine: ReplicatedMachine) -> None:
        self._settings = settings
        self._machine = machine
        self._proposed: list[bytes] = []
        self._scheduled = False
        self.proposed_count = 0
        self.held = False
        self.commit_index = settings.applied_index
        self.term = 2
        self.snapshots: list[int] = []
        self.is_leader = True
        self.progress: dict[int, int] = {}  # of other members' logs
        self.connected: dict[int, float] = {}  # for how many seconds
        self.peer_answers: dict[str, bytes] = {}  # by method
        for founder in settings.founders:
            self.commit_index += 1
            added = MembershipChange(MembershipChangeKind.ADD, founder)
            machine.membership_changed(self.commit_index, 1, added, 0, b"")

    @property
    def leader_id(self) -> int:
        return self._settings.identity.member_id if self.is_leader else 0

    def propose(self, data: bytes) -> int:
        self.proposed_count += 1
        self._proposed.append(data)
        if not self._scheduled and not self.held:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.commit)
        return self.proposed_count - 1

    def lost_before(self, term: int) -> range:
        return range(0)

    def propose_change(self, change: MembershipChange, request_id: int) -> Callable[[int], bool]:
        self.commit_index += 1
        admitted = change if self._machine.admits(change, request_id) else None
        asyncio.get_running_loop().call_soon(
            self._machine.membership_changed, self.commit_index, self.term, admitted, request_id, b""
        )
        return lambda term: False

    def matches(self) -> dict[int, int] | None:
        return {self._settings.identity.member_id: self.commit_index, **self.progress} if self.is_leader else None

    def connected_seconds(self, member_id: int) -> float | None:
        return self.connected.get(member_id)

    async def call_peer(self, member_id: int, method: str, request: bytes, timeout_seconds: float) -> bytes:
        if method not in self.peer_answers:
            raise EtcdError(StatusCode.UNAVAILABLE, "there are no peers")
        return self.peer_answers[method]

    def commit(self) -> None:
        self._scheduled = False
        batch, self._proposed = self._proposed, []
        entries = []
        for data in batch:
            self.commit_index += 1
            entries.append(SimpleNamespace(index=self.commit_index, term=self.term, data=data))
        self._machine.apply(entries)

    def release(self) -> None:
        self.held = False
        self.commit()

    async def read_index(self) -> int:
        return self.commit_index

    async def transfer_leadership(self, target_id: int) -> None:
        assert target_id == self.leader_id

    network = None
    late_heartbeats = 0

    async def save_snapshot(self, index: int) -> None:
        self.snapshots.append(index)

    async def stop(self) -> None:
        self._proposed.clear()


async def start_fake(
    settings: ConsensusSettings, machine: ReplicatedMachine, backend: LMDBBackend, environment: Environment
) -> FakeConsensus:
    if WAL.metadata_of(environment.files, settings.wal_path) is None:
        # A member knows itself by its log.
        WAL.create(environment.files, settings.wal_path, settings.identity.encode(), segment_bytes=4096).close()
    fake = FakeConsensus(settings, machine)
    machine.leadership_changed(fake.leader_id, True, fake.term)
    return fake


StartMember = Callable[..., Awaitable[Member]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[StartMember]:
    """Starts members in one data directory, one at a time; stops what still runs."""
    running: list[Member] = []

    async def start_one(environment: Environment | None = None, **options: Any) -> Member:
        for member in running:
            await member.stop()
        running.clear()
        chosen = Options(data_dir=str(tmp_path / "data"), **options)
        member = await start_member(chosen, environment or real_environment(), start_consensus=start_fake)
        running.append(member)
        return member

    yield start_one
    for member in running:
        await member.stop()


@pytest.fixture
async def member(start: StartMember) -> Member:
    """A member with default options."""
    return await start()
