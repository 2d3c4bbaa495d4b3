"""Static tokens (`--token-auth-file`; k8s.io/apiserver `authentication/token/tokenfile`).

One token a line, in CSV: token, user name, user uid and, quoted when there are several, groups:

    31ada4fd-adec-460c-809a-9e56ceb75269,alice,1001,"dev,ops"
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
from collections.abc import Sequence

from apiserver.authn.interface import TokenIdentity
from apiserver.request import UserInfo

__all__ = ["TokenFileAuthenticator", "parse_token_file"]

_LOG = logging.getLogger("apiserver.authentication")


def parse_token_file(text: str, path: str) -> dict[bytes, UserInfo]:
    """Users by the SHA-256 of their token.

    Raises:
        ValueError: the file is not what it should be; the text says where, and shows no token.
    """
    users: dict[bytes, UserInfo] = {}
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        for number, record in enumerate((row for row in reader if row), 1):
            if len(record) < 3:
                raise ValueError(
                    f"token file '{path}' must have at least 3 columns (token, user name, user uid), "
                    f"found {len(record)}"
                )
            if not record[0]:
                _LOG.warning("empty token has been found in token file '%s', record number '%d'", path, number)
                continue
            digest = _digest(record[0])
            if digest in users:
                _LOG.warning("duplicate token has been found in token file '%s', record number '%d'", path, number)
            groups = tuple(record[3].split(",")) if len(record) > 3 else ()
            users[digest] = UserInfo(record[1], record[2], groups)
    except csv.Error as error:
        raise ValueError(f"token file '{path}', line {reader.line_num}: {error}") from None
    return users


def _digest(token: str) -> bytes:
    """Tokens are kept and looked up by their hash, so that the time of a look-up tells nothing of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class TokenFileAuthenticator:
    """Knows the tokens of one file."""

    def __init__(self, users: dict[bytes, UserInfo]) -> None:
        self._users = users

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        """See `TokenAuthenticator.authenticate_token`."""
        user = self._users.get(_digest(token))
        return TokenIdentity(user) if user is not None else None
