"""Raft's values as short lines for transcripts."""

from __future__ import annotations

from raft.core import (
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeType,
    ConfChangeV2,
    ConfState,
    Entry,
    EntryType,
    Message,
    MessageType,
    NodeStatus,
)
from raft.wire import ProtobufConfChangeCodec

CODEC = ProtobufConfChangeCodec()
SIGNS = {
    "+": ConfChangeType.ADD_NODE,
    "-": ConfChangeType.REMOVE_NODE,
    "~": ConfChangeType.ADD_LEARNER_NODE,
    "=": ConfChangeType.UPDATE_NODE,
}
NAMES = {kind: sign for sign, kind in SIGNS.items()}


def parse_changes(words: list[str]) -> tuple[ConfChangeSingle, ...]:
    """`+4 -1 ~5`: add voter 4, remove 1, add learner 5."""
    return tuple(ConfChangeSingle(SIGNS[word[0]], int(word[1:])) for word in words)


def change(value: ConfChangeV2) -> str:
    singles = " ".join(f"{NAMES[single.type]}{single.node_id}" for single in value.changes) or "leave"
    prefix = {ConfChangeTransition.JOINT_IMPLICIT: "implicit ", ConfChangeTransition.JOINT_EXPLICIT: "explicit "}
    return prefix.get(value.transition, "") + singles


def entry(value: Entry) -> str:
    text = f"{value.index}/{value.term}"
    if value.type is not EntryType.NORMAL:
        return f"{text} conf({change(CODEC.decode(value))})"
    return f"{text} {value.data.decode()}" if value.data else text


def entries(values: tuple[Entry, ...]) -> str:
    return "[" + ", ".join(map(entry, values)) + "]"


def conf_state(value: ConfState) -> str:
    def ids(members: tuple[int, ...]) -> str:
        return " ".join(map(str, members))

    text = f"voters({ids(value.voters)})"
    if value.voters_outgoing:
        text += f" outgoing({ids(value.voters_outgoing)})"
    if value.learners:
        text += f" learners({ids(value.learners)})"
    if value.learners_next:
        text += f" next({ids(value.learners_next)})"
    return text + (" auto-leave" if value.auto_leave else "")


def message(value: Message) -> str:
    parts = [f"{value.sender}->{value.to} {value.type.name}"]
    if value.term:
        parts.append(f"term={value.term}")
    kind = value.type
    if kind is MessageType.APP:
        parts.append(f"after={value.index}/{value.log_term} commit={value.commit}")
    elif kind in (MessageType.VOTE, MessageType.PRE_VOTE):
        parts.append(f"last={value.index}/{value.log_term}")
        if value.context:
            parts.append("transfer")
    elif kind is MessageType.APP_RESP:
        if value.reject:
            parts.append(f"rejects={value.index} hint={value.reject_hint}/{value.log_term}")
        else:
            parts.append(f"index={value.index}")
    elif kind in (MessageType.VOTE_RESP, MessageType.PRE_VOTE_RESP):
        parts.append("no" if value.reject else "yes")
    elif kind is MessageType.HEARTBEAT:
        parts.append(f"commit={value.commit}")
    elif kind is MessageType.READ_INDEX_RESP:
        parts.append(f"index={value.index} {value.entries[0].data.decode()}")
    elif kind is MessageType.SNAP and value.snapshot:
        parts.append(f"at={value.snapshot.index}/{value.snapshot.term} {conf_state(value.snapshot.conf_state)}")
    if kind in (MessageType.HEARTBEAT, MessageType.HEARTBEAT_RESP) and value.context:
        is_read = len(value.context) == 8
        parts.append(f"reads={int.from_bytes(value.context, 'little')}" if is_read else value.context.decode())
    if value.entries and kind in (MessageType.APP, MessageType.PROP):
        parts.append(entries(value.entries))
    if kind is MessageType.READ_INDEX:
        parts.append(value.entries[0].data.decode())
    return " ".join(parts)


def status(value: NodeStatus) -> list[str]:
    lines = [
        f"{value.id} {value.role.value} term={value.term} vote={value.vote} leader={value.leader} "
        f"commit={value.commit} applied={value.applied} last={value.last_index}"
        + (f" transfer-to={value.lead_transferee}" if value.lead_transferee else ""),
        f"  {conf_state(value.conf_state)}",
    ]
    return lines + [f"  {member_id}: {line}" for member_id, line in value.progress.items()]
