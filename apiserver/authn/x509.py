"""Client certificates: the common name is the user, the organizations are the groups.

The TLS layer has verified the chain against the client CA; what is checked here is what can change between requests of
one connection, and the purpose of the certificate (k8s.io/apiserver `authentication/request/x509`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from apiserver.authn.interface import InvalidCredentialError
from apiserver.request import Request, UserInfo

if TYPE_CHECKING:
    from apiserver.authn.certificate import CertificateIdentity
    from apiserver.authn.trust import CertificateTrust

__all__ = ["X509Authenticator"]

_CERTIFICATES_MAX = 4096


class X509Authenticator:
    """Reads the user from the verified client certificate; each certificate is decoded once."""

    def __init__(self) -> None:
        self._identities: dict[bytes, CertificateIdentity] = {}
        self._trust: CertificateTrust | None = None

    def trust_only(self, trust: CertificateTrust) -> None:
        """From now on a certificate must come from here, whatever the TLS layer has verified it against."""
        self._trust = trust
        self._identities.clear()

    async def authenticate(self, request: Request) -> UserInfo | None:
        """See `Authenticator.authenticate`."""
        certificate = request.peer_certificate
        if certificate is None:
            return None
        identity = self._identities.get(certificate)
        if identity is None:
            if len(self._identities) >= _CERTIFICATES_MAX:
                self._identities.clear()
            # Loading the cryptography library takes long, so it waits until there is a certificate to read.
            from apiserver.authn.certificate import read_certificate

            identity = read_certificate(certificate)
            if self._trust is not None and not identity.problem:
                problem = self._trust.problem(certificate, request.received_seconds)
                identity = replace(identity, problem=problem)
            self._identities[certificate] = identity
        if identity.problem:
            raise InvalidCredentialError(identity.problem)
        if not identity.not_before_seconds <= request.received_seconds <= identity.not_after_seconds:
            raise InvalidCredentialError("x509: certificate has expired or is not yet valid")
        return identity.user
