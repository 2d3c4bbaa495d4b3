"""Secrets of type `kubernetes.io/service-account-token`: whoever makes one gets a token that does not expire
(kubernetes `pkg/controller/serviceaccount/tokens_controller.go`).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

from apiserver.api.status import StatusError
from apiserver.controllers.following import follow
from apiserver.registry.interface import OperationContext
from apiserver.registry.store import Store
from apiserver.storage import ListOptions
from kvstore.environment import Clock

__all__ = ["TokenSecrets"]

TYPE = "kubernetes.io/service-account-token"
NAME_ANNOTATION = "kubernetes.io/service-account.name"
UID_ANNOTATION = "kubernetes.io/service-account.uid"

MakeToken = Callable[[dict[str, Any], str], str]


class TokenSecrets:
    """Fills such Secrets, and deletes those whose account is gone.

    Args:
        make_token: a token for a ServiceAccount, to be kept in the Secret of that name.
        ca_bundle: what the holder should trust, in PEM.
    """

    def __init__(
        self,
        secrets: Store,
        accounts: Store,
        make_token: MakeToken,
        ca_bundle: bytes,
        context_for: Callable[[Store, str], OperationContext],
        clock: Clock,
    ) -> None:
        self._secrets = secrets
        self._accounts = accounts
        self._make_token = make_token
        self._ca_bundle = ca_bundle
        self._context_for = context_for
        self._clock = clock

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(self._secrets, self._secret_changed, self._clock))
            group.create_task(follow(self._accounts, self._account_changed, self._clock))

    async def _secret_changed(self, secret: dict[str, Any], gone: bool) -> None:
        if gone or secret.get("type") != TYPE or secret["metadata"].get("deletionTimestamp"):
            return
        account = await self._account_of(secret)
        if account is None:
            await self._delete(secret)
        elif self._completed(secret, account) != (secret.get("data"), secret["metadata"].get("annotations")):
            await self._fill(secret, account)

    async def _account_changed(self, account: dict[str, Any], gone: bool) -> None:
        if not gone:
            return
        namespace = account["metadata"]["namespace"]
        for item in (await self._secrets.list(ListOptions(namespace=namespace, resource_version="0"))).items:
            await self._secret_changed(item.view(self._secrets.resource), False)

    async def _account_of(self, secret: dict[str, Any]) -> dict[str, Any] | None:
        """The account that a Secret is for; asked of the store, since a Secret is deleted when there is none."""
        metadata = secret["metadata"]
        annotations = metadata.get("annotations") or {}
        try:
            stored = await self._accounts.get(metadata["namespace"], annotations.get(NAME_ANNOTATION, ""))
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return None
        account = stored.view(self._accounts.resource)
        wanted = annotations.get(UID_ANNOTATION)
        return account if not wanted or wanted == account["metadata"]["uid"] else None

    def _completed(
        self, secret: dict[str, Any], account: dict[str, Any]
    ) -> tuple[dict[str, str] | None, dict[str, str] | None]:
        """Data and annotations as they should be; a token that is there is left alone."""
        metadata = secret["metadata"]
        data = dict(secret.get("data") or {})
        if not data.get("token"):
            data["token"] = _base64(self._make_token(account, metadata["name"]).encode())
        data["ca.crt"] = _base64(self._ca_bundle)
        data["namespace"] = _base64(metadata["namespace"].encode())
        return data, {**(metadata.get("annotations") or {}), UID_ANNOTATION: account["metadata"]["uid"]}

    async def _fill(self, secret: dict[str, Any], account: dict[str, Any]) -> None:
        async def filled(obj: dict[str, Any], _revision: int) -> dict[str, Any]:
            obj["data"], obj["metadata"]["annotations"] = self._completed(obj, account)
            return obj

        metadata = secret["metadata"]
        await _unless_gone(
            self._secrets.update(self._context_for(self._secrets, metadata["namespace"]), metadata["name"], filled)
        )

    async def _delete(self, secret: dict[str, Any]) -> None:
        metadata = secret["metadata"]
        options = {"preconditions": {"uid": metadata["uid"]}}
        context = self._context_for(self._secrets, metadata["namespace"])
        await _unless_gone(self._secrets.delete(context, metadata["name"], options))


async def _unless_gone(write: Awaitable[object]) -> None:
    try:
        await write
    except StatusError as error:
        if error.reason != "NotFound":
            raise


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
