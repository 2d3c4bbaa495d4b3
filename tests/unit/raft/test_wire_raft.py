"""Core values as bytes, and etcd's bytes as core values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
)
from raft.errors import ConfChangeError
from raft.wire import (
    ProtobufConfChangeCodec,
    WireError,
    decode_entry,
    decode_hard_state,
    decode_message,
    decode_snapshot,
    encode_entry,
    encode_hard_state,
    encode_message,
    encode_snapshot,
)
from raft.wire import raft_pb2 as pb

CODEC = ProtobufConfChangeCodec()
UINT64 = st.integers(0, 2**64 - 1)
IDS = st.lists(UINT64, max_size=3, unique=True).map(lambda ids: tuple(sorted(ids)))
ENTRIES = st.builds(Entry, UINT64, UINT64, st.binary(max_size=40), st.sampled_from(EntryType))
STATES = st.builds(ConfState, IDS, IDS, IDS, IDS, st.booleans())
SNAPSHOTS = st.builds(Snapshot, st.integers(1, 2**64 - 1), UINT64, STATES, st.binary(max_size=40))
MESSAGES = st.builds(
    Message,
    type=st.sampled_from([kind for kind in MessageType if kind is not MessageType.SNAP]),
    to=UINT64,
    sender=UINT64,
    term=UINT64,
    log_term=UINT64,
    index=UINT64,
    entries=st.lists(ENTRIES, max_size=3).map(tuple),
    commit=UINT64,
    reject=st.booleans(),
    reject_hint=UINT64,
    context=st.binary(max_size=20),
)


@given(ENTRIES)
def test_entries_round_trip(entry: Entry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


@given(st.builds(HardState, UINT64, UINT64, UINT64))
def test_hard_states_round_trip(state: HardState) -> None:
    assert decode_hard_state(encode_hard_state(state)) == state


@given(SNAPSHOTS)
def test_snapshots_round_trip(snapshot: Snapshot) -> None:
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


@given(MESSAGES)
def test_messages_round_trip(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(SNAPSHOTS)
def test_snapshot_messages_round_trip(snapshot: Snapshot) -> None:
    message = Message(type=MessageType.SNAP, to=1, sender=2, term=3, snapshot=snapshot)
    assert decode_message(encode_message(message)) == message


def test_bytes_are_etcds() -> None:
    assert encode_entry(Entry(2, 1, b"x")).hex() == "0800" + "1001" + "1802" + "220178"
    assert encode_hard_state(HardState(3, 0, 9)).hex() == "0803" + "1000" + "1809"
    change = ConfChange(ConfChangeType.REMOVE_NODE, 5, b"c", 7)
    assert CODEC.encode(change).data.hex() == "0807" + "1001" + "1805" + "220163"


def test_an_empty_snapshot_in_another_message_means_none() -> None:
    """Older versions of etcd send it so."""
    message = pb.Message(type=pb.MsgHeartbeat, to=1, term=2)
    message.snapshot.metadata.index = 0
    assert decode_message(message.SerializeToString()).snapshot is None


def test_absent_fields_are_zero() -> None:
    assert decode_entry(b"") == Entry(0, 0)
    assert decode_hard_state(b"") == HardState()


@pytest.mark.parametrize("decode", [decode_entry, decode_hard_state, decode_snapshot, decode_message])
def test_other_bytes_are_refused(decode: object) -> None:
    with pytest.raises(WireError):
        decode(b"\xff\xff\xff")  # type: ignore[operator]


def test_messages_between_threads_do_not_travel() -> None:
    with pytest.raises(WireError, match="does not travel"):
        decode_message(pb.Message(type=pb.MsgStorageAppend).SerializeToString())


@pytest.mark.parametrize(
    "change",
    [
        ConfChangeV2(),
        ConfChangeV2(context=b"why"),
        ConfChangeV2(ConfChangeTransition.JOINT_EXPLICIT, (ConfChangeSingle(ConfChangeType.ADD_NODE, 4),), b"x"),
        ConfChangeV2(
            ConfChangeTransition.AUTO,
            (
                ConfChangeSingle(ConfChangeType.ADD_LEARNER_NODE, 2**64 - 1),
                ConfChangeSingle(ConfChangeType.REMOVE_NODE, 1),
            ),
        ),
    ],
)
def test_membership_changes_round_trip(change: ConfChangeV2) -> None:
    entry = CODEC.encode(change)
    assert entry.type is EntryType.CONF_CHANGE_V2
    assert CODEC.decode(entry) == change


def test_the_older_form_round_trips() -> None:
    change = ConfChange(ConfChangeType.ADD_NODE, 4, b"member", 99)
    entry = CODEC.encode(change)
    assert entry.type is EntryType.CONF_CHANGE
    assert CODEC.decode_v1(entry) == change
    assert CODEC.decode(entry) == ConfChangeV2(
        changes=(ConfChangeSingle(ConfChangeType.ADD_NODE, 4),), context=b"member"
    )


def test_leaving_has_no_data() -> None:
    """So that it can be proposed whatever the limits are."""
    assert CODEC.encode(ConfChangeV2()).data == b""


@pytest.mark.parametrize("kind", [EntryType.CONF_CHANGE, EntryType.CONF_CHANGE_V2])
def test_entries_without_a_change_are_refused(kind: EntryType) -> None:
    with pytest.raises(ConfChangeError):
        CODEC.decode(Entry(1, 1, b"\xff\xff", kind))
