"""Requests without any credential."""

from __future__ import annotations

from collections.abc import Iterable

from apiserver.request import ANONYMOUS, Request, UserInfo

__all__ = ["AnonymousAuthenticator"]


class AnonymousAuthenticator:
    """Calls everybody `system:anonymous`; the last of a union.

    Args:
        paths: when given, only requests for exactly these paths (AuthenticationConfiguration `anonymous.conditions`).
    """

    def __init__(self, paths: Iterable[str] | None = None) -> None:
        self._paths = frozenset(paths) if paths is not None else None

    async def authenticate(self, request: Request) -> UserInfo | None:
        """See `Authenticator.authenticate`."""
        if self._paths is not None and request.path not in self._paths:
            return None
        return ANONYMOUS
