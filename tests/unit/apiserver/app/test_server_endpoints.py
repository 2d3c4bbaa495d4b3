"""The endpoints of the `kubernetes` Service: every server that lives, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from apiserver.api.scheme import Resource, load_scheme
from apiserver.app.internal_writes import LOOPBACK_USER
from apiserver.app.server_endpoints import LEASE_SECONDS, RENEW_SECONDS, ServerEndpoints
from apiserver.codec import Codec
from apiserver.registry.interface import OperationContext
from apiserver.registry.kinds import KindOptions, Strategies
from apiserver.registry.store import Store
from apiserver.registry.stores import StoreReader, Stores
from apiserver.storage.cacher import Cacher
from apiserver.storage.etcd3 import Etcd3Storage
from apiserver.storage.scheme_codec import SchemeCodec
from kvstore.environment import Environment, RealFileSystem, SeededRandomness
from tests.conformance.storage.fake_clock import FakeClock
from tests.conformance.storage.fake_etcd import FakeClient, FakeEtcd

SCHEME = load_scheme()


class World:
    """A store, a clock, and the servers on them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.etcd = FakeEtcd(self.clock)
        self.environment = Environment(self.clock, SeededRandomness(1), RealFileSystem())

    @asynccontextmanager
    async def server(self, address: str, port: int = 6443, *, shared: bool = True) -> AsyncIterator[ServerEndpoints]:
        client = FakeClient(self.etcd)
        cacher = Cacher(Etcd3Storage(client, SchemeCodec(Codec(SCHEME)), self.environment))
        strategies = Strategies(SCHEME, KindOptions(service_cidrs=("10.0.0.0/24",)))
        self.stores = stores = Stores(SCHEME, lambda resource: cacher, strategies.of, served)
        reader = StoreReader(stores)

        def context(store: Store, namespace: str) -> OperationContext:
            return OperationContext(
                resource=store.resource,
                namespace=namespace,
                user=LOOPBACK_USER,
                clock=self.clock,
                randomness=self.environment.randomness,
                reader=reader,
                warn=lambda text: None,
            )

        yield ServerEndpoints(stores, cacher, client if shared else None, context, self.clock, address, port)
        await cacher.close()

    async def endpoints(self) -> tuple[list[str], int]:
        """Addresses and port, which slice and Endpoints agree about."""
        found = {}
        for group, plural in (("discovery.k8s.io", "endpointslices"), ("", "endpoints")):
            store = self.stores.find(group, "v1", plural)
            assert store is not None
            found[plural] = (await store.get("default", "kubernetes")).view(store.resource)
        (subset,) = found["endpoints"]["subsets"]
        addresses = [address for each in found["endpointslices"]["endpoints"] for address in each["addresses"]]
        assert addresses == [each["ip"] for each in subset["addresses"]]
        assert found["endpointslices"]["ports"] == subset["ports"]
        return addresses, subset["ports"][0]["port"]


def served(resource: Resource) -> bool:
    return True


@pytest.fixture
def world() -> World:
    return World()


async def test_a_server_alone_needs_no_lease(world: World) -> None:
    async with world.server("10.1.0.1", shared=False) as only:
        await only.publish()
        assert await world.endpoints() == (["10.1.0.1"], 6443)
        await only.run()  # has nothing to do
        await only.withdraw()
        assert await world.endpoints() == (["10.1.0.1"], 6443)
    assert not world.etcd.leases


async def test_servers_come_and_go(world: World) -> None:
    async with world.server("10.1.0.2") as second, world.server("10.1.0.1") as first:
        await asyncio.gather(first.publish(), second.publish())
        assert await world.endpoints() == (["10.1.0.1", "10.1.0.2"], 6443)
        await first.withdraw()
        assert await world.endpoints() == (["10.1.0.2"], 6443)
        await second.withdraw()  # the last one stays: an empty list would be a lie to those who still look
        assert await world.endpoints() == (["10.1.0.2"], 6443)


async def test_a_server_that_dies_is_taken_out_when_its_lease_has_run_out(world: World) -> None:
    async with world.server("10.1.0.1") as dead, world.server("10.1.0.2") as alive:
        await dead.publish()
        await alive.publish()
        running = asyncio.create_task(alive.run())
        await world.clock.advance(RENEW_SECONDS)
        world.etcd.expire_leases()
        assert await world.endpoints() == (["10.1.0.1", "10.1.0.2"], 6443)
        await world.clock.advance(LEASE_SECONDS)
        world.etcd.expire_leases()
        await world.clock.advance(RENEW_SECONDS)
        assert await world.endpoints() == (["10.1.0.2"], 6443)
        running.cancel()


async def test_the_port_is_that_of_the_server_that_came_last_and_stays(world: World) -> None:
    async with world.server("10.1.0.1", 6443) as first, world.server("10.1.0.2", 7443) as second:
        await first.publish()
        await second.publish()
        running = asyncio.create_task(first.run())
        await world.clock.advance(RENEW_SECONDS)
        assert await world.endpoints() == (["10.1.0.1", "10.1.0.2"], 7443)
        running.cancel()


async def test_servers_of_the_other_family_are_left_out(world: World) -> None:
    async with world.server("fd00::1") as six, world.server("10.1.0.1") as four:
        await six.publish()
        await four.publish()
        assert await world.endpoints() == (["10.1.0.1"], 6443)
