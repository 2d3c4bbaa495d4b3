"""The HTTP server on a loopback socket: what goes in comes out, and what should not get through does not."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from apiserver.api.status import StatusError
from apiserver.authn import InvalidCredentialError, X509Authenticator
from apiserver.http import HTTPServer
from apiserver.http.protocol import APIProtocol
from apiserver.request import Handler, Request, Response
from kvstore.environment import RealClock

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


async def echo(request: Request) -> Response:
    """Answers with what it understood."""
    body = await request.read_body(1000) if request.method in ("POST", "PUT") else b""
    text = f"{request.method} {request.path} {sorted(request.query.items())} {request.headers.get('x-a')} {body!r}"
    return Response(200, text.encode(), "text/plain", [("x-b", "1")])


@asynccontextmanager
async def serving(handler: Handler, **options: Any) -> AsyncIterator[HTTPServer]:
    server = HTTPServer(handler, clock=options.pop("clock", RealClock()), port=0, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace_seconds=0.2)


_writers: list[Writer] = []


async def connect(server: HTTPServer, **options: Any) -> tuple[Reader, Writer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, **options)
    _writers.append(writer)
    return reader, writer


@pytest.fixture(autouse=True)
async def _close_connections() -> AsyncIterator[None]:
    yield
    while _writers:
        writer = _writers.pop()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def read_answer(reader: Reader) -> tuple[int, dict[str, str], bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while chunk := await read_chunk(reader):
            body += chunk
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read()
    return int(lines[0].split(" ")[1]), headers, body


async def read_chunk(reader: Reader) -> bytes:
    size = int(await reader.readuntil(b"\r\n"), 16)
    data = await reader.readexactly(size)
    assert await reader.readexactly(2) == b"\r\n"
    return data


async def test_requests_on_one_connection() -> None:
    async with serving(echo) as server:
        reader, writer = await connect(server)
        for _ in range(3):  # the second time the head is known, and the parser is not asked
            writer.write(b"GET /a%20b/c?x=1&y=%2F&x=2+3 HTTP/1.1\r\nHost: h\r\nX-A: v\r\n\r\n")
            status, headers, body = await read_answer(reader)
            assert status == 200
            assert body == b"GET /a b/c [('x', ['1', '2 3']), ('y', ['/'])] v b''"
            assert headers["content-type"] == "text/plain"
            assert headers["x-b"] == "1"
            assert headers["date"].endswith("gmt")
            assert "server" not in headers
        writer.close()


async def test_bodies_in_every_shape() -> None:
    async with serving(echo) as server:
        reader, writer = await connect(server)
        head = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
        pieces: list[list[bytes]] = [
            [head + b"hello"],
            [head + b"hello"],
            [head, b"he", b"llo"],
            [head[:20], head[20:] + b"hel", b"lo"],
            [b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"],
        ]
        for shape in pieces:
            for piece in shape:
                writer.write(piece)
                await asyncio.sleep(0.005)
            status, _, body = await read_answer(reader)
            assert (status, body[-8:]) == (200, b"b'hello'")
        writer.close()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving(echo) as server:
        reader, writer = await connect(server)
        get = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"
        writer.write(b"".join(get % number for number in range(10)))
        for number in range(10):
            _, _, body = await read_answer(reader)
            assert body.startswith(b"GET /%d " % number)
        writer.close()


async def test_a_body_beyond_the_limit_is_refused_before_it_is_sent() -> None:
    async def handler(request: Request) -> Response:
        try:
            await request.read_body(10)
        except StatusError as error:
            return Response(error.code, error.message.encode(), "text/plain")
        return Response(200, b"")

    async with serving(handler) as server:
        reader, writer = await connect(server)
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n")
        status, headers, body = await read_answer(reader)
        assert (status, body) == (413, b"Request entity too large: limit is 10")
        assert headers["connection"] == "close"
        writer.write(b"x" * 11)
        assert await reader.read() == b""
        reader, writer = await connect(server)
        chunk = b"6\r\nxxxxxx\r\n"
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + chunk)
        assert (await read_answer(reader))[0] == 413
        writer.close()


async def test_expect_continue() -> None:
    async with serving(echo) as server:
        reader, writer = await connect(server)
        writer.write(b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await read_answer(reader))[2].endswith(b"b'ok'")
        writer.close()


async def test_head_has_no_body() -> None:
    async with serving(echo) as server:
        reader, writer = await connect(server)
        writer.write(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 18" in head
        assert (await read_answer(reader))[2].startswith(b"GET /next")
        writer.close()


@pytest.mark.parametrize(
    "request_bytes",
    [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"],
)
async def test_connections_end_when_they_should(request_bytes: bytes) -> None:
    async with serving(echo) as server:
        reader, writer = await connect(server)
        writer.write(request_bytes)
        status, headers, _ = await read_answer(reader)
        assert status == 200
        assert headers["connection"] == "close"
        assert await reader.read() == b""
        writer.close()


async def test_upgrades_are_answered_and_end_the_connection() -> None:
    async with serving(echo) as server:
        reader, writer = await connect(server)
        writer.write(b"GET /exec HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
        status, headers, _ = await read_answer(reader)
        assert status == 200
        assert headers["connection"] == "close"
        writer.close()


async def test_nonsense_is_400_and_long_heads_are_431() -> None:
    async with serving(echo) as server:
        reader, writer = await connect(server)
        writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        reader, writer = await connect(server)
        line = b"X-A: " + b"v" * 8000 + b"\r\n"
        writer.write(b"GET / HTTP/1.1\r\n" + line * 140)
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")


async def test_header_values_cannot_start_new_headers() -> None:
    async def handler(request: Request) -> Response:
        return Response(200, b"", "text/plain", [("x-a", "1\r\nset-cookie: x")])

    async with serving(handler) as server:
        reader, writer = await connect(server)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        _, headers, _ = await read_answer(reader)
        assert headers["x-a"] == "1  set-cookie: x"
        assert "set-cookie" not in headers
        writer.close()


class Ticks:
    """A stream a test feeds."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            while (chunk := await self.queue.get()) is not None:
                yield chunk
        finally:
            self.closed.set()

    async def handler(self, request: Request) -> Response:
        return Response(200, self.stream())


async def test_streams_send_each_chunk_at_once() -> None:
    ticks = Ticks()
    async with serving(ticks.handler) as server:
        reader, writer = await connect(server)
        writer.write(b"GET /watch HTTP/1.1\r\nHost: h\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")  # comes before the first chunk
        assert b"transfer-encoding: chunked" in head
        for chunk in (b"one\n", b"two\n"):
            ticks.queue.put_nowait(chunk)
            assert await read_chunk(reader) == chunk
        ticks.queue.put_nowait(None)
        assert await read_chunk(reader) == b""
        writer.close()


async def test_streams_end_when_the_client_goes() -> None:
    ticks = Ticks()
    async with serving(ticks.handler) as server:
        reader, writer = await connect(server)
        writer.write(b"GET /watch HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await asyncio.wait_for(ticks.closed.wait(), 2)


async def test_stopping_ends_streams_properly_and_lets_requests_finish() -> None:
    ticks = Ticks()
    entered, leave = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> Response:
        if request.path == "/watch":
            return await ticks.handler(request)
        entered.set()
        await leave.wait()
        return Response(200, b"done")

    server = HTTPServer(handler, clock=RealClock(), port=0)
    await server.start()
    watch_reader, watch_writer = await connect(server)
    watch_writer.write(b"GET /watch HTTP/1.1\r\nHost: h\r\n\r\n")
    await watch_reader.readuntil(b"\r\n\r\n")
    reader, writer = await connect(server)
    writer.write(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    await entered.wait()
    idle_reader, _ = await connect(server)
    stopping = asyncio.create_task(server.stop(grace_seconds=5))
    assert await read_chunk(watch_reader) == b""
    assert await idle_reader.read() == b""
    leave.set()
    status, headers, body = await read_answer(reader)
    assert (status, headers["connection"], body) == (200, "close", b"done")
    await stopping
    with pytest.raises(OSError):
        await connect(server)
    await server.stop()


async def test_stopping_does_not_wait_for_ever() -> None:
    async def stuck(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    server = HTTPServer(stuck, clock=RealClock(), port=0)
    await server.start()
    reader, writer = await connect(server)
    writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await asyncio.sleep(0.05)
    await asyncio.wait_for(server.stop(grace_seconds=0.1), 2)
    assert await reader.read() == b""
    writer.close()


class SteppedClock(RealClock):
    """A clock whose timers a test runs, and which goes only when told."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.timers: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        return self.seconds

    def call_later(self, delay_seconds: float, callback: Callable[[], None]) -> Any:
        self.timers = [callback]
        return asyncio.get_running_loop().call_later(3600, lambda: None)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.timers[0]()


async def test_slow_and_idle_clients_are_let_go() -> None:
    clock = SteppedClock()
    async with serving(echo, clock=clock) as server:
        slow_reader, slow_writer = await connect(server)
        slow_writer.write(b"GET / HTTP/1.1\r\nHost:")
        idle_reader, idle_writer = await connect(server)
        idle_writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await read_answer(idle_reader)
        await asyncio.sleep(0.01)
        clock.advance(33)
        assert await asyncio.wait_for(slow_reader.read(), 2) == b""
        idle_writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await read_answer(idle_reader)
        clock.advance(89)
        await asyncio.sleep(0.01)
        assert not idle_reader.at_eof()
        clock.advance(2)
        assert await asyncio.wait_for(idle_reader.read(), 2) == b""
        idle_writer.close()


async def test_an_answer_that_breaks_off_is_not_taken_for_whole(caplog: Any) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise ZeroDivisionError

    async def handler(request: Request) -> Response:
        return Response(200, broken())

    async with serving(handler) as server:
        reader, writer = await connect(server)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert await read_chunk(reader) == b"some"
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await read_chunk(reader)
        writer.close()


async def test_known_heads_are_bounded_and_exact() -> None:
    async with serving(echo) as server:
        reader, writer = await connect(server)
        for number in range(3):
            value = b"%d" % number
            for _ in range(2):
                writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + value + b"\r\n\r\n")
                _, _, body = await read_answer(reader)
                assert body == b"GET / [] " + value + b" b''"
        # A known block behind an unusual request line goes through the parser.
        writer.write(b"get / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_clients_that_vanish_leave_nothing_behind() -> None:
    ticks = Ticks()
    waiting = asyncio.Event()

    async def handler(request: Request) -> Response:
        if request.path == "/watch":
            return Response(200, ticks.stream())
        if request.path == "/wait":
            await waiting.wait()
        await request.read_body(1 << 20)
        return Response(200, b"x" * 1000)

    beginnings = [
        b"",
        b"GET /watch HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 20,
        b"GET / HT",
        b"nonsense\r\n\r\n",
    ]
    async with serving(handler) as server:
        for number in range(70):
            _, writer = await connect(server)
            writer.write(beginnings[number % len(beginnings)])
            if number % 2:
                writer.transport.abort()
        await asyncio.sleep(0.05)
        for writer in _writers:
            writer.transport.abort()
        await asyncio.sleep(0.05)
        waiting.set()
        await asyncio.sleep(0.05)
        assert server._server is not None
        assert server._server.server_state.connections == set()
        assert server._server.server_state.tasks == set()
        assert server._application._streams == {}


async def test_a_taken_port_is_an_error() -> None:
    async with serving(echo) as server:
        other = HTTPServer(echo, clock=RealClock(), port=server.port)
        with pytest.raises(OSError):
            await other.start()
        await other.stop()


# TLS


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: Any, signer: Any, usage: Any, days: int = 1, ca: bool = False
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(signer, hashes.SHA256())


class PKI:
    """A CA and certificates in files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
        certificate = _certificate(self.name, self.name, self.key, self.key, None, ca=True)
        self.ca = self._write("ca", certificate, self.key)

    def _write(self, name: str, certificate: x509.Certificate, key: Any) -> Path:
        path = self.folder / f"{name}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
        return path

    def issue(self, file: str, attributes: list[tuple[Any, str]], usage: Any) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
        return self._write(file, _certificate(subject, self.name, key, self.key, usage), key)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PKI:
    return PKI(tmp_path_factory.mktemp("pki"))


def _server_context(pki: PKI) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.issue("server", [(NameOID.COMMON_NAME, "s")], ExtendedKeyUsageOID.SERVER_AUTH))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(pki.ca)
    return context


def _client_context(pki: PKI, certificate: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(pki.ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


UID = x509.ObjectIdentifier("1.3.6.1.4.1.57683.2")


@pytest.mark.parametrize(
    ("attributes", "want"),
    [
        (None, b"None"),
        (
            [(NameOID.COMMON_NAME, "jane"), (NameOID.ORGANIZATION_NAME, "dev"), (NameOID.ORGANIZATION_NAME, "ops")],
            b"jane  ('dev', 'ops', 'system:authenticated')",
        ),
        ([(NameOID.COMMON_NAME, "jane"), (UID, "u-1")], b"jane u-1 ('system:authenticated',)"),
        ([(NameOID.ORGANIZATION_NAME, "dev")], b"None"),
        ([(NameOID.COMMON_NAME, "j"), (UID, "1"), (UID, "2")], b"expected 1 UID, but found multiple: ['1', '2']"),
    ],
)
async def test_users_from_client_certificates(pki: PKI, attributes: list[tuple[Any, str]] | None, want: bytes) -> None:
    authenticator = X509Authenticator()

    async def handler(request: Request) -> Response:
        try:
            user = await authenticator.authenticate(request)
        except InvalidCredentialError as error:
            return Response(401, str(error).encode())
        if user is None:
            return Response(200, b"None")
        assert user.extra[0][0] == "authentication.kubernetes.io/credential-id"
        assert user.extra[0][1][0].startswith("X509SHA256=")
        return Response(200, f"{user.name} {user.uid} {user.groups}".encode())

    certificate = pki.issue("client", attributes, ExtendedKeyUsageOID.CLIENT_AUTH) if attributes else None
    async with serving(handler, ssl_context=_server_context(pki)) as server:
        reader, writer = await connect(server, ssl=_client_context(pki, certificate))
        tls = writer.get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == "http/1.1"
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await read_answer(reader))[2] == want
        writer.close()


async def test_certificates_age_while_a_connection_is_open(pki: PKI) -> None:
    authenticator = X509Authenticator()
    request_at = [0.0]

    async def handler(request: Request) -> Response:
        request.received_seconds = request_at[0] or request.received_seconds
        try:
            await authenticator.authenticate(request)
        except InvalidCredentialError as error:
            return Response(401, str(error).encode())
        return Response(200, b"")

    certificate = pki.issue("aging", [(NameOID.COMMON_NAME, "j")], ExtendedKeyUsageOID.CLIENT_AUTH)
    async with serving(handler, ssl_context=_server_context(pki)) as server:
        reader, writer = await connect(server, ssl=_client_context(pki, certificate))
        for at, want in ((0.0, 200), (9e9, 401)):
            request_at[0] = at
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await read_answer(reader))[0] == want
        writer.close()


def test_the_protocol_is_a_uvicorn_protocol() -> None:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    assert issubclass(APIProtocol, HttpToolsProtocol)
