"""The shapes of authenticators (k8s.io/apiserver `authentication/authenticator`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from apiserver.request import Request, UserInfo

__all__ = ["Authenticator", "InvalidCredentialError", "ObjectGetter", "TokenAuthenticator", "TokenIdentity"]

ObjectGetter = Callable[[str, str, str, str], Awaitable[dict[str, Any] | None]]
"""The present state of an object by group, resource, namespace and name, or None; only to be read."""


class InvalidCredentialError(Exception):
    """The request carries a credential of this kind, and it is not good. The client only learns 401.

    The text is for the log and for a TokenReview, so it never holds the credential.
    """


class Authenticator(Protocol):
    """Finds out who a request is from."""

    async def authenticate(self, request: Request) -> UserInfo | None:
        """The user, or None when the request has no credential of this kind.

        Raises:
            InvalidCredentialError: it has one that does not hold.
        """


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """Whom a token stands for.

    Attributes:
        audiences: those of the audiences asked for that the token is meant for; none when this kind of token has none.
    """

    user: UserInfo
    audiences: tuple[str, ...] = ()


class TokenAuthenticator(Protocol):
    """Finds out who a bearer token is from."""

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        """The user, or None when the token is of another kind.

        Args:
            token: as it came.
            audiences: the token must be meant for one of these.

        Raises:
            InvalidCredentialError: it is of this kind and does not hold.
        """
