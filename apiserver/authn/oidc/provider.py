"""The keys of an issuer, fetched from where its discovery document says (OpenID Connect Discovery 1.0, RFC 7517)."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from http.client import HTTPException
from typing import Any

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from apiserver.authn.interface import InvalidCredentialError
from apiserver.authn.keys import VerifyingKey
from kvstore.environment import Clock

__all__ = ["Fetch", "Provider", "https_fetch"]

_LOG = logging.getLogger("apiserver.authentication.oidc")
DOCUMENT_BYTES_MAX = 1 << 20
FETCH_SECONDS_MAX = 30.0
RETRY_SECONDS = 10.0
REFRESH_SECONDS_MIN = 5.0
"""Unknown keys are looked for at the issuer, but not more often than this, whatever tokens come."""
KEYS_MAX = 256
_WELL_KNOWN = "/.well-known/openid-configuration"

Fetch = Callable[[str], Awaitable[bytes]]


class _OnlyHTTPS(urllib.request.HTTPRedirectHandler):
    """Redirects must not lead away from TLS."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://"):
            raise urllib.error.URLError("a redirect leads to a URL that is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def https_fetch(certificate_authority: str) -> Fetch:
    """Fetches documents over HTTPS in a thread.

    Args:
        certificate_authority: CA bundle in PEM; the host's own when empty.
    """
    context = ssl.create_default_context(cadata=certificate_authority or None)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _OnlyHTTPS())

    def get(url: str) -> bytes:
        if not url.startswith("https://"):
            raise OSError(f"{url} is not an https URL")
        with opener.open(url, timeout=FETCH_SECONDS_MAX) as answer:
            body: bytes = answer.read(DOCUMENT_BYTES_MAX + 1)
        if len(body) > DOCUMENT_BYTES_MAX:
            raise OSError(f"the document at {url} is larger than {DOCUMENT_BYTES_MAX} bytes")
        return body

    async def fetch(url: str) -> bytes:
        return await asyncio.to_thread(get, url)

    return fetch


class Provider:
    """One issuer's keys: looked up at the start, and again when a token names one that is not known.

    Attributes:
        problem: why there are no keys yet; empty when there are.

    Args:
        discovery_url: where the discovery document is, when not in its usual place.
        algorithms: that keys may be used with.
    """

    def __init__(self, issuer: str, discovery_url: str, algorithms: Sequence[str], fetch: Fetch, clock: Clock) -> None:
        self._issuer = issuer
        self._discovery_url = discovery_url or issuer.rstrip("/") + _WELL_KNOWN
        self._algorithms = tuple(algorithms)
        self._fetch = fetch
        self._clock = clock
        self._keys_url = ""
        self._keys: list[VerifyingKey] = []
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed_at = float("-inf")
        self.problem = f'oidc: authenticator for issuer "{issuer}" is not initialized'

    async def run(self) -> None:
        """Find the issuer, trying until it answers."""
        while not await self.discover():
            _LOG.error("oidc authenticator: initializing plugin: %s", self.problem)
            await self._clock.sleep(RETRY_SECONDS)

    async def discover(self) -> bool:
        """Ask once where the keys are, and for the keys; whether that went well."""
        try:
            document = _object(await self._fetch(self._discovery_url))
            found = document.get("issuer")
            if found != self._issuer:
                raise ValueError(f'issuer did not match the issuer returned by provider, expected "{self._issuer}"')
            url = document.get("jwks_uri")
            if not isinstance(url, str) or not url:
                raise ValueError("provider did not return JWKS URL")
            self._keys_url = url
            await self._load_keys()
        except (OSError, ValueError, HTTPException) as error:
            self.problem = f"oidc: {self._issuer}: {error}"
            return False
        self.problem = ""
        return True

    async def keys_for(self, key_id: str, algorithm: str) -> list[VerifyingKey]:
        """The keys that a token with this head may be signed with.

        Raises:
            InvalidCredentialError: the issuer's keys are not known yet.
        """
        if self.problem:
            raise InvalidCredentialError("oidc: authenticator not initialized")
        return self._matching(key_id, algorithm)

    async def refreshed_keys_for(self, key_id: str, algorithm: str) -> list[VerifyingKey]:
        """The same, after asking the issuer once more; no keys when it was asked a moment ago."""
        if self._refreshing is None:
            if self._clock.monotonic() - self._refreshed_at < REFRESH_SECONDS_MIN:
                return []
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())
        await asyncio.shield(self._refreshing)  # of all requests that wait, one may be given up
        return self._matching(key_id, algorithm)

    async def _refresh(self) -> None:
        try:
            await self._load_keys()
        except (OSError, ValueError, HTTPException) as error:
            _LOG.error("oidc authenticator: fetching keys of %s: %s", self._issuer, error)
        finally:
            self._refreshing = None

    async def _load_keys(self) -> None:
        self._refreshed_at = self._clock.monotonic()
        entries = _object(await self._fetch(self._keys_url)).get("keys")
        if not isinstance(entries, list):
            raise ValueError("the key set has no keys")
        self._keys = [key for entry in entries[:KEYS_MAX] for key in _keys_in(entry, self._algorithms)]

    def _matching(self, key_id: str, algorithm: str) -> list[VerifyingKey]:
        return [key for key in self._keys if key.algorithm == algorithm and (not key_id or key.key_id in ("", key_id))]


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the document is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("the document is no JSON object")
    return value


def _keys_in(entry: Any, algorithms: Sequence[str]) -> list[VerifyingKey]:
    """The key of one entry, once for each algorithm it may be used with; none when it is of another kind."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") not in ("RSA", "EC"):
        return []
    fitting = [name for name in algorithms if _fits(entry, name)]
    found = []
    for name in fitting:
        try:
            web_key = PyJWK.from_dict({**entry, "alg": name})
        except PyJWTError:
            continue
        key_id = entry.get("kid")
        found.append(VerifyingKey(key_id if isinstance(key_id, str) else "", name, _public(web_key.key)))
    return found


def _public(key: Any) -> Any:
    """Some issuers publish more than they should."""
    return key.public_key() if hasattr(key, "private_numbers") else key


def _fits(entry: dict[str, Any], algorithm: str) -> bool:
    if entry.get("alg") not in (None, algorithm):
        return False
    if entry["kty"] == "RSA":
        return algorithm[:2] in ("RS", "PS")
    return {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}.get(str(entry.get("crv"))) == algorithm
