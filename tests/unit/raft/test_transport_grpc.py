from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import grpc
import pytest

from raft.core import ConfState, Entry, Message, MessageType, Snapshot
from raft.environment import real_environment
from raft.errors import PeerPortError
from raft.runtime import peer_guard, peer_link
from raft.runtime.peer_channel import LANE_KEY, MESSAGES_METHOD, TO_KEY, call_metadata
from raft.runtime.transport_grpc import GrpcTransport
from raft.wire import message_to_pb
from raft.wire import peer_pb2 as pb
from tests.unit.raft.peers import CLUSTER, WAIT_SECONDS, Inbox, append, eventually, heartbeat, make, running


async def test_messages_arrive_both_ways_and_in_order_within_a_lane() -> None:
    first, second = make(1), make(2)
    async with running(first, second) as (inbox1, inbox2):
        sent = [append(1, 2, b"%d" % number) for number in range(50)]
        first.send(sent)
        first.send([heartbeat(1, 2)])
        second.send([Message(type=MessageType.HEARTBEAT_RESP, sender=2, to=1, term=1, context=b"x")])
        await inbox2.until(lambda: len(inbox2.messages) == 51)
        await inbox1.until(lambda: len(inbox1.messages) == 1)
        assert [message for message in inbox2.messages if message.type is MessageType.APP] == sent
        assert inbox1.messages[0].context == b"x"
        assert (first.stats.peers[2].sent_messages, second.stats.peers[1].received_messages) == (51, 51)
        assert first.stats.peers[2].sent_bytes == second.stats.peers[1].received_bytes > 51


async def test_a_large_append_arrives_whole() -> None:
    first, second = make(1), make(2)
    async with running(first, second) as (_, inbox2):
        message = append(1, 2, bytes(7_000_000), b"small")
        first.send([message])
        await inbox2.until(lambda: bool(inbox2.messages))
        assert inbox2.messages == [message]


async def test_another_cluster_is_turned_away() -> None:
    first, second = make(1), make(2, cluster_id=0xBAD)
    async with running(first, second) as (inbox1, inbox2):
        first.send([heartbeat(1, 2)])
        await inbox1.until(lambda: inbox1.unreachable == [2])
        assert second.stats.rejected >= 1
        assert not inbox2.messages
        assert first.connected_since(2) is None


async def test_a_removed_member_is_turned_away() -> None:
    first, second = make(1), make(2, is_removed=lambda member_id: member_id == 1)
    async with running(first, second) as (inbox1, inbox2):
        first.send([heartbeat(1, 2)])
        await inbox1.until(lambda: inbox1.unreachable == [2])
        assert not inbox2.messages


async def test_a_removed_member_learns_of_it_at_once() -> None:
    removed: set[int] = set()
    told: list[bool] = []
    first = make(1, on_removed=lambda: told.append(True))
    second = make(2, is_removed=removed.__contains__)
    async with running(first, second) as (_, inbox2):
        first.send([heartbeat(1, 2), append(1, 2, b"a")])
        await inbox2.until(lambda: len(inbox2.messages) == 2)
        assert not told
        removed.add(1)
        await second.remove_peer(1)  # ends the streams that are open
        await eventually(lambda: told)
        assert second.peer_ids() == set()
        assert first.peer_ids() == {2}


async def test_a_refusal_is_logged_once_and_again_after_a_call_that_was_let_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    removed = {1}

    def lines() -> int:
        return sum("is refused" in record.getMessage() for record in caplog.records)

    first, second = make(1), make(2, is_removed=removed.__contains__)
    async with running(first, second) as (_, inbox2):
        await eventually(lambda: second.stats.rejected >= 6)
        assert lines() == 1
        removed.clear()
        await eventually(lambda: first.connected_since(2) is not None)
        first.send([heartbeat(1, 2)])
        await inbox2.until(lambda: bool(inbox2.messages))
        rejected = second.stats.rejected
        removed.add(1)
        await second.remove_peer(1)
        await eventually(lambda: second.stats.rejected >= rejected + 4)
        assert lines() == 2


async def test_a_member_that_is_not_known_introduces_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
    first, second = make(1, (url,), advertise_urls=(url,)), make(2)
    async with running(first) as (inbox1,), running(second) as (inbox2,):
        await first.add_peer(2, second.urls)
        assert second.peer_ids() == set()
        first.send([heartbeat(1, 2)])
        await inbox2.until(lambda: bool(inbox2.messages))
        assert second.peer_ids() == {1}
        second.send([heartbeat(2, 1)])
        await inbox1.until(lambda: bool(inbox1.messages))


async def test_a_member_that_introduces_itself_badly_is_heard_all_the_same() -> None:
    first, second = make(1, advertise_urls=("nonsense", "http://")), make(2)
    async with running(first) as (_,), running(second) as (inbox2,):
        await first.add_peer(2, second.urls)
        first.send([heartbeat(1, 2)])
        await inbox2.until(lambda: bool(inbox2.messages))
        assert second.peer_ids() == set()


async def test_a_member_at_an_outdated_address_is_not_connected_to() -> None:
    first, second = make(1), make(2)
    async with running(first, second) as (inbox1, inbox2):
        await first.add_peer(3, second.urls)
        first.send([heartbeat(1, 3), heartbeat(1, 2)])
        await inbox2.until(lambda: bool(inbox2.messages))
        await inbox1.until(lambda: inbox1.unreachable == [3])
        assert inbox2.messages == [heartbeat(1, 2)]
        assert first.connected_since(3) is None


async def test_a_peer_that_comes_back_is_found_again_and_connected_since_then() -> None:
    first, second = make(1), make(2)
    async with running(first, second) as (inbox1, _):
        await eventually(lambda: first.connected_since(2) is not None)
        before = first.connected_since(2)
        assert before is not None
        assert first.stats.active_peers == 1
        urls = second.urls
        await second.stop()
        await inbox1.until(lambda: 2 in inbox1.unreachable)
        await eventually(lambda: first.connected_since(2) is None)
        assert first.stats.peers[2].disconnects == 1
        again = make(2, urls)
        async with running(again) as (inbox,):
            await eventually(lambda: first.connected_since(2) is not None)
            after = first.connected_since(2)
            assert after is not None
            assert after > before
            first.send([heartbeat(1, 2, term=3)])
            await inbox.until(lambda: bool(inbox.messages))
        await first.remove_peer(2)
        assert first.connected_since(2) is None
        assert 2 not in first.stats.peers


async def test_the_round_trip_is_measured() -> None:
    measured: list[tuple[int, float]] = []
    first, second = make(1, on_round_trip=lambda *trip: measured.append(trip)), make(2)
    async with running(first, second):
        await eventually(lambda: measured)
        assert first.stats.peers[2].round_trip_seconds == measured[0][1] > 0
        assert measured[0][0] == 2


# Addresses


async def test_a_port_in_use_is_an_error() -> None:
    first = make(1)
    async with running(first):
        free = make(3)
        await free.start(Inbox())
        await free.stop()
        with pytest.raises(PeerPortError, match=r"cannot listen for peers on .*: address already in use"):
            await make(2, (*free.urls, *first.urls)).start(Inbox())
        again = make(3, free.urls)  # what it could listen on has been let go of
        await again.start(Inbox())
        await again.stop()


async def test_a_member_listens_on_several_urls_and_on_socket_files(tmp_path: Path) -> None:
    path = f"unix://{tmp_path}/peer:1"
    first, second = make(1), make(2, ("http://127.0.0.1:0", path))
    async with running(first, second) as (_, inbox2):
        assert second.urls[1] == path
        for number, url in enumerate(second.urls):
            await first.add_peer(2, [url])
            first.send([heartbeat(1, 2, term=number)])
            await inbox2.until(lambda number=number: inbox2.messages[-1:] == [heartbeat(1, 2, term=number)])


async def test_ipv6_addresses_stand_in_brackets() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    first, second = make(1), make(2, ("http://[::1]:0",))
    async with running(first, second) as (_, inbox2):
        assert second.urls[0].startswith("http://[::1]:")
        first.send([heartbeat(1, 2)])
        await inbox2.until(lambda: inbox2.messages == [heartbeat(1, 2)])


async def test_the_next_url_is_tried_when_one_fails(tmp_path: Path) -> None:
    first, second = make(1), make(2)
    async with running(first, second) as (_, inbox2):
        await first.add_peer(2, [f"unix://{tmp_path}/nobody", "http://127.0.0.1:1", *second.urls])
        await eventually(lambda: first.connected_since(2) is not None)
        first.send([heartbeat(1, 2)])
        await inbox2.until(lambda: inbox2.messages == [heartbeat(1, 2)])


async def test_a_socket_file_that_was_left_is_replaced_and_none_is_left(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/peer"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "peer"))
    left.close()
    first, second = make(1), make(2, (url,))
    async with running(first, second):
        await eventually(lambda: first.connected_since(2) is not None)
    await eventually(lambda: not (tmp_path / "peer").exists())
    assert first.stats.active_peers == 0


async def test_what_is_no_peer_url_is_an_error() -> None:
    with pytest.raises(ValueError, match="scheme must be"):
        make(1, ("127.0.0.1:2380",))
    with pytest.raises(ValueError, match="certificate and its key are missing"):
        make(1, ("https://127.0.0.1:2380",))
    with pytest.raises(ValueError, match="one peer URL or more"):
        await make(1).add_peer(2, [])


# Limits

SNAPSHOT = Snapshot(1, 1, ConfState((1,)))


class Stranger:
    """Opens streams of messages by hand."""

    def __init__(self, transport: GrpcTransport, *, sender: int = 7, lane: str = "heartbeats") -> None:
        self.channel = grpc.aio.insecure_channel(transport.urls[0].removeprefix("http://"))
        metadata = (*call_metadata(CLUSTER, sender), (TO_KEY, "2"), (LANE_KEY, lane))
        self.call = self.channel.stream_unary(MESSAGES_METHOD)(metadata=metadata)

    async def refused(self) -> str:
        async with asyncio.timeout(WAIT_SECONDS):
            code = await self.call.code()
            await self.channel.close()
        return f"{code.name}: {await self.call.details()}"


def envelope(*messages: Message) -> bytes:
    return pb.Envelope(messages=[message_to_pb(message) for message in messages]).SerializeToString()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xff\xff", "INVALID_ARGUMENT"),
        (envelope(heartbeat(7, 3)), "for member 3"),
        (envelope(Message(type=MessageType.SNAP, to=2, snapshot=SNAPSHOT)), "a snapshot among messages"),
        (envelope(Message(type=MessageType.APP, to=2, term=1, entries=(Entry(5, 1, b""),))), "entries are missing"),
        (pb.Envelope(messages=[message_to_pb(heartbeat(7, 2))] * 1025).SerializeToString(), "too many messages"),
        (bytes(3_000_000), "RESOURCE_EXHAUSTED"),
    ],
)
async def test_garbage_cuts_its_sender_off_and_nobody_else(data: bytes, reason: str) -> None:
    first, second = make(1), make(2, message_bytes_max=2_000_000)
    async with running(first, second) as (_, inbox2):
        stranger = Stranger(second)
        await stranger.call.initial_metadata()
        await stranger.call.write(data)
        assert reason in await stranger.refused()
        first.send([heartbeat(1, 2)])
        await inbox2.until(lambda: bool(inbox2.messages))
        assert inbox2.messages == [heartbeat(1, 2)]


async def test_bytes_that_are_not_http2_do_not_hurt() -> None:
    first, second = make(1), make(2)
    async with running(first, second) as (_, inbox2):
        host, _, port = second.urls[0].removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(real_environment().randomness.token_bytes(100_000))
        async with asyncio.timeout(WAIT_SECONDS):
            try:
                while await reader.read(65536):
                    pass
            except ConnectionError:
                pass
        writer.close()
        first.send([heartbeat(1, 2)])
        await inbox2.until(lambda: inbox2.messages == [heartbeat(1, 2)])


async def test_of_two_streams_from_one_lane_the_newer_stays() -> None:
    second = make(2)
    async with running(second) as (inbox,):
        older = Stranger(second)
        await older.call.initial_metadata()
        other_lane = Stranger(second, lane="appends")
        await other_lane.call.initial_metadata()
        newer = Stranger(second)
        await newer.call.initial_metadata()
        assert "ABORTED: a newer stream" in await older.refused()
        for stranger in (newer, other_lane):
            await stranger.call.write(envelope(heartbeat(7, 2)))
        await inbox.until(lambda: len(inbox.messages) == 2)
        assert second.stats.strangers.received_messages == 2
        await newer.channel.close()
        await other_lane.channel.close()


async def test_streams_are_limited_altogether(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_guard, "STREAMS_MAX", 2)
    second = make(2)
    async with running(second) as (inbox,):
        strangers = [Stranger(second, sender=number) for number in (7, 8)]
        for stranger in strangers:
            await stranger.call.initial_metadata()
        assert "RESOURCE_EXHAUSTED: too many streams" in await Stranger(second, sender=9).refused()
        await strangers[0].channel.close()
        await eventually(lambda: len(second._streams._tasks) == 1)
        again = Stranger(second, sender=9)
        await again.call.initial_metadata()
        await again.call.write(envelope(heartbeat(9, 2)))
        await inbox.until(lambda: inbox.messages == [heartbeat(9, 2)])
        await strangers[1].channel.close()
        await again.channel.close()


async def test_a_flood_does_not_keep_others_out() -> None:
    first, second = make(1), make(2)
    async with running(first, second) as (_, inbox2):
        stranger = Stranger(second)
        await stranger.call.initial_metadata()
        data = envelope(*[heartbeat(7, 2)] * 200)
        is_over = False

        async def flood() -> None:
            while not is_over:
                await stranger.call.write(data)

        flooding = asyncio.create_task(flood())
        await inbox2.until(lambda: len(inbox2.messages) > 2000)
        first.send([heartbeat(1, 2)])
        await inbox2.until(lambda: heartbeat(1, 2) in inbox2.messages[2000:])
        is_over = True
        await flooding
        await stranger.channel.close()


class Mute(GrpcTransport):
    """Answers one ping and no more."""

    pings = 0

    async def _answer_ping(self, request: bytes, context: object) -> bytes:
        self.pings += 1
        if self.pings > 1:
            await asyncio.Event().wait()
        return b""


async def test_a_peer_that_answers_no_pings_is_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_link, "PING_SECONDS", 0.0)
    monkeypatch.setattr(peer_link, "PING_TIMEOUT_SECONDS", 0.2)
    first = make(1)
    second = Mute(real_environment(), member_id=2, cluster_id=CLUSTER, listen_urls=["http://127.0.0.1:0"])
    async with running(first, second) as (inbox1, _):
        await inbox1.until(lambda: 2 in inbox1.unreachable)
        assert second.pings > 1
        assert first.stats.peers[2].disconnects >= 1
        second.pings = -1_000_000
        await eventually(lambda: first.connected_since(2) is not None)  # and is connected to again
        disconnects = first.stats.peers[2].disconnects
        first.send([heartbeat(1, 2)])
        await eventually(lambda: first.stats.peers[2].sent_messages > 0)
        assert first.stats.peers[2].disconnects == disconnects


async def test_a_message_that_cannot_be_written_is_dropped() -> None:
    first, second = make(1), make(2)
    async with running(first, second) as (inbox1, inbox2):
        await eventually(lambda: first.connected_since(2) is not None)
        first.send([heartbeat(1, 2, term=-1)])
        await inbox1.until(lambda: inbox1.unreachable == [2])
        await eventually(lambda: first.connected_since(2) is not None)
        first.send([heartbeat(1, 2)])
        await inbox2.until(lambda: inbox2.messages == [heartbeat(1, 2)])


async def test_a_lane_to_a_peer_that_is_away_stays_small() -> None:
    first = make(1)
    async with running(first) as (inbox,):
        await first.add_peer(2, ["http://127.0.0.1:1"])
        first.send([append(1, 2, bytes(1 << 20))] * 100)
        assert len(inbox.unreachable) == 100 - 64
        first.send([heartbeat(1, 2)] * 5000)
        assert len(inbox.unreachable) == 100 - 64 + 5000 - 4096
        assert first.stats.peers[2].send_failures == len(inbox.unreachable)
