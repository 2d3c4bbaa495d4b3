"""Deleting a namespace: its content first, then the namespace itself.

A deleted namespace is only marked (`status.phase: Terminating`) and keeps its `kubernetes` finalizer until somebody
has emptied it. In a full cluster that is kube-controller-manager (`pkg/controller/namespace/deletion`); here it is this
controller, so that `kubectl delete namespace` ends. Objects with finalizers of their own hold the namespace back, and
its conditions say so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from apiserver.api.metatime import format_time
from apiserver.api.status import StatusError
from apiserver.registry.interface import OperationContext
from apiserver.registry.store import Store
from apiserver.storage import EventType, ListOptions, WatchOptions
from kvstore.environment import Clock

__all__ = ["NamespaceController"]

_LOG = logging.getLogger("apiserver.controllers.namespace")
FINALIZER = "kubernetes"
RETRY_SECONDS = 0.2
"""After a pass that left something behind; doubled up to the maximum while nothing changes."""
RETRY_SECONDS_MAX = 15.0

ContextFactory = Callable[[Store, str], OperationContext]


class NamespaceController:
    """Empties Terminating namespaces.

    Args:
        namespaces: the namespaces' own store.
        contents: the stores of every namespaced resource that can be listed and deleted, in one served version each.
        context_for: the context of a write of the server itself, to a store in a namespace.
    """

    def __init__(
        self,
        namespaces: Store,
        contents: Callable[[], Iterable[Store]],
        context_for: ContextFactory,
        clock: Clock,
    ) -> None:
        self._namespaces = namespaces
        self._contents = contents
        self._context_for = context_for
        self._clock = clock
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Watch until cancelled; a watch that ends is begun again."""
        try:
            while True:
                try:
                    await self._watch()
                except StatusError as error:
                    _LOG.info("the watch of namespaces begins again: %s", error.message)
                await self._clock.sleep(RETRY_SECONDS)
        finally:
            for task in self._running.values():
                task.cancel()

    async def _watch(self) -> None:
        watcher = await self._namespaces.watch(WatchOptions(resource_version="0"))
        try:
            async for batch in watcher:
                for event in batch:
                    if event.stored is not None and event.type is not EventType.DELETED:
                        self._consider(event.stored.view(self._namespaces.resource))
        finally:
            watcher.stop()

    def _consider(self, namespace: dict[str, Any]) -> None:
        name = namespace["metadata"]["name"]
        if not namespace["metadata"].get("deletionTimestamp") or name in self._running:
            return
        if FINALIZER not in (namespace.get("spec") or {}).get("finalizers", ()):
            return
        task = asyncio.get_running_loop().create_task(self._finalize(name), name=f"finalize-namespace-{name}")
        self._running[name] = task
        task.add_done_callback(lambda _: self._running.pop(name, None))

    async def _finalize(self, name: str) -> None:
        """Empty the namespace, again until nothing is left, then let it go."""
        delay = RETRY_SECONDS
        before: dict[str, int] = {}
        while True:
            try:
                left = await self._empty(name)
                if not left:
                    await self._remove_finalizer(name)
                    return
                if left != before:
                    delay = RETRY_SECONDS
                    await self._report(name, left)
                before = left
            except StatusError as error:
                if error.code == 404:
                    return
                _LOG.warning("namespace %s: %s", name, error.message)
            await self._clock.sleep(delay)
            delay = min(delay * 2, RETRY_SECONDS_MAX)

    async def _empty(self, namespace: str) -> dict[str, int]:
        """Delete everything once; how many objects of which resource are still there afterwards."""
        left: dict[str, int] = {}
        for store in self._contents():
            items = (await store.list(ListOptions(namespace=namespace))).items
            if not items:
                continue
            context = self._context_for(store, namespace)
            waiting = [item.name for item in items if not await self._delete(store, context, item.name)]
            if waiting:
                resource = store.resource
                name = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
                left[name] = len(waiting)
        return left

    async def _delete(self, store: Store, context: OperationContext, name: str) -> bool:
        """Whether the object is gone."""
        try:
            deleted = await store.delete(context, name, {"propagationPolicy": "Background"})
        except StatusError as error:
            if error.code != 404:
                raise
            return True
        return deleted.finished

    async def _remove_finalizer(self, name: str) -> None:
        async def without(namespace: dict[str, Any], _revision: int) -> dict[str, Any]:
            finalizers = namespace.setdefault("spec", {}).get("finalizers", ())
            namespace["spec"]["finalizers"] = [item for item in finalizers if item != FINALIZER]
            if not namespace["spec"]["finalizers"]:
                del namespace["spec"]["finalizers"]
            return namespace

        await self._update(name, "finalize", without)

    async def _report(self, name: str, left: dict[str, int]) -> None:
        """Say in the namespace's conditions what it is waiting for."""
        now = format_time(int(self._clock.now()))
        counts = ", ".join(f"{resource} has {count} resource instances" for resource, count in sorted(left.items()))
        remaining = {
            "type": "NamespaceContentRemaining",
            "status": "True",
            "reason": "SomeResourcesRemain",
            "message": f"Some resources are remaining: {counts}",
            "lastTransitionTime": now,
        }

        async def with_condition(namespace: dict[str, Any], _revision: int) -> dict[str, Any]:
            status = namespace.setdefault("status", {})
            others = [item for item in status.get("conditions", ()) if item["type"] != remaining["type"]]
            status["conditions"] = [*others, remaining]
            return namespace

        await self._update(name, "status", with_condition)

    async def _update(self, name: str, subresource: str, transform: Any) -> None:
        strategy = self._namespaces.strategy.subresource(subresource)
        assert strategy is not None, f"namespaces have a {subresource} subresource"
        context = self._context_for(self._namespaces, "")
        context.subresource = subresource
        await self._namespaces.update(context, name, transform, strategy=strategy)
