"""Which of several bundles of authorities a client certificate comes from.

The TLS layer verifies chains against all of them together, and once for a connection. Where it matters which one it was
(a proxy's authority must not make users), or a bundle has changed since, it is looked up here: the certificate must be
signed by an authority that is itself in the bundle. Intermediates that only the client has sent do not count.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature

__all__ = ["CertificateTrust"]

UNKNOWN_AUTHORITY = "x509: certificate signed by unknown authority"


class CertificateTrust:
    """One bundle.

    Args:
        bundle: certificates in PEM; those that are no authorities are left out.

    Raises:
        ValueError: it is not PEM, or there is none.
    """

    def __init__(self, bundle: bytes) -> None:
        self._authorities: dict[bytes, list[x509.Certificate]] = {}
        for certificate in x509.load_pem_x509_certificates(bundle):
            if _is_authority(certificate):
                self._authorities.setdefault(certificate.subject.public_bytes(), []).append(certificate)

    def problem(self, der: bytes, now_seconds: float) -> str:
        """Why a certificate does not come from here; empty when it does."""
        certificate = x509.load_der_x509_certificate(der)
        for authority in self._authorities.get(certificate.issuer.public_bytes(), ()):
            if not _is_valid_at(authority, now_seconds):
                continue
            try:
                certificate.verify_directly_issued_by(authority)
            except (InvalidSignature, ValueError, TypeError):
                continue
            return ""
        return UNKNOWN_AUTHORITY


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.version is x509.Version.v1
    except ValueError:
        return False


def _is_valid_at(certificate: x509.Certificate, seconds: float) -> bool:
    begin, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return begin <= seconds <= end
