"""Linearizable reads without a log entry (Ongaro's thesis, section 6.4)."""

from __future__ import annotations

from raft.core.state import Raft
from raft.core.types import NO_NODE, Message, MessageType, ReadOnlyOption, ReadState

__all__ = ["acknowledge", "handle_read_index", "handle_read_index_response", "release_postponed"]


def handle_read_index(raft: Raft, message: Message) -> None:
    """A leader takes a read request, its own or a follower's."""
    if not raft.has_committed_in_term:
        # Entries of earlier terms may be committed without this leader knowing, also in a cluster of one: the stored
        # commit index lags behind. Its first own entry settles that.
        raft.postponed_reads.append(message)
    else:
        _confirm(raft, message)
        _flush(raft)


def release_postponed(raft: Raft) -> None:
    """The first entry of the term is committed: what waited for it can go on."""
    if not raft.postponed_reads or not raft.has_committed_in_term:
        return
    postponed, raft.postponed_reads = raft.postponed_reads, []
    for message in postponed:
        _confirm(raft, message)
    _flush(raft)


def _confirm(raft: Raft, message: Message) -> None:
    if raft.is_singleton or raft.config.read_only_option is ReadOnlyOption.LEASE_BASED:
        _answer(raft, message, raft.log.committed)
    else:
        raft.reads.add(message, raft.log.committed)


def _flush(raft: Raft) -> None:
    context = raft.reads.context()
    if context:
        raft.reads.acknowledge(raft.id, context)
        raft.broadcast_heartbeat()


def acknowledge(raft: Raft, member_id: int, context: bytes) -> None:
    """A member has confirmed this leader for the reads up to the one in `context`."""
    raft.reads.acknowledge(member_id, context)
    for message, commit in raft.reads.take_confirmed(raft.conf_state):
        _answer(raft, message, commit)


def _answer(raft: Raft, message: Message, index: int) -> None:
    if message.sender in (NO_NODE, raft.id):
        raft.read_states.append(ReadState(index, message.entries[0].data))
    else:
        raft.reply(MessageType.READ_INDEX_RESP, message.sender, index=index, entries=message.entries)


def handle_read_index_response(raft: Raft, message: Message) -> None:
    """A follower receives the answer to its request."""
    if len(message.entries) == 1:
        raft.read_states.append(ReadState(message.index, message.entries[0].data))
