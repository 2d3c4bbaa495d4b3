"""A member on a log that commits at once and keeps nothing: the services without Raft."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kvstore.app import Member, Options, start_member
from kvstore.environment import Environment, real_environment
from kvstore.server.consensus import ConsensusSettings, ReplicatedMachine


class FakeConsensus:
    """A single voter whose disk is infinitely fast: what is proposed in one turn of the loop commits in the next.

    `hold` keeps entries back until `release`, to look at what happens while a write is under way.
    """

    def __init__(self, settings: ConsensusSettings, machine: ReplicatedMachine) -> None:
        self._settings = settings
        self._machine = machine
        self._proposed: list[bytes] = []
        self._scheduled = False
        self.held = False
        self.commit_index = settings.applied_index
        self.term = 2
        self.snapshots: list[int] = []
        self.is_leader = True

    @property
    def leader_id(self) -> int:
        return self._settings.identity.member_id if self.is_leader else 0

    def propose(self, data: bytes) -> None:
        self._proposed.append(data)
        if not self._scheduled and not self.held:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.commit)

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

    async def save_snapshot(self, index: int) -> None:
        self.snapshots.append(index)

    async def stop(self) -> None:
        self._proposed.clear()


async def start_fake(
    settings: ConsensusSettings, machine: ReplicatedMachine, environment: Environment
) -> FakeConsensus:
    fake = FakeConsensus(settings, machine)
    machine.leadership_changed(True, fake.term)
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
