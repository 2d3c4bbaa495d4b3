"""`--auto-tls` and `--peer-auto-tls`: certificates that a member makes for itself on its first start.

    DATA_DIR/fixtures/client/cert.pem, key.pem
    DATA_DIR/fixtures/peer/cert.pem, key.pem

Each signs itself and names the hosts that are listened on (etcd client/pkg/transport, SelfCert). The files stay for
later starts, as long as the certificate is valid; keys are P-256 and 0600.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kvstore.app.settings import Settings
from kvstore.environment import Environment, FileSystem
from kvstore.front import ServerTLS

if TYPE_CHECKING:  # see apiserver.app.certificates: importing it takes longer than starting
    from cryptography import x509

__all__ = ["CertificateFiles", "self_signed", "with_generated_certificates"]

ORGANIZATION = "etcd"
YEAR = timedelta(days=365)
SERIAL_BYTES = 16

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Paths of a certificate and its key, in PEM."""

    cert: str
    key: str


def with_generated_certificates(settings: Settings, environment: Environment) -> Settings:
    """The settings with the certificates that `--auto-tls` and `--peer-auto-tls` promise.

    Raises:
        OSError: they cannot be written.
    """
    auto = settings.auto_tls
    fixtures = f"{settings.options.data_path}/fixtures"
    if auto.client:
        urls = (*settings.listen_client_urls, *settings.listen_client_http_urls)
        made = self_signed(f"{fixtures}/client", urls, auto.validity_years, environment)
        tls = ServerTLS(
            made.cert,
            made.key,
            min_version=auto.min_version,
            max_version=auto.max_version,
            cipher_suites=auto.cipher_suites,
        )
        settings = replace(settings, tls=tls)
    if auto.peer:
        from raft.runtime.peer_tls import PeerTLS

        options = settings.options
        made = self_signed(f"{fixtures}/peer", options.listen_peer_urls, auto.validity_years, environment)
        peer_tls = PeerTLS(made.cert, made.key, self_signed=True)
        settings = replace(settings, options=replace(options, peer_tls=peer_tls))
    return settings


def self_signed(directory: str, urls: Iterable[str], validity_years: int, environment: Environment) -> CertificateFiles:
    """Find `cert.pem` and `key.pem` in a directory, or make them for the hosts of these URLs.

    Raises:
        OSError: they cannot be written.
    """
    found = CertificateFiles(os.path.abspath(f"{directory}/cert.pem"), os.path.abspath(f"{directory}/key.pem"))
    now = datetime.fromtimestamp(environment.clock.now(), UTC)
    if _is_usable(found, environment.files, now):
        return found
    hosts = {urlsplit(url).hostname or "" for url in urls if url.startswith(("http:", "https:"))}
    until = now + validity_years * YEAR
    logger.warning(
        "automatically generate certificates",
        extra={"fields": {"certificate-validity-bound-not-after": until.isoformat()}},
    )
    key, cert = _make(sorted(hosts), now, until, environment.randomness.token_bytes(SERIAL_BYTES))
    environment.files.makedirs(os.path.dirname(directory))
    environment.files.makedirs(directory)
    _write(found.key, key, environment.files)  # first, so that a certificate never waits for its key
    logger.info("created key file", extra={"fields": {"path": found.key}})
    _write(found.cert, cert, environment.files)
    logger.info("created cert file", extra={"fields": {"path": found.cert}})
    return found


def _is_usable(found: CertificateFiles, files: FileSystem, now: datetime) -> bool:
    """Whether both are there and the certificate has not run out."""
    if not (files.exists(found.cert) and files.exists(found.key)):
        return False
    from cryptography import x509

    with files.open(found.cert, "rb") as file:
        certificate = x509.load_pem_x509_certificate(file.read())
    return certificate.not_valid_after_utc > now


def _make(hosts: list[str], since: datetime, until: datetime, serial: bytes) -> tuple[bytes, bytes]:
    """A key and the certificate that it signs for itself, in PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION)])
    usage = x509.KeyUsage(True, False, True, False, False, True, True, False, False)  # certificates too: it is a CA
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(serial, "big") >> 1)
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
    )
    if hosts:
        names = x509.SubjectAlternativeName([_alternative_name(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return encoded, certificate.public_bytes(serialization.Encoding.PEM)


def _alternative_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: str, content: bytes, files: FileSystem) -> None:
    """A private file that is there whole or not at all."""
    partial = f"{path}.tmp"
    with files.open(partial, "wb") as file:
        file.write(content)
        files.fsync(file)
    files.rename(partial, path)
    files.fsync_dir(os.path.dirname(path))
