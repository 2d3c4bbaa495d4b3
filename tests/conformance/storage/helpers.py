"""Objects, keys and readers of watches for the storage suite."""

from __future__ import annotations

import asyncio
from typing import Any

from apiserver.api.scheme import Resource
from apiserver.storage import WatchEvent
from apiserver.storage.keys import object_key

WAIT_SECONDS = 5.0


def config_map(name: str, namespace: str = "default", *, labels: dict[str, str] | None = None, **data: str) -> Any:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}"}
    metadata["creationTimestamp"] = "2026-01-02T03:04:05Z"
    if labels:
        metadata["labels"] = labels
    obj: dict[str, Any] = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}
    if data:
        obj["data"] = data
    return obj


def pod(name: str, namespace: str = "default", node: str = "") -> Any:
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": "i", "resources": {}}]}
    if node:
        spec["nodeName"] = node
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "creationTimestamp": "2026-01-02T03:04:05Z"}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": {}}


def key_of(resource: Resource, obj: dict[str, Any]) -> str:
    return object_key(resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


async def create(storage: Any, resource: Resource, obj: dict[str, Any], **options: Any) -> Any:
    return await storage.create(resource, key_of(resource, obj), obj, **options)


def set_data(**data: str) -> Any:
    """An update function that sets keys of `data`."""

    def change(obj: dict[str, Any], revision: int) -> dict[str, Any]:
        obj["data"] = {**obj.get("data", {}), **data}
        return obj

    return change


def names(result: Any) -> list[str]:
    return [item.name for item in result.items]


class Reader:
    """Reads events one at a time from a watcher that gives batches."""

    def __init__(self, watcher: Any) -> None:
        self.watcher = watcher
        self._batches = watcher.__aiter__()
        self._events: list[WatchEvent] = []

    async def event(self) -> WatchEvent:
        while not self._events:
            async with asyncio.timeout(WAIT_SECONDS):
                self._events = list(await self._batches.__anext__())
        return self._events.pop(0)

    async def events(self, count: int) -> list[WatchEvent]:
        return [await self.event() for _ in range(count)]

    async def summary(self, count: int) -> list[tuple[str, str]]:
        """Type and name of the next events."""
        return [(event.type.value, event.stored.name if event.stored else "") for event in await self.events(count)]

    async def ended(self) -> bool:
        """Whether nothing more comes."""
        async with asyncio.timeout(WAIT_SECONDS):
            try:
                await self._batches.__anext__()
            except StopAsyncIteration:
                return True
        return False
