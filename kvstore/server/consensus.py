"""What the server needs of consensus; `raft.runtime.Driver` provides it, tests bring a smaller one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kvstore.apply import CommittedEntry, Member, MembershipChange
from kvstore.backend import LMDBBackend
from kvstore.environment import Environment
from kvstore.server.identity import Identity
from kvstore.server.peers import PeerSettings

if TYPE_CHECKING:
    from raft.runtime.peer_stats import TransportStats

__all__ = ["Consensus", "ConsensusSettings", "ReplicatedMachine", "RunningConsensus", "StartConsensus"]


class Consensus(Protocol):
    """The log, seen by the services."""

    def propose(self, data: bytes) -> int:
        """Ask for `data` to be appended to the log. Never blocks; the entry may also never come.

        Returns the number by which `lost_before` knows it; numbers rise.
        """

    def lost_before(self, term: int) -> range:
        """The numbers of proposals that, if not applied when the first entry of `term` is, never will be."""

    def propose_change(self, change: MembershipChange, request_id: int) -> Callable[[int], bool]:
        """Ask for a change of membership; like `propose`.

        Returns what tells whether it is lost, if it is not applied when the first entry of a given term is.
        """

    async def read_index(self) -> int:
        """An index such that whoever has applied it has seen everything acknowledged before this call.

        Does not suspend when this member is the only voter.
        """

    async def transfer_leadership(self, target_id: int) -> None:
        """Hand the lead to another voter; returns when it leads."""

    def matches(self) -> Mapping[int, int] | None:
        """How far each member's log agrees with the leader's, by member id; None where this member does not lead."""

    def connected_seconds(self, member_id: int) -> float | None:
        """For how long the other member has been reachable; None when it is not."""

    async def call_peer(self, member_id: int, method: str, request: bytes, timeout_seconds: float) -> bytes:
        """Ask another member something beside the log.

        Raises:
            EtcdError: its refusal, or UNAVAILABLE when it cannot be reached.
        """

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

    @property
    def network(self) -> TransportStats | None:
        """Figures of the traffic with other members; None for a member that will always be alone."""

    @property
    def late_heartbeats(self) -> int:
        """Heartbeats of this member, as a leader, that went out more than one interval late."""

    async def stop(self) -> None:
        """Stop; what was not committed by now may be lost."""


class ReplicatedMachine(Protocol):
    """What consensus drives."""

    def apply(self, entries: Sequence[CommittedEntry]) -> None:
        """Apply committed entries, in order."""

    def admits(self, change: MembershipChange, request_id: int) -> bool:
        """Whether a committed change of membership may take effect."""

    def membership_changed(
        self, index: int, term: int, change: MembershipChange | None, request_id: int, conf_state: bytes
    ) -> None:
        """The entry at `index` changed the membership; None when it was not admitted.

        `conf_state` is to be kept with the applied index, and handed back after a restart.
        """

    async def restore(self, index: int, path: str) -> Sequence[Member]:
        """The database file at `path`, as of the entry at `index`, takes the place of everything; returns the members
        as of then.
        """

    def leadership_changed(self, leader_id: int, is_leader: bool, term: int) -> None:
        """Another member leads, this one perhaps; or nobody does (0)."""


@dataclass(frozen=True, slots=True)
class ConsensusSettings:
    """How to start: who we are, who the members are, where the log is.

    Attributes:
        founders: the members that found the cluster; nobody when this one goes on, or joins.
        known: the members to connect to at first; later ones come by the log.
        peers: how to reach them, and be reached; None for a member that will always be alone.
        applied_index: the newest index the database holds; entries up to it are not applied again.
        conf_state: as `ReplicatedMachine.membership_changed` was given it, at `applied_index`; empty before the first.
        force_new_cluster: forget every other member.
        max_snapshots: snapshot files to keep, and the log back to the oldest of them; 0 for all.
        sync: whether the log is synced to disk before a write is acknowledged.
        on_fatal: called when the log can no longer be written.
        on_sync: called with the seconds each write to the log took until it was durable.
        on_round_trip: called with a member's id and the seconds it took to answer.
    """

    identity: Identity
    founders: tuple[Member, ...]
    known: tuple[Member, ...]
    peers: PeerSettings | None
    wal_path: str
    snap_path: str
    applied_index: int
    conf_state: bytes
    force_new_cluster: bool
    heartbeat_interval_ms: int
    election_timeout_ms: int
    catch_up_entries: int
    max_snapshots: int
    pre_vote: bool
    request_timeout_seconds: float
    sync: bool
    on_fatal: Callable[[BaseException], None]
    on_sync: Callable[[float], None]
    on_round_trip: Callable[[int, float], None]


StartConsensus = Callable[[ConsensusSettings, ReplicatedMachine, LMDBBackend, Environment], Awaitable[RunningConsensus]]
