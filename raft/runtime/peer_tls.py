"""TLS between members: credentials that follow their files, and the checks that gRPC does not make.

gRPC verifies chains and the names of those it connects to. On the accepting side etcd looks further, and so do we:
at the certificate's common name or host names, at the address it comes from, and at a list of revoked serials
(client/pkg/transport/listener.go, listener_tls.go).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from raft.environment import FileSystem
from raft.runtime.certificate_names import alternative_names, matches_host, matches_name
from raft.runtime.peer_url import PeerURL

__all__ = ["CertificateCheck", "CredentialFiles", "PeerTLS"]

logger = logging.getLogger(__name__)

HANDSHAKE_SECONDS: Final = 5.0
VERDICTS_MAX: Final = 256
"""Connections whose verdict is remembered; a lost one is only made again."""


@dataclass(frozen=True, slots=True)
class PeerTLS:
    """etcd's peer flags: paths of PEM files, and how strict to be.

    Attributes:
        cert, key: `--peer-cert-file`, `--peer-key-file`.
        ca: `--peer-trusted-ca-file`: who signs members' certificates. Given, every peer must show one, as with etcd;
            without it those we connect to are held against the authorities that gRPC knows.
        client_cert, client_key: `--peer-client-cert-file`, `--peer-client-key-file`: shown to those we connect to,
            in place of `cert`.
        client_cert_auth: `--peer-client-cert-auth`: demand a certificate; needs `ca`.
        crl: `--peer-crl-file`: a revocation list, DER or PEM.
        allowed_cns: `--peer-cert-allowed-cn`: common names, one of which a peer's certificate must have.
        allowed_hostnames: `--peer-cert-allowed-hostname`: host names or addresses, one of which it must be good for.
        skip_client_san_verification: `--peer-skip-client-san-verification`: without it, a certificate with addresses
            or names in it must be good for the address that the peer connects from.
        self_signed: `--peer-auto-tls`: members make their own certificates, so those we connect to may show any. That
            keeps listeners out, and nobody else.

    Raises:
        ValueError: the settings contradict each other.
    """

    cert: str
    key: str
    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    client_cert_auth: bool = False
    crl: str | None = None
    allowed_cns: tuple[str, ...] = ()
    allowed_hostnames: tuple[str, ...] = ()
    skip_client_san_verification: bool = False
    self_signed: bool = False

    def __post_init__(self) -> None:
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("the client certificate and its key must both be present or both absent")
        if self.allowed_cns and self.allowed_hostnames:
            raise ValueError("allowed common names and allowed host names are mutually exclusive")
        if self.client_cert_auth and self.ca is None:
            raise ValueError("client certificates cannot be checked without a trusted CA")


class CredentialFiles:
    """gRPC credentials out of the files, as these are whenever a connection is made."""

    def __init__(self, files: FileSystem, tls: PeerTLS) -> None:
        self._files = files
        self._tls = tls
        self._served: tuple[bytes, bytes, bytes | None] | None = None

    def server(self) -> grpc.ServerCredentials:
        """For a listening port; raises OSError or ValueError for files that cannot be used."""
        self._served = self._read(self._tls.cert, self._tls.key)
        return grpc.dynamic_ssl_server_credentials(
            _server_configuration(self._served),
            self._refresh,  # type: ignore[arg-type]  # None means that nothing has changed
            require_client_authentication=self._tls.ca is not None,
        )

    def channel(self) -> grpc.ChannelCredentials:
        """For one connection; raises OSError or ValueError for files that cannot be used."""
        cert, key = self._tls.client_cert or self._tls.cert, self._tls.client_key or self._tls.key
        certificate, private_key, authority = self._read(cert, key)
        return grpc.ssl_channel_credentials(authority, private_key, certificate)

    async def channel_to(self, url: PeerURL) -> tuple[grpc.ChannelCredentials, str | None]:
        """For a connection to `url`, and the name to look for in its certificate if that is not the URL's own.

        Raises OSError or ValueError for files that cannot be used, and for a self-signing peer that is not there.
        """
        if not self._tls.self_signed:
            return self.channel(), url.socket_host
        # gRPC cannot be told to trust anybody. What the peer shows is looked at first, and is its own authority then.
        shown = await _shown_certificate(url)
        credentials = grpc.ssl_channel_credentials(shown.public_bytes(Encoding.PEM))
        names, addresses = alternative_names(shown)
        common = [str(name.value) for name in shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        return credentials, next(iter([*names, *map(str, addresses), *common]), None)

    def _refresh(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC, on a thread of its own, for every handshake. What cannot be used changes nothing."""
        try:
            found = self._read(self._tls.cert, self._tls.key)
        except (OSError, ValueError) as error:
            logger.warning("cannot reload the peer certificate %s: %s", self._tls.cert, error)
            return None
        if found == self._served:
            return None
        self._served = found
        return _server_configuration(found)

    def _read(self, cert: str, key: str) -> tuple[bytes, bytes, bytes | None]:
        certificate, private_key = read_file(self._files, cert), read_file(self._files, key)
        authority = None if self._tls.ca is None else read_file(self._files, self._tls.ca)
        if (certificate, private_key, authority) == self._served:
            return self._served
        # gRPC would take anything and then fail every handshake; a renewal of two files is a pair only at its end.
        try:
            public = x509.load_pem_x509_certificate(certificate).public_key()
            if _spki(public) != _spki(load_pem_private_key(private_key, None).public_key()):
                raise ValueError("the key does not belong to the certificate")
            if authority is not None:
                x509.load_pem_x509_certificates(authority)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{cert}, {key}: {error}") from error
        return certificate, private_key, authority


async def _shown_certificate(url: PeerURL) -> x509.Certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    path_or_address = url.target.removeprefix("unix:")
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            if url.socket_host is not None:
                _, writer = await asyncio.open_unix_connection(path_or_address, ssl=context, server_hostname="")
            else:
                host, _, port = path_or_address.rpartition(":")
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except TimeoutError as error:
        raise OSError(f"{url.text} shows no certificate in time") from error
    try:
        return x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    finally:
        writer.transport.abort()


def read_file(files: FileSystem, path: str) -> bytes:
    """All of a small file; raises OSError."""
    with files.open(path, "rb") as file:
        pieces = []
        while piece := file.read(1 << 20):
            pieces.append(piece)
    return b"".join(pieces)


def _server_configuration(files: tuple[bytes, bytes, bytes | None]) -> grpc.ServerCertificateConfiguration:
    certificate, key, authority = files
    return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)


def _spki(key: Any) -> bytes:
    result: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return result


class CertificateCheck:
    """What a peer that connects must show besides a chain to the authority. Judged once for each connection."""

    def __init__(self, files: FileSystem, tls: PeerTLS) -> None:
        self._files = files
        self._tls = tls
        self._verdicts: dict[tuple[str, bytes], str | None] = {}

    async def refusal(self, context: grpc.aio.ServicerContext[Any, Any]) -> str | None:
        """Why the calling peer is turned away; None when it is not. Calls in the clear are not looked at."""
        auth: Mapping[str, Iterable[bytes]] = context.auth_context()
        leaf = b"".join(auth.get("x509_pem_cert", ()))
        if not leaf:
            return None
        connection = (context.peer(), leaf)
        if connection not in self._verdicts:
            chain = b"".join(auth.get("x509_pem_cert_chain", ())) or leaf
            verdict = await self._judge(chain, _remote_host(context.peer()))
            while len(self._verdicts) >= VERDICTS_MAX:
                del self._verdicts[next(iter(self._verdicts))]
            self._verdicts[connection] = verdict
        return self._verdicts[connection]

    async def _judge(self, chain_pem: bytes, host: str | None) -> str | None:
        tls = self._tls
        try:
            chain = x509.load_pem_x509_certificates(chain_pem)
        except ValueError as error:
            return f"client certificate cannot be read: {error}"
        leaf = chain[0]
        names = {str(name.value) for name in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
        if tls.allowed_cns and names.isdisjoint(tls.allowed_cns):
            return "client certificate authentication failed: its common name is not allowed"
        if tls.allowed_hostnames and not any(matches_host(leaf, allowed) for allowed in tls.allowed_hostnames):
            return "client certificate authentication failed: it is not good for an allowed host name"
        if tls.crl is not None:
            try:
                revoked = _revoked(read_file(self._files, tls.crl), chain)
            except (OSError, ValueError) as error:
                logger.warning("cannot read the peer revocation list %s: %s", tls.crl, error)
                return "the certificate revocation list cannot be read"
            if revoked is not None:
                return f"certificate serial {revoked:x} revoked"
        if host is not None and not tls.skip_client_san_verification and not await _is_good_for(leaf, host):
            return f"the certificate is not good for {host}, where the call comes from"
        return None


def _revoked(data: bytes, chain: list[x509.Certificate]) -> int | None:
    """The first serial of the chain that the list names; raises ValueError for what is no list."""
    is_pem = data.lstrip().startswith(b"-----BEGIN")
    crl = x509.load_pem_x509_crl(data) if is_pem else x509.load_der_x509_crl(data)
    for certificate in chain:
        if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            return certificate.serial_number
    return None


def _remote_host(peer: str) -> str | None:
    """The address in what gRPC calls a peer: `ipv4:10.0.0.1:4711`, `ipv6:%5B::1%5D:4711`; None for a socket file."""
    family, _, address = unquote(peer).partition(":")
    return address.rpartition(":")[0].strip("[]") if family in ("ipv4", "ipv6") else None


async def _is_good_for(certificate: x509.Certificate, address: str) -> bool:
    names, addresses = alternative_names(certificate)
    if not names and not addresses:
        return True
    remote = ipaddress.ip_address(address.partition("%")[0])
    mapped = remote.ipv4_mapped if isinstance(remote, ipaddress.IPv6Address) else None
    if remote in addresses or mapped in addresses:
        return True
    loop = asyncio.get_running_loop()
    wanted = str(mapped or remote)
    if names:
        try:
            found, _ = await loop.getnameinfo((wanted, 0), socket.NI_NAMEREQD)
            if any(matches_name(name, found) for name in names):
                return True
        except OSError:
            pass  # no name of its own; its certificate's may still lead to it
    for name in names:
        if name.startswith("*."):
            continue
        try:
            if any(info[4][0] == wanted for info in await loop.getaddrinfo(name, None)):
                return True
        except OSError:
            continue
    return False
