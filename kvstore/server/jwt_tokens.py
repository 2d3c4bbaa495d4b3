"""Tokens that are signed: JSON Web Tokens (RFC 7519; etcd `server/auth/jwt.go`, `options.go`).

Claims are `username`, `revision` (of the auth store, when the token was made) and `exp`. Tokens of anybody who has the
key are as good as ours. One algorithm is configured and no other is taken, whatever a token says of itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from kvstore.auth import UncataloguedAuthError
from kvstore.environment import Clock, FileSystem
from kvstore.server.auto_compaction import parse_duration_seconds
from kvstore.server.tokens import TOKEN_BYTES_MAX, TokenBearer, TokenOptionsError

__all__ = ["DEFAULT_TTL_SECONDS", "JWTTokens"]

DEFAULT_TTL_SECONDS = 300.0
KEY_BYTES_MAX = 1 << 20

_SIGNATURE_ALONE = {"verify_signature": True} | dict.fromkeys(
    ("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub", "verify_jti"), False
)
"""Times are checked against the injected clock; about the other claims etcd does not care."""

_KINDS: dict[str, tuple[type[Any], type[Any]] | None] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), (rsa.RSAPrivateKey, rsa.RSAPublicKey)),
    **dict.fromkeys(("ES256", "ES384", "ES512"), (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)),
    "EdDSA": (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
    **dict.fromkeys(("HS256", "HS384", "HS512"), None),
}
"""Sign methods, and the types of their private and public key; a shared secret has none."""


class JWTTokens:
    """`TokenProvider` that keeps nothing.

    Args:
        algorithm: a key of `_KINDS`.
        verify: what signatures are checked with.
        sign: what they are made with; None when this member only checks them.
    """

    def __init__(self, algorithm: str, verify: Any, sign: Any, ttl_seconds: float, clock: Clock) -> None:
        self._algorithm = algorithm
        self._verify = verify
        self._sign = sign
        self._ttl_seconds = ttl_seconds
        self._clock = clock

    @classmethod
    def from_options(cls, options: Mapping[str, str], clock: Clock, files: FileSystem) -> JWTTokens:
        """Make the provider from `sign-method`, `priv-key`, `pub-key` and `ttl`; other options are ignored.

        Raises:
            TokenOptionsError: they are not enough, or do not fit together.
        """
        try:
            ttl_seconds = parse_duration_seconds(options["ttl"]) if options.get("ttl") else DEFAULT_TTL_SECONDS
            public = _read(files, options.get("pub-key"))
            private = _read(files, options.get("priv-key"))
        except (OSError, ValueError):
            raise TokenOptionsError from None
        algorithm = options.get("sign-method", "")
        if algorithm == "none":
            raise TokenOptionsError("unsupported signing method: *jwt.signingMethodNone")
        if algorithm not in _KINDS:
            raise TokenOptionsError
        verify, sign = _keys(algorithm, private, public)
        return cls(algorithm, verify, sign, ttl_seconds, clock)

    def enable(self) -> None:
        """See `Tokens.enable`."""

    def disable(self) -> None:
        """See `Tokens.disable`: what is signed cannot be taken back."""

    def invalidate_user(self, username: str) -> None:
        """See `Tokens.invalidate_user`; the revision in the token is too old from now on."""

    def new_prefix(self) -> str:
        """See `TokenProvider.new_prefix`."""
        return ""

    def assign(self, prefix: str, username: str, revision: int) -> str:
        """See `Tokens.assign`."""
        if self._sign is None:
            raise UncataloguedAuthError("auth: token signing attempted with verify-only key")
        expires = int(self._clock.now() + self._ttl_seconds)
        claims = {"username": username, "revision": revision, "exp": expires}
        try:
            return jwt.encode(claims, self._sign, algorithm=self._algorithm)
        except (jwt.InvalidKeyError, ValueError, TypeError):
            raise UncataloguedAuthError("key is invalid") from None

    async def find(self, token: str) -> TokenBearer | None:
        """See `TokenProvider.find`."""
        if len(token) > TOKEN_BYTES_MAX:
            return None
        try:
            claims = jwt.decode(token, self._verify, algorithms=[self._algorithm], options=_SIGNATURE_ALONE)  # type: ignore[arg-type]
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return None
        if not self._in_time(claims):
            return None
        username, revision = claims.get("username"), claims.get("revision", math.nan)
        if not isinstance(username, str) or not _is_number(revision) or not 0 <= revision < 1 << 64:
            return None
        return TokenBearer(username, int(revision))

    def _in_time(self, claims: Mapping[str, Any]) -> bool:
        now = self._clock.now()
        expires, begins = claims.get("exp", math.inf), claims.get("nbf", -math.inf)
        return _is_number(expires) and _is_number(begins) and bool(begins <= now < expires)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read(files: FileSystem, path: str | None) -> bytes:
    if not path:
        return b""
    with files.open(path, "rb") as file:
        content = bytearray()
        while len(content) <= KEY_BYTES_MAX and (piece := file.read(KEY_BYTES_MAX)):
            content += piece
    if len(content) > KEY_BYTES_MAX:
        raise ValueError("no key is as large as that")
    return bytes(content)


def _keys(algorithm: str, private: bytes, public: bytes) -> tuple[Any, Any]:
    """What to check signatures with, and what to make them with if there is such a key."""
    kinds = _KINDS[algorithm]
    if kinds is None:
        if not private:
            raise TokenOptionsError("auth: missing key data")
        return private, private
    signing = _load(private, kinds[0], lambda pem: serialization.load_pem_private_key(pem, None))
    checking = _load(public, kinds[1], _load_public)
    if signing is None:
        if checking is None:
            raise TokenOptionsError("auth: missing key data")
        return checking, None
    if checking is not None and checking != signing.public_key():
        raise TokenOptionsError("auth: public and private keys don't match")
    return signing.public_key(), signing


def _load(pem: bytes, kind: type[Any], load: Callable[[bytes], Any]) -> Any:
    if not pem:
        return None
    try:
        key = load(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise TokenOptionsError("invalid key: Key must be a PEM encoded PKCS1 or PKCS8 key") from None
    if not isinstance(key, kind):
        raise TokenOptionsError("key is of another type than the sign method needs")
    return key


def _load_public(pem: bytes) -> Any:
    if b"-----BEGIN CERTIFICATE-----" in pem:
        return x509.load_pem_x509_certificate(pem).public_key()
    return serialization.load_pem_public_key(pem)
