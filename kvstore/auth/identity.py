"""Who asks, as far as the store is concerned."""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["ANONYMOUS", "ROOT", "TRUSTED", "AuthInfo", "Tokens"]

ROOT = "root"
"""The user and the role that may do everything."""


class AuthInfo(NamedTuple):
    """A user, and the revision of the auth store at which that was found out; 0 when nobody was named."""

    username: str
    revision: int


ANONYMOUS = AuthInfo("", 0)

TRUSTED = AuthInfo(ROOT, -1)
"""The process itself, and whoever it embeds the store for: may do everything, at any revision. Recognised by identity;
in the log it stands as root at the current revision, because other members trust nobody's word."""


class Tokens(Protocol):
    """What hands out tokens, as the auth store drives it."""

    def enable(self) -> None:
        """Authentication is on."""

    def disable(self) -> None:
        """Authentication is off, or nothing known of before holds any more: forget every token."""

    def invalidate_user(self, username: str) -> None:
        """Forget the tokens of one user."""

    def assign(self, prefix: str, username: str, revision: int) -> str:
        """A token for a user; `prefix` is what the log holds of it, the same on every member.

        Raises:
            AuthError: none can be had here.
        """
