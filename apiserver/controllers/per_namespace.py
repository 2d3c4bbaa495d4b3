"""Objects that every namespace has: the ServiceAccount `default`, and the CA that in-cluster clients trust.

In a full cluster kube-controller-manager keeps them (`pkg/controller/serviceaccount/serviceaccounts_controller.go`,
`pkg/controller/certificates/rootcacertpublisher`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Protocol

from apiserver.api.status import StatusError
from apiserver.controllers.following import follow
from apiserver.registry.interface import OperationContext
from apiserver.registry.store import Store
from kvstore.environment import Clock

__all__ = ["ObjectCreator", "PerNamespace", "default_service_account", "root_ca_config_map"]

ROOT_CA_NAME = "kube-root-ca.crt"
_ROOT_CA_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class ObjectCreator(Protocol):
    """Creates objects for the server itself."""

    async def create(self, group: str, version: str, resource: str, obj: dict[str, Any]) -> Any:
        """Store a new object; raises StatusError."""


def default_service_account() -> dict[str, Any]:
    """What pods run as that name no account."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}


def root_ca_config_map(bundle: str) -> dict[str, Any]:
    """A CA bundle (PEM) for clients in pods."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": ROOT_CA_NAME, "annotations": {"kubernetes.io/description": _ROOT_CA_DESCRIPTION}},
        "data": {"ca.crt": bundle},
    }


class PerNamespace:
    """Keeps one object in every active namespace: makes it, makes it again, and puts its data right.

    Args:
        namespaces: where namespaces are.
        objects: where the object is.
        template: what it should be, without a namespace.
        context_for: the context of a write of the server itself, to a store in a namespace.
    """

    def __init__(
        self,
        namespaces: Store,
        objects: Store,
        template: dict[str, Any],
        creator: ObjectCreator,
        context_for: Callable[[Store, str], OperationContext],
        clock: Clock,
    ) -> None:
        self._namespaces = namespaces
        self._objects = objects
        self._template = template
        self._name = template["metadata"]["name"]
        self._creator = creator
        self._context_for = context_for
        self._clock = clock

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(self._namespaces, self._namespace_changed, self._clock))
            group.create_task(follow(self._objects, self._object_changed, self._clock))

    async def _namespace_changed(self, namespace: dict[str, Any], gone: bool) -> None:
        if not gone and _is_active(namespace):
            await self._ensure(namespace["metadata"]["name"])

    async def _object_changed(self, obj: dict[str, Any], gone: bool) -> None:
        if obj["metadata"]["name"] != self._name:
            return
        name = obj["metadata"]["namespace"]
        if gone:
            await self._ensure(name)
        elif self._differs(obj):
            await self._restore(name)

    def _differs(self, obj: dict[str, Any]) -> bool:
        return "data" in self._template and obj.get("data") != self._template["data"]

    async def _ensure(self, namespace: str) -> None:
        if await _find(self._objects, namespace, self._name, "0") is not None:
            return  # if it is not as it should be, its own event says so
        # Asked of the store: what is made in a namespace that has just gone would never be found again.
        found = await _find(self._namespaces, "", namespace, "")
        if found is None or not _is_active(found):
            return
        resource = self._objects.resource
        obj = deepcopy(self._template)
        obj["metadata"]["namespace"] = namespace
        try:
            await self._creator.create(resource.group, resource.version, resource.plural, obj)
        except StatusError as error:
            if error.reason != "AlreadyExists":  # another server was first
                raise

    async def _restore(self, namespace: str) -> None:
        async def with_data(obj: dict[str, Any], _revision: int) -> dict[str, Any]:
            obj["data"] = dict(self._template["data"])
            obj.pop("binaryData", None)
            return obj

        context = self._context_for(self._objects, namespace)
        try:
            await self._objects.update(context, self._name, with_data)
        except StatusError as error:
            if error.reason != "NotFound":
                raise


def _is_active(namespace: dict[str, Any]) -> bool:
    return not namespace["metadata"].get("deletionTimestamp")


async def _find(store: Store, namespace: str, name: str, resource_version: str) -> dict[str, Any] | None:
    try:
        return (await store.get(namespace, name, resource_version)).view(store.resource)
    except StatusError as error:
        if error.reason != "NotFound":
            raise
        return None
