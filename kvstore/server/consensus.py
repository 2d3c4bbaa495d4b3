"""What the server needs of consensus; `raft.runtime.Driver` provides it, tests bring a smaller one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kvstore.apply import CommittedEntry
from kvstore.environment import Environment
from kvstore.server.identity import Identity

__all__ = ["Consensus", "ConsensusSettings", "ReplicatedMachine", "RunningConsensus", "StartConsensus"]


class Consensus(Protocol):
    """The log, seen by the services."""

    def propose(self, data: bytes) -> None:
        """Ask for `data` to be appended to the log. Never blocks; the entry may also never come."""

    async def read_index(self) -> int:
        """An index such that whoever has applied it has seen everything acknowledged before this call.

        Does not suspend when this member is the only voter.
        """

    async def transfer_leadership(self, target_id: int) -> None:
        """Hand the lead to another voter; returns when it leads."""

    @property
    def leader_id(self) -> int:
        """The member that leads, as far as this one knows; 0 when it knows of none."""

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""

    @property
    def term(self) -> int:
        """The newest term this member knows."""

    @property
    def commit_index(self) -> int:
        """The newest index known to be committed."""


class RunningConsensus(Consensus, Protocol):
    """The log, seen by whoever started it."""

    async def save_snapshot(self, index: int) -> None:
        """Everything up to `index` is safe elsewhere; the log may forget it, but for what others need to catch up."""

    async def stop(self) -> None:
        """Stop; what was not committed by now may be lost."""


class ReplicatedMachine(Protocol):
    """What consensus drives."""

    def apply(self, entries: Sequence[CommittedEntry]) -> None:
        """Apply committed entries, in order."""

    def conf_changed(self, index: int, term: int) -> None:
        """The entry at `index` changed the membership."""

    def leadership_changed(self, is_leader: bool, term: int) -> None:
        """This member began or ceased to lead, or heard of a new term."""


@dataclass(frozen=True, slots=True)
class ConsensusSettings:
    """How to start: who we are, who the members are, where the log is.

    Attributes:
        peer_urls: peer URLs of the initial members, by id.
        applied_index: the newest index the database holds; entries up to it are not applied again.
        sync: whether the log is synced to disk before a write is acknowledged.
        on_fatal: called when the log can no longer be written.
        on_sync: called with the seconds each write to the log took until it was durable.
    """

    identity: Identity
    peer_urls: dict[int, tuple[str, ...]]
    wal_path: str
    snap_path: str
    applied_index: int
    heartbeat_interval_ms: int
    election_timeout_ms: int
    catch_up_entries: int
    pre_vote: bool
    request_timeout_seconds: float
    sync: bool
    on_fatal: Callable[[BaseException], None]
    on_sync: Callable[[float], None]


StartConsensus = Callable[[ConsensusSettings, ReplicatedMachine, Environment], Awaitable[RunningConsensus]]
