"""The public face of the core: one member of a Raft group, without disk, network or clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from raft.core import commit, confchange, leader, membership, replication
from raft.core import step as protocol
from raft.core.config import Config
from raft.core.log import RaftLog
from raft.core.progress import Progress
from raft.core.state import Raft
from raft.core.types import (
    NO_NODE,
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfChangeV2,
    ConfState,
    Entry,
    HardState,
    Message,
    MessageType,
    Peer,
    Ready,
    Role,
    Snapshot,
    SoftState,
)
from raft.errors import UnexpectedMessageError

__all__ = ["NodeStatus", "RawNode"]

_LOCAL_TYPES = frozenset(
    {
        MessageType.HUP,
        MessageType.BEAT,
        MessageType.UNREACHABLE,
        MessageType.SNAP_STATUS,
        MessageType.CHECK_QUORUM,
        MessageType.FORGET_LEADER,
    }
)
_RESPONSE_TYPES = frozenset(
    {
        MessageType.APP_RESP,
        MessageType.VOTE_RESP,
        MessageType.PRE_VOTE_RESP,
        MessageType.HEARTBEAT_RESP,
        MessageType.READ_INDEX_RESP,
    }
)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """Where a member stands. `progress` (member id to one line of text) is empty unless it leads."""

    id: int
    term: int
    vote: int
    leader: int
    role: Role
    commit: int
    applied: int
    last_index: int
    lead_transferee: int
    conf_state: ConfState
    progress: dict[int, str]


class RawNode:
    """One member. Not thread-safe; no call blocks.

    The caller's duties are in the package's docstring.
    """

    __slots__ = ("_in_flight", "_raft", "_reported_hard_state", "_reported_soft_state")

    def __init__(
        self,
        config: Config,
        *,
        snapshot: Snapshot | None = None,
        entries: Sequence[Entry] = (),
        hard_state: HardState = HardState(),
        conf_state: ConfState | None = None,
        applied: int = 0,
    ) -> None:
        """Start from what was stored; from nothing, call `bootstrap` next or wait for a leader's snapshot.

        Args:
            config: the settings.
            snapshot: the newest stored snapshot; the log begins behind it.
            entries: the stored log behind the snapshot.
            hard_state: the newest one stored.
            conf_state: the configuration at `applied`; by default that of the snapshot.
            applied: what the state machine has applied, at least `snapshot.index`; entries up to here were committed.
        """
        log = RaftLog(snapshot, entries)
        state = conf_state or (snapshot.conf_state if snapshot else ConfState())
        confchange.check_conf_state(state)
        log.commit_to(applied)
        log.applied_to(max(applied, log.applied))
        self._raft = Raft(config, log, hard_state, state)
        self._reported_hard_state = self._raft.hard_state()
        self._reported_soft_state = SoftState(NO_NODE, Role.FOLLOWER)
        self._in_flight: list[Message] | None = None

    def bootstrap(self, peers: Sequence[Peer]) -> None:
        """Found a cluster: every founding member starts with the same log, which adds them one after the other.

        The entries are committed by agreement beforehand, in term 1, and are applied like any others.

        Raises:
            ValueError: no peers, or this member has a history already.
        """
        raft = self._raft
        if not peers:
            raise ValueError("a cluster needs at least one member")
        if raft.log.last_index or raft.term:
            raise ValueError("a member with a history cannot found a cluster")
        raft.become_follower(1, NO_NODE)
        raft.silent_ticks = 0
        entries = []
        state = ConfState()
        for index, peer in enumerate(peers, start=1):
            encoded = raft.config.codec.encode(ConfChange(ConfChangeType.ADD_NODE, peer.id, peer.context))
            entries.append(replace(encoded, index=index, term=1))
            state = confchange.apply_change(
                state, ConfChangeV2(changes=(ConfChangeSingle(ConfChangeType.ADD_NODE, peer.id),))
            )
        raft.log.append(entries)
        raft.log.commit_to(len(entries))
        membership.adopt(raft, state)  # so that the member may stand before it has applied them

    # Input

    def tick(self) -> None:
        """Let one unit of time pass."""
        protocol.tick(self._raft)

    def campaign(self) -> None:
        """Stand for election now."""
        protocol.step(self._raft, Message(type=MessageType.HUP, sender=self._raft.id))

    def step(self, message: Message) -> None:
        """Take a peer's message.

        Raises:
            UnexpectedMessageError: its type is a local one, or it answers and its sender is not a member.
            ProposalDroppedError: it was a proposal that is not taken.
            LogLostError: this member must stop.
        """
        if message.type in _LOCAL_TYPES:
            raise UnexpectedMessageError(f"{message.type.name} cannot come from a peer")
        if message.type in _RESPONSE_TYPES and message.sender not in self._raft.progress:
            raise UnexpectedMessageError(f"{message.type.name} from {message.sender:x}, who is not a member")
        protocol.step(self._raft, message)

    def propose(self, data: Sequence[bytes]) -> None:
        """Propose to append these, as one batch that is taken or dropped whole. Even when taken it may be lost.

        Raises:
            ProposalDroppedError: not taken; see there.
        """
        raft = self._raft
        if raft.role is Role.LEADER:
            first, term = raft.log.last_index + 1, raft.term
            leader.propose(raft, [Entry(first + offset, term, item) for offset, item in enumerate(data)])
        else:
            entries = tuple(Entry(0, 0, item) for item in data)
            protocol.step(raft, Message(type=MessageType.PROP, sender=raft.id, entries=entries))

    def propose_conf_change(self, change: ConfChange | ConfChangeV2) -> None:
        """Propose a change of membership; one that does not fit becomes an empty entry.

        Raises:
            ProposalDroppedError: not taken; see there.
        """
        entry = self._raft.config.codec.encode(change)
        protocol.step(self._raft, Message(type=MessageType.PROP, sender=self._raft.id, entries=(entry,)))

    @property
    def may_change_members(self) -> bool:
        """Whether `propose_conf_change` would be more than an empty entry, as far as this member can tell: a leader
        knows of the change before, which is not applied yet.
        """
        return not self.is_leader or self._raft.pending_conf_index <= self._raft.log.applied

    def apply_conf_change(self, change: ConfChangeV2) -> ConfState:
        """Put a committed change in force. To be called for each, when its entry is applied.

        Raises:
            ConfChangeError: it does not fit; nothing has changed, on this member as on every other.
        """
        return membership.apply(self._raft, change)

    def read_index(self, context: bytes) -> None:
        """Ask for a linearizable read point; the answer is a `ReadState` with the same context. It may get lost."""
        raft = self._raft
        request = Message(type=MessageType.READ_INDEX, sender=raft.id, entries=(Entry(0, 0, context),))
        protocol.step(raft, request)

    def transfer_leadership(self, to: int) -> None:
        """Ask the leader, this member or another, to hand over to `to`."""
        protocol.step(self._raft, Message(type=MessageType.TRANSFER_LEADER, sender=to))

    def forget_leader(self) -> None:
        """Let a follower act as if it had not heard from its leader, so that it grants votes at once."""
        protocol.step(self._raft, Message(type=MessageType.FORGET_LEADER, sender=self._raft.id))

    def report_unreachable(self, member_id: int) -> None:
        """The last message to the member was not sent."""
        protocol.step(self._raft, Message(type=MessageType.UNREACHABLE, sender=member_id))

    def report_snapshot(self, member_id: int, *, ok: bool) -> None:
        """A snapshot has reached the member, or has not; without a report it would receive nothing more."""
        protocol.step(self._raft, Message(type=MessageType.SNAP_STATUS, sender=member_id, reject=not ok))

    # Output

    @property
    def has_ready(self) -> bool:
        """Whether `ready` has anything to say."""
        raft = self._raft
        if raft.messages or raft.append_wanted or raft.read_states or raft.log.has_committed:
            return True
        if raft.lead != self._reported_soft_state.leader or raft.role is not self._reported_soft_state.role:
            return True
        if self._in_flight is not None:
            return False
        log, before = raft.log, self._reported_hard_state
        return bool(
            log.committed != before.commit
            or log.written < log.last_index
            or raft.after_persist
            or raft.term != before.term
            or raft.vote != before.vote
            or (log.pending_snapshot is not None and not log.snapshot_written)
        )

    def ready(self) -> Ready:
        """Everything that is due since the last call.

        While an earlier `Ready` with `must_sync` is not `persisted`, nothing more is handed out for storage.
        """
        raft = self._raft
        if raft.append_wanted:
            replication.flush_appends(raft)
        soft_state: SoftState | None = None
        if raft.lead != self._reported_soft_state.leader or raft.role is not self._reported_soft_state.role:
            soft_state = self._reported_soft_state = SoftState(raft.lead, raft.role)
        hard_state: HardState | None = None
        entries: tuple[Entry, ...] = ()
        snapshot: Snapshot | None = None
        must_sync = False
        if self._in_flight is None:
            hard_state, entries, snapshot, must_sync = self._take_unwritten()
        messages, raft.messages = raft.messages, []
        read_states, raft.read_states = raft.read_states, []
        committed = raft.log.take_committed(raft.config.max_committed_size_per_ready_bytes)
        return Ready(
            soft_state, hard_state, entries, snapshot, must_sync, committed, tuple(messages), tuple(read_states)
        )

    def _take_unwritten(self) -> tuple[HardState | None, tuple[Entry, ...], Snapshot | None, bool]:
        raft = self._raft
        before = self._reported_hard_state
        must_sync = raft.term != before.term or raft.vote != before.vote
        hard_state: HardState | None = None
        if must_sync or raft.log.committed != before.commit:
            hard_state = self._reported_hard_state = raft.hard_state()
        entries = raft.log.take_unwritten()
        snapshot = None if raft.log.snapshot_written else raft.log.pending_snapshot
        raft.log.snapshot_written = True
        must_sync = must_sync or bool(entries) or snapshot is not None
        promises, raft.after_persist = raft.after_persist, []
        if must_sync:
            self._in_flight = promises
        else:
            raft.messages.extend(promises)
        return hard_state, entries, snapshot, must_sync

    def persisted(self) -> None:
        """What the last `Ready` with `must_sync` asked to store is durable."""
        assert self._in_flight is not None, "nothing was handed out for storage"
        raft = self._raft
        promises, self._in_flight = self._in_flight, None
        raft.log.mark_stable()
        for message in promises:
            if message.to == raft.id:
                protocol.step(raft, message)
            else:
                raft.messages.append(message)
        if raft.role is Role.LEADER:
            if own := raft.progress.get(raft.id):
                own.maybe_update(raft.log.stable)
            commit.advance(raft)

    def applied(self, index: int) -> None:
        """The state machine has applied everything up to `index`, or has restored the snapshot at `index`."""
        raft = self._raft
        raft.log.applied_to(index)
        if (
            raft.conf_state.auto_leave
            and raft.role is Role.LEADER
            and raft.lead_transferee == NO_NODE
            and index >= raft.pending_conf_index
        ):
            raft.append_leave_joint()

    def advance(self, ready: Ready) -> None:
        """`persisted` and `applied` for a caller that has done everything in `ready`, one step after the other."""
        if ready.must_sync:
            self.persisted()
        if ready.snapshot is not None:
            self.applied(ready.snapshot.index)
        if ready.committed_entries:
            self.applied(ready.committed_entries[-1].index)

    # Compaction

    def create_snapshot(self, index: int, conf_state: ConfState, data: bytes = b"") -> Snapshot:
        """Describe the state machine at `index`, which is applied and still in the log; members may be sent it.

        Raises:
            ValueError: `index` is not applied, or older than the newest snapshot.
        """
        log = self._raft.log
        term = log.term(index)
        if term is None or index > log.applied or (log.snapshot is not None and index < log.snapshot.index):
            raise ValueError(f"no snapshot can be made at index {index}")
        log.snapshot = Snapshot(index, term, conf_state, data)
        return log.snapshot

    def index_before(self, index: int, max_entries: int, max_bytes: int) -> int:
        """Where to compact to, so that not more than so many entries up to `index`, of so many bytes, stay."""
        return self._raft.log.index_before(index, max_entries, max_bytes)

    def compact(self, index: int) -> None:
        """Forget the log up to `index`. Members that still need it are sent the snapshot, so one must cover it.

        Raises:
            ValueError: no snapshot covers `index`.
        """
        log = self._raft.log
        if log.snapshot is None or index > log.snapshot.index:
            raise ValueError(f"the log cannot be compacted to {index} without a snapshot there")
        log.compact(index)

    # Facts

    @property
    def id(self) -> int:
        """This member."""
        return self._raft.id

    @property
    def term(self) -> int:
        """The present term."""
        return self._raft.term

    @property
    def leader(self) -> int:
        """The leader of the present term as far as known, or 0."""
        return self._raft.lead

    @property
    def role(self) -> Role:
        """This member's role."""
        return self._raft.role

    @property
    def is_leader(self) -> bool:
        """Whether this member leads, as far as it knows."""
        return self._raft.role is Role.LEADER

    @property
    def is_alone(self) -> bool:
        """Whether nobody else receives the log, no learner either."""
        return len(self._raft.progress) == 1 and self._raft.is_singleton

    @property
    def is_singleton(self) -> bool:
        """Whether this member alone is the quorum."""
        return self._raft.is_singleton

    @property
    def commit_index(self) -> int:
        """The last index known to be committed."""
        return self._raft.log.committed

    @property
    def applied_index(self) -> int:
        """The last index that was reported as applied."""
        return self._raft.log.applied

    @property
    def first_index(self) -> int:
        """The first index still in the log."""
        return self._raft.log.first_index

    @property
    def last_index(self) -> int:
        """The last index in the log."""
        return self._raft.log.last_index

    @property
    def conf_state(self) -> ConfState:
        """The configuration in force."""
        return self._raft.conf_state

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest snapshot, which members that have fallen behind are sent."""
        return self._raft.log.snapshot

    @property
    def has_committed_in_term(self) -> bool:
        """Whether an entry of the present term is committed."""
        return self._raft.has_committed_in_term

    @property
    def config(self) -> Config:
        """The settings."""
        return self._raft.config

    def term_at(self, index: int) -> int | None:
        """The term of the entry at `index`; None when it is not in the log."""
        return self._raft.log.term(index)

    def entries(self, first: int, last: int) -> tuple[Entry, ...]:
        """Entries of the log, both ends included, durable or not; `first` must not be compacted."""
        return self._raft.log.between(first, last)

    def progress(self, member_id: int) -> Progress | None:
        """What a leader knows of a member's log; for looking, not for changing."""
        return self._raft.progress.get(member_id)

    def status(self) -> NodeStatus:
        """Where this member stands."""
        raft = self._raft
        progress = {}
        if raft.role is Role.LEADER:
            progress = {member_id: member.describe() for member_id, member in sorted(raft.progress.items())}
        return NodeStatus(
            raft.id,
            raft.term,
            raft.vote,
            raft.lead,
            raft.role,
            raft.log.committed,
            raft.log.applied,
            raft.log.last_index,
            raft.lead_transferee,
            raft.conf_state,
            progress,
        )
