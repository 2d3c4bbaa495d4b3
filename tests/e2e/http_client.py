"""The smallest HTTP/1.1 client that can hold a connection to the API server, and notice when it is cut."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class Disconnected(Exception):
    """The server went away before the answer was whole: whether it did the work is unknown."""


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
        try:
            status, headers = await self._exchange(method, path, body, content_type)
            data = await self.reader.readexactly(int(headers["content-length"]))
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Disconnected from error
        return status, json.loads(data) if data else None

    async def stream(self, path: str) -> AsyncGenerator[Any, None]:
        """The JSON objects of a watch, until the server ends it. Raises `Disconnected` when it is cut."""
        try:
            status, headers = await self._exchange("GET", path, None, "")
            assert status == 200, status
            assert headers["transfer-encoding"] == "chunked"
            rest = b""
            while size := int(await self.reader.readline(), 16):
                rest += (await self.reader.readexactly(size + 2))[:-2]
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    yield json.loads(line)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            raise Disconnected from error

    async def _exchange(self, method: str, path: str, body: Any, content_type: str) -> tuple[int, dict[str, str]]:
        data = json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
        if data:
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(data)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + data)
        status_line = await self.reader.readline()
        if not status_line:
            raise asyncio.IncompleteReadError(b"", None)
        headers = {}
        while (line := await self.reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return int(status_line.split()[1]), headers

    async def close(self) -> None:
        """Let go at once; also of a connection that is broken already."""
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def __aenter__(self) -> HTTPConnection:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()
