"""HTTP/1.1 on the client port."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvstore.front import AccessControl, FrontLimits, HttpRequest, HttpResponse, Router, build_front, http_endpoints
from kvstore.front.frames import CLIENT_PREFACE
from tests.fuzz_examples import examples


async def talk(port: int, data: bytes, *, half_close: bool = False) -> bytes:
    """Send bytes, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    if half_close:
        writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def get(path: str, *lines: str, method: str = "GET", close: bool = True) -> bytes:
    """A request without a body."""
    head = [f"{method} {path} HTTP/1.1", "Host: x", *lines, *(["Connection: close"] if close else [])]
    return "\r\n".join([*head, "", ""]).encode()


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


def body_of(response: bytes) -> bytes:
    return response.partition(b"\r\n\r\n")[2]


class FakeMember:
    """Healthy unless `reason` is set."""

    reason = ""
    asked: tuple = ()

    def versions(self) -> dict[str, str]:
        return {"etcdserver": "3.6.0", "etcdcluster": "3.6.0", "storage": "3.6.0"}

    async def health(self, excluded_alarms: frozenset[str], serializable: bool) -> str:
        self.asked = (excluded_alarms, serializable)
        return self.reason

    def checks(self, kind: str) -> dict[str, http_endpoints.Check]:
        async def check() -> str:
            return self.reason

        async def fine() -> str:
            return ""

        return {"serializable_read": check, **({"non_learner": fine} if kind == "readyz" else {})}

    def checked(self, kind: str, name: str, ok: bool) -> None:
        assert ok == (not self.reason or name == "non_learner")

    def metrics(self) -> tuple[bytes, str]:
        return b"etcd_server_has_leader 1\n", "text/plain; version=0.0.4"

    def debug_vars(self) -> dict[str, object]:
        return {"raft.status": {"term": 2}}


@pytest.fixture
async def member():
    member = FakeMember()
    front = build_front({}, member=member, limits=FrontLimits(http1_body_bytes_max=1000, http1_head_bytes_max=2000))

    async def echo(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, b"%s %b" % (request.query.encode(), await request.body.read()))

    async def count(request: HttpRequest) -> HttpResponse:
        async def numbers() -> AsyncGenerator[bytes, None]:
            for number in range(3):
                yield b"%d\n" % number

        return HttpResponse(200, numbers())

    async def bug(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("secret detail")

    async def half(request: HttpRequest) -> HttpResponse:
        async def broken() -> AsyncGenerator[bytes, None]:
            yield b"half"
            raise RuntimeError("secret detail")

        return HttpResponse(200, broken())

    front.router.add("POST", "/echo", echo)
    front.router.add("GET", "/count", count)
    front.router.add("GET", "/bug", bug)
    front.router.add("GET", "/half", half)
    (url,) = await front.listen(["http://127.0.0.1:0"])
    member.port = int(url.rpartition(":")[2])
    yield member
    await front.close(1.0)


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        ("/version", b"application/json", b'{"etcdserver":"3.6.0","etcdcluster":"3.6.0","storage":"3.6.0"}'),
        ("/health", b"text/plain; charset=utf-8", b'{"health":"true","reason":""}'),
        ("/livez", b"text/plain; charset=utf-8", b"ok\n"),
        ("/readyz?verbose", b"text/plain; charset=utf-8", b"[+]serializable_read ok\n[+]non_learner ok\nok\n"),
        ("/readyz/non_learner", b"text/plain; charset=utf-8", b"ok\n"),
        ("/metrics", b"text/plain; version=0.0.4", b"etcd_server_has_leader 1\n"),
        ("/debug/vars", b"application/json; charset=utf-8", b'{\n"raft.status": {"term":2}\n}\n'),
    ],
)
async def test_endpoints(member, path: str, content_type: bytes, body: bytes) -> None:
    response = await talk(member.port, get(path))
    assert status_of(response) == 200
    assert b"Content-Type: " + content_type + b"\r\n" in response
    assert body_of(response) == body


async def test_a_sick_member(member) -> None:
    member.reason = "ALARM NOSPACE"
    response = await talk(member.port, get("/health?exclude=NOSPACE&exclude=CORRUPT&serializable=true"))
    assert (status_of(response), json.loads(body_of(response))) == (503, {"health": "false", "reason": "ALARM NOSPACE"})
    assert member.asked == (frozenset({"NOSPACE", "CORRUPT"}), True)
    response = await talk(member.port, get("/readyz"))
    assert status_of(response) == 503
    assert body_of(response) == (b"[-]serializable_read failed: ALARM NOSPACE\n[+]non_learner ok\n\n")
    assert status_of(await talk(member.port, get("/readyz?exclude=serializable_read"))) == 200
    assert status_of(await talk(member.port, get("/livez/serializable_read"))) == 503


@pytest.mark.parametrize(
    ("request_bytes", "status", "body"),
    [
        (get("/nope"), 404, b"404 page not found\n"),
        (get("/health", method="POST"), 405, b"Method Not Allowed\n"),
        (get("/bug"), 500, b"internal error\n"),
        (get("/health", method="HEAD"), 405, b""),
        (get("http://x/livez"), 200, b"ok\n"),
        (get("/%6civez"), 200, b"ok\n"),
        (b"NONSENSE\r\n\r\n", 400, b"400 Bad Request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400, b"400 Bad Request"),  # TLS on a plain port
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 3000, 431, b"431 Request Header Fields Too Large"),
        (get("/livez", "Upgrade: websocket", "Connection: upgrade", close=False), 200, b"ok\n"),
        (b"POST /echo?a=b HTTP/1.1\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", 200, b"a=b abc"),
        (
            b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
            200,
            b" abc",
        ),
        (
            b"POST /echo HTTP/1.1\r\nConnection: close\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001,
            413,
            b"http: request body too large\n",
        ),
        (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, b"malformed request body\n"),
    ],
)
async def test_answers(member, request_bytes: bytes, status: int, body: bytes) -> None:
    response = await talk(member.port, request_bytes)
    assert (status_of(response), body_of(response)) == (status, body)


async def test_connections_are_kept_and_requests_may_be_pipelined(member) -> None:
    post = b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\n\r\n"
    response = await talk(member.port, b"".join(post + b"%d" % n for n in range(9)) + get("/livez"))
    assert [part[-2:] for part in response.split(b"HTTP/1.1 200 OK")[1:10]] == [b" %d" % n for n in range(9)]
    assert response.endswith(b"ok\n")


async def test_more_pipelined_than_the_limit(member) -> None:
    response = await talk(member.port, get("/livez", close=False) * 200 + get("/livez"))
    assert response.count(b"HTTP/1.1 200 OK") == 201


async def test_http_1_0_closes(member) -> None:
    assert body_of(await talk(member.port, b"GET /livez HTTP/1.0\r\n\r\n")) == b"ok\n"


async def test_streamed_responses_are_chunked(member) -> None:
    response = await talk(member.port, get("/count"))
    assert b"Transfer-Encoding: chunked" in response
    assert body_of(response) == b"2\r\n0\n\r\n2\r\n1\n\r\n2\r\n2\n\r\n0\r\n\r\n"


async def test_a_response_that_breaks_off_is_seen_to(member) -> None:
    response = await talk(member.port, get("/half", close=False))
    assert body_of(response) == b"4\r\nhalf\r\n"


async def test_expect_continue(member) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", member.port)
    writer.write(b"POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"hi")
    assert (await reader.read()).endswith(b" hi")
    writer.close()


async def test_a_body_broken_off(member) -> None:
    response = await talk(member.port, b"POST /echo HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc", half_close=True)
    assert (status_of(response), body_of(response)) == (400, b"unexpected EOF\n")


async def test_a_silent_client_is_let_go() -> None:
    front = build_front({}, limits=FrontLimits(first_bytes_seconds=0.01))
    (url,) = await front.listen(["http://127.0.0.1:0"])
    port = int(url.rpartition(":")[2])
    assert await talk(port, b"") == b""
    assert await talk(port, b"PRI * HT") == b""
    assert await talk(port, b"GET / HTTP/1.1\r\n") == b""
    await front.close(1.0)


async def test_scripts_and_strange_names() -> None:
    access = AccessControl(origins=frozenset(("https://a.example",)), hosts=frozenset(("localhost", "::1")))
    front = build_front({}, member=FakeMember(), access=access)
    (url,) = await front.listen(["http://127.0.0.1:0"])
    port = int(url.rpartition(":")[2])
    request = "GET /livez HTTP/1.0\r\nHost: {}\r\nOrigin: {}\r\n\r\n"
    for host, origin, status, allowed in (
        ("localhost:2379", "https://a.example", 200, True),
        ("[::1]:2379", "https://b.example", 200, False),
        ("localhost", "", 200, False),
        ("evil.example", "https://a.example", 421, False),
    ):
        response = await talk(port, request.format(host, origin).encode())
        assert (status_of(response), b"Access-Control-Allow-Origin: https://a.example" in response) == (status, allowed)
    await front.close(1.0)


async def test_preflight_requests_and_dates(member) -> None:
    response = await talk(member.port, get("/anything", method="OPTIONS"))
    assert status_of(response) == 200
    assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in response
    assert re.search(rb"\r\nDate: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT\r\n", response)


async def test_routes_by_prefix() -> None:
    async def handler(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, request.path.encode())

    front = build_front({}, gateway=False)
    assert isinstance(front.router, Router)
    front.router.add_prefix("/a/", handler)
    (url,) = await front.listen(["http://127.0.0.1:0"])
    port = int(url.rpartition(":")[2])
    assert body_of(await talk(port, get("/a/b"))) == b"/a/b"
    assert status_of(await talk(port, get("/v3/kv/range", method="POST"))) == 404
    await front.close(1.0)


@settings(deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=200),
    start=st.sampled_from([b"", b"GET / HTTP/1.1\r\n", CLIENT_PREFACE]),
)
def test_any_bytes_get_an_answer_or_are_cut_off(data: bytes, start: bytes) -> None:
    async def exchange() -> bytes:
        front = build_front({})
        (url,) = await front.listen(["http://127.0.0.1:0"])
        try:
            async with asyncio.timeout(20):
                return await talk(int(url.rpartition(":")[2]), start + data, half_close=True)
        finally:
            await front.close(1.0)

    response = asyncio.run(exchange())
    assert b"Traceback" not in response
