"""The store on Raft: `raft.runtime.Driver` as the server's consensus."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any, BinaryIO, cast

from kvstore.environment import Environment, FileSystem
from kvstore.server import catalogue
from kvstore.server.consensus import ConsensusSettings, ReplicatedMachine
from raft.core import ConfChangeV2, ConfState, Entry, Peer, Snapshot
from raft.errors import ProposalDroppedError, RaftError, StoppedError
from raft.runtime import Driver, DriverConfig

__all__ = ["RaftConsensus", "start_raft"]


class RaftConsensus:
    """`RunningConsensus` on a driver."""

    def __init__(self, driver: Driver, read_timeout_seconds: float) -> None:
        self._driver = driver
        self._read_timeout_seconds = read_timeout_seconds

    def propose(self, data: bytes) -> None:
        """See `Consensus.propose`."""
        try:
            self._driver.propose(data)
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

    async def save_snapshot(self, index: int) -> None:
        """See `RunningConsensus.save_snapshot`. The state itself is in the database, so the snapshot has no data."""
        await self._driver.save_snapshot(index, b"")

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


class _RaftMachine:
    """The server's machine as the driver wants it."""

    def __init__(self, machine: ReplicatedMachine) -> None:
        self.apply = machine.apply
        self._machine = machine

    def apply_conf_change(self, entry: Entry, change: ConfChangeV2, conf_state: ConfState) -> None:
        self._machine.conf_changed(entry.index, entry.term)

    def restore(self, snapshot: Snapshot) -> None:
        # Snapshots here say only how far the database is; one that is ahead of the database has lost it.
        raise RaftError(f"the log begins after index {snapshot.index}, which the database has not reached")


class _UnsyncedFiles:
    """A file system that does not wait for the disk (`--unsafe-no-fsync`)."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files

    def fsync(self, file: BinaryIO) -> None:
        """Do nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)


async def start_raft(
    settings: ConsensusSettings, machine: ReplicatedMachine, environment: Environment
) -> RaftConsensus:
    """Start a driver on the log of a data directory, or make one.

    Raises:
        ValueError: the log belongs to another member.
        RaftError, OSError: it cannot be used.
    """
    if not settings.sync:
        environment = dataclasses.replace(environment, files=cast(FileSystem, _UnsyncedFiles(environment.files)))
    config = DriverConfig(
        member_id=settings.identity.member_id,
        wal_dir=settings.wal_path,
        snap_dir=settings.snap_path,
        tick_seconds=settings.heartbeat_interval_ms / 1000,
        election_timeout_ticks=max(2, settings.election_timeout_ms // settings.heartbeat_interval_ms),
        pre_vote=settings.pre_vote,
        catch_up_entries=settings.catch_up_entries,
    )
    metadata = settings.identity.encode()
    driver = Driver(
        config,
        environment,
        _RaftMachine(machine),
        peers=[Peer(member_id) for member_id in sorted(settings.peer_urls)],
        metadata=metadata,
        applied_index=settings.applied_index,
        on_fatal=settings.on_fatal,
        on_sync=settings.on_sync,
    )
    driver.on_leader_change = lambda _: machine.leadership_changed(driver.is_leader, driver.term)
    await driver.start()
    if driver.metadata != metadata:
        await driver.stop()
        raise ValueError(f"the log in {settings.wal_path} belongs to another member than the database beside it")
    return RaftConsensus(driver, settings.request_timeout_seconds)
