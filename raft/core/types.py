"""The values a Raft core works with.

They correspond one to one to the messages of etcd's `raftpb` package, without protobuf: `raft.wire` converts. All are
immutable. `Entry`, of which one is made per proposal, is not declared frozen because that would make it three to four
times as expensive to build; treat it as if it were.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, unique
from typing import NamedTuple

__all__ = [
    "NO_NODE",
    "ConfChange",
    "ConfChangeSingle",
    "ConfChangeTransition",
    "ConfChangeType",
    "ConfChangeV2",
    "ConfState",
    "Entry",
    "EntryType",
    "HardState",
    "Message",
    "MessageType",
    "Peer",
    "ReadOnlyOption",
    "ReadState",
    "Ready",
    "Role",
    "Snapshot",
    "SoftState",
]

NO_NODE = 0
"""The id that no member has: no leader known, no vote given."""


@unique
class EntryType(IntEnum):
    """What an entry's data means to Raft itself; numbers as in raftpb."""

    NORMAL = 0
    CONF_CHANGE = 1
    CONF_CHANGE_V2 = 2


@unique
class MessageType(IntEnum):
    """What a message asks or answers; numbers as in raftpb.

    HUP, BEAT, UNREACHABLE, SNAP_STATUS and CHECK_QUORUM are local: they come from the member itself, never from a peer.
    """

    HUP = 0
    BEAT = 1
    PROP = 2
    APP = 3
    APP_RESP = 4
    VOTE = 5
    VOTE_RESP = 6
    SNAP = 7
    HEARTBEAT = 8
    HEARTBEAT_RESP = 9
    UNREACHABLE = 10
    SNAP_STATUS = 11
    CHECK_QUORUM = 12
    TRANSFER_LEADER = 13
    TIMEOUT_NOW = 14
    READ_INDEX = 15
    READ_INDEX_RESP = 16
    PRE_VOTE = 17
    PRE_VOTE_RESP = 18
    FORGET_LEADER = 23


@dataclass(slots=True)
class Entry:
    """One slot of the replicated log. Never changed once made."""

    index: int
    term: int
    data: bytes = b""
    type: EntryType = EntryType.NORMAL


class HardState(NamedTuple):
    """What must survive a restart beside the log (Raft paper, figure 2; `commit` is only a shortcut)."""

    term: int = 0
    vote: int = NO_NODE
    commit: int = 0


@dataclass(frozen=True, slots=True)
class ConfState:
    """Who takes part. Each tuple is sorted and free of duplicates.

    Attributes:
        voters: the voters of the incoming configuration (of the only one, when not joint).
        learners: members that receive the log and do not vote.
        voters_outgoing: the voters being left behind; empty unless the configuration is joint.
        learners_next: voters of the outgoing configuration that become learners once it is left.
        auto_leave: the leader leaves the joint configuration as soon as it is applied.
    """

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False

    @property
    def joint(self) -> bool:
        """Whether two majorities are needed (Ongaro's thesis, section 4.3)."""
        return bool(self.voters_outgoing)

    def all_voters(self) -> tuple[int, ...]:
        """Voters of either configuration, sorted."""
        if not self.voters_outgoing:
            return self.voters
        return tuple(sorted({*self.voters, *self.voters_outgoing}))

    def members(self) -> tuple[int, ...]:
        """Everyone who receives the log, sorted."""
        return tuple(sorted({*self.voters, *self.voters_outgoing, *self.learners}))

    def is_voter(self, member_id: int) -> bool:
        """Whether the member votes in either configuration."""
        return member_id in self.voters or member_id in self.voters_outgoing


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state machine at one index, in place of the log up to there. `data` means nothing to Raft."""

    index: int
    term: int
    conf_state: ConfState
    data: bytes = b""


@unique
class ConfChangeType(IntEnum):
    """One operation on the membership; numbers as in raftpb."""

    ADD_NODE = 0
    REMOVE_NODE = 1
    UPDATE_NODE = 2
    ADD_LEARNER_NODE = 3


@unique
class ConfChangeTransition(IntEnum):
    """How a change is carried out; numbers as in raftpb.

    AUTO takes the simple protocol when at most one voter changes and JOINT_IMPLICIT otherwise.
    """

    AUTO = 0
    JOINT_IMPLICIT = 1
    JOINT_EXPLICIT = 2


@dataclass(frozen=True, slots=True)
class ConfChangeSingle:
    """One operation on one member."""

    type: ConfChangeType
    node_id: int


@dataclass(frozen=True, slots=True)
class ConfChangeV2:
    """A set of operations carried out at once; without operations, the wish to leave a joint configuration."""

    transition: ConfChangeTransition = ConfChangeTransition.AUTO
    changes: tuple[ConfChangeSingle, ...] = ()
    context: bytes = b""


@dataclass(frozen=True, slots=True)
class ConfChange:
    """The older form: one operation. `id` lets its proposer recognise it; etcd writes no other form."""

    type: ConfChangeType
    node_id: int
    context: bytes = b""
    id: int = 0

    def as_v2(self) -> ConfChangeV2:
        """The same wish in the newer form."""
        return ConfChangeV2(changes=(ConfChangeSingle(self.type, self.node_id),), context=self.context)


@dataclass(frozen=True, slots=True)
class Peer:
    """A founding member of a new cluster; `context` goes into the log entry that adds it."""

    id: int
    context: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message between members. Which fields mean something depends on `type`.

    Attributes:
        term: the sender's term; 0 for a forwarded read request and for what a member tells itself. A forwarded proposal
            (PROP) is taken by the leader of just this term and dropped by everybody else.
        log_term, index: APP: the entry before `entries`. VOTE, PRE_VOTE: the candidate's last entry. APP_RESP: `index`
            is the last entry stored, or the one refused when `reject`, and `log_term` the term at `reject_hint`.
        commit: what the receiver may take as committed.
        context: HEARTBEAT and its response: the newest read that it confirms. VOTE: set for a leadership transfer.
    """

    type: MessageType
    to: int = NO_NODE
    sender: int = NO_NODE
    term: int = 0
    log_term: int = 0
    index: int = 0
    entries: tuple[Entry, ...] = ()
    commit: int = 0
    snapshot: Snapshot | None = None
    reject: bool = False
    reject_hint: int = 0
    context: bytes = b""


@unique
class Role(Enum):
    """What a member is at the moment."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@unique
class ReadOnlyOption(Enum):
    """How a leader makes sure that it still is one before it answers a read (thesis, section 6.4)."""

    SAFE = "safe"
    """A round of heartbeats confirms it."""
    LEASE_BASED = "lease-based"
    """The election timeout has not passed since a quorum answered; right only while clocks run at the same speed."""


@dataclass(frozen=True, slots=True)
class ReadState:
    """The answer to a read request: serve it once the applied index has reached `index`."""

    index: int
    context: bytes


class SoftState(NamedTuple):
    """What need not survive a restart."""

    leader: int
    role: Role


class Ready(NamedTuple):
    """What the caller owes the core, see `raft.core`.

    Attributes:
        soft_state: set when leader or role have changed.
        hard_state: set when it has changed and must be stored.
        entries: to be stored; they replace any stored entry with the same or a higher index.
        snapshot: from the leader; to be stored, then given to the state machine before any later entry.
        must_sync: the three above must be durable before `RawNode.persisted` is called. When false, `hard_state` (only
            its commit index has changed) may be stored at leisure and `persisted` must not be called.
        committed_entries: already durable here and committed; to be applied in order, then `RawNode.applied`.
        messages: to be sent now. What may only be sent after the disk write appears in a later Ready.
        read_states: answered read requests.
    """

    soft_state: SoftState | None = None
    hard_state: HardState | None = None
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None
    must_sync: bool = False
    committed_entries: tuple[Entry, ...] = ()
    messages: tuple[Message, ...] = ()
    read_states: tuple[ReadState, ...] = ()
