"""What every cluster begins with, made by servers that start at once on one store."""

from __future__ import annotations

import asyncio

import pytest

from apiserver.api.scheme import Resource, load_scheme
from apiserver.api.status import StatusError
from apiserver.app.bootstrap import SETTLE_SECONDS, SYSTEM_NAMESPACES, Bootstrap
from apiserver.app.internal_writes import LOOPBACK_USER, InternalWriter
from apiserver.app.options import Options
from apiserver.codec import Codec
from apiserver.registry.interface import OperationContext
from apiserver.registry.kinds import KindOptions, Strategies
from apiserver.registry.store import Store
from apiserver.registry.stores import StoreReader, Stores
from apiserver.storage.cacher import Cacher
from apiserver.storage.etcd3 import Etcd3Storage
from apiserver.storage.scheme_codec import SchemeCodec
from kvstore.environment import Environment, RealFileSystem, SeededRandomness
from kvstore.errors import EtcdError, StatusCode
from tests.conformance.storage.fake_clock import FakeClock
from tests.conformance.storage.fake_etcd import FakeClient, FakeEtcd

SCHEME = load_scheme()


class Starting:
    """A server as far as it is needed here; `latency` decides how its steps and those of others interleave."""

    def __init__(self, etcd: FakeEtcd, clock: FakeClock, latency: int) -> None:
        environment = Environment(clock, SeededRandomness(latency), RealFileSystem())
        storage = Etcd3Storage(FakeClient(etcd, latency), SchemeCodec(Codec(SCHEME)), environment)
        self.cacher = cacher = Cacher(storage)
        kinds = KindOptions(service_cidrs=("10.0.0.0/24",))
        self.stores = Stores(SCHEME, lambda resource: cacher, Strategies(SCHEME, kinds).of, served)
        reader = StoreReader(self.stores)

        def context(store: Store, namespace: str) -> OperationContext:
            return OperationContext(
                resource=store.resource,
                namespace=namespace,
                user=LOOPBACK_USER,
                clock=clock,
                randomness=environment.randomness,
                reader=reader,
                warn=lambda text: None,
            )

        kinds.writer = writer = InternalWriter(self.stores, context)
        self.bootstrap = Bootstrap(self.stores, writer, clock, Options())

    async def run(self) -> None:
        await self.bootstrap.before_serving()
        await self.bootstrap.service(6443)


def served(resource: Resource) -> bool:
    return True


async def passed(clock: FakeClock, work: asyncio.Future[list[None]]) -> None:
    """Let time pass until the work is done."""
    while not work.done():
        await clock.advance(0.05)
    await work


@pytest.mark.parametrize("latencies", [(0, 0, 0), (0, 1, 2), (3, 1, 2), (1, 20, 60), (60, 2, 7)])
async def test_servers_that_start_at_once_agree(latencies: tuple[int, ...]) -> None:
    clock = FakeClock()
    etcd = FakeEtcd(clock)
    servers = [Starting(etcd, clock, latency) for latency in latencies]
    await passed(clock, asyncio.gather(*(server.run() for server in servers)))
    for server in servers:
        services = server.stores.find("", "v1", "services")
        assert services is not None
        service = (await services.get("default", "kubernetes")).view(services.resource)
        assert service["spec"]["clusterIP"] == "10.0.0.1"
        await server.cacher.close()
    written = [event.kv.key.decode() for event in etcd.events]
    assert len(written) == len(set(written))  # each was made once, and nothing was taken back
    assert {f"/registry/namespaces/{name}" for name in SYSTEM_NAMESPACES} <= set(written)
    assert "/registry/ipaddresses/10.0.0.1" in written


async def test_a_store_that_is_away_for_a_moment_is_waited_for() -> None:
    clock = FakeClock()
    etcd = FakeEtcd(clock)
    server = Starting(etcd, clock, 0)
    etcd.failure = EtcdError(StatusCode.UNAVAILABLE, "etcdserver: no leader")
    running = asyncio.gather(server.run())
    await clock.advance(SETTLE_SECONDS / 2)
    assert not running.done()
    etcd.failure = None
    await passed(clock, running)
    await server.cacher.close()


async def test_a_store_that_stays_away_is_given_up() -> None:
    clock = FakeClock()
    etcd = FakeEtcd(clock)
    server = Starting(etcd, clock, 0)
    etcd.failure = EtcdError(StatusCode.UNAVAILABLE, "etcdserver: no leader")
    with pytest.raises(StatusError, match="no leader"):
        await passed(clock, asyncio.gather(server.run()))
    await server.cacher.close()
