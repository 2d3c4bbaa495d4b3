"""JSON Web Tokens in the compact form (RFC 7515, 7519): looking into them, and checking signatures.

Loading the cryptography library takes long, so whoever needs this module imports it when the first token comes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jwt import PyJWS
from jwt.exceptions import PyJWTError

from apiserver.authn.interface import InvalidCredentialError
from apiserver.authn.keys import SigningKey, VerifyingKey

__all__ = ["UnverifiedToken", "audiences_of", "numeric_date", "read_unverified", "sign", "verified_claims"]

_JWS = PyJWS()


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """What a token says of itself. Nothing of it may be believed."""

    header: dict[str, Any]
    claims: dict[str, Any]

    @property
    def issuer(self) -> str:
        """The claim `iss`; empty when there is none."""
        issuer = self.claims.get("iss")
        return issuer if isinstance(issuer, str) else ""

    @property
    def key_id(self) -> str:
        """The header `kid`; empty when there is none."""
        key_id = self.header.get("kid")
        return key_id if isinstance(key_id, str) else ""


def read_unverified(token: str) -> UnverifiedToken | None:
    """Take a token apart; None when it is not of the compact form."""
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        return None
    header, claims = _json_object(parts[0]), _json_object(parts[1])
    return UnverifiedToken(header, claims) if header is not None and claims is not None else None


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def verified_claims(token: str, keys: Sequence[VerifyingKey]) -> dict[str, Any]:
    """The claims of a token that one of the keys has signed.

    Raises:
        InvalidCredentialError: none has.
    """
    for key in keys:
        try:
            payload = _JWS.decode(token, key.key, algorithms=[key.algorithm])
        except PyJWTError:
            continue
        claims = json.loads(payload)
        if isinstance(claims, dict):
            return claims
    raise InvalidCredentialError("invalid signature" if keys else "invalid signature, no keys found")


def sign(claims: dict[str, Any], key: SigningKey) -> str:
    """A token in the compact form."""
    payload = json.dumps(claims, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    headers = {"alg": key.public.algorithm, "kid": key.public.key_id}
    # kube-apiserver's tokens have no `typ`; a falsy one is left out.
    return _JWS.encode(payload, key.key, key.public.algorithm, headers={**headers, "typ": None})


def numeric_date(claims: dict[str, Any], name: str) -> float | None:
    """A time in seconds, or None when the claim is not there. Raises InvalidCredentialError when it is no number."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) == float("inf"):
        raise InvalidCredentialError(f"the claim {name} is not a time")
    return value


def audiences_of(claims: dict[str, Any]) -> tuple[str, ...]:
    """The claim `aud`, which may be one string or a list of them. Raises InvalidCredentialError for anything else."""
    value = claims.get("aud")
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise InvalidCredentialError("the claim aud is not a list of strings")
