"""The stores of all resources, made on first use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from apiserver.api.scheme import Resource, Scheme
from apiserver.api.status import StatusError
from apiserver.registry.interface import Object
from apiserver.registry.store import Store
from apiserver.registry.strategy import Strategy
from apiserver.storage.interface import EventType, ListOptions, Storage, WatchOptions

__all__ = ["StoreReader", "Stores"]


class Stores:
    """Finds the `Store` of a resource.

    Args:
        storage_for: where the objects of a resource are; the same storage for all versions of a resource.
        strategy_for: what is special to its kind.
        serves: whether a version of a group is served (`--runtime-config`).
    """

    def __init__(
        self,
        scheme: Scheme,
        storage_for: Callable[[Resource], Storage],
        strategy_for: Callable[[Resource], Strategy],
        serves: Callable[[Resource], bool] = lambda resource: resource.served_by_default,
    ) -> None:
        self.scheme = scheme
        self._storage_for = storage_for
        self._strategy_for = strategy_for
        self._serves = serves
        self._stores: dict[tuple[str, str, str], Store] = {}

    def resource(self, group: str, version: str, plural: str) -> Resource | None:
        """A resource that is served."""
        resource = self.scheme.resource(group, version, plural)
        return resource if resource is not None and self._serves(resource) else None

    def of(self, resource: Resource) -> Store:
        """The store of a resource that is stored."""
        key = (resource.group, resource.version, resource.plural)
        store = self._stores.get(key)
        if store is None:
            store = Store(resource, self._storage_for(resource), self._strategy_for(resource))
            self._stores[key] = store
        return store

    def find(self, group: str, version: str, plural: str) -> Store | None:
        """The store of a resource that is served and stored."""
        resource = self.resource(group, version, plural)
        return self.of(resource) if resource is not None and not resource.is_virtual else None


class StoreReader:
    """A `Reader` over the stores: cached reads in each group's preferred version."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._found: dict[tuple[str, str], Store] = {}

    async def get(self, group: str, resource: str, namespace: str, name: str) -> Object | None:
        """See `Reader.get`."""
        return await self._get(group, resource, namespace, name, "0")

    async def _get(self, group: str, resource: str, namespace: str, name: str, version: str) -> Object | None:
        store = self._store(group, resource)
        if store is None:
            return None
        try:
            stored = await store.get(namespace, name, version)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return None
        return stored.view(store.resource)

    async def get_live(self, group: str, resource: str, namespace: str, name: str) -> Object | None:
        """The most recent state of an object, or None; for decisions that a lagging cache must not make."""
        return await self._get(group, resource, namespace, name, "")

    async def list(self, group: str, resource: str, namespace: str = "") -> list[Object]:
        """See `Reader.list`."""
        store = self._store(group, resource)
        if store is None:
            return []
        result = await store.list(ListOptions(namespace=namespace, resource_version="0"))
        return [item.view(store.resource) for item in result.items]

    async def follow(self, group: str, resource: str) -> AsyncIterator[Sequence[tuple[Object, bool]]]:
        """See `Reader.follow`."""
        store = self._store(group, resource)
        if store is None:
            return
        result = await store.list(ListOptions(resource_version="0"))
        yield [(item.view(store.resource), False) for item in result.items]
        watcher = await store.watch(WatchOptions(resource_version=str(result.revision)))
        try:
            async for events in watcher:
                changed = [
                    (event.stored.view(store.resource), event.type is EventType.DELETED)
                    for event in events
                    if event.stored is not None
                ]
                yield changed
                if any(event.type is EventType.ERROR for event in events):
                    return
        finally:
            watcher.stop()

    def _store(self, group: str, plural: str) -> Store | None:
        found = self._found.get((group, plural))
        if found is None:
            found = self._find(group, plural)
            if found is not None:
                self._found[group, plural] = found
        return found

    def _find(self, group: str, plural: str) -> Store | None:
        described = self._stores.scheme.group(group)
        if described is None:
            return None
        versions = [described.preferred, *(info.version for info in described.versions)]
        for version in versions:
            store = self._stores.find(group, version, plural)
            if store is not None:
                return store
        return None
