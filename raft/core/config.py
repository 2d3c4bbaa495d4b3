"""Settings of one member's core, with the rules they must keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from raft.core.types import NO_NODE, ConfChange, ConfChangeV2, Entry, ReadOnlyOption

__all__ = ["ConfChangeCodec", "Config"]

DEFAULT_MAX_SIZE_PER_MESSAGE_BYTES = 1 << 20
DEFAULT_MAX_COMMITTED_SIZE_PER_READY_BYTES = 1 << 20
DEFAULT_MAX_INFLIGHT_MESSAGES = 512


class ConfChangeCodec(Protocol):
    """How membership changes look inside an entry; `raft.wire` has the protobuf one."""

    def encode(self, change: ConfChange | ConfChangeV2) -> Entry:
        """An entry with type and data set; index and term are the core's business. A leave has no data."""

    def decode(self, entry: Entry) -> ConfChangeV2:
        """The change in an entry of either conf change type; raises ConfChangeError when it is not one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of one member.

    Attributes:
        id: this member; non-zero and never used again, even after the member is removed.
        random_below: an integer in [0, n) by chance; the only chance there is in the core.
        codec: how membership changes are written in entries.
        election_ticks: ticks without a word from a leader before an election; each wait is drawn from
            [election_ticks, 2 * election_ticks).
        heartbeat_ticks: ticks between a leader's heartbeats.
        max_size_per_message_bytes: an append carries at least one entry and not more than this.
        max_committed_size_per_ready_bytes: likewise for the entries to apply in one `Ready`.
        max_uncommitted_bytes: proposals are dropped while this much is not committed; 0: no limit.
        max_inflight_messages, max_inflight_bytes: the window of appends sent ahead to one member; 0 bytes: no limit.
        check_quorum: a leader that has not heard from a quorum for an election timeout steps down, and members refuse
            votes while they hear from a leader (thesis, section 6.2).
        pre_vote: candidates ask first whether they could win, without raising terms (thesis, section 9.6).
        read_only_option: how a leader confirms itself before it answers reads.
        forward_proposals: followers pass proposals on to the leader; otherwise they drop them.
        validate_conf_changes: a leader turns a change that does not fit its present configuration into an empty entry.
        step_down_on_removal: a leader that is removed or demoted takes no more proposals and hands over as soon as a
            majority of the new configuration knows of it; otherwise it leads on without counting itself.
    """

    id: int
    random_below: Callable[[int], int]
    codec: ConfChangeCodec
    election_ticks: int = 10
    heartbeat_ticks: int = 1
    max_size_per_message_bytes: int = DEFAULT_MAX_SIZE_PER_MESSAGE_BYTES
    max_committed_size_per_ready_bytes: int = DEFAULT_MAX_COMMITTED_SIZE_PER_READY_BYTES
    max_uncommitted_bytes: int = 0
    max_inflight_messages: int = DEFAULT_MAX_INFLIGHT_MESSAGES
    max_inflight_bytes: int = 0
    check_quorum: bool = True
    pre_vote: bool = True
    read_only_option: ReadOnlyOption = ReadOnlyOption.SAFE
    forward_proposals: bool = True
    validate_conf_changes: bool = True
    step_down_on_removal: bool = True

    def __post_init__(self) -> None:
        if self.id == NO_NODE:
            raise ValueError("a member's id cannot be 0")
        if self.heartbeat_ticks <= 0:
            raise ValueError("heartbeat_ticks must be above 0")
        if self.election_ticks <= self.heartbeat_ticks:
            raise ValueError("election_ticks must be above heartbeat_ticks")
        if self.max_inflight_messages <= 0:
            raise ValueError("max_inflight_messages must be above 0")
        if 0 < self.max_inflight_bytes < self.max_size_per_message_bytes:
            raise ValueError("max_inflight_bytes must not be below max_size_per_message_bytes")
        if self.read_only_option is ReadOnlyOption.LEASE_BASED and not self.check_quorum:
            raise ValueError("reads by lease need check_quorum: nothing else ends the lease of a leader cut off")
