"""What a client certificate says of its holder."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from apiserver.authn.union import ALL_AUTHENTICATED
from apiserver.request import UserInfo

__all__ = ["CREDENTIAL_ID_KEY", "CertificateIdentity", "common_name", "read_certificate"]

CREDENTIAL_ID_KEY = "authentication.kubernetes.io/credential-id"
_UID_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57683.2")  # the Kubernetes UID attribute of a subject
_CLIENT_USAGES = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)


@dataclass(frozen=True, slots=True)
class CertificateIdentity:
    """A user, or why there is none, and for how long."""

    user: UserInfo | None
    problem: str
    not_before_seconds: float
    not_after_seconds: float


def read_certificate(der: bytes) -> CertificateIdentity:
    """What a certificate in DER says. Raises ValueError when it cannot be parsed."""
    certificate = x509.load_der_x509_certificate(der)
    user, problem = None, _wrong_usage(certificate)
    if not problem:
        try:
            user = _user(certificate)
        except ValueError as error:
            problem = str(error)
    before, after = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return CertificateIdentity(user, problem, before, after)


def common_name(der: bytes) -> str:
    """The common name of a certificate in DER; empty when there is none."""
    names = _values(x509.load_der_x509_certificate(der).subject, NameOID.COMMON_NAME)
    return names[-1] if names else ""


def _wrong_usage(certificate: x509.Certificate) -> str:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return ""
    if any(usage in _CLIENT_USAGES for usage in usages):
        return ""
    return "x509: certificate specifies an incompatible key usage"


def _user(certificate: x509.Certificate) -> UserInfo | None:
    names = _values(certificate.subject, NameOID.COMMON_NAME)
    if not names or not names[-1]:
        return None
    groups = tuple(dict.fromkeys([*_values(certificate.subject, NameOID.ORGANIZATION_NAME), ALL_AUTHENTICATED]))
    uids = _values(certificate.subject, _UID_OID)
    if len(uids) > 1:
        raise ValueError(f"expected 1 UID, but found multiple: {uids}")
    if uids == [""]:
        raise ValueError("UID cannot be an empty string")
    fingerprint = certificate.fingerprint(SHA256()).hex()
    extra = ((CREDENTIAL_ID_KEY, (f"X509SHA256={fingerprint}",)),)
    return UserInfo(names[-1], uids[0] if uids else "", groups, extra)


def _values(subject: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in subject.get_attributes_for_oid(oid)]
