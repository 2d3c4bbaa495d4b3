"""The one shape of an authenticator (k8s.io/apiserver `authentication/authenticator`)."""

from __future__ import annotations

from typing import Protocol

from apiserver.request import Request, UserInfo

__all__ = ["Authenticator", "InvalidCredentialError"]


class InvalidCredentialError(Exception):
    """The request carries a credential of this kind, and it is not good. The client only learns 401."""


class Authenticator(Protocol):
    """Finds out who a request is from."""

    async def authenticate(self, request: Request) -> UserInfo | None:
        """The user, or None when the request has no credential of this kind.

        Raises:
            InvalidCredentialError: it has one that does not hold.
        """
