"""Tokens of OpenID Connect issuers (k8s.io/apiserver `plugin/pkg/authenticator/token/oidc`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from apiserver.authn.interface import InvalidCredentialError, TokenIdentity
from apiserver.authn.oidc.claims import user_of
from kvstore.environment import Clock

if TYPE_CHECKING:
    from apiserver.authn.oidc.configuration import IssuerSettings
    from apiserver.authn.oidc.provider import Provider
    from apiserver.authn.web_tokens import UnverifiedToken

__all__ = ["JWTAuthenticators"]

NOT_BEFORE_LEEWAY_SECONDS = 300.0


class JWTAuthenticators:
    """Checks tokens of several issuers, which can be replaced by others while the server runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._issuers: dict[str, tuple[IssuerSettings, Provider]] = {}

    def replace(self, issuers: Sequence[tuple[IssuerSettings, Provider]]) -> None:
        """From now on these are the issuers."""
        self._issuers = {settings.url: (settings, provider) for settings, provider in issuers}

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        """See `TokenAuthenticator.authenticate_token`; who an issuer's token is for is the issuer's own setting."""
        if not self._issuers or token.count(".") != 2:
            return None
        from apiserver.authn.web_tokens import read_unverified

        read = read_unverified(token)
        found = self._issuers.get(read.issuer) if read is not None else None
        if read is None or found is None:
            return None
        settings, provider = found
        claims = await _verified(token, read, settings, provider)
        self._check(claims, settings)
        return TokenIdentity(user_of(settings, claims))

    def _check(self, claims: dict[str, Any], settings: IssuerSettings) -> None:
        from apiserver.authn.web_tokens import audiences_of, numeric_date

        if claims.get("iss") != settings.url:
            raise InvalidCredentialError("oidc: verify token: oidc: id token issued by a different provider")
        own = audiences_of(claims)
        if not any(audience in settings.audiences for audience in own):
            raise InvalidCredentialError(
                f"oidc: verify token: oidc: expected audience in {list(settings.audiences)} got {list(own)}"
            )
        now = self._clock.now()
        expires = numeric_date(claims, "exp")
        if expires is None or expires < now:
            raise InvalidCredentialError("oidc: verify token: oidc: token is expired")
        not_before = numeric_date(claims, "nbf")
        if not_before is not None and now + NOT_BEFORE_LEEWAY_SECONDS < not_before:
            raise InvalidCredentialError("oidc: verify token: oidc: current time is before the nbf (not before) time")


async def _verified(token: str, read: UnverifiedToken, settings: IssuerSettings, provider: Provider) -> dict[str, Any]:
    """The claims, checked by the keys we know, or by those the issuer has now."""
    from apiserver.authn.web_tokens import verified_claims

    algorithm = read.header.get("alg")
    if algorithm not in settings.algorithms:
        raise InvalidCredentialError("oidc: verify token: oidc: id token signed with unsupported algorithm")
    try:
        return verified_claims(token, await provider.keys_for(read.key_id, algorithm))
    except InvalidCredentialError:
        if provider.problem:
            raise
    try:
        return verified_claims(token, await provider.refreshed_keys_for(read.key_id, algorithm))
    except InvalidCredentialError:
        raise InvalidCredentialError("oidc: verify token: failed to verify signature") from None
