"""The state of one member and the transitions between its roles. Role, term and vote change nowhere else."""

from __future__ import annotations

from raft.core.config import Config
from raft.core.log import RaftLog
from raft.core.progress import Inflights, Progress
from raft.core.quorum import VoteResult, committed_index, tally
from raft.core.read_only import ReadOnlyQueue
from raft.core.types import NO_NODE, ConfState, Entry, EntryType, HardState, Message, MessageType, ReadState, Role

__all__ = ["Raft"]

# Answers that are promises: they leave only when what they promise is durable (thesis, section 3.8). Vote requests wait
# too: the vote for oneself must not be forgotten, nor the entries that the request boasts of.
_AFTER_PERSIST = frozenset({MessageType.APP_RESP, MessageType.VOTE, MessageType.VOTE_RESP})


class Raft:
    """Everything a member knows.

    Attributes:
        lead: the leader of the present term, or NO_NODE.
        lead_transferee: who leadership is being handed to.
        pending_conf_index: no membership change may be proposed before this index is applied.
        uncommitted_bytes: data proposed in this term and not committed, kept only when it is limited.
        leaving_index: set while this leader is no voter any more and stays only until a majority of the voters know of
            it: what they must know to be committed.
        informed: the voters that do.
        silent_ticks: how long this member still gives no votes. One that starts from nothing may have had a log and
            lost it: in this time a leader that knows so tells it (see `RaftLog.commit_to`), and whoever it may have
            voted for and forgotten has won or given up.
        append_wanted: members that the next `Ready` sends appends to; the value says whether also an empty one.
        postponed_reads: read requests that came before the leader had committed an entry of its term.
        messages: may leave at once.
        after_persist: may leave when the state as of now is durable.
    """

    def __init__(self, config: Config, log: RaftLog, hard_state: HardState, conf_state: ConfState) -> None:
        self.config = config
        self.id = config.id
        self.log = log
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.role = Role.FOLLOWER
        self.lead = NO_NODE
        self.lead_transferee = NO_NODE
        self.pending_conf_index = 0
        self.leaving_index = 0
        self.informed: dict[int, bool] = {}
        self.uncommitted_bytes = 0
        self.conf_state = conf_state
        self.progress: dict[int, Progress] = {}
        self.votes: dict[int, bool] = {}
        self.reads = ReadOnlyQueue()
        self.postponed_reads: list[Message] = []
        self.read_states: list[ReadState] = []
        self.messages: list[Message] = []
        self.after_persist: list[Message] = []
        self.append_wanted: dict[int, bool] = {}
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.randomized_election_ticks = 0
        is_new = not (log.last_index or hard_state.term)
        self.silent_ticks = 2 * config.election_ticks if is_new else 0
        log.commit_to(hard_state.commit)
        self.track_members()
        self.become_follower(self.term, NO_NODE)

    # Facts

    def hard_state(self) -> HardState:
        """What must be durable besides the log."""
        return HardState(self.term, self.vote, self.log.committed)

    @property
    def is_leader(self) -> bool:
        """Whether this member leads, as far as it knows."""
        return self.role is Role.LEADER

    @property
    def is_singleton(self) -> bool:
        """Whether this member alone is the quorum."""
        state = self.conf_state
        return len(state.voters) == 1 and not state.voters_outgoing and state.voters[0] == self.id

    @property
    def promotable(self) -> bool:
        """Whether this member may stand for election: a voter, and not waiting for a snapshot to be applied."""
        return self.conf_state.is_voter(self.id) and self.log.pending_snapshot is None

    @property
    def has_committed_in_term(self) -> bool:
        """Whether an entry of the present term is committed; before that a leader's commit index may be behind."""
        return self.log.term(self.log.committed) == self.term

    def other_members(self) -> list[int]:
        """Everyone else who receives the log, sorted."""
        return [member_id for member_id in self.conf_state.members() if member_id != self.id]

    # Sending

    def send(self, message: Message) -> None:
        """Let the message leave as soon as it may. `sender` and `term` must be set already (see `reply`)."""
        if message.type in _AFTER_PERSIST:
            self.after_persist.append(message)
        else:
            assert message.to != self.id, f"{message.type.name} to oneself"
            self.messages.append(message)

    def reply(
        self,
        kind: MessageType,
        to: int,
        *,
        log_term: int = 0,
        index: int = 0,
        entries: tuple[Entry, ...] = (),
        commit: int = 0,
        reject: bool = False,
        reject_hint: int = 0,
        context: bytes = b"",
    ) -> None:
        """Send a message of the present term."""
        self.send(
            Message(
                type=kind,
                to=to,
                sender=self.id,
                term=self.term,
                log_term=log_term,
                index=index,
                entries=entries,
                commit=commit,
                reject=reject,
                reject_hint=reject_hint,
                context=context,
            )
        )

    def want_append(self, member_id: int, *, even_if_empty: bool) -> None:
        """Let the next `Ready` carry an append to the member; several wishes make one message."""
        self.append_wanted[member_id] = even_if_empty or self.append_wanted.get(member_id, False)

    def want_append_to_all(self, *, even_if_empty: bool = True) -> None:
        """`want_append` for every other member."""
        for member_id in self.progress:
            if member_id != self.id:
                self.want_append(member_id, even_if_empty=even_if_empty)

    def broadcast_heartbeat(self) -> None:
        """Tell every member that this one still leads, and ask it to confirm waiting reads."""
        reads = self.reads.context()
        for member_id in self.other_members():
            member = self.progress[member_id]
            context = self.leaving_context() if 0 < self.leaving_index <= member.match else reads
            # Never more than the member is known to have: it may hold something else behind that.
            commit = min(member.match, self.log.committed)
            self.reply(MessageType.HEARTBEAT, member_id, commit=commit, context=context)
            member.sent_commit = max(member.sent_commit, commit)

    def leaving_context(self) -> bytes:
        """What a heartbeat carries whose answer says that the receiver knows of the leader's removal."""
        return b"leaving %d" % self.leaving_index

    # Roles

    def _reset(self, term: int) -> None:
        if self.term != term:
            assert term > self.term, f"term {term} after term {self.term}"
            self.term = term
            self.vote = NO_NODE
        self.lead = NO_NODE
        self.lead_transferee = NO_NODE
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.draw_election_timeout()
        self.votes = {}
        self.pending_conf_index = 0
        self.leaving_index = 0
        self.informed = {}
        self.uncommitted_bytes = 0
        self.reads = ReadOnlyQueue()
        self.postponed_reads = []
        self.append_wanted = {}
        self.progress = {member_id: self._new_progress() for member_id in self.conf_state.members()}

    def draw_election_timeout(self) -> None:
        """Choose how long the next wait for a leader lasts (paper, section 5.2)."""
        self.randomized_election_ticks = self.config.election_ticks + self.config.random_below(
            self.config.election_ticks
        )

    def become_follower(self, term: int, lead: int) -> None:
        """Any role -> follower."""
        self._reset(term)
        self.role = Role.FOLLOWER
        self.lead = lead

    def become_pre_candidate(self) -> None:
        """Follower, candidate -> pre-candidate. Neither term nor vote changes."""
        assert self.role is not Role.LEADER, "a leader does not stand for election"
        self.role = Role.PRE_CANDIDATE
        self.lead = NO_NODE
        self.votes = {}

    def become_candidate(self) -> None:
        """Any role but leader -> candidate of the next term, with its own vote."""
        assert self.role is not Role.LEADER, "a leader does not stand for election"
        self._reset(self.term + 1)
        self.role = Role.CANDIDATE
        self.vote = self.id

    def become_leader(self) -> None:
        """Candidate -> leader, which appends an empty entry of its term at once (paper, section 8)."""
        assert self.role is Role.CANDIDATE, "only a candidate becomes leader"
        self._reset(self.term)
        self.role = Role.LEADER
        self.lead = self.id
        own = self.progress[self.id]
        own.match = self.log.stable
        own.become_replicate()
        own.recent_active = True
        # A change of an earlier term may be among the uncommitted entries; whatever it is, it is before this index.
        self.pending_conf_index = self.log.last_index
        self.log.append((Entry(self.log.last_index + 1, self.term),))
        self.want_append_to_all()

    def grant_vote(self, candidate: int) -> None:
        """Vote in the present term, and give the candidate time to win."""
        assert self.vote in (NO_NODE, candidate), "two votes in one term"
        self.vote = candidate
        self.election_elapsed = 0

    # Members

    def _new_progress(self, *, recent_active: bool = False) -> Progress:
        window = Inflights(self.config.max_inflight_messages, self.config.max_inflight_bytes)
        return Progress(self.log.last_index + 1, window, recent_active=recent_active)

    def track_members(self) -> None:
        """Make `progress` follow `conf_state`: newcomers are probed at the end of the log."""
        self.progress = {
            member_id: self.progress.get(member_id) or self._newcomer() for member_id in self.conf_state.members()
        }

    def _newcomer(self) -> Progress:
        """Progress of somebody who has just joined.

        It counts as active, or a quorum check right now would depose the leader; and it is to be sent the last entry,
        so that it need not wait for a heartbeat to be probed.
        """
        newcomer = self._new_progress(recent_active=True)
        newcomer.next = max(1, self.log.last_index)
        return newcomer

    # Counting

    def tally_votes(self) -> VoteResult:
        """Where the election stands."""
        return tally(self.conf_state, self.votes)

    def quorum_active(self) -> bool:
        """Whether a quorum, this member included, has been heard from since the last check."""
        active = {member_id: member.recent_active for member_id, member in self.progress.items()}
        active[self.id] = True
        return tally(self.conf_state, active) is VoteResult.WON

    def maybe_commit(self) -> bool:
        """Move the commit index to what a quorum has stored; True when it moved.

        Only entries of the present term are committed by counting (paper, section 5.4.2).
        """
        log = self.log
        if self.is_singleton:
            index = log.stable
        else:
            progress = self.progress
            index = committed_index(self.conf_state, lambda member_id: progress[member_id].match)
        if index <= log.committed or log.term(index) != self.term:
            return False
        if self.config.max_uncommitted_bytes:
            released = sum(len(entry.data) for entry in log.between(log.committed + 1, index))
            self.uncommitted_bytes = max(0, self.uncommitted_bytes - released)
        log.commit_to(index)
        return True

    def append_as_leader(self, entries: list[Entry]) -> bool:
        """Append `entries`, which carry index and term already; False when too much is uncommitted.

        Whatever the limit, a proposal is taken when nothing else is uncommitted, and one without data always.
        """
        limit = self.config.max_uncommitted_bytes
        if limit:
            size = sum(len(entry.data) for entry in entries)
            if self.uncommitted_bytes and size and self.uncommitted_bytes + size > limit:
                return False
            self.uncommitted_bytes += size
        self.log.append(entries)
        self.want_append_to_all(even_if_empty=False)
        return True

    def append_leave_joint(self) -> None:
        """Propose to leave the joint configuration; an empty change never fails for its size."""
        index = self.log.last_index + 1
        if self.append_as_leader([Entry(index, self.term, b"", EntryType.CONF_CHANGE_V2)]):
            self.pending_conf_index = index
