"""Keys that sign tokens, and keys that tell whether they did (kubernetes `pkg/serviceaccount/jwt.go`, RFC 7517).

The algorithm always follows from the key, never from the token: a token that names another one is refused, so a public
key cannot be passed off as a secret of HMAC, nor `none` as a signature.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate

__all__ = ["SigningKey", "VerifyingKey", "key_set", "load_public_keys", "load_signing_key"]

_EC_ALGORITHMS = {"secp256r1": ("ES256", "P-256"), "secp384r1": ("ES384", "P-384"), "secp521r1": ("ES512", "P-521")}


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key.

    Attributes:
        key_id: the URL-safe SHA-256 of the key in DER, as kube-apiserver names keys in a token's header.
        algorithm: of RFC 7518; the only one this key is good for.
    """

    key_id: str
    algorithm: str
    key: RSAPublicKey | EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and its public half."""

    key: RSAPrivateKey | EllipticCurvePrivateKey
    public: VerifyingKey


def _verifying_key(key: object) -> VerifyingKey:
    if isinstance(key, RSAPublicKey):
        algorithm = "RS256"
    elif isinstance(key, EllipticCurvePublicKey) and key.curve.name in _EC_ALGORITHMS:
        algorithm = _EC_ALGORITHMS[key.curve.name][0]
    else:
        raise ValueError("it must be an RSA key, or an ECDSA key on P-256, P-384 or P-521")
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return VerifyingKey(_base64url(hashlib.sha256(der).digest()), algorithm, key)


def load_signing_key(pem: bytes) -> SigningKey:
    """The private key in a PEM file. Raises ValueError."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, (RSAPrivateKey, EllipticCurvePrivateKey)):
        raise ValueError("it must be an RSA or an ECDSA key")
    return SigningKey(key, _verifying_key(key.public_key()))


def load_public_keys(pem: bytes) -> list[VerifyingKey]:
    """Every key in a PEM file: public keys, the public halves of private ones, and those of certificates.

    Raises:
        ValueError: there is none, or one cannot be used.
    """
    keys = [_public_key(block) for block in _pem_blocks(pem)]
    if not keys:
        raise ValueError("data does not contain any valid RSA or ECDSA public keys")
    return keys


def _pem_blocks(pem: bytes) -> list[bytes]:
    blocks: list[bytes] = []
    lines: list[bytes] | None = None
    for line in pem.splitlines():
        if line.startswith(b"-----BEGIN "):
            lines = []
        if lines is not None:
            lines.append(line)
            if line.startswith(b"-----END "):
                if b" EC PARAMETERS" not in line:
                    blocks.append(b"\n".join([*lines, b""]))
                lines = None
    return blocks


def _public_key(block: bytes) -> VerifyingKey:
    try:
        if b" CERTIFICATE-----" in block.partition(b"\n")[0]:
            return _verifying_key(load_pem_x509_certificate(block).public_key())
        if b" PRIVATE KEY-----" in block.partition(b"\n")[0]:
            return load_signing_key(block).public
        return _verifying_key(serialization.load_pem_public_key(block))
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None


def key_set(keys: Sequence[VerifyingKey]) -> dict[str, Any]:
    """A JSON Web Key Set."""
    return {"keys": [_web_key(key) for key in keys]}


def _web_key(key: VerifyingKey) -> dict[str, str]:
    public = key.key
    if isinstance(public, RSAPublicKey):
        numbers = public.public_numbers()
        return {
            "use": "sig",
            "kty": "RSA",
            "kid": key.key_id,
            "alg": key.algorithm,
            "n": _number(numbers.n, (numbers.n.bit_length() + 7) // 8),
            "e": _number(numbers.e, (numbers.e.bit_length() + 7) // 8),
        }
    size = (public.curve.key_size + 7) // 8
    point = public.public_numbers()
    return {
        "use": "sig",
        "kty": "EC",
        "kid": key.key_id,
        "crv": _EC_ALGORITHMS[public.curve.name][1],
        "alg": key.algorithm,
        "x": _number(point.x, size),
        "y": _number(point.y, size),
    }


def _number(value: int, size_bytes: int) -> str:
    return _base64url(value.to_bytes(size_bytes, "big"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
