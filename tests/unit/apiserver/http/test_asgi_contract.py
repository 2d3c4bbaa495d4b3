"""The application under any ASGI server: nothing but the specification's scope and messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from apiserver.http import ASGIApplication
from apiserver.request import Request, Response
from kvstore.environment import RealClock


def scope(**changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"x=1&x=%32",
        "headers": [(b"accept", b"a/b"), (b"accept", b"c/d"), (b"x-a", b"1")],
        "client": None,
        **changes,
    }


async def run(handler: Any, messages: list[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await ASGIApplication(handler, RealClock())(scope(**changes), receive, send)
    return sent


async def test_a_whole_answer() -> None:
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        body = await request.read_body(100)
        assert await request.read_body(100) is body
        return Response(201, body, "text/plain", [("X-B", "ü")])

    pieces = [
        {"type": "http.request", "body": b"he", "more_body": True},
        {"type": "http.request", "body": b"llo", "more_body": False},
    ]
    assert await run(handler, pieces) == [
        {
            "type": "http.response.start",
            "status": 201,
            "headers": [(b"content-type", b"text/plain"), (b"x-b", "ü".encode()), (b"content-length", b"5")],
        },
        {"type": "http.response.body", "body": b"hello"},
    ]
    (request,) = seen
    assert (request.path, request.raw_path, request.query) == ("/a b", "/a%20b", {"x": ["1", "2"]})
    assert request.headers == {"accept": "a/b,c/d", "x-a": "1"}
    assert request.peer_certificate is None


async def test_a_stream() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        yield b""
        yield b"two"

    async def handler(request: Request) -> Response:
        return Response(200, chunks())

    sent = await run(handler, [{"type": "http.request", "body": b"", "more_body": False}] * 2)
    assert [message.get("body") for message in sent] == [None, b"", b"one", b"two", b""]
    assert [message.get("more_body") for message in sent] == [None, True, True, True, False]


async def test_a_handler_that_fails(caplog: Any) -> None:
    async def handler(request: Request) -> Response:
        raise ZeroDivisionError

    sent = await run(handler, [])
    assert sent[0]["status"] == 500
    assert "failed outside the handler chain" in caplog.text


async def test_a_client_that_leaves_in_the_middle_of_a_body() -> None:
    problems: list[str] = []

    async def handler(request: Request) -> Response:
        try:
            await request.read_body(100)
        except Exception as error:
            problems.append(str(error))
        return Response(400, b"")

    await run(handler, [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}])
    assert problems == ["unexpected EOF"]
