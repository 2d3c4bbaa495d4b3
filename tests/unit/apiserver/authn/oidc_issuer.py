"""An OpenID Connect issuer on loopback, over HTTPS, whose keys can be rotated."""

from __future__ import annotations

import ipaddress
import json
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from apiserver.authn.keys import VerifyingKey, key_set

_RSA_KEYS = [rsa.generate_private_key(65537, 2048)]


class OIDCIssuer:
    """Serves a discovery document and a key set; signs tokens.

    Attributes:
        certificate: of the server, for clients to trust (PEM).
        requests: the paths asked for, in order.
        documents: answers by path, to be spoiled.
    """

    def __init__(self, directory: Path) -> None:
        self.certificate, chain = _certificate(directory)
        self.requests: list[str] = []
        self.keys: dict[str, Any] = {"k1": _RSA_KEYS[0]}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests.append(self.path)
                body = issuer.documents.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self.documents: dict[str, bytes] = {}
        self.publish()
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def publish(self) -> None:
        """Show the keys there are now."""
        self.documents["/.well-known/openid-configuration"] = json.dumps(
            {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        ).encode()
        shown = [VerifyingKey(name, _algorithm(key), key.public_key()) for name, key in self.keys.items()]
        self.documents["/keys"] = json.dumps(key_set(shown)).encode()

    def rotate(self) -> None:
        """A new key in place of all others."""
        self.keys = {"k2": ec.generate_private_key(ec.SECP256R1())}
        self.publish()

    def token(self, claims: dict[str, Any], key_id: str = "", **headers: Any) -> str:
        name = key_id or next(iter(self.keys))
        key = self.keys[name]
        return jwt.encode({"iss": self.url, **claims}, key, _algorithm(key), headers={"kid": name, **headers})

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _algorithm(key: Any) -> str:
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"


def _certificate(directory: Path) -> tuple[str, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
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
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    chain = directory / "issuer.pem"
    chain.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + pem
    )
    return pem.decode(), chain
