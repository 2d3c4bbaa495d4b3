"""TokenReview: whose token is this (kubernetes `pkg/registry/authentication/tokenreview/storage.go`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apiserver.api.status import bad_request
from apiserver.authn import ALL_AUTHENTICATED, ALL_UNAUTHENTICATED, InvalidCredentialError, TokenAuthenticator
from apiserver.endpoints.users import user_dict
from apiserver.registry.interface import Object
from apiserver.request import Request, UserInfo

__all__ = ["TokenReviewer"]


class TokenReviewer:
    """Answers TokenReviews.

    Args:
        tokens: decides about tokens.
        audiences: those a token is checked for when the review names none (`--api-audiences`).
    """

    def __init__(self, tokens: TokenAuthenticator, audiences: Sequence[str]) -> None:
        self._tokens = tokens
        self._audiences = tuple(audiences)

    async def answer(self, request: Request, obj: Object) -> Object:
        """The review with its status. Raises StatusError 400 when there is no token."""
        spec = obj.get("spec") or {}
        token = spec.get("token", "")
        if not token:
            raise bad_request("token is required for TokenReview in authentication")
        audiences = tuple(spec.get("audiences") or self._audiences)
        metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "creationTimestamp"}
        return {**obj, "metadata": metadata, "status": await self._status(token, audiences)}

    async def _status(self, token: str, audiences: Sequence[str]) -> dict[str, Any]:
        try:
            identity = await self._tokens.authenticate_token(token, audiences)
        except InvalidCredentialError as error:
            return {"user": {}, "error": str(error)}
        if identity is None:
            return {"user": {}, "error": "invalid bearer token"}
        status: dict[str, Any] = {"authenticated": True, "user": user_dict(_known(identity.user))}
        if identity.audiences:
            status["audiences"] = list(identity.audiences)
        return status


def _known(user: UserInfo) -> UserInfo:
    if ALL_AUTHENTICATED in user.groups or ALL_UNAUTHENTICATED in user.groups:
        return user
    return UserInfo(user.name, user.uid, (*user.groups, ALL_AUTHENTICATED), user.extra)
