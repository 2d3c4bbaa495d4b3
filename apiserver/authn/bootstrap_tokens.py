"""Tokens by which a node introduces itself (`--enable-bootstrap-token-auth`).

A token `abcdef.0123456789abcdef` is the Secret `bootstrap-token-abcdef` of type `bootstrap.kubernetes.io/token` in
kube-system (kubernetes `plugin/pkg/auth/authenticator/token/bootstrap`, `cluster-bootstrap`).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import re
from collections.abc import Sequence
from typing import Any

from apiserver.api.metatime import parse_time
from apiserver.authn.interface import ObjectGetter, TokenIdentity
from apiserver.request import UserInfo
from kvstore.environment import Clock

__all__ = ["BootstrapTokenAuthenticator"]

_LOG = logging.getLogger("apiserver.authentication")
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
_TYPE = "bootstrap.kubernetes.io/token"
_USER_PREFIX = "system:bootstrap:"
_GROUP = "system:bootstrappers"


class BootstrapTokenAuthenticator:
    """Looks the token up in its Secret each time, so that a deleted one is of no use any more."""

    def __init__(self, get: ObjectGetter, clock: Clock) -> None:
        self._get = get
        self._clock = clock

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        """See `TokenAuthenticator.authenticate_token`; a token that does not hold is just not known."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        token_id, secret = match.groups()
        name = f"bootstrap-token-{token_id}"
        found = await self._get("", "secrets", "kube-system", name)
        if found is None:
            return None
        problem = self._problem(found, token_id, secret)
        groups = _groups(found)
        if not problem and groups is None:
            problem = "has an invalid value for key auth-extra-groups"
        if problem:
            _LOG.info("bootstrap secret kube-system/%s matching bearer token %s", name, problem)
            return None
        return TokenIdentity(UserInfo(f"{_USER_PREFIX}{token_id}", groups=tuple(groups or ())))

    def _problem(self, secret: dict[str, Any], token_id: str, token_secret: str) -> str:
        if secret["metadata"].get("deletionTimestamp"):
            return "is deleted and awaiting removal"
        if secret.get("type") != _TYPE:
            return f"has invalid type, expected {_TYPE}"
        if not hmac.compare_digest(_data(secret, "token-secret").encode(), token_secret.encode()):
            return "has another value for key token-secret"
        if _data(secret, "token-id") != token_id:
            return "has another value for key token-id"
        if self._expired(_data(secret, "expiration")):
            return "has expired"
        if _data(secret, "usage-bootstrap-authentication") != "true":
            return "is not marked usage-bootstrap-authentication=true"
        return ""

    def _expired(self, expiration: str) -> bool:
        """A time that cannot be read is taken for past."""
        if not expiration:
            return False
        try:
            return self._clock.now() > parse_time(expiration)
        except ValueError:
            return True


def _groups(secret: dict[str, Any]) -> list[str] | None:
    """The groups of a token's user, sorted; None when one of them must not be given to anybody here."""
    extra = _data(secret, "auth-extra-groups")
    names = extra.split(",") if extra else []
    if not all(_EXTRA_GROUP.fullmatch(name) for name in names):
        return None
    return sorted({_GROUP, *names})


def _data(secret: dict[str, Any], key: str) -> str:
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
