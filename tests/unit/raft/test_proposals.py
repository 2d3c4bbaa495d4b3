"""The queue of proposals: order, numbers, and which of them are lost."""

from __future__ import annotations

import pytest

from raft.core import (
    ConfChange,
    ConfChangeType,
    ConfChangeV2,
    Config,
    ConfState,
    EntryType,
    Message,
    MessageType,
    RawNode,
    Snapshot,
)
from raft.errors import ProposalDroppedError
from raft.runtime.proposals import ProposalQueue
from raft.wire import ProtobufConfChangeCodec

STATE = ConfState((1, 2, 3))


def make_node(**settings: int) -> RawNode:
    config = Config(id=1, random_below=lambda limit: 0, codec=ProtobufConfChangeCodec(), pre_vote=False, **settings)
    return RawNode(config, snapshot=Snapshot(1, 1, STATE))


def follow(node: RawNode, term: int, leader: int = 2) -> None:
    node.step(Message(type=MessageType.HEARTBEAT, sender=leader, to=1, term=term))


def sent(node: RawNode) -> list[tuple[int, int, list[bytes]]]:
    """Forwarded proposals: to whom, in which term, what."""
    messages = [message for message in node.ready().messages if message.type is MessageType.PROP]
    return [(message.to, message.term, [entry.data for entry in message.entries]) for message in messages]


def test_proposals_wait_for_a_leader_in_their_order() -> None:
    node, queue = make_node(), ProposalQueue(1000, 1000)
    assert [queue.add(b"a"), queue.add(b"b")] == [0, 1]
    assert not queue.drain(node)
    assert (len(queue), queue.submitted) == (2, 0)
    follow(node, 2)
    queue.drain(node)
    assert (len(queue), queue.submitted) == (0, 2)
    assert sent(node) == [(2, 2, [b"a", b"b"])]


def test_what_the_node_does_not_take_stays_in_front() -> None:
    node, queue = make_node(), ProposalQueue(1000, 1000)
    node.campaign()
    node.advance(node.ready())
    node.step(Message(type=MessageType.VOTE_RESP, sender=2, to=1, term=node.term))
    assert node.is_leader
    queue.add(b"a")
    node.transfer_leadership(2)
    assert not queue.drain(node)
    queue.add(b"b")
    queue.add_conf_change(ConfChange(ConfChangeType.ADD_NODE, 4))
    assert (len(queue), queue.submitted, queue.dropped) == (2, 0, 0)
    follow(node, 9)
    assert queue.add(b"c") == 2
    queue.drain(node)
    forwarded = sent(node)
    assert len(forwarded) == 2, "the change of membership and the proposals"
    assert forwarded[1] == (2, 9, [b"a", b"b", b"c"])


def test_too_much_uncommitted_makes_proposals_wait() -> None:
    config = Config(
        id=1, random_below=lambda limit: 0, codec=ProtobufConfChangeCodec(), pre_vote=False, max_uncommitted_bytes=4
    )
    node, queue = RawNode(config, snapshot=Snapshot(1, 1, ConfState((1,)))), ProposalQueue(1000, 3)
    node.campaign()
    while node.has_ready:
        node.advance(node.ready())
    assert node.is_leader
    for data in (b"aaa", b"bbb", b"ccc"):
        queue.add(data)
    assert queue.drain(node), "there is a second batch"
    assert not queue.drain(node), "and it has to wait"
    assert (len(queue), queue.submitted) == (2, 1)
    while node.has_ready:
        node.advance(node.ready())
        queue.drain(node)
    assert queue.submitted == 3
    assert [entry.data for entry in node.entries(3, node.last_index)] == [b"aaa", b"bbb", b"ccc"]


def test_batches_are_cut_to_size_and_counted_one_by_one() -> None:
    node, queue = make_node(max_size_per_message_bytes=4), ProposalQueue(1000, 1000)
    follow(node, 2)
    for data in (b"aaa", b"b", b"ccccccc", b"d"):
        queue.add(data)
    assert queue.drain(node)
    assert queue.submitted == 2
    assert queue.drain(node)
    assert queue.submitted == 3
    assert not queue.drain(node)
    assert sent(node) == [(2, 2, [b"aaa", b"b"]), (2, 2, [b"ccccccc"]), (2, 2, [b"d"])]


def test_it_is_known_what_was_proposed_before_a_term() -> None:
    node, queue = make_node(), ProposalQueue(1000, 1000)
    for term, count in ((2, 1), (3, 2), (3, 1), (7, 1)):
        follow(node, term)
        for _ in range(count):
            queue.add(b"x")
        queue.drain(node)
    assert [queue.submitted_before(term) for term in range(10)] == [0, 0, 0, 1, 4, 4, 4, 4, 5, 5]


def test_very_old_terms_are_forgotten_on_the_safe_side() -> None:
    node, queue = make_node(), ProposalQueue(1000, 1000)
    for term in range(2, 102):
        follow(node, term)
        queue.add(b"x")
        queue.drain(node)
    assert queue.submitted_before(10) == 0
    assert queue.submitted_before(101) == 99


def test_a_snapshot_hides_what_became_of_proposals_up_to_its_term() -> None:
    node, queue = make_node(), ProposalQueue(1000, 1000)
    for term in (2, 3, 5):
        follow(node, term)
        queue.add(b"x")
        queue.drain(node)
    queue.restored(3)
    assert queue.fate_unknown_below == 2
    queue.restored(2)
    assert queue.fate_unknown_below == 2


def test_too_much_waiting_is_refused_and_not_numbered() -> None:
    queue = ProposalQueue(10, 1000)
    assert queue.add(b"more than ten bytes") == 0, "the first is taken whatever its size"
    with pytest.raises(ProposalDroppedError, match="waiting"):
        queue.add(b"b")
    assert (queue.dropped, len(queue)) == (1, 1)
    for _ in range(1000):
        queue.add_conf_change(ConfChangeV2())
    with pytest.raises(ProposalDroppedError, match="waiting"):
        queue.add_conf_change(ConfChangeV2())


def test_changes_that_a_change_of_leader_has_lost() -> None:
    node, queue = make_node(), ProposalQueue(1000, 1000)
    waiting = queue.add_conf_change(ConfChangeV2())
    assert not waiting.lost_before(99)  # it waits for a leader
    follow(node, 2)
    queue.drain(node)
    assert not queue.has_changes
    assert [waiting.lost_before(term) for term in (1, 2, 3)] == [False, False, True]
    later = queue.add_conf_change(ConfChangeV2())
    follow(node, 4)
    queue.drain(node)
    queue.restored(3)  # may have the first one in it
    assert not waiting.lost_before(5)
    assert later.lost_before(5)


def test_a_leader_keeps_changes_until_the_one_before_is_applied() -> None:
    config = Config(id=1, random_below=lambda limit: 0, codec=ProtobufConfChangeCodec(), pre_vote=False)
    node, queue = RawNode(config, snapshot=Snapshot(1, 1, ConfState((1,)))), ProposalQueue(1000, 1000)
    node.campaign()
    changes = [queue.add_conf_change(ConfChange(ConfChangeType.ADD_LEARNER_NODE, number)) for number in (2, 3)]
    seen = []
    for _ in range(10):
        queue.drain(node)
        while node.has_ready:
            ready = node.ready()
            if ready.must_sync:
                node.persisted()
            for entry in ready.committed_entries:
                if entry.type is not EntryType.NORMAL:
                    change = config.codec.decode(entry)
                    node.apply_conf_change(change)
                    seen += [part.node_id for part in change.changes]
                node.applied(entry.index)
    assert seen == [2, 3]
    assert all(change.term == node.term for change in changes)
    assert node.conf_state.learners == (2, 3)
