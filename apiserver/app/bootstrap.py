"""What every cluster has from its first second: system namespaces, priority classes, the `kubernetes` Service.

kube-apiserver makes these in post-start hooks (`pkg/controlplane/controller/systemnamespaces`, `…/kubernetesservice`,
`pkg/registry/scheduling/rest`); here they are there before the first request is answered. What exists is left as it is.
"""

from __future__ import annotations

import copy
import ipaddress

from apiserver.api.status import StatusError
from apiserver.app.internal_writes import InternalWriter
from apiserver.app.options import Options
from apiserver.app.server_endpoints import SERVICE
from apiserver.registry.interface import Object
from apiserver.registry.store import Store
from apiserver.registry.stores import Stores
from kvstore.environment import Clock

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
SETTLE_SECONDS = 10.0
"""How long servers that start at once may be in each other's way."""
RETRY_SECONDS = 0.1


class Bootstrap:
    """Brings a store to the state every cluster starts from; does nothing where that is reached."""

    def __init__(
        self,
        stores: Stores,
        writer: InternalWriter,
        clock: Clock,
        options: Options,
    ) -> None:
        self._stores = stores
        self._writer = writer
        self._clock = clock
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

    async def service(self, port: int) -> None:
        """The `kubernetes` Service, at the first address of the service network; raises StatusError."""
        await self._ensure("", "v1", "services", self._service(port))

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
        """Create the object unless it is there.

        Several servers may be at this at once. One may find the Service's address taken by another that has still to
        write the Service itself; and there may be no leader for a moment. So a refusal stands only if it lasts.
        """
        store = self._stores.find(group, version, plural)
        if store is None:  # switched off by --runtime-config
            return
        metadata = obj["metadata"]
        obj["apiVersion"] = store.resource.api_version
        give_up_seconds = self._clock.monotonic() + SETTLE_SECONDS
        while True:
            try:
                if await self._existing(store, metadata.get("namespace", ""), metadata["name"]) is None:
                    await self._writer.create(group, version, plural, copy.deepcopy(obj))
                return
            except StatusError as error:
                if error.reason == "AlreadyExists":
                    return
                if self._clock.monotonic() > give_up_seconds:
                    raise
            await self._clock.sleep(RETRY_SECONDS)

    async def _existing(self, store: Store, namespace: str, name: str) -> object | None:
        try:
            return await store.get(namespace, name)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return None
