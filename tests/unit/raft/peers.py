"""Members joined by real connections on the loopback interface, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from raft.core import Entry, Message, MessageType
from raft.environment import real_environment
from raft.runtime.transport_grpc import GrpcTransport

WAIT_SECONDS = 20
CLUSTER = 0xC1


class Inbox:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.unreachable: list[int] = []
        self.snapshots: list[tuple[int, bool]] = []
        self._changed = asyncio.Event()

    def receive(self, message: Message) -> None:
        self.messages.append(message)
        self._changed.set()

    def report_unreachable(self, member_id: int) -> None:
        self.unreachable.append(member_id)
        self._changed.set()

    def report_snapshot(self, member_id: int, *, ok: bool) -> None:
        self.snapshots.append((member_id, ok))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def eventually(condition: Callable[[], object]) -> None:
    """Wait for what nobody announces."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


def make(member_id: int, urls: tuple[str, ...] = ("http://127.0.0.1:0",), **options: object) -> GrpcTransport:
    arguments = {"environment": real_environment(), "cluster_id": CLUSTER} | options
    return GrpcTransport(member_id=member_id, listen_urls=urls, **arguments)  # type: ignore[arg-type]


@asynccontextmanager
async def running(*transports: GrpcTransport) -> AsyncIterator[list[Inbox]]:
    """Start members; the first and the second know each other."""
    inboxes = [Inbox() for _ in transports]
    started = []
    try:
        for transport, inbox in zip(transports, inboxes, strict=True):
            await transport.start(inbox)
            started.append(transport)
        if len(transports) > 1:
            await transports[0].add_peer(2, transports[1].urls)
            await transports[1].add_peer(1, transports[0].urls)
        yield inboxes
    finally:
        for transport in started:
            await transport.stop()


def heartbeat(sender: int, to: int, term: int = 1) -> Message:
    return Message(type=MessageType.HEARTBEAT, sender=sender, to=to, term=term)


def append(sender: int, to: int, *data: bytes) -> Message:
    entries = tuple(Entry(index, 1, item) for index, item in enumerate(data, start=1))
    return Message(type=MessageType.APP, sender=sender, to=to, term=1, entries=entries)
