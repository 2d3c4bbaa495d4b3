"""Tokens of service accounts: signing them, and telling whether one of ours is still good.

Two forms (kubernetes `pkg/serviceaccount`): those of the TokenRequest API, which expire and may be bound to a pod, a
Secret or a node; and the older ones that lie in a Secret of type `kubernetes.io/service-account-token`.

A signature is checked once and then remembered; whether the account and the bound object are still there is looked up
on each use, so a token ends with them and not when a cache expires.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apiserver.api.metatime import parse_time
from apiserver.authn.interface import InvalidCredentialError, ObjectGetter, TokenIdentity
from apiserver.authn.service_accounts.names import group_names, split_username, username
from apiserver.request import UserInfo
from kvstore.environment import Clock, Randomness

if TYPE_CHECKING:
    from apiserver.authn.keys import SigningKey, VerifyingKey

__all__ = [
    "LEGACY_ISSUER",
    "Bound",
    "KeyRing",
    "ServiceAccountTokens",
    "TokenIssuer",
]

_LOG = logging.getLogger("apiserver.authentication")
LEGACY_ISSUER = "kubernetes/serviceaccount"
LEEWAY_SECONDS = 60.0
"""How far the clocks of signer and checker may be apart; also how long an object may be marked deleted."""
VERIFIED_TOKENS_MAX = 4096
_INVALIDATED = "service account token has been invalidated"
_EXTRA = "authentication.kubernetes.io/"
_LEGACY_CLAIM = "kubernetes.io/serviceaccount/"
_INVALID_SINCE_LABEL = "kubernetes.io/legacy-token-invalid-since"


class KeyRing:
    """The keys of service-account tokens, read when first needed.

    Args:
        load: the key to sign with and all keys to check with, the signing key's public half among them.
    """

    def __init__(self, load: Callable[[], tuple[SigningKey, Sequence[VerifyingKey]]]) -> None:
        self._load = load
        self._loaded: tuple[SigningKey, Sequence[VerifyingKey]] | None = None

    @property
    def signing_key(self) -> SigningKey:
        """Signs new tokens."""
        return self._keys()[0]

    @property
    def verifying_keys(self) -> Sequence[VerifyingKey]:
        """All that check tokens, in the order of the flags."""
        return self._keys()[1]

    def keys_for(self, key_id: str) -> list[VerifyingKey]:
        """The keys a token may be signed with: the one it names, or any when it names none."""
        return [key for key in self.verifying_keys if not key_id or key.key_id == key_id]

    def _keys(self) -> tuple[SigningKey, Sequence[VerifyingKey]]:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded


@dataclass(frozen=True, slots=True)
class Bound:
    """What the life of a token hangs on; for a pod, also the node it is on.

    Attributes:
        kind: `pod`, `secret` or `node`.
        node: name and uid (which may be empty) of a pod's node.
    """

    kind: str
    name: str
    uid: str
    node: tuple[str, str] | None = None


class TokenIssuer:
    """Makes tokens.

    Args:
        issuer: the claim `iss`, the first of `--service-account-issuer`.
    """

    def __init__(self, keys: KeyRing, issuer: str, clock: Clock, randomness: Randomness) -> None:
        self._keys = keys
        self._issuer = issuer
        self._clock = clock
        self._randomness = randomness

    def issue(
        self,
        account: dict[str, Any],
        audiences: Sequence[str],
        seconds: int,
        bound: Bound | None = None,
        warn_after_seconds: int = 0,
    ) -> tuple[str, str]:
        """A token for a ServiceAccount object, and its id.

        Args:
            audiences: whom the token is for.
            seconds: how long it is good.
            bound: what it ends with, besides the account.
            warn_after_seconds: from when on its use is noted as overdue; 0 for never.
        """
        from apiserver.authn.web_tokens import sign

        metadata = account["metadata"]
        now = int(self._clock.now())
        own: dict[str, Any] = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if bound is not None:
            own[bound.kind] = {"name": bound.name, "uid": bound.uid}
            if bound.node is not None:
                name, uid = bound.node
                own["node"] = {"name": name, "uid": uid} if uid else {"name": name}
        if warn_after_seconds:
            own["warnafter"] = now + warn_after_seconds
        token_id = self._randomness.uuid4()
        claims = {
            "aud": list(audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": self._issuer,
            "jti": token_id,
            "kubernetes.io": own,
            "nbf": now,
            "sub": username(metadata["namespace"], metadata["name"]),
        }
        return sign(claims, self._keys.signing_key), token_id

    def issue_legacy(self, account: dict[str, Any], secret_name: str) -> str:
        """A token to be kept in a Secret; it does not expire."""
        from apiserver.authn.web_tokens import sign

        metadata = account["metadata"]
        claims = {
            "iss": LEGACY_ISSUER,
            "sub": username(metadata["namespace"], metadata["name"]),
            f"{_LEGACY_CLAIM}namespace": metadata["namespace"],
            f"{_LEGACY_CLAIM}secret.name": secret_name,
            f"{_LEGACY_CLAIM}service-account.name": metadata["name"],
            f"{_LEGACY_CLAIM}service-account.uid": metadata["uid"],
        }
        return sign(claims, self._keys.signing_key)


class ServiceAccountTokens:
    """Checks tokens of service accounts.

    Args:
        issuers: whose tokens are taken (`--service-account-issuer`).
        audiences: the API server's own, which tokens without any are for (`--api-audiences`).
        lookup: whether the Secret of an older token must still be there (`--service-account-lookup`).
    """

    def __init__(
        self,
        keys: KeyRing,
        issuers: Sequence[str],
        audiences: Sequence[str],
        get: ObjectGetter,
        clock: Clock,
        *,
        lookup: bool = True,
    ) -> None:
        self._keys = keys
        self._issuers = frozenset((*issuers, LEGACY_ISSUER))
        self._audiences = tuple(audiences)
        self._get = get
        self._clock = clock
        self._lookup = lookup
        self._verified: dict[bytes, dict[str, Any]] = {}

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        """See `TokenAuthenticator.authenticate_token`."""
        claims = self._claims(token)
        if claims is None:
            return None
        from apiserver.authn.web_tokens import audiences_of

        own = audiences_of(claims) or self._audiences
        wanted = tuple(audiences) or self._audiences
        shared = tuple(audience for audience in own if audience in wanted)
        if not shared and self._audiences:
            raise InvalidCredentialError(
                f"token audiences {_quoted(own)} is invalid for the target audiences {_quoted(wanted)}"
            )
        check = self._check_legacy if claims["iss"] == LEGACY_ISSUER else self._check_bound
        return TokenIdentity(await check(token, claims), shared)

    def _claims(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that one of our keys has signed; None when it is not one of ours."""
        digest = hashlib.sha256(token.encode()).digest()
        claims = self._verified.get(digest)
        if claims is not None:
            return claims
        if token.count(".") != 2:
            return None
        from apiserver.authn.web_tokens import read_unverified, verified_claims

        read = read_unverified(token)
        if read is None or read.issuer not in self._issuers:
            return None
        claims = verified_claims(token, self._keys.keys_for(read.key_id))
        if claims.get("iss") not in self._issuers:
            raise InvalidCredentialError("token issuer is invalid")
        if len(self._verified) >= VERIFIED_TOKENS_MAX:
            self._verified.clear()
        self._verified[digest] = claims
        return claims

    # Tokens of the TokenRequest API

    async def _check_bound(self, token: str, claims: dict[str, Any]) -> UserInfo:
        self._check_times(claims)
        own = claims.get("kubernetes.io")
        if not isinstance(own, dict):
            raise InvalidCredentialError("service account token claims could not be validated")
        namespace = own.get("namespace")
        account = _reference(own, "serviceaccount")
        if not isinstance(namespace, str) or account is None:
            raise InvalidCredentialError("service account token claims could not be validated")
        name, uid = account
        await self._check_account(namespace, name, uid)
        extra: list[tuple[str, tuple[str, ...]]] = []
        token_id = claims.get("jti")
        if isinstance(token_id, str) and token_id:
            extra.append((f"{_EXTRA}credential-id", (f"JTI={token_id}",)))
        secret, pod, node = (_reference(own, kind) for kind in ("secret", "pod", "node"))
        if secret is not None:
            await self._check_reference("secret", "secrets", namespace, secret, "service account secret ref claim")
        if pod is not None:
            await self._check_reference("pod", "pods", namespace, pod, "service account pod ref claim")
            extra += [(f"{_EXTRA}pod-name", (pod[0],)), (f"{_EXTRA}pod-uid", (pod[1],))]
        if node is not None:
            if pod is None:
                await self._check_reference("node", "nodes", "", node, "service account node ref claim")
            extra.append((f"{_EXTRA}node-name", (node[0],)))
            if node[1]:
                extra.append((f"{_EXTRA}node-uid", (node[1],)))
        self._note_overdue(claims, own)
        return UserInfo(username(namespace, name), uid, group_names(namespace), tuple(extra))

    def _check_times(self, claims: dict[str, Any]) -> None:
        from apiserver.authn.web_tokens import numeric_date

        now = self._clock.now()
        not_before, expires, issued = (numeric_date(claims, name) for name in ("nbf", "exp", "iat"))
        if not_before is not None and now + LEEWAY_SECONDS < not_before:
            raise InvalidCredentialError("service account token is not valid yet")
        if expires is not None and now - LEEWAY_SECONDS > expires:
            raise InvalidCredentialError("service account token has expired")
        if issued is not None and now + LEEWAY_SECONDS < issued:
            raise InvalidCredentialError("service account token is issued in the future")

    async def _check_account(self, namespace: str, name: str, uid: str) -> None:
        account = await self._get("", "serviceaccounts", namespace, name)
        if account is None:
            raise InvalidCredentialError(f'serviceaccounts "{name}" not found')
        if self._is_deleted(account):
            raise InvalidCredentialError(f"service account {namespace}/{name} has been deleted")
        have = account["metadata"].get("uid", "")
        if have != uid:
            raise InvalidCredentialError(f"service account UID ({have}) does not match claim ({uid})")

    async def _check_reference(
        self, kind: str, resource: str, namespace: str, reference: tuple[str, str], claim: str
    ) -> None:
        name, uid = reference
        found = await self._get("", resource, namespace, name)
        if found is None or self._is_deleted(found):
            raise InvalidCredentialError(_INVALIDATED)
        have = found["metadata"].get("uid", "")
        if have != uid:
            raise InvalidCredentialError(f"{kind} UID ({have}) does not match {claim} ({uid})")

    def _is_deleted(self, obj: dict[str, Any]) -> bool:
        """Whether the object has been marked deleted for longer than clocks differ."""
        at = obj["metadata"].get("deletionTimestamp")
        return bool(at) and parse_time(at) < self._clock.now() - LEEWAY_SECONDS

    def _note_overdue(self, claims: dict[str, Any], own: dict[str, Any]) -> None:
        from apiserver.authn.web_tokens import numeric_date

        warn_after = numeric_date(own, "warnafter")
        if warn_after and self._clock.now() > warn_after:
            overdue = int(self._clock.now() - warn_after)
            _LOG.info("stale token: subject %s, seconds after warning threshold: %d", claims.get("sub"), overdue)

    # Tokens in Secrets

    async def _check_legacy(self, token: str, claims: dict[str, Any]) -> UserInfo:
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject:
            raise InvalidCredentialError("sub claim is missing")
        values = {}
        for key, shown in (
            ("namespace", "namespace"),
            ("secret.name", "secretName"),
            ("service-account.name", "serviceAccountName"),
            ("service-account.uid", "serviceAccountUID"),
        ):
            value = claims.get(f"{_LEGACY_CLAIM}{key}")
            if not isinstance(value, str) or not value:
                raise InvalidCredentialError(f"{shown} claim is missing")
            values[key] = value
        namespace, name, uid = values["namespace"], values["service-account.name"], values["service-account.uid"]
        if split_username(subject) != (namespace, name):
            raise InvalidCredentialError("sub claim is invalid")
        if self._lookup:
            await self._check_secret(token, namespace, values["secret.name"], name)
            await self._check_account(namespace, name, uid)
        return UserInfo(username(namespace, name), uid, group_names(namespace))

    async def _check_secret(self, token: str, namespace: str, name: str, account: str) -> None:
        secret = await self._get("", "secrets", namespace, name)
        if secret is None or secret["metadata"].get("deletionTimestamp"):
            raise InvalidCredentialError("service account token has been invalidated")
        try:
            kept = base64.b64decode((secret.get("data") or {}).get("token") or "")
        except binascii.Error:
            kept = b""
        if not hmac.compare_digest(kept, token.encode()):
            raise InvalidCredentialError("service account token does not match server's copy")
        if (secret["metadata"].get("labels") or {}).get(_INVALID_SINCE_LABEL):
            raise InvalidCredentialError(
                f"the token in secret {namespace}/{name} for service account {namespace}/{account} has been marked "
                "invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the "
                f"'{_INVALID_SINCE_LABEL}' label from the secret to temporarily allow use of this token"
            )


def _reference(own: dict[str, Any], kind: str) -> tuple[str, str] | None:
    """Name and uid of something a token refers to; raises InvalidCredentialError when it is malformed."""
    value = own.get(kind)
    if value is None:
        return None
    name, uid = (value.get("name"), value.get("uid", "")) if isinstance(value, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(uid, str):
        raise InvalidCredentialError("service account token claims could not be validated")
    return name, uid


def _quoted(words: Sequence[str]) -> str:
    """As Go prints a list of strings with %q."""
    return "[" + " ".join(f'"{word}"' for word in words) + "]"
