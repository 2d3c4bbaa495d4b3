"""Users named by an authenticating proxy (`--requestheader-*`; k8s.io/apiserver `request/headerrequest`).

The headers count only on a connection whose client certificate comes from the proxy's own authority, and has one of the
allowed names; from anybody else they are not even looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from apiserver.authn.interface import InvalidCredentialError
from apiserver.request import Request, UserInfo

if TYPE_CHECKING:
    from apiserver.authn.trust import CertificateTrust

__all__ = ["HeaderNames", "RequestHeaderAuthenticator"]

_CERTIFICATES_MAX = 256


@dataclass(frozen=True, slots=True)
class HeaderNames:
    """Where the parts of a user are; in lower case."""

    username: tuple[str, ...]
    uid: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    extra_prefixes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, username: Sequence[str], uid: Sequence[str], groups: Sequence[str], extra_prefixes: Sequence[str]
    ) -> HeaderNames:
        """Names in any case. Raises ValueError when one is empty."""
        parts = [tuple(name.strip().lower() for name in names) for names in (username, uid, groups, extra_prefixes)]
        if not all(name for names in parts for name in names):
            raise ValueError("a --requestheader-* flag has an empty header name")
        return cls(*parts)


class RequestHeaderAuthenticator:
    """Believes the headers of proxies.

    Args:
        allowed_names: common names of their certificates; any when empty.
    """

    def __init__(self, trust: CertificateTrust, allowed_names: Sequence[str], headers: HeaderNames) -> None:
        self._trust = trust
        self._allowed_names = frozenset(allowed_names)
        self._headers = headers
        self._checked: dict[bytes, tuple[str, float, float]] = {}

    def replace(self, trust: CertificateTrust) -> None:
        """From now on this is the proxies' authority."""
        self._trust = trust
        self._checked.clear()

    async def authenticate(self, request: Request) -> UserInfo | None:
        """See `Authenticator.authenticate`."""
        certificate = request.peer_certificate
        if certificate is None:
            return None
        problem, begin, end = self._check(certificate, request.received_seconds)
        if problem:
            raise InvalidCredentialError(problem)
        if not begin <= request.received_seconds <= end:
            raise InvalidCredentialError("x509: certificate has expired or is not yet valid")
        name = self._first(request, self._headers.username)
        if not name:
            return None
        groups = [value for header in self._headers.groups for value in request.header_values(header) if value]
        return UserInfo(name, self._first(request, self._headers.uid), tuple(groups), self._extra(request))

    def _check(self, der: bytes, now_seconds: float) -> tuple[str, float, float]:
        """What is wrong with a proxy's certificate, and from when to when it is good."""
        known = self._checked.get(der)
        if known is None:
            from apiserver.authn.certificate import common_name, read_certificate

            identity = read_certificate(der)
            problem = identity.problem or self._trust.problem(der, now_seconds)
            name = common_name(der)
            if not problem and self._allowed_names and name not in self._allowed_names:
                problem = f"x509: subject with cn={name} is not in the allowed list"
            if len(self._checked) >= _CERTIFICATES_MAX:
                self._checked.clear()
            known = self._checked[der] = (problem, identity.not_before_seconds, identity.not_after_seconds)
        return known

    def _first(self, request: Request, names: Sequence[str]) -> str:
        """The first value of the first of these headers that has one."""
        for name in names:
            values = request.header_values(name)
            if values and values[0]:
                return values[0]
        return ""

    def _extra(self, request: Request) -> tuple[tuple[str, tuple[str, ...]], ...]:
        found: dict[str, list[str]] = {}
        for prefix in self._headers.extra_prefixes:
            for header in request.headers:
                if header.startswith(prefix):
                    found.setdefault(unquote(header.removeprefix(prefix)), []).extend(request.header_values(header))
        return tuple((key, tuple(values)) for key, values in found.items())
