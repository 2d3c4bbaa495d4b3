"""An HTTPS service for webhooks to call, and the kubeconfig that leads to it."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answerer = Callable[[dict[str, Any]], tuple[int, Any]]
"""From the object that was sent to a status and the answer: an object, or bytes as they are."""


def self_signed(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, which is its own CA, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "service")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = directory / "service.crt", directory / "service.key"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_path.write_bytes(pem)
    return cert_path, key_path


class HTTPSService:
    """Answers every POST; remembers what it was sent."""

    def __init__(self, directory: Path, answer: Answerer) -> None:
        self.directory = directory
        self.answer = answer
        self.received: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.connections = 0
        self.close_after_each = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> HTTPSService:
        self.cert, key = self_signed(self.directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, key)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def kubeconfig(self, *, ca: bool = True, scheme: str = "https", **user: Any) -> Path:
        cluster: dict[str, Any] = {"server": f"{scheme}://127.0.0.1:{self.port}/authorize?a=b"}
        if ca:
            cluster["certificate-authority-data"] = base64.b64encode(self.cert.read_bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "service", "cluster": cluster}],
            "users": [{"name": "server", "user": user}],
            "contexts": [{"name": "only", "context": {"cluster": "service", "user": "server"}}],
            "current-context": "only",
        }
        path = self.directory / "webhook.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
                )
                self.received.append(json.loads(await reader.readexactly(length)))
                self.heads.append(head)
                status, answer = self.answer(self.received[-1])
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
                if self.close_after_each:
                    break
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
