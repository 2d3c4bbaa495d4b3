"""Settings of a running member."""

from __future__ import annotations

from dataclasses import dataclass

from raft.core import Config, ConfState, RawNode, ReadOnlyOption, Role
from raft.environment import Randomness
from raft.wal import SEGMENT_BYTES
from raft.wire import ProtobufConfChangeCodec

__all__ = ["DriverConfig", "Status"]

TICKS_PER_HEARTBEAT = 5
"""The core's unit of time is a fraction of the heartbeat, so that election timeouts differ by less than one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverConfig:
    """Settings of a running member.

    Attributes:
        member_id: this member; see `raft.core.Config.id`.
        wal_dir, snap_dir: where the log and the snapshots are; made when missing.
        tick_seconds: the time between a leader's heartbeats.
        election_timeout_ticks: heartbeats missed before an election; each wait is drawn from 1 to 2 times this. The
            defaults make 150 to 300 ms.
        pre_vote, check_quorum, read_only_option, max_size_per_message_bytes, max_inflight_messages, max_inflight_bytes,
            max_uncommitted_bytes, max_committed_size_per_ready_bytes, forward_proposals, step_down_on_removal: see
            `raft.core.Config`.
        max_waiting_bytes: proposals waiting for a leader or for their turn; beyond that they are refused.
        max_batch_bytes: proposals that go into the log, and to the disk, at once.
        catch_up_entries: entries kept behind a snapshot, so that a slow member need not be sent all of it.
        catch_up_bytes: what they may take: the log is held in memory.
        max_snapshots: snapshot files that are kept.
        segment_bytes: the size of a log segment.
    """

    member_id: int
    wal_dir: str
    snap_dir: str
    tick_seconds: float = 0.05
    election_timeout_ticks: int = 3
    pre_vote: bool = True
    check_quorum: bool = True
    read_only_option: ReadOnlyOption = ReadOnlyOption.SAFE
    max_size_per_message_bytes: int = 1 << 20
    max_inflight_messages: int = 512
    max_inflight_bytes: int = 0
    max_uncommitted_bytes: int = 256 << 20
    max_committed_size_per_ready_bytes: int = 1 << 20
    forward_proposals: bool = True
    step_down_on_removal: bool = True
    max_waiting_bytes: int = 64 << 20
    max_batch_bytes: int = 8 << 20
    catch_up_entries: int = 5000
    catch_up_bytes: int = 64 << 20
    max_snapshots: int = 5
    segment_bytes: int = SEGMENT_BYTES

    def __post_init__(self) -> None:
        if self.tick_seconds <= 0:
            raise ValueError("tick_seconds must be above 0")
        if self.election_timeout_ticks <= 1:
            raise ValueError("election_timeout_ticks must be above 1")

    @property
    def election_timeout_seconds(self) -> float:
        """The shortest wait before an election."""
        return self.tick_seconds * self.election_timeout_ticks

    def core(self, randomness: Randomness) -> Config:
        """The core's settings."""
        return Config(
            id=self.member_id,
            random_below=randomness.below,
            codec=ProtobufConfChangeCodec(),
            election_ticks=self.election_timeout_ticks * TICKS_PER_HEARTBEAT,
            heartbeat_ticks=TICKS_PER_HEARTBEAT,
            max_size_per_message_bytes=self.max_size_per_message_bytes,
            max_committed_size_per_ready_bytes=self.max_committed_size_per_ready_bytes,
            max_uncommitted_bytes=self.max_uncommitted_bytes,
            max_inflight_messages=self.max_inflight_messages,
            max_inflight_bytes=self.max_inflight_bytes,
            check_quorum=self.check_quorum,
            pre_vote=self.pre_vote,
            read_only_option=self.read_only_option,
            forward_proposals=self.forward_proposals,
            step_down_on_removal=self.step_down_on_removal,
        )


@dataclass(frozen=True, slots=True)
class Status:
    """Where a running member stands.

    Attributes:
        leader_id: 0 when none is known.
        waiting_proposals: not in the log yet.
        dropped_proposals: refused because too many waited, since the start.
        progress: what a leader knows of each member, one line each; empty elsewhere.
    """

    member_id: int
    term: int
    leader_id: int
    role: Role
    commit_index: int
    applied_index: int
    last_index: int
    first_index: int
    snapshot_index: int
    lead_transferee: int
    conf_state: ConfState
    waiting_proposals: int
    dropped_proposals: int
    progress: dict[int, str]

    @classmethod
    def of(cls, node: RawNode, waiting_proposals: int, dropped_proposals: int) -> Status:
        """That of a node, and what its driver knows besides."""
        status = node.status()
        return cls(
            member_id=status.id,
            term=status.term,
            leader_id=status.leader,
            role=status.role,
            commit_index=status.commit,
            applied_index=status.applied,
            last_index=status.last_index,
            first_index=node.first_index,
            snapshot_index=node.snapshot.index if node.snapshot else 0,
            lead_transferee=status.lead_transferee,
            conf_state=status.conf_state,
            waiting_proposals=waiting_proposals,
            dropped_proposals=dropped_proposals,
            progress=status.progress,
        )
