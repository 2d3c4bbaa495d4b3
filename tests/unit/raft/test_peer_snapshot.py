"""Snapshots between members, over connections that break."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from raft.core import ConfState, Message, MessageType, Snapshot
from raft.environment import Environment, RealFileSystem, SeededRandomness, real_environment
from raft.errors import RaftError
from raft.runtime import peer_snapshot
from raft.runtime.peer_snapshot import PARTIAL_NAME, PIECE_BYTES
from raft.runtime.transport_grpc import FileBody
from tests.unit.raft.peers import WAIT_SECONDS, eventually, heartbeat, make, running


class Body:
    """A body in memory that may fail while it is read."""

    def __init__(self, snapshot: Snapshot, content: bytes, on_read: Callable[[int], None]) -> None:
        self.snapshot = snapshot
        self.size = len(content)
        self.digest = hashlib.sha256(content).digest()
        self.is_closed = False
        self._content = content
        self._on_read = on_read

    def read(self, offset: int, count: int) -> bytes:
        self._on_read(offset)
        return self._content[offset : offset + count]

    def close(self) -> None:
        self.is_closed = True


class Bodies:
    """Bodies by snapshot index, and those that were received."""

    def __init__(self, directory: Path, bodies: dict[int, bytes] | None = None) -> None:
        self.directory = str(directory)
        self.bodies = bodies or {}
        self.opened: list[Body] = []
        self.received: list[tuple[int, bytes]] = []
        self.modes: list[int] = []
        self.reads: list[tuple[int, int]] = []
        self.on_read: Callable[[int], None] = lambda offset: None
        self.refusal: Exception | None = None

    async def open(self, snapshot: Snapshot) -> Body:
        if snapshot.index not in self.bodies:
            raise FileNotFoundError(snapshot.index)

        def on_read(offset: int) -> None:
            self.reads.append((snapshot.index, offset))
            self.on_read(offset)

        self.opened.append(Body(snapshot, self.bodies[snapshot.index], on_read))
        return self.opened[-1]

    async def accept(self, snapshot: Snapshot, path: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.modes.append(stat.S_IMODE(os.stat(path).st_mode))
        self.received.append((snapshot.index, Path(path).read_bytes()))


class HurriedClock:
    """Waits are over at once, and remembered."""

    def __init__(self) -> None:
        self._real = real_environment().clock
        self.now, self.monotonic, self.call_later = self._real.now, self._real.monotonic, self._real.call_later
        self.waits: list[float] = []

    async def sleep(self, delay_seconds: float) -> None:
        self.waits.append(delay_seconds)
        await self._real.sleep(min(delay_seconds, 0.01))


def content(seed: int, size: int) -> bytes:
    return SeededRandomness(seed).token_bytes(size)


def snapshot_message(index: int = 7, *, term: int = 3, data: bytes = b"data") -> Message:
    snapshot = Snapshot(index, 2, ConfState((1, 2)), data)
    return Message(type=MessageType.SNAP, sender=1, to=2, term=term, snapshot=snapshot)


def quick_environment(clock: HurriedClock) -> Environment:
    return replace(real_environment(), clock=clock)


async def test_a_snapshot_arrives_with_its_body_and_is_reported(tmp_path: Path) -> None:
    body = content(1, 3_000_001)
    sending, receiving = Bodies(tmp_path / "1", {7: body}), Bodies(tmp_path / "2")
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / PARTIAL_NAME).write_bytes(b"of an earlier process")
    first, second = make(1, bodies=sending), make(2, bodies=receiving)
    async with running(first, second) as (inbox1, inbox2):
        assert os.listdir(tmp_path / "2") == []
        message = snapshot_message(data=b"d" * 2_000_000)
        first.send([message])
        await inbox1.until(lambda: inbox1.snapshots == [(2, True)])
        assert inbox2.messages == [message]
        assert receiving.received == [(7, body)]
        assert receiving.modes == [0o600]
        assert os.listdir(tmp_path / "2") == []
        assert [body.is_closed for body in sending.opened] == [True]
        assert (first.stats.peers[2].snapshots_sent, second.stats.peers[1].snapshots_received) == (1, 1)
        assert second.stats.peers[1].received_bytes == len(body)
        first.send([message])  # Raft may want the same one again
        await inbox1.until(lambda: inbox1.snapshots == [(2, True)] * 2)
        assert inbox2.messages == [message] * 2


async def test_a_snapshot_without_a_body_arrives() -> None:
    first, second = make(1), make(2)
    async with running(first, second) as (inbox1, inbox2):
        first.send([snapshot_message()])
        await inbox1.until(lambda: inbox1.snapshots == [(2, True)])
        assert inbox2.messages == [snapshot_message()]
        first.send([replace(snapshot_message(), to=9)])
        assert inbox1.snapshots[-1] == (9, False)


async def test_an_empty_body_is_one(tmp_path: Path) -> None:
    first, second = make(1, bodies=Bodies(tmp_path / "1", {7: b""})), make(2, bodies=Bodies(tmp_path / "2"))
    async with running(first, second) as (inbox1, inbox2):
        first.send([snapshot_message()])
        await inbox1.until(lambda: inbox1.snapshots == [(2, True)])
        assert inbox2.messages == [snapshot_message()]


async def test_a_broken_stream_is_resumed_where_it_broke(tmp_path: Path) -> None:
    body = content(2, 20 * PIECE_BYTES)
    sending, receiving = Bodies(tmp_path / "1", {7: body}), Bodies(tmp_path / "2")
    clock = HurriedClock()
    first = make(1, bodies=sending, environment=quick_environment(clock))
    second = make(2, bodies=receiving)
    breaks = [13 * PIECE_BYTES, 6 * PIECE_BYTES]

    def break_off(offset: int) -> None:
        if breaks and offset >= breaks[-1]:
            breaks.pop()
            raise ValueError("the line is cut")

    sending.on_read = break_off
    async with running(first, second) as (inbox1, inbox2):
        first.send([snapshot_message()])
        await inbox1.until(lambda: bool(inbox1.snapshots))
        assert inbox1.snapshots == [(2, True)]
        assert receiving.received == [(7, body)]
        assert inbox2.messages == [snapshot_message()]
        assert breaks == []
        offsets = [offset for _, offset in sending.reads]
        assert offsets.count(0) == 1  # never from the beginning again
        assert len(offsets) < 20 + 2 * (peer_snapshot.WINDOW_BYTES // PIECE_BYTES + 1)


async def test_a_receiver_that_restarts_gets_all_of_it_again(tmp_path: Path) -> None:
    body = content(3, 8 * PIECE_BYTES)
    sending, receiving = Bodies(tmp_path / "1", {7: body}), Bodies(tmp_path / "2")
    first, second = make(1, bodies=sending), make(2, bodies=receiving)
    is_reached, may_go_on = threading.Event(), threading.Event()

    def stand_still(offset: int) -> None:
        if offset == 5 * PIECE_BYTES:
            is_reached.set()
            may_go_on.wait(WAIT_SECONDS)

    sending.on_read = stand_still
    async with running(first, second) as (inbox1, inbox2):
        urls = second.urls
        first.send([snapshot_message()])
        await asyncio.to_thread(is_reached.wait, WAIT_SECONDS)
        await second.stop()
        assert os.listdir(tmp_path / "2") == []
        may_go_on.set()
        async with running(make(2, urls, bodies=receiving)) as (inbox,):
            await inbox1.until(lambda: bool(inbox1.snapshots))
            assert inbox1.snapshots == [(2, True)]
            assert receiving.received == [(7, body)]
            assert inbox.messages == [snapshot_message()]
            assert inbox2.messages == []


async def test_a_peer_that_stays_away_is_given_up_after_some_tries(tmp_path: Path) -> None:
    sending = Bodies(tmp_path / "1", {7: b"body"})
    clock = HurriedClock()
    first = make(1, bodies=sending, environment=quick_environment(clock))
    async with running(first) as (inbox,):
        await first.add_peer(2, ["http://127.0.0.1:1"])
        clock.waits.clear()
        first.send([snapshot_message(), heartbeat(1, 2)])
        await inbox.until(lambda: bool(inbox.snapshots))
        assert inbox.snapshots == [(2, False)]
        assert first.stats.peers[2].snapshot_send_failures == 1
        assert [body.is_closed for body in sending.opened] == [True]


async def test_a_body_that_is_gone_is_reported(tmp_path: Path) -> None:
    first, second = make(1, bodies=Bodies(tmp_path / "1")), make(2, bodies=Bodies(tmp_path / "2"))
    async with running(first, second) as (inbox1, inbox2):
        first.send([snapshot_message()])
        await inbox1.until(lambda: inbox1.snapshots == [(2, False)])
        assert not inbox2.messages


@pytest.mark.parametrize("refusal", [OSError("no space left"), RaftError("not a database")])
async def test_what_the_application_refuses_is_not_delivered(tmp_path: Path, refusal: Exception) -> None:
    sending, receiving = Bodies(tmp_path / "1", {7: b"body"}), Bodies(tmp_path / "2")
    receiving.refusal = refusal
    first = make(1, bodies=sending, environment=quick_environment(HurriedClock()))
    second = make(2, bodies=receiving)
    async with running(first, second) as (inbox1, inbox2):
        first.send([snapshot_message()])
        await inbox1.until(lambda: bool(inbox1.snapshots))
        assert inbox1.snapshots == [(2, False)]
        assert not inbox2.messages
        assert os.listdir(tmp_path / "2") == []
        assert second.stats.peers[1].snapshot_receive_failures == 1


async def test_a_body_that_is_not_what_its_digest_says_is_not_delivered(tmp_path: Path) -> None:
    sending, receiving = Bodies(tmp_path / "1", {7: b"body"}), Bodies(tmp_path / "2")
    first = make(1, bodies=sending, environment=quick_environment(HurriedClock()))
    second = make(2, bodies=receiving)

    def spoil(offset: int) -> None:
        sending.opened[-1]._content = b"Body"

    sending.on_read = spoil
    async with running(first, second) as (inbox1, inbox2):
        first.send([snapshot_message()])
        await inbox1.until(lambda: bool(inbox1.snapshots))
        assert inbox1.snapshots == [(2, False)]
        assert not inbox2.messages
        assert receiving.received == []
        assert os.listdir(tmp_path / "2") == []


async def test_a_newer_snapshot_takes_the_place_of_the_one_under_way(tmp_path: Path) -> None:
    bodies = {7: content(4, 8 * PIECE_BYTES), 9: content(5, 3 * PIECE_BYTES)}
    sending, receiving = Bodies(tmp_path / "1", bodies), Bodies(tmp_path / "2")
    first, second = make(1, bodies=sending), make(2, bodies=receiving)
    loop = asyncio.get_running_loop()
    is_reached = asyncio.Event()

    def reached(offset: int) -> None:
        if offset == 2 * PIECE_BYTES:
            loop.call_soon_threadsafe(is_reached.set)

    sending.on_read = reached
    async with running(first, second) as (inbox1, inbox2):
        first.send([snapshot_message(7)])
        await is_reached.wait()
        first.send([snapshot_message(9)])
        await inbox1.until(lambda: bool(inbox1.snapshots))
        assert inbox1.snapshots == [(2, True)]
        assert receiving.received[-1] == (9, bodies[9])
        assert inbox2.messages[-1] == snapshot_message(9)
        assert [body.is_closed for body in sending.opened] == [True, True]


async def test_a_peer_that_moves_breaks_a_snapshot_off_and_that_is_reported(tmp_path: Path) -> None:
    sending = Bodies(tmp_path / "1", {7: content(8, PIECE_BYTES)})
    first, second = make(1, bodies=sending), make(2, bodies=Bodies(tmp_path / "2"))
    async with running(first, second) as (inbox1, inbox2):
        await first.add_peer(2, ["http://127.0.0.1:1"])
        first.send([snapshot_message()])
        await eventually(lambda: sending.opened)
        await first.add_peer(2, second.urls)
        assert inbox1.snapshots == [(2, False)]
        first.send([snapshot_message()])
        await inbox1.until(lambda: inbox1.snapshots == [(2, False), (2, True)])
        assert inbox2.messages == [snapshot_message()]
        assert [body.is_closed for body in sending.opened] == [True, True]


async def test_a_failure_of_the_application_is_reported(tmp_path: Path) -> None:
    class Broken(Bodies):
        async def open(self, snapshot: Snapshot) -> Body:
            raise KeyError(snapshot.index)

    first, second = make(1, bodies=Broken(tmp_path / "1")), make(2, bodies=Bodies(tmp_path / "2"))
    async with running(first, second) as (inbox1, _):
        first.send([snapshot_message()])
        await inbox1.until(lambda: inbox1.snapshots == [(2, False)])


async def test_heartbeats_pass_a_snapshot_that_nobody_takes(tmp_path: Path) -> None:
    body = content(6, 40 * PIECE_BYTES)
    sending, receiving = Bodies(tmp_path / "1", {7: body}), Bodies(tmp_path / "2")
    first, second = make(1, bodies=sending), make(2, bodies=receiving)
    may_go_on = asyncio.Event()

    accept = receiving.accept

    async def accept_later(snapshot: Snapshot, path: str) -> None:
        await may_go_on.wait()
        await accept(snapshot, path)

    receiving.accept = accept_later  # type: ignore[method-assign]
    async with running(first, second) as (inbox1, inbox2):
        first.send([snapshot_message()])
        await eventually(lambda: len(sending.reads) == 40)
        first.send([heartbeat(1, 2)])
        await inbox2.until(lambda: inbox2.messages == [heartbeat(1, 2)])
        assert inbox1.snapshots == []
        may_go_on.set()
        await inbox1.until(lambda: inbox1.snapshots == [(2, True)])


def test_a_file_is_a_body(tmp_path: Path) -> None:
    data = content(7, 600_000)
    (tmp_path / "db").write_bytes(data)
    body = FileBody(RealFileSystem(), str(tmp_path / "db"), Snapshot(1, 1, ConfState((1,))))
    assert (body.size, body.digest) == (600_000, hashlib.sha256(data).digest())
    assert body.read(100, 300_000) == data[100:300_100]
    os.truncate(tmp_path / "db", 10)
    with pytest.raises(OSError, match="shorter"):
        body.read(0, 20)
    body.close()
