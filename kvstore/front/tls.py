"""TLS of the client port."""

from __future__ import annotations

import logging
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing cryptography takes longer than starting, and few need it
    from kvstore.front.client_certificates import ClientCertificateCheck

__all__ = ["ServerTLS", "refusal_of", "report_rejected", "server_context"]

logger = logging.getLogger(__name__)

ALPN_PROTOCOLS = ["h2", "http/1.1"]
_VERSIONS = {"TLS1.2": ssl.TLSVersion.TLSv1_2, "TLS1.3": ssl.TLSVersion.TLSv1_3, "": None}


@dataclass(frozen=True, slots=True)
class ServerTLS:
    """etcd's client-port flags: paths of PEM files, and how strict to be.

    Attributes:
        cert, key: `--cert-file`, `--key-file`.
        ca: `--trusted-ca-file`: whom client certificates must be signed by; given, one is demanded, as etcd does.
        client_cert_auth: `--client-cert-auth`: demand a client certificate; needs `ca`.
        crl: `--client-crl-file`.
        min_version, max_version: `--tls-min-version`, `--tls-max-version`: "TLS1.2", "TLS1.3", or "" for the default.
        cipher_suites: `--cipher-suites` in their IANA names; only those of TLS 1.2 can be chosen.
        allowed_hostnames: `--client-cert-allowed-hostname`: names of which a client certificate must have one.
    """

    cert: str
    key: str
    ca: str | None = None
    client_cert_auth: bool = False
    crl: str | None = None
    min_version: str = "TLS1.2"
    max_version: str = ""
    cipher_suites: tuple[str, ...] = ()
    allowed_hostnames: tuple[str, ...] = ()


def server_context(tls: ServerTLS) -> ssl.SSLContext:
    """A context that speaks HTTP/2 and HTTP/1.1, and follows its files: new connections get renewed certificates.

    Raises ValueError or `ssl.SSLError` for what cannot be used, OSError for files that cannot be read.
    """
    return _Reloader(tls).context


class _Context(ssl.SSLContext):
    """One version of the files.

    Attributes:
        check: judges client certificates after the handshake; None when there is nothing to judge.
    """

    check: ClientCertificateCheck | None = None


def refusal_of(connection: ssl.SSLObject) -> str:
    """Why the client at the other end of a finished handshake is turned away; "" when it is not."""
    check = connection.context.check if isinstance(connection.context, _Context) else None
    certificate = connection.getpeercert(binary_form=True) if check is not None else None
    return check.refusal(certificate) if check is not None and certificate is not None else ""


def report_rejected(peer: object, reason: object) -> None:
    """A line in the log about a client whose TLS did not do, as etcd writes it."""
    address = ":".join(map(str, peer[:2])) if isinstance(peer, tuple) else str(peer)
    logger.warning(
        "rejected connection on client endpoint", extra={"fields": {"remote-addr": address, "error": str(reason)}}
    )


class _Reloader:
    """Looks at the files when a client says hello, as etcd does; what cannot be loaded then changes nothing."""

    def __init__(self, tls: ServerTLS) -> None:
        self._tls = tls
        self._paths = [path for path in (tls.cert, tls.key, tls.ca, tls.crl) if path is not None]
        self._versions = self._look()
        self._current = _load(tls)
        self.context = self._current
        self.context.sni_callback = self._on_hello

    def _look(self) -> list[tuple[int, int]]:
        """What tells one version of the files from another."""
        stats = [os.stat(path) for path in self._paths]
        return [(stat.st_mtime_ns, stat.st_ino) for stat in stats]

    def _on_hello(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        try:
            versions = self._look()
            if versions != self._versions:
                self._current = _load(self._tls)
                self._versions = versions
        except (OSError, ValueError) as error:
            logger.warning("cannot reload the TLS certificate %s: %s", self._tls.cert, error)
        if connection.context is not self._current:
            connection.context = self._current


def _load(tls: ServerTLS) -> _Context:
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(ALPN_PROTOCOLS)
    context.load_cert_chain(tls.cert, tls.key)
    for version in (tls.min_version, tls.max_version):
        if version not in _VERSIONS:
            raise ValueError(f"unexpected TLS version {version!r} (must be one of: TLS1.2, TLS1.3)")
    context.minimum_version = _VERSIONS[tls.min_version] or ssl.TLSVersion.TLSv1_2
    context.maximum_version = _VERSIONS[tls.max_version] or ssl.TLSVersion.MAXIMUM_SUPPORTED
    if tls.cipher_suites:
        context.set_ciphers(":".join(_openssl_name(suite) for suite in tls.cipher_suites))
    if tls.ca is not None:
        context.load_verify_locations(tls.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    elif tls.client_cert_auth:
        raise ValueError("client certificates cannot be checked without a trusted CA")
    if tls.crl is not None or tls.allowed_hostnames:
        from kvstore.front.client_certificates import ClientCertificateCheck

        context.check = ClientCertificateCheck(_read(tls.crl), tls.allowed_hostnames)
    return context


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()


def _openssl_name(suite: str) -> str:
    """`TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256` is `ECDHE-RSA-AES128-GCM-SHA256` to OpenSSL. Raises ValueError."""
    parts = suite.removeprefix("TLS_").replace("_WITH_", "_").split("_")
    if not suite.startswith("TLS_") or "WITH" not in suite or len(parts) < 4:
        raise ValueError(f"unexpected TLS cipher suite {suite!r}")
    name = "-".join(parts).replace("AES-128", "AES128").replace("AES-256", "AES256")
    name = name.replace("AES128-CBC", "AES128").replace("AES256-CBC", "AES256").removeprefix("RSA-")
    return name.removesuffix("-SHA256") if "CHACHA20" in name else name
