"""What a client's certificate must be besides signed by the authority: not revoked, and good for an allowed name.

OpenSSL could look at revocation lists too, but would refuse everybody once the list is out of date, and knows nothing
of allowed names; etcd looks at serial numbers after the handshake (client/pkg/transport/listener_tls.go), and so do we.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from cryptography import x509

__all__ = ["ClientCertificateCheck", "is_good_for"]


class ClientCertificateCheck:
    """Judges certificates that the TLS handshake has accepted.

    Args:
        crl: a revocation list, DER or PEM; None for none.
        allowed_hostnames: names or addresses of which one must be in the certificate; none for any.

    Raises:
        ValueError: `crl` is no such list.
    """

    def __init__(self, crl: bytes | None, allowed_hostnames: Iterable[str]) -> None:
        self._crl = None if crl is None else _load_crl(crl)
        self._allowed_hostnames = tuple(allowed_hostnames)

    def refusal(self, certificate: bytes) -> str:
        """Why a client with this certificate, in DER, is turned away; "" when it is not."""
        leaf = x509.load_der_x509_certificate(certificate)
        if self._crl is not None and self._crl.get_revoked_certificate_by_serial_number(leaf.serial_number):
            return f"transport: certificate serial {leaf.serial_number:x} revoked"
        if self._allowed_hostnames and not any(is_good_for(leaf, name) for name in self._allowed_hostnames):
            return "client certificate authentication failed"
        return ""


def _load_crl(data: bytes) -> x509.CertificateRevocationList:
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_crl(data)
    return x509.load_der_x509_crl(data)


def is_good_for(certificate: x509.Certificate, host: str) -> bool:
    """Whether a certificate has this host name or address among its alternative names (RFC 6125; no common names)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ipaddress.ip_address(host.strip("[]")) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        wanted = host.lower().rstrip(".")
        return any(_matches(pattern.lower().rstrip("."), wanted) for pattern in names.get_values_for_type(x509.DNSName))


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("*."):
        return name.partition(".")[2] == pattern[2:]
    return name == pattern
