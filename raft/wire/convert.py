"""From core values to bytes and back.

Entries, hard states and configurations always carry all their scalar fields, also those that are zero, as etcd writes
them; what etcd's raft reads as absent it reads as zero.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from raft.core import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeType,
    ConfChangeV2,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Snapshot,
    is_leave,
)
from raft.errors import ConfChangeError, RaftError
from raft.wire import raft_pb2 as pb

__all__ = [
    "ProtobufConfChangeCodec",
    "WireError",
    "conf_state_from_pb",
    "conf_state_to_pb",
    "decode_entry",
    "decode_hard_state",
    "decode_message",
    "decode_snapshot",
    "encode_entry",
    "encode_hard_state",
    "encode_message",
    "encode_snapshot",
    "fill_message_pb",
    "message_from_pb",
    "message_to_pb",
]

# Looking an enumeration value up in a tuple costs a quarter of calling the enumeration.
_ENTRY_TYPES = tuple(EntryType)
_MESSAGE_TYPES = {kind.value: kind for kind in MessageType}


class WireError(RaftError):
    """Bytes that are not the message they should be."""


# Entries


def entry_from_pb(message: pb.Entry) -> Entry:
    """The log entry in etcd's message."""
    return Entry(message.Index, message.Term, message.Data, _ENTRY_TYPES[message.Type])


def encode_entry(entry: Entry) -> bytes:
    """A log entry as it is stored."""
    return pb.Entry(
        Type=pb.EntryType.ValueType(entry.type), Term=entry.term, Index=entry.index, Data=entry.data
    ).SerializeToString()


def decode_entry(data: bytes) -> Entry:
    """A stored log entry; raises WireError when it is not one."""
    try:
        return entry_from_pb(pb.Entry.FromString(data))
    except DecodeError as error:
        raise WireError(f"not an entry: {error}") from error


# Hard states, configurations, snapshots


def encode_hard_state(state: HardState) -> bytes:
    """A hard state as it is stored."""
    return pb.HardState(term=state.term, vote=state.vote, commit=state.commit).SerializeToString()


def decode_hard_state(data: bytes) -> HardState:
    """A stored hard state; raises WireError when it is not one."""
    try:
        message = pb.HardState.FromString(data)
    except DecodeError as error:
        raise WireError(f"not a hard state: {error}") from error
    if UnknownFieldSet(message):
        raise WireError("not a hard state: it has more fields")
    return HardState(message.term, message.vote, message.commit)


def conf_state_to_pb(state: ConfState) -> pb.ConfState:
    """A configuration as etcd's message."""
    return pb.ConfState(
        voters=state.voters,
        learners=state.learners,
        voters_outgoing=state.voters_outgoing,
        learners_next=state.learners_next,
        auto_leave=state.auto_leave,
    )


def conf_state_from_pb(message: pb.ConfState) -> ConfState:
    """The configuration in etcd's message, whose ids may come in any order."""
    return ConfState(
        tuple(sorted(message.voters)),
        tuple(sorted(message.learners)),
        tuple(sorted(message.voters_outgoing)),
        tuple(sorted(message.learners_next)),
        message.auto_leave,
    )


def snapshot_to_pb(snapshot: Snapshot) -> pb.Snapshot:
    """A snapshot as etcd's message."""
    metadata = pb.SnapshotMetadata(
        conf_state=conf_state_to_pb(snapshot.conf_state), index=snapshot.index, term=snapshot.term
    )
    return pb.Snapshot(data=snapshot.data, metadata=metadata)


def snapshot_from_pb(message: pb.Snapshot) -> Snapshot:
    """The snapshot in etcd's message."""
    metadata = message.metadata
    return Snapshot(metadata.index, metadata.term, conf_state_from_pb(metadata.conf_state), message.data)


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """A snapshot as it is stored and sent."""
    return snapshot_to_pb(snapshot).SerializeToString()


def decode_snapshot(data: bytes) -> Snapshot:
    """A stored snapshot; raises WireError when it is not one."""
    try:
        return snapshot_from_pb(pb.Snapshot.FromString(data))
    except DecodeError as error:
        raise WireError(f"not a snapshot: {error}") from error


# Messages between members


def message_to_pb(message: Message) -> pb.Message:
    """A message between members as etcd's."""
    result = pb.Message()
    fill_message_pb(result, message)
    return result


def fill_message_pb(target: pb.Message, message: Message) -> None:
    """Make an empty message of etcd's say what `message` says.

    Entries are made in place: putting finished ones into a message copies each of them, and costs four times as much.
    """
    target.type = pb.MessageType.ValueType(message.type)
    target.to = message.to
    setattr(target, "from", message.sender)
    target.term = message.term
    target.logTerm = message.log_term
    target.index = message.index
    target.commit = message.commit
    target.reject = message.reject
    target.rejectHint = message.reject_hint
    if message.entries:
        add = target.entries.add
        for entry in message.entries:
            add(Type=entry.type, Term=entry.term, Index=entry.index, Data=entry.data)
    if message.context:
        target.context = message.context
    if message.snapshot is not None:
        target.snapshot.CopyFrom(snapshot_to_pb(message.snapshot))


def message_from_pb(message: pb.Message) -> Message:
    """The message in etcd's; raises WireError for types that members do not send each other."""
    kind = _MESSAGE_TYPES.get(message.type)
    if kind is None:
        raise WireError(f"message type {message.type} does not travel between members")
    # An empty snapshot in another message means none; older versions of etcd send it so.
    has_snapshot = kind is MessageType.SNAP or message.snapshot.metadata.index > 0
    return Message(
        type=kind,
        to=message.to,
        sender=getattr(message, "from"),
        term=message.term,
        log_term=message.logTerm,
        index=message.index,
        entries=tuple([Entry(each.Index, each.Term, each.Data, _ENTRY_TYPES[each.Type]) for each in message.entries]),
        commit=message.commit,
        snapshot=snapshot_from_pb(message.snapshot) if has_snapshot else None,
        reject=message.reject,
        reject_hint=message.rejectHint,
        context=message.context,
    )


def encode_message(message: Message) -> bytes:
    """A message between members as it is sent."""
    return message_to_pb(message).SerializeToString()


def decode_message(data: bytes) -> Message:
    """A received message; raises WireError when it is not one."""
    try:
        return message_from_pb(pb.Message.FromString(data))
    except DecodeError as error:
        raise WireError(f"not a message: {error}") from error


# Membership changes


class ProtobufConfChangeCodec:
    """Membership changes as raftpb.ConfChange and raftpb.ConfChangeV2 (`raft.core.ConfChangeCodec`)."""

    def encode(self, change: ConfChange | ConfChangeV2) -> Entry:
        """See `raft.core.ConfChangeCodec.encode`."""
        if isinstance(change, ConfChange):
            old = pb.ConfChange(id=change.id, type=pb.ConfChangeType.ValueType(change.type), node_id=change.node_id)
            if change.context:
                old.context = change.context
            return Entry(0, 0, old.SerializeToString(), EntryType.CONF_CHANGE)
        if is_leave(change) and not change.context:
            return Entry(0, 0, b"", EntryType.CONF_CHANGE_V2)
        new = pb.ConfChangeV2(
            transition=pb.ConfChangeTransition.ValueType(change.transition),
            changes=[
                pb.ConfChangeSingle(type=pb.ConfChangeType.ValueType(single.type), node_id=single.node_id)
                for single in change.changes
            ],
        )
        if change.context:
            new.context = change.context
        return Entry(0, 0, new.SerializeToString(), EntryType.CONF_CHANGE_V2)

    def decode(self, entry: Entry) -> ConfChangeV2:
        """See `raft.core.ConfChangeCodec.decode`."""
        try:
            if entry.type is EntryType.CONF_CHANGE:
                return self.decode_v1(entry).as_v2()
            new = pb.ConfChangeV2.FromString(entry.data)
        except DecodeError as error:
            raise ConfChangeError(f"entry {entry.index} holds no membership change: {error}") from error
        changes = tuple(ConfChangeSingle(ConfChangeType(single.type), single.node_id) for single in new.changes)
        return ConfChangeV2(ConfChangeTransition(new.transition), changes, new.context)

    def decode_v1(self, entry: Entry) -> ConfChange:
        """The older form with its id; raises ConfChangeError when the entry does not hold one."""
        try:
            old = pb.ConfChange.FromString(entry.data)
        except DecodeError as error:
            raise ConfChangeError(f"entry {entry.index} holds no membership change: {error}") from error
        return ConfChange(ConfChangeType(old.type), old.node_id, old.context, old.id)
