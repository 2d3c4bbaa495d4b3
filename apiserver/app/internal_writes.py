"""Writes of the server itself: through the registry like any other, but without authorization and admission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apiserver.api.status import StatusError, not_found
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.store import Store
from apiserver.registry.stores import Stores
from apiserver.request import UserInfo

__all__ = ["LOOPBACK_USER", "InternalWriter"]

LOOPBACK_USER = UserInfo("system:apiserver", groups=("system:masters", "system:authenticated"))


class InternalWriter:
    """Creates and deletes objects that belong to other objects (`registry.kinds.ObjectWriter`)."""

    def __init__(self, stores: Stores, context_for: Callable[[Store, str], OperationContext]) -> None:
        self._stores = stores
        self._context_for = context_for

    async def create(self, group: str, version: str, resource: str, obj: dict[str, Any]) -> Object:
        """Store a new object.

        Raises:
            StatusError: AlreadyExists, Invalid, or NotFound when the resource is not served.
        """
        store = self._store(group, version, resource)
        context = self._context_for(store, obj.get("metadata", {}).get("namespace", ""))
        store.strategy.default(context, obj)
        result = await store.create(context, obj)
        return result if isinstance(result, dict) else result.object_copy(store.resource)

    async def delete(self, group: str, version: str, resource: str, namespace: str, name: str) -> None:
        """Delete an object at once; one that is not there is fine."""
        store = self._store(group, version, resource)
        try:
            await store.delete(self._context_for(store, namespace), name, {"gracePeriodSeconds": 0})
        except StatusError as error:
            if error.reason != "NotFound":
                raise

    def _store(self, group: str, version: str, resource: str) -> Store:
        store = self._stores.find(group, version, resource)
        if store is None:
            raise not_found(group, resource, "")
        return store
