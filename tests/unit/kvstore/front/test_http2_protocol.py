"""The asyncio side of HTTP/2 on a transport and a clock that the test holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hyperframe import frame as hyper

from kvstore.environment import TimerHandle
from kvstore.front import FrontLimits, build_front
from kvstore.front.frames import CLIENT_PREFACE, FrameType, frame, settings_frame
from kvstore.front.http2 import Http2Protocol


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

    def __init__(self, limits: FrontLimits | None = None) -> None:
        self.clock, self.transport = HeldClock(), HeldTransport()
        front = build_front({}, clock=self.clock)
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
