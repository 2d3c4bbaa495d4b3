"""The cluster's own public-key infrastructure: made on first start, found again afterwards.

```
ca.crt, ca.key                 signs everything below; its certificate is the client CA too
apiserver.crt, apiserver.key   HTTPS
admin.crt, admin.key           kubernetes-admin in system:masters, for admin.kubeconfig
sa.key, sa.pub                 signs service-account tokens
stamp                          how long and for which hosts nothing has to be made
lock                           held by whoever makes something
```

Servers may share the directory. Whoever comes first makes what is missing, under a lock; whoever has a host of its own
adds it to the serving certificate. That keeps its key, so key and certificate fit together at any moment.

All keys are ECDSA P-256: they are made in microseconds, where RSA takes a second. Private files are 0600. A file
appears under its name only when it is whole, so a crash leaves either nothing or a good file.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from kvstore.environment import Environment, FileSystem

if TYPE_CHECKING:  # importing cryptography costs more than a whole warm start, so it waits until something is made
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["PKI", "default_hosts", "ensure_pki", "write_atomically"]

ADMIN_USER = "kubernetes-admin"
ADMIN_GROUP = "system:masters"
CA_DAYS = 3650
LEAF_DAYS = 365
RENEW_BEFORE_DAYS = 30
LOCK_RETRY_SECONDS = 0.02
LOCK_TRIES = 1_500
CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class PKI:
    """Paths of the files that a server starts with."""

    ca_cert: str
    server_cert: str
    server_key: str
    admin_cert: str
    admin_key: str
    service_account_key: str
    service_account_pub: str


async def ensure_pki(directory: str, hosts: Sequence[str], environment: Environment) -> PKI:
    """Find the files, or make those that are missing, about to expire, or made for other hosts.

    Args:
        directory: where they are; made when it is not there.
        hosts: DNS names and IP addresses that the serving certificate must name.
        environment: clock and file system.

    Raises:
        OSError: a file cannot be read or written, or another process keeps the lock for half a minute.
    """
    environment.files.makedirs(directory)
    pki = PKI(
        *(
            os.path.join(directory, name)
            for name in ("ca.crt", "apiserver.crt", "apiserver.key", "admin.crt", "admin.key", "sa.key", "sa.pub")
        )
    )
    if not _is_current(directory, hosts, environment):
        await _make(pki, directory, hosts, environment)
    return pki


async def _make(pki: PKI, directory: str, hosts: Sequence[str], environment: Environment) -> None:
    """Make what is missing, unless another process does that while we wait for the lock."""
    with environment.files.open(os.path.join(directory, "lock"), "wb") as lock:
        for tries_left in reversed(range(LOCK_TRIES)):
            try:
                environment.files.lock(lock)
                break
            except BlockingIOError:
                if not tries_left:
                    raise
                await environment.clock.sleep(LOCK_RETRY_SECONDS)
        if not _is_current(directory, hosts, environment):
            every_host = dict.fromkeys([*hosts, *_stamp(directory, environment.files)[1]])
            _Maker(directory, environment).make(pki, list(every_host))


def default_hosts(bind_address: str, service_ip: str) -> list[str]:
    """The names under which clients inside and outside a cluster reach the API server."""
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    hosts = [*names, "localhost", "127.0.0.1", "::1", service_ip, socket.gethostname()]
    if bind_address not in ("0.0.0.0", "::"):  # noqa: S104  a comparison, not a bind
        hosts.append(bind_address)
    return list(dict.fromkeys(hosts))


def _is_current(directory: str, hosts: Sequence[str], environment: Environment) -> bool:
    """Whether nothing has to be made, told from a stamp so that a warm start parses no certificate."""
    names = ("ca.crt", "ca.key", "apiserver.crt", "apiserver.key", "admin.crt", "admin.key", "sa.key", "sa.pub")
    if not all(environment.files.exists(os.path.join(directory, name)) for name in names):
        return False
    good_until, made_for = _stamp(directory, environment.files)
    return environment.clock.now() < good_until and made_for.issuperset(hosts)


def _stamp(directory: str, files: FileSystem) -> tuple[float, set[str]]:
    """The time until which all is well, and the hosts it is well for; nothing is, when there is no stamp."""
    path = os.path.join(directory, "stamp")
    if not files.exists(path):
        return 0.0, set()
    with files.open(path, "rb") as file:
        lines = file.read().decode(errors="replace").splitlines()
    try:
        return float(lines[0]), set(lines[1:])
    except (IndexError, ValueError):
        return 0.0, set()


class _Maker:
    """Makes what is missing in one directory."""

    def __init__(self, directory: str, environment: Environment) -> None:
        self._directory = directory
        self._files = environment.files
        self._now = datetime.fromtimestamp(environment.clock.now(), UTC)

    def make(self, pki: PKI, hosts: Sequence[str]) -> None:
        """Make the CA and all keys once; certificates anew each time."""
        ca_cert, ca_key = self._authority()
        server_key = self._found_key("apiserver") or self._new_key()
        admin_key = self._found_key("admin") or self._new_key()
        self._write_leaf("apiserver", self._leaf(ca_cert, ca_key, server_key, "kube-apiserver", "", hosts), server_key)
        self._write_leaf("admin", self._leaf(ca_cert, ca_key, admin_key, ADMIN_USER, ADMIN_GROUP, ()), admin_key)
        self._service_account_key(pki)
        good_until = self._now + timedelta(days=LEAF_DAYS - RENEW_BEFORE_DAYS)
        self._write("stamp", "\n".join([str(good_until.timestamp()), *sorted(hosts)]).encode())

    def _authority(self) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        cert_path = os.path.join(self._directory, "ca.crt")
        found = self._found_key("ca")
        if found is not None and self._files.exists(cert_path):
            with self._files.open(cert_path, "rb") as file:
                return x509.load_pem_x509_certificate(file.read()), found
        key = self._new_key()
        name = _name("mini-apiserver-ca", "")
        builder = (
            self._builder(name, name, key, CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
        )
        certificate = builder.sign(key, hashes.SHA256())
        self._write_leaf("ca", certificate, key)
        return certificate, key

    def _leaf(
        self,
        ca_cert: x509.Certificate,
        ca_key: EllipticCurvePrivateKey,
        key: EllipticCurvePrivateKey,
        common_name: str,
        organization: str,
        hosts: Sequence[str],
    ) -> x509.Certificate:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.x509.oid import ExtendedKeyUsageOID

        usage = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            self._builder(_name(common_name, organization), ca_cert.subject, key, LEAF_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(ca_key, hashes.SHA256())

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, days: int
    ) -> x509.CertificateBuilder:
        from cryptography import x509

        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - CLOCK_SKEW)
            .not_valid_after(self._now + timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    def _service_account_key(self, pki: PKI) -> None:
        """Never replaced: tokens signed with it are out in the world."""
        from cryptography.hazmat.primitives import serialization

        if self._files.exists(pki.service_account_key) and self._files.exists(pki.service_account_pub):
            return
        key = self._new_key()
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._write("sa.pub", public)
        self._write("sa.key", _private_pem(key))

    def _found_key(self, name: str) -> EllipticCurvePrivateKey | None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

        path = os.path.join(self._directory, f"{name}.key")
        if not self._files.exists(path):
            return None
        with self._files.open(path, "rb") as file:
            found = serialization.load_pem_private_key(file.read(), None)
        assert isinstance(found, EllipticCurvePrivateKey), f"{path}: not an ECDSA key"
        return found

    def _new_key(self) -> EllipticCurvePrivateKey:
        from cryptography.hazmat.primitives.asymmetric import ec

        return ec.generate_private_key(ec.SECP256R1())

    def _write_leaf(self, name: str, certificate: x509.Certificate, key: EllipticCurvePrivateKey) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding

        self._write(f"{name}.key", _private_pem(key))
        self._write(f"{name}.crt", certificate.public_bytes(Encoding.PEM))

    def _write(self, name: str, data: bytes) -> None:
        write_atomically(os.path.join(self._directory, name), data, self._files)


def write_atomically(path: str, data: bytes, files: FileSystem) -> None:
    """Write a private file so that it is there whole or not at all, also after a power cut."""
    temporary = f"{path}.tmp"
    with files.open(temporary, "wb") as file:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), temporary)
        files.fsync(file)
    files.rename(temporary, path)
    files.fsync_dir(os.path.dirname(path))


def _private_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(common_name: str, organization: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
