"""Where the `kubernetes` Service leads: to every API server that lives (kube-apiserver's lease endpoint reconciler).

Servers that share a store each keep a key `/registry/masterleases/<address>` on a lease that runs out soon after they
are gone, and each brings the Service's endpoints into line with the keys that are there. Source: kubernetes
`pkg/controlplane/reconcilers/lease.go`, `pkg/controlplane/controller/kubernetesservice`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from typing import Any, Final

from apiserver.api.metatime import format_time
from apiserver.api.status import StatusError
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.store import Store
from apiserver.registry.stores import Stores
from apiserver.storage import Storage
from apiserver.storage.errors import from_etcd
from apiserver.storage.keys import REGISTRY_PREFIX, prefix_end
from kvstore.client import Client
from kvstore.environment import Clock
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["SERVICE", "ServerEndpoints"]

SERVICE: Final = "kubernetes"
LEASE_SECONDS: Final = 15
RENEW_SECONDS: Final = 10.0
WITHDRAW_SECONDS_MAX: Final = 1.0
LEASES: Final = f"{REGISTRY_PREFIX}masterleases/"

_LOG = logging.getLogger(__name__)


class ServerEndpoints:
    """Keeps this server among the endpoints of the `kubernetes` Service.

    Args:
        client: the store; None when no other server can be on it, and then there are no leases.
        context_for: the context of a write of the server itself, to a store in a namespace.
        address: IP address at which others reach this server.
    """

    def __init__(
        self,
        stores: Stores,
        storage: Storage,
        client: Client | None,
        context_for: Callable[[Store, str], OperationContext],
        clock: Clock,
        address: str,
        port: int,
    ) -> None:
        self._stores = stores
        self._storage = storage
        self._client = client
        self._context_for = context_for
        self._clock = clock
        self._address = address
        self._port = port

    async def publish(self) -> None:
        """Join the endpoints, whose port is this server's from now on.

        Raises:
            StatusError: the store does not take it.
        """
        await self._renew()
        await self._reconcile(await self._live(), set_port=True)

    async def run(self) -> None:
        """Stay among them, and see others come and go, until cancelled."""
        while self._client is not None:
            await self._clock.sleep(RENEW_SECONDS)
            try:
                await self._renew()
                await self._reconcile(await self._live(), set_port=False)
            except StatusError as error:
                _LOG.warning("the endpoints of the kubernetes Service could not be brought up to date: %s", error)

    async def withdraw(self) -> None:
        """Leave at once instead of when the lease runs out; as far as the store lets us within a second."""
        if self._client is None:
            return
        try:
            async with asyncio.timeout(WITHDRAW_SECONDS_MAX):
                await self._client.delete_range(pb.DeleteRangeRequest(key=self._lease_key().encode()))
                if others := await self._live():
                    await self._reconcile(others, set_port=False)
        except (TimeoutError, EtcdError, StatusError) as error:
            _LOG.info("this server stays among the endpoints until its lease runs out: %r", error)

    def _lease_key(self) -> str:
        return f"{LEASES}{self._address}"

    async def _renew(self) -> None:
        endpoints = self._stores.find("", "v1", "endpoints")
        if self._client is None or endpoints is None:  # switched off by --runtime-config
            return

        def renewed(present: dict[str, Any], _revision: int) -> dict[str, Any]:
            # Something has to change, or nothing would be written and the lease would run out.
            generation = (present.get("metadata") or {}).get("generation", 0)
            return {
                "apiVersion": "v1",
                "kind": "Endpoints",
                "metadata": {"generation": generation + 1},
                "subsets": [{"addresses": [{"ip": self._address}]}],
            }

        key = self._lease_key()
        await self._storage.update(endpoints.resource, key, renewed, create=True, ttl_seconds=LEASE_SECONDS)

    async def _live(self) -> list[str]:
        """The addresses of the servers there are, of our family, in the order in which kube-apiserver lists them."""
        if self._client is None:
            return [self._address]
        start = LEASES.encode()
        request = pb.RangeRequest(key=start, range_end=prefix_end(start), keys_only=True)
        try:
            response = await self._client.range(request)
        except EtcdError as error:
            raise from_etcd(error) from error
        addresses = (kv.key.decode().removeprefix(LEASES) for kv in response.kvs)
        version = ipaddress.ip_address(self._address).version
        return [address for address in addresses if ipaddress.ip_address(address).version == version]

    async def _reconcile(self, addresses: list[str], *, set_port: bool) -> None:
        family = f"IPv{ipaddress.ip_address(self._address).version}"
        port = {"name": "https", "port": self._port, "protocol": "TCP"}
        slice_content = {
            "addressType": family,
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
            "ports": [port],
        }
        labels = {"kubernetes.io/service-name": SERVICE}
        await self._write("discovery.k8s.io", "endpointslices", "EndpointSlice", labels, slice_content, set_port)
        subset = {"addresses": [{"ip": address} for address in addresses], "ports": [port]}
        labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
        await self._write("", "endpoints", "Endpoints", labels, {"subsets": [subset]}, set_port)

    async def _write(
        self, group: str, plural: str, kind: str, labels: dict[str, str], content: Object, set_port: bool
    ) -> None:
        """Create the object, or bring it up to date.

        Written past validation, which rightly forbids users what a server on loopback has to say of itself.
        """
        store = self._stores.find(group, "v1", plural)
        if store is None:
            return
        context = self._context_for(store, "default")

        def changed(present: dict[str, Any], revision: int) -> dict[str, Any]:
            if revision == 0:
                return self._new(store, context, kind, labels, content)
            if not set_port:
                _keep_ports(content, present)
            return {**present, **content}

        await self._storage.update(store.resource, store.key("default", SERVICE), changed, create=True)

    def _new(
        self, store: Store, context: OperationContext, kind: str, labels: dict[str, str], content: Object
    ) -> Object:
        metadata = {
            "name": SERVICE,
            "namespace": "default",
            "labels": labels,
            "uid": context.randomness.uuid4(),
            "creationTimestamp": format_time(int(self._clock.now())),
        }
        obj = {"apiVersion": store.resource.api_version, "kind": kind, "metadata": metadata, **content}
        store.strategy.default(context, obj)
        store.strategy.prepare_for_create(context, obj)
        return obj


def _keep_ports(content: Object, present: Object) -> None:
    """The ports that are there stand, in an Endpoints and in an EndpointSlice."""
    if present.get("ports"):
        content["ports"] = present["ports"]
    subsets: list[Object] = present.get("subsets") or []
    if "subsets" in content and len(subsets) == 1 and subsets[0].get("ports"):
        content["subsets"][0]["ports"] = subsets[0]["ports"]
