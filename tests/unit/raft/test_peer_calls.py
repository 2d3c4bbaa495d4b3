"""Added services on the peer port, and the client that calls them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from raft.environment import real_environment
from raft.errors import PeerRefusedError, PeerUnavailableError
from raft.runtime.peer_channel import call_metadata
from raft.runtime.peer_guard import MethodHandlers
from raft.runtime.transport_grpc import PeerClient, sender_of
from tests.unit.raft.peers import CLUSTER, Inbox, make, running

ECHO, MEMBERS, FAIL, COUNT = (f"/test.Echo/{name}" for name in ("Echo", "Members", "Fail", "Count"))
Context = grpc.aio.ServicerContext[Any, Any]


class Echo:
    def __init__(self) -> None:
        self.callers: list[int] = []
        self.is_silent = False

    def handlers(self) -> MethodHandlers:
        return MethodHandlers(
            {
                ECHO: grpc.unary_unary_rpc_method_handler(self.echo, bytes.decode, b"".join),
                MEMBERS: grpc.unary_unary_rpc_method_handler(self.echo, bytes.decode, b"".join),
                FAIL: grpc.unary_unary_rpc_method_handler(self.fail),
                COUNT: grpc.unary_stream_rpc_method_handler(self.count),
            }
        )

    async def echo(self, request: str, context: Context) -> list[bytes]:
        if self.is_silent:
            await asyncio.Event().wait()
        self.callers.append(sender_of(context))
        return [request.upper().encode()]

    async def fail(self, request: bytes, context: Context) -> bytes:
        await context.abort(grpc.StatusCode[request.decode()], "no such lease")

    async def count(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number


async def test_members_call_each_other_by_id_or_by_url() -> None:
    echo = Echo()
    first, second = make(1), make(2, handlers=[echo.handlers()])
    async with running(first, second):
        assert await first.call(2, ECHO, b"by id", 5) == b"BY ID"
        assert await first.call(second.urls[0], ECHO, b"by url", 5) == b"BY URL"
        assert echo.callers == [1, 1]
        for code in ("NOT_FOUND", "UNAVAILABLE", "DEADLINE_EXCEEDED"):  # said by the member itself
            with pytest.raises(PeerRefusedError, match=f"{code}: no such lease") as caught:
                await first.call(2, FAIL, code.encode(), 5)
            assert (caught.value.code, caught.value.reason) == (code, "no such lease")
        with pytest.raises(PeerRefusedError, match="UNIMPLEMENTED"):
            await first.call(2, "/test.Echo/Unknown", b"", 5)
        with pytest.raises(ValueError, match="scheme must be"):
            await first.call("127.0.0.1:1", ECHO, b"", 5)


async def test_the_next_url_answers_when_one_does_not() -> None:
    first, second = make(1), make(2, handlers=[Echo().handlers()])
    async with running(first, second):
        await first.add_peer(2, ["http://127.0.0.1:1", *second.urls])
        assert await first.call(2, ECHO, b"x", 5) == b"X"


async def test_nobody_answers() -> None:
    echo = Echo()
    first, second = make(1), make(2, handlers=[echo.handlers()])
    async with running(first, second):
        with pytest.raises(PeerUnavailableError, match="member 9 does not answer: it is not known"):
            await first.call(9, ECHO, b"", 5)
        with pytest.raises(PeerUnavailableError, match=r"http://127\.0\.0\.1:1 does not answer"):
            await first.call("http://127.0.0.1:1", ECHO, b"", 5)
        echo.is_silent = True
        with pytest.raises(PeerUnavailableError, match="member 2 does not answer"):
            await first.call(2, ECHO, b"", 0.05)
        echo.is_silent = False
        assert await first.call(2, ECHO, b"again", 5) == b"AGAIN"
        await first.remove_peer(2)
        with pytest.raises(PeerUnavailableError, match="not known"):
            await first.call(2, ECHO, b"", 5)


async def test_a_call_that_fails_does_not_disturb_others() -> None:
    echo = Echo()
    first, second = make(1), make(2, handlers=[echo.handlers()])
    async with running(first, second):
        echo.is_silent = True
        slow = asyncio.create_task(first.call(2, ECHO, b"slow", 60))
        with pytest.raises(PeerUnavailableError):
            await first.call(2, ECHO, b"x", 0.05)
        echo.is_silent = False
        assert await first.call(2, ECHO, b"y", 5) == b"Y"
        assert not slow.done()
        await first.stop()
        with pytest.raises(PeerUnavailableError):
            await slow


async def test_a_call_can_be_cancelled() -> None:
    echo = Echo()
    first, second = make(1), make(2, handlers=[echo.handlers()])
    async with running(first, second):
        echo.is_silent = True
        slow = asyncio.create_task(first.call(2, ECHO, b"slow", 60))
        await asyncio.sleep(0)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow


async def test_a_member_that_comes_back_answers_again() -> None:
    first, second = make(1), make(2, handlers=[Echo().handlers()])
    async with running(first, second):
        assert await first.call(2, ECHO, b"x", 5) == b"X"
        urls = second.urls
        await second.stop()
        with pytest.raises(PeerUnavailableError):
            await first.call(2, ECHO, b"x", 5)
        async with running(make(2, urls, handlers=[Echo().handlers()])):
            assert await first.call(2, ECHO, b"y", 5) == b"Y"


async def test_added_services_answer_members_of_this_cluster_only() -> None:
    echo = Echo()
    second = make(2, handlers=[echo.handlers()], open_methods=[MEMBERS], is_removed=lambda member_id: member_id == 5)
    async with running(second):
        url = second.urls[0]
        environment = real_environment()
        another = PeerClient(environment, cluster_id=0xBAD, member_id=1)
        joining = PeerClient(environment)
        removed = PeerClient(environment, cluster_id=CLUSTER, member_id=5)
        for client, method in ((another, ECHO), (another, MEMBERS), (joining, ECHO)):
            with pytest.raises(PeerRefusedError, match="FAILED_PRECONDITION: cluster ID mismatch"):
                await client.call(url, method, b"", 5)
        assert await joining.call(url, MEMBERS, b"members", 5) == b"MEMBERS"
        with pytest.raises(PeerRefusedError, match="PERMISSION_DENIED: the member has been permanently removed"):
            await removed.call(url, ECHO, b"", 5)
        assert echo.callers == [0]
        assert second.stats.rejected == 4


async def test_answers_may_be_streams() -> None:
    second = make(2, handlers=[Echo().handlers()])
    async with running(second), grpc.aio.insecure_channel(second.urls[0].removeprefix("http://")) as channel:
        call = channel.unary_stream(COUNT)(b"", metadata=call_metadata(CLUSTER, 1))
        assert [answer async for answer in call] == [b"0", b"1", b"2"]
        with pytest.raises(grpc.aio.AioRpcError, match="cluster ID mismatch"):
            async for _ in channel.unary_stream(COUNT)(b""):
                pass


async def test_a_transport_without_peers_knows_nobody() -> None:
    transport = make(1, ())
    await transport.start(Inbox())
    assert transport.urls == ()
    assert transport.stats.active_peers == 0
    await transport.stop()
