"""Bearer tokens in the Authorization header (k8s.io/apiserver `authentication/request/bearertoken`, `token/union`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from apiserver.authn.interface import InvalidCredentialError, TokenAuthenticator, TokenIdentity
from apiserver.request import Request, UserInfo

__all__ = ["TOKEN_BYTES_MAX", "AudienceAgnostic", "BearerAuthenticator", "TokenUnion"]

TOKEN_BYTES_MAX = 64 * 1024
"""Longer tokens are refused unread; the longest that are useful have a few kilobytes."""
_EMPTY_TOKEN_WARNING = "the provided Authorization header contains extra space before the bearer token, and is ignored"  # noqa: S105


class TokenUnion:
    """Several kinds of tokens as one: the first that knows the token decides."""

    def __init__(self, authenticators: Sequence[TokenAuthenticator]) -> None:
        self._authenticators = tuple(authenticators)

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        """See `TokenAuthenticator.authenticate_token`; what several have against a token is said together."""
        problems: list[str] = []
        for authenticator in self._authenticators:
            try:
                identity = await authenticator.authenticate_token(token, audiences)
            except InvalidCredentialError as error:
                problems.append(str(error))
                continue
            if identity is not None:
                return identity
        unique = list(dict.fromkeys(problems))
        if unique:
            raise InvalidCredentialError(unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]")
        return None


class AudienceAgnostic:
    """Lets tokens that know no audience count for the API server's own ones.

    Args:
        audiences: the API server's (`--api-audiences`).
    """

    def __init__(self, authenticator: TokenAuthenticator, audiences: Sequence[str]) -> None:
        self._authenticator = authenticator
        self._audiences = frozenset(audiences)

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        """See `TokenAuthenticator.authenticate_token`."""
        shared = tuple(audience for audience in audiences if audience in self._audiences)
        if audiences and not shared:
            return None
        identity = await self._authenticator.authenticate_token(token, audiences)
        return replace(identity, audiences=shared) if identity is not None else None


class BearerAuthenticator:
    """Takes the token out of the request.

    Args:
        tokens: decides about it.
        audiences: what a token must be meant for (`--api-audiences`).
    """

    def __init__(self, tokens: TokenAuthenticator, audiences: Sequence[str]) -> None:
        self._tokens = tokens
        self._audiences = tuple(audiences)

    async def authenticate(self, request: Request) -> UserInfo | None:
        """See `Authenticator.authenticate`."""
        if "authorization" not in request.headers:
            return None
        parts = request.header_values("authorization")[0].strip().split(" ", 2)
        if len(parts) < 2 or parts[0].lower() != "bearer":
            return None
        token = parts[1]
        if not token:
            request.warnings.append(_EMPTY_TOKEN_WARNING)
            return None
        if len(token) > TOKEN_BYTES_MAX:
            raise InvalidCredentialError("the bearer token is too long")
        identity = await self._tokens.authenticate_token(token, self._audiences)
        if identity is None:
            raise InvalidCredentialError("invalid bearer token")
        return identity.user
