"""What every cluster has from its first second: system namespaces, priority classes, the `kubernetes` Service.

kube-apiserver makes these in post-start hooks (`pkg/controlplane/controller/systemnamespaces`, `…/kubernetesservice`,
`pkg/registry/scheduling/rest`); here they are there before the first request is answered. What exists is left as it is,
but the Service's endpoint follows the address that is really listened on.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from apiserver.api.metatime import format_time
from apiserver.api.status import StatusError
from apiserver.app.internal_writes import InternalWriter
from apiserver.app.options import Options
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.store import Store
from apiserver.registry.stores import Stores
from apiserver.storage import Storage

__all__ = ["Bootstrap"]

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")

PRIORITY_CLASSES: tuple[Object, ...] = (
    {
        "metadata": {"name": "system-node-critical"},
        "value": 2000001000,
        "description": "Used for system critical pods that must not be moved from their current node.",
    },
    {
        "metadata": {"name": "system-cluster-critical"},
        "value": 2000000000,
        "description": "Used for system critical pods that must run in the cluster, but can be moved to another node "
        "if necessary.",
    },
)
SERVICE = "kubernetes"


class Bootstrap:
    """Brings a store to the state every cluster starts from; does nothing where that is reached."""

    def __init__(
        self,
        stores: Stores,
        storage: Storage,
        writer: InternalWriter,
        context_for: Callable[[Store, str], OperationContext],
        options: Options,
    ) -> None:
        self._stores = stores
        self._storage = storage
        self._writer = writer
        self._context_for = context_for
        self._network = ipaddress.ip_network(options.service_cluster_ip_range)

    async def before_serving(self) -> None:
        """Namespaces, priority classes and the service network."""
        for name in SYSTEM_NAMESPACES:
            await self._ensure("", "v1", "namespaces", {"kind": "Namespace", "metadata": {"name": name}})
        for priority_class in PRIORITY_CLASSES:
            obj = {"kind": "PriorityClass", **priority_class, "metadata": dict(priority_class["metadata"])}
            await self._ensure("scheduling.k8s.io", "v1", "priorityclasses", obj)
        cidr = {"kind": "ServiceCIDR", "metadata": {"name": SERVICE}, "spec": {"cidrs": [str(self._network)]}}
        await self._ensure("networking.k8s.io", "v1", "servicecidrs", cidr)

    async def publish_endpoint(self, address: str, port: int) -> None:
        """The `kubernetes` Service at the first address of the service network, leading to this server."""
        await self._ensure("", "v1", "services", self._service(port))
        await self._reconcile("discovery.k8s.io", "v1", "endpointslices", _endpoint_slice(address, port), "endpoints")
        await self._reconcile("", "v1", "endpoints", _endpoints(address, port), "subsets")

    def _service(self, port: int) -> Object:
        family = f"IPv{self._network.version}"
        address = str(next(iter(self._network.hosts())))
        return {
            "kind": "Service",
            "metadata": {
                "name": SERVICE,
                "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": address,
                "clusterIPs": [address],
                "ipFamilies": [family],
                "ipFamilyPolicy": "SingleStack",
                "sessionAffinity": "None",
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
            },
        }

    async def _ensure(self, group: str, version: str, plural: str, obj: Object) -> None:
        """Create the object unless it is there."""
        store = self._stores.find(group, version, plural)
        if store is None:  # switched off by --runtime-config
            return
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "")
        if await self._existing(store, namespace, metadata["name"]) is not None:
            return
        obj["apiVersion"] = store.resource.api_version
        try:
            await self._writer.create(group, version, plural, obj)
        except StatusError as error:
            if error.reason != "AlreadyExists":  # another server on the same etcd was first
                raise

    async def _reconcile(self, group: str, version: str, plural: str, obj: Object, content: str) -> None:
        """Create the object, or bring its address and ports up to date.

        Written past validation, which rightly forbids users what a server on loopback has to say of itself.
        """
        store = self._stores.find(group, version, plural)
        if store is None:
            return
        obj["apiVersion"] = store.resource.api_version
        existing = await self._existing(store, "default", SERVICE)
        context = self._context_for(store, "default")
        store.strategy.default(context, obj)
        key = store.key("default", SERVICE)
        if existing is None:
            metadata = obj["metadata"]
            metadata["uid"] = context.randomness.uuid4()
            metadata["creationTimestamp"] = format_time(int(context.clock.now()))
            store.strategy.prepare_for_create(context, obj)
            await self._storage.create(store.resource, key, obj)
            return

        def with_endpoint(present: dict[str, Any], _revision: int) -> dict[str, Any]:
            for field in (content, "ports"):
                if field in obj:
                    present[field] = obj[field]
            return present

        await self._storage.update(store.resource, key, with_endpoint)

    async def _existing(self, store: Store, namespace: str, name: str) -> object | None:
        try:
            return await store.get(namespace, name)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return None


def _endpoint_slice(address: str, port: int) -> Object:
    family = f"IPv{ipaddress.ip_address(address).version}"
    return {
        "kind": "EndpointSlice",
        "metadata": {
            "name": SERVICE,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": SERVICE},
        },
        "addressType": family,
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }


def _endpoints(address: str, port: int) -> Object:
    return {
        "kind": "Endpoints",
        "metadata": {
            "name": SERVICE,
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [
            {"addresses": [{"ip": address}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]},
        ],
    }
