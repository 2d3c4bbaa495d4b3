"""Tokens that a service knows: it answers TokenReviews (k8s.io/apiserver `plugin/…/token/webhook`, `token/cache`)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

from apiserver.authn.interface import InvalidCredentialError, TokenIdentity
from apiserver.request import UserInfo
from apiserver.webhooks import WebhookError, with_retries
from kvstore.environment import Environment

__all__ = ["WebhookTokenAuthenticator"]

_LOG = logging.getLogger("apiserver.authentication.webhook")
CACHE_ENTRIES_MAX = 4096
_Key = tuple[bytes, tuple[str, ...]]


class Client(Protocol):
    """Sends a review and brings back the answer (`webhooks.WebhookClient`)."""

    async def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Raises `WebhookError`."""


class WebhookTokenAuthenticator:
    """Asks a service about tokens, once for a while and for all who wait for the same answer.

    What it says, also that a token is nobody's, is kept; that it did not answer is not.

    Args:
        version: of the TokenReview: v1 or v1beta1.
        audiences: the API server's; what a token counts for when the service does not say.
        cache_seconds: how long answers are kept.
    """

    def __init__(
        self,
        client: Client,
        environment: Environment,
        version: str,
        audiences: Sequence[str],
        cache_seconds: float,
    ) -> None:
        self._client = client
        self._environment = environment
        self._version = version
        self._audiences = tuple(audiences)
        self._cache_seconds = cache_seconds
        self._answers: OrderedDict[_Key, tuple[float, TokenIdentity | None]] = OrderedDict()
        self._asking: dict[_Key, asyncio.Task[TokenIdentity | None]] = {}

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        """See `TokenAuthenticator.authenticate_token`."""
        key = (hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest(), tuple(audiences))
        known = self._answers.get(key)
        if known is not None and known[0] > self._environment.clock.monotonic():
            self._answers.move_to_end(key)
            return known[1]
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(key, token))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)  # of all who wait, one may be given up

    async def _ask(self, key: _Key, token: str) -> TokenIdentity | None:
        audiences = key[1]
        spec: dict[str, Any] = {"token": token}
        if audiences:
            spec["audiences"] = list(audiences)
        body = {"apiVersion": f"authentication.k8s.io/{self._version}", "kind": "TokenReview", "spec": spec}
        try:
            answer = await with_retries(lambda: self._client.post(body), self._environment)
            status = answer.get("status")
            if answer.get("kind") != "TokenReview" or not isinstance(status, dict):
                raise WebhookError("the answer is not a TokenReview with a status")
            identity = self._identity(status, audiences)
        except WebhookError as error:
            _LOG.error("failed to make webhook authenticator request: %s", error)
            raise InvalidCredentialError(str(error)) from error
        self._keep(key, identity)
        return identity

    def _identity(self, status: dict[str, Any], audiences: Sequence[str]) -> TokenIdentity | None:
        """What an answer says.

        Raises:
            InvalidCredentialError: the service gives a reason why the token does not hold.
            WebhookError: the answer is malformed.
        """
        shared: tuple[str, ...] = ()
        if audiences:
            got = status.get("audiences") or self._audiences
            shared = tuple(audience for audience in audiences if audience in got)
            if not shared:
                return None
        if status.get("authenticated") is not True:
            if status.get("error"):
                raise InvalidCredentialError(str(status["error"]))
            return None
        return TokenIdentity(_user(status.get("user")), shared)

    def _keep(self, key: _Key, identity: TokenIdentity | None) -> None:
        if self._cache_seconds > 0:
            self._answers[key] = (self._environment.clock.monotonic() + self._cache_seconds, identity)
            if len(self._answers) > CACHE_ENTRIES_MAX:
                self._answers.popitem(last=False)


def _user(value: Any) -> UserInfo:
    """A user as the service describes it; raises WebhookError when that is malformed."""
    user = value if isinstance(value, dict) else {}
    name, uid = user.get("username", ""), user.get("uid", "")
    groups, extra = user.get("groups") or [], user.get("extra") or {}
    if not isinstance(name, str) or not isinstance(uid, str) or not isinstance(extra, dict):
        raise WebhookError("the user in the TokenReview is malformed")
    if not _strings(groups) or not all(_strings(values) for values in extra.values()):
        raise WebhookError("the user in the TokenReview is malformed")
    return UserInfo(name, uid, tuple(groups), tuple((key, tuple(values)) for key, values in extra.items()))


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
