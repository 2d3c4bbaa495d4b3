"""The smallest HTTP/1.1 client that can hold a connection to the API server, and notice when it is cut."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import tempfile
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class Disconnected(Exception):
    """The server went away before the answer was whole: whether it did the work is unknown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole HTTP answer; header names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def client_context(kubeconfig: Path) -> tuple[str, int, ssl.SSLContext]:
    """Host, port and TLS context of the kubeconfig's current context."""
    config = json.loads(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name in ("client-certificate-data", "client-key-data"):
            path = Path(folder, name)
            path.write_bytes(base64.b64decode(user[name]))
            paths.append(path)
        context.load_cert_chain(*paths)
    server = urlsplit(cluster["server"])
    assert server.hostname is not None
    assert server.port is not None
    return server.hostname, server.port, context


class HTTPConnection:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, kubeconfig: Path) -> HTTPConnection:
        host, port, context = client_context(kubeconfig)
        return cls(*await asyncio.open_connection(host, port, ssl=context, server_hostname=host))

    async def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        """Status and JSON body. Raises `Disconnected`."""
        answer = await self.call(method, path, body, {"Content-Type": content_type})
        return answer.status, answer.json() if answer.body else None

    async def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer with its headers. A body that is not bytes is sent as JSON. Raises `Disconnected`."""
        try:
            status, answered = await self._exchange(method, path, body, headers or {})
            data = b""
            if method != "HEAD" and status not in (204, 304):
                data = await self.reader.readexactly(int(answered["content-length"]))
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Disconnected from error
        return Answer(status, answered, data)

    async def stream(self, path: str, accept: str = "application/json") -> AsyncGenerator[Any, None]:
        """The JSON objects of a watch, until the server ends it. Raises `Disconnected` when it is cut."""
        rest = b""
        async with contextlib.aclosing(self.chunks(path, accept)) as chunks:
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)

    async def chunks(self, path: str, accept: str) -> AsyncGenerator[bytes, None]:
        """The body of a stream as it comes. Raises `Disconnected` when it is cut."""
        try:
            status, headers = await self._exchange("GET", path, None, {"Accept": accept})
            assert status == 200, status
            assert headers["transfer-encoding"] == "chunked"
            while size := int(await self.reader.readline(), 16):
                yield (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            raise Disconnected from error

    async def _exchange(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str]]:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Host": "localhost", "Accept": "application/json"}
        if data:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        sent |= {name: value for name, value in headers.items() if data or name != "Content-Type"}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data)
        status_line = await self.reader.readline()
        if not status_line:
            raise asyncio.IncompleteReadError(b"", None)
        answered = {}
        while (line := await self.reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            answered[name.lower()] = value.strip()
        return int(status_line.split()[1]), answered

    async def close(self) -> None:
        """Let go at once; also of a connection that is broken already."""
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def __aenter__(self) -> HTTPConnection:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()
