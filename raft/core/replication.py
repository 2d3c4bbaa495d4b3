"""Replication: appends, heartbeats and snapshots, from both sides (paper, sections 5.3 and 7)."""

from __future__ import annotations

from raft.core import commit, membership, reads
from raft.core.progress import Progress, ProgressState
from raft.core.state import Raft
from raft.core.types import Message, MessageType, Snapshot

__all__ = [
    "flush_appends",
    "handle_append",
    "handle_append_response",
    "handle_heartbeat",
    "handle_heartbeat_response",
    "handle_snapshot",
    "handle_snapshot_status",
    "handle_unreachable",
]


# The leader's side


def flush_appends(raft: Raft) -> None:
    """Send the appends that were asked for since the last time, as many as each member's window allows."""
    wanted, raft.append_wanted = raft.append_wanted, {}
    for member_id in sorted(wanted):
        member = raft.progress.get(member_id)
        if member is None:
            continue
        even_if_empty = wanted[member_id]
        while _send_append(raft, member_id, member, even_if_empty=even_if_empty):
            even_if_empty = False


def _send_append(raft: Raft, to: int, member: Progress, *, even_if_empty: bool) -> bool:
    """Send one append or a snapshot; False when there was nothing to send or the member is not to be sent anything."""
    if member.is_paused:
        return False
    log = raft.log
    prev_index = member.next - 1
    prev_term = log.term(prev_index)
    if prev_term is None:
        return _send_snapshot(raft, to, member)
    # With a full window only empty appends go out: should everything in the window be lost, one of them is refused or
    # answered, and either way the window empties.
    throttled = member.state is ProgressState.REPLICATE and member.inflights.full
    entries = () if throttled else log.from_index(member.next, raft.config.max_size_per_message_bytes)
    if not entries and not even_if_empty:
        return False
    raft.reply(MessageType.APP, to, index=prev_index, log_term=prev_term, entries=entries, commit=log.committed)
    member.sent_entries(len(entries), sum(len(entry.data) for entry in entries))
    member.sent_commit = log.committed
    return True


def _send_snapshot(raft: Raft, to: int, member: Progress) -> bool:
    snapshot = raft.log.snapshot
    if not member.recent_active or snapshot is None or snapshot.index < raft.log.prev_index:
        return False  # nobody there to receive it, or none is ready yet: the next heartbeat answer brings us back here
    member.become_snapshot(snapshot.index)
    raft.send(Message(type=MessageType.SNAP, to=to, sender=raft.id, term=raft.term, snapshot=snapshot))
    return True


def handle_append_response(raft: Raft, message: Message) -> None:
    """A member has stored or refused an append."""
    member = raft.progress[message.sender]
    member.recent_active = True
    if message.reject:
        _handle_append_rejection(raft, member, message)
        return
    updated = member.maybe_update(message.index)
    if not updated and not (member.match == message.index and member.state is ProgressState.PROBE):
        return
    if member.state is ProgressState.PROBE:
        member.become_replicate()
    elif member.state is ProgressState.SNAPSHOT:
        # Whatever snapshot got it here: if the log continues from there, the log is enough.
        if member.match + 1 >= raft.log.first_index:
            member.become_probe()
            member.become_replicate()
    else:
        member.inflights.free_up_to(message.index)
    commit.advance(raft)
    raft.want_append(message.sender, even_if_empty=member.can_bump_commit(raft.log.committed))
    if message.sender == raft.lead_transferee and member.match == raft.log.last_index:
        raft.reply(MessageType.TIMEOUT_NOW, message.sender)


def _handle_append_rejection(raft: Raft, member: Progress, message: Message) -> None:
    """Find out where to probe next.

    The follower has named a position at which its term is `log_term`. Our entries before that position with a higher
    term cannot be its entries: along a log, terms only rise. So at most one probe per term of our log is needed.

        index      1 2 3 4 5 6 7 8 9
        leader     1 3 3 3 5 5 5 5 5
        follower   1 1 1 1 2 2            hint (6, term 2): probe at 1, not at 6, 5, 4, 3, 2
    """
    hint = message.reject_hint
    if message.log_term > 0:
        hint, _ = raft.log.find_conflict_by_term(hint, message.log_term)
    if member.maybe_decrease(message.index, hint):
        if member.state is ProgressState.REPLICATE:
            member.become_probe()
        raft.want_append(message.sender, even_if_empty=True)


def handle_heartbeat_response(raft: Raft, message: Message) -> None:
    """A member is there; remind it of what it may have missed, and count it for the reads it confirms."""
    member = raft.progress[message.sender]
    member.recent_active = True
    member.paused = False
    if member.match < raft.log.last_index or member.state is ProgressState.PROBE:
        raft.want_append(message.sender, even_if_empty=True)
    if message.context:
        reads.acknowledge(raft, message.sender, message.context)
        membership.heard(raft, message.sender, message.context)


def handle_snapshot_status(raft: Raft, message: Message) -> None:
    """The transport has delivered a snapshot, or has failed to."""
    member = raft.progress[message.sender]
    if member.state is not ProgressState.SNAPSHOT:
        return
    if message.reject:
        member.pending_snapshot = 0
    member.become_probe()
    # Delivered: its answer comes first. Failed: not again before the next heartbeat.
    member.paused = True


def handle_unreachable(raft: Raft, message: Message) -> None:
    """The transport could not send: appends sent ahead are probably lost."""
    member = raft.progress[message.sender]
    if member.state is ProgressState.REPLICATE:
        member.become_probe()


# The follower's side


def handle_append(raft: Raft, message: Message) -> None:
    """Store what the leader sent if it fits the log here, or say where it might (paper, section 5.3)."""
    log = raft.log
    if message.index < log.committed:
        raft.reply(MessageType.APP_RESP, message.sender, index=log.committed)
        return
    last_new = log.maybe_append(message.index, message.log_term, message.entries, message.commit)
    if last_new is not None:
        raft.reply(MessageType.APP_RESP, message.sender, index=last_new)
        return
    # Entries here with a term above the leader's at that position cannot be the leader's.
    hint, hint_term = log.find_conflict_by_term(min(message.index, log.last_index), message.log_term)
    raft.reply(
        MessageType.APP_RESP, message.sender, index=message.index, reject=True, reject_hint=hint, log_term=hint_term
    )


def handle_heartbeat(raft: Raft, message: Message) -> None:
    """The leader is there."""
    raft.log.commit_to(message.commit)
    raft.reply(MessageType.HEARTBEAT_RESP, message.sender, context=message.context)


def handle_snapshot(raft: Raft, message: Message) -> None:
    """Take the leader's snapshot, unless everything in it is here already."""
    assert message.snapshot is not None, "a snapshot message without snapshot"
    if _restore(raft, message.snapshot):
        raft.reply(MessageType.APP_RESP, message.sender, index=raft.log.last_index)
    else:
        raft.reply(MessageType.APP_RESP, message.sender, index=raft.log.committed)


def _restore(raft: Raft, snapshot: Snapshot) -> bool:
    log = raft.log
    # It may be from before this member was added: then the entry that adds it follows.
    if snapshot.index <= log.committed:
        return False
    if log.term(snapshot.index) == snapshot.term:
        log.commit_to(snapshot.index)  # the entries are here, so all it tells us is that they are committed
        return False
    log.restore(snapshot)
    membership.adopt(raft, snapshot.conf_state)
    return True
