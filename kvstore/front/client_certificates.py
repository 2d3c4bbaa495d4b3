"""What a client's certificate must be besides signed by the authority: not revoked, and good for an allowed name.

OpenSSL could look at revocation lists too, but would refuse everybody once the list is out of date, and knows nothing
of allowed names; etcd looks at serial numbers after the handshake (client/pkg/transport/listener_tls.go), and so do we.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509

from raft.runtime.certificate_names import matches_host

__all__ = ["ClientCertificateCheck"]


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
        if self._allowed_hostnames and not any(matches_host(leaf, name) for name in self._allowed_hostnames):
            return "client certificate authentication failed"
        return ""


def _load_crl(data: bytes) -> x509.CertificateRevocationList:
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_crl(data)
    return x509.load_der_x509_crl(data)
