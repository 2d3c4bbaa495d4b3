"""The asyncio side of HTTP/2 on a transport and a clock that the test holds."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hyperframe import frame as hyper
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.environment import TimerHandle
from kvstore.front import FrontLimits, build_front
from kvstore.front.frames import CLIENT_PREFACE, FrameType, frame, settings_frame
from kvstore.front.http2 import Http2Protocol
from tests.fuzz_examples import examples
from tests.unit.kvstore.front.conftest import FakeKV, FakeMaintenance, FakeWatch


class HeldClock:
    """Time moves when the test says so."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.timers: list[Any] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> TimerHandle:
        timer = HeldTimer(self.time + delay_seconds, callback)
        self.timers.append(timer)
        return timer

    async def sleep(self, delay_seconds: float) -> None:
        raise NotImplementedError

    def advance(self, seconds: float) -> None:
        self.time += seconds
        due = [timer for timer in self.timers if timer.when <= self.time]
        self.timers = [timer for timer in self.timers if timer.when > self.time]
        for timer in due:
            if not timer.cancelled:
                timer.callback()


class HeldTimer:
    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class HeldTransport(asyncio.Transport):
    """Keeps what is written, and what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.did: list[str] = []

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written.append(data)

    def close(self) -> None:
        self.did.append("close")

    def abort(self) -> None:
        self.did.append("abort")

    def pause_reading(self) -> None:
        self.did.append("pause_reading")

    def resume_reading(self) -> None:
        self.did.append("resume_reading")

    def is_closing(self) -> bool:
        return "close" in self.did

    def frames(self) -> list[hyper.Frame]:
        """What was written since the last time."""
        data, parsed = memoryview(b"".join(self.written)), []
        self.written = []
        while data:
            one, length = hyper.Frame.parse_frame_header(data[:9])
            one.parse_body(data[9 : 9 + length])
            parsed.append(one)
            data = data[9 + length :]
        return parsed


class Held:
    """A protocol between the two."""

    def __init__(self, services: dict[str, object] | None = None, limits: FrontLimits | None = None) -> None:
        self.clock, self.transport = HeldClock(), HeldTransport()
        front = build_front(services or {}, clock=self.clock)
        self.protocol = Http2Protocol(front.methods, front.router, limits or FrontLimits(), self.clock)
        self.protocol.connection_made(self.transport)
        self.protocol.data_received(CLIENT_PREFACE + settings_frame({}))
        self.transport.frames()


@pytest.fixture
async def held() -> Held:
    return Held()


async def test_a_silent_client_is_asked_and_then_given_up(held: Held) -> None:
    held.clock.advance(7_200)  # it has said something in this time
    assert held.transport.frames() == []
    held.clock.advance(7_200)
    (ping,) = held.transport.frames()
    assert isinstance(ping, hyper.PingFrame)
    held.clock.advance(20)
    assert held.transport.did == ["abort"]


async def test_a_silent_client_that_answers_is_kept(held: Held) -> None:
    held.clock.advance(14_400)
    held.clock.advance(7_200)
    (ping,) = held.transport.frames()
    held.protocol.data_received(frame(FrameType.PING, 1, 0, ping.opaque_data))
    held.clock.advance(20)
    assert held.transport.did == []
    held.clock.advance(7_200)
    held.clock.advance(7_200)
    assert len(held.transport.frames()) == 1


async def test_nothing_is_left_of_a_lost_connection(held: Held) -> None:
    held.protocol.connection_lost(None)
    assert all(timer.cancelled for timer in held.clock.timers)
    held.clock.advance(100_000)
    assert held.transport.frames() == []


async def test_a_client_that_does_not_read_is_not_read_from(held: Held) -> None:
    held.protocol.pause_writing()
    assert held.transport.did == ["pause_reading"]
    held.protocol.resume_writing()
    assert held.transport.did == ["pause_reading", "resume_reading"]


async def test_a_fault_is_answered_and_the_connection_closed(held: Held) -> None:
    held.protocol.data_received(frame(FrameType.PING, 0, 1, bytes(8)))
    (goaway,) = held.transport.frames()
    assert isinstance(goaway, hyper.GoAwayFrame)
    assert held.transport.did == ["close"]


async def test_draining_an_idle_connection_waits_for_what_may_be_crossing(held: Held) -> None:
    held.protocol.drain()
    goaway, ping = held.transport.frames()
    assert isinstance(goaway, hyper.GoAwayFrame)
    assert held.transport.did == []
    held.protocol.data_received(frame(FrameType.PING, 1, 0, ping.opaque_data))
    (final,) = held.transport.frames()
    assert (final.last_stream_id, held.transport.did) == (0, ["close"])


async def test_a_client_that_says_goodbye_is_let_go(held: Held) -> None:
    held.protocol.data_received(frame(FrameType.GOAWAY, 0, 0, bytes(8)))
    assert held.transport.did == ["close"]


def head(path: str, *more: tuple[str, str]) -> bytes:
    """A header block that leaves the table alone."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), *more]
    return b"".join(
        b"\x00" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode() for name, value in fields
    )


GRPC = ("content-type", "application/grpc")
HEADS = [
    head("/etcdserverpb.KV/Range", GRPC),
    head("/etcdserverpb.KV/Range", GRPC, ("grpc-timeout", "5S")),
    head("/etcdserverpb.KV/Range", GRPC, ("grpc-timeout", "soon")),
    head("/etcdserverpb.Watch/Watch", GRPC),
    head("/etcdserverpb.Maintenance/Snapshot", GRPC),
    head("/etcdserverpb.KV/Nope", GRPC),
    head("/v3/kv/range"),
    head("/v3/watch"),
]
MESSAGES = [
    b"",
    b"\x00\x00\x00\x00\x03\x0a\x01a",
    b"\x00\x00\x00\x00\x07\x0a\x05!hang",
    b"\x00\x00\x00\x00\x07\x0a\x05\x0a\x01k8\x03",  # WatchCreateRequest with watch_id 3
    b"\x00\x00\x00\x00\x03\x0a",
    b"\x00\x00\x00\x00\x01\xff",
    b"\x01\x00\x00\x00\x00",
    b"{}",
]
streams = st.sampled_from([1, 3, 5])
actions = st.one_of(
    st.builds(lambda block, end: ("head", block, end), st.sampled_from(HEADS), st.booleans()),
    st.builds(lambda sid, data, end: ("data", sid, data, end), streams, st.sampled_from(MESSAGES), st.booleans()),
    st.builds(lambda sid: ("reset", sid), streams),
    st.builds(lambda sid, size: ("window", sid, size), st.sampled_from([0, 1, 3]), st.integers(1, 100)),
    st.builds(lambda size: ("initial window", size), st.integers(0, 100)),
    st.sampled_from([("pause",), ("resume",), ("turn",), ("turn",), ("drain",), ("late",)]),
)


@settings(deadline=None, max_examples=examples(150))
@given(st.lists(actions, max_size=25))
def test_whatever_a_client_does_its_calls_end_with_it(actions: list[tuple]) -> None:
    """No exception anywhere, and after the connection nothing runs on."""
    problems: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            problems.append(record.getMessage())

    async def play() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(str(context)))
        services = {
            "etcdserverpb.KV": FakeKV(),
            "etcdserverpb.Watch": FakeWatch(),
            "etcdserverpb.Maintenance": FakeMaintenance(),
        }
        held = Held(services)
        next_stream = 1
        for action, *rest in actions:
            if action == "head":
                block, end = rest
                held.protocol.data_received(frame(FrameType.HEADERS, 0x4 | end, next_stream, block))
                next_stream += 2
            elif action == "data" and rest[0] < next_stream:
                held.protocol.data_received(frame(FrameType.DATA, rest[2], rest[0], rest[1]))
            elif action == "reset" and rest[0] < next_stream:
                held.protocol.data_received(frame(FrameType.RST_STREAM, 0, rest[0], bytes(4)))
            elif action == "window" and rest[0] < next_stream:
                held.protocol.data_received(frame(FrameType.WINDOW_UPDATE, 0, rest[0], struct.pack(">L", rest[1])))
            elif action == "initial window":
                held.protocol.data_received(frame(FrameType.SETTINGS, 0, 0, struct.pack(">HL", 4, rest[0])))
            elif action == "pause":
                held.protocol.pause_writing()
            elif action == "resume":
                held.protocol.resume_writing()
            elif action == "turn":
                await asyncio.sleep(0)
            elif action == "drain":
                held.protocol.drain()
            elif action == "late":
                held.clock.advance(6)
        assert not held.protocol.connection.ended
        held.protocol.connection_lost(None)
        for _ in range(10):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        held.transport.frames()

    listener = Listener(logging.WARNING)
    logging.getLogger("kvstore").addHandler(listener)
    try:
        asyncio.run(play())
    finally:
        logging.getLogger("kvstore").removeHandler(listener)
    assert problems == []
