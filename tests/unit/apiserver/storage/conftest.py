"""A watch cache over a fake store on a clock that moves when told to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from apiserver.api.scheme import Resource, Scheme, load_scheme
from apiserver.codec import Codec
from apiserver.storage.cacher import Cacher
from apiserver.storage.etcd3 import Etcd3Storage
from apiserver.storage.scheme_codec import SchemeCodec
from kvstore.environment import Environment, RealFileSystem, SeededRandomness
from tests.conformance.storage.fake_clock import FakeClock
from tests.conformance.storage.fake_etcd import FakeClient, FakeEtcd


@pytest.fixture(scope="session")
def scheme() -> Scheme:
    return load_scheme()


@pytest.fixture
def maps(scheme: Scheme) -> Resource:
    found = scheme.resource("", "v1", "configmaps")
    assert found is not None
    return found


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def etcd(clock: FakeClock) -> FakeEtcd:
    return FakeEtcd(clock)


@pytest.fixture
def object_codec(scheme: Scheme) -> SchemeCodec:
    return SchemeCodec(Codec(scheme))


@pytest.fixture
def etcd3(etcd: FakeEtcd, clock: FakeClock, object_codec: SchemeCodec) -> Etcd3Storage:
    return Etcd3Storage(FakeClient(etcd), object_codec, Environment(clock, SeededRandomness(1), RealFileSystem()))


@pytest.fixture
async def cacher(etcd3: Etcd3Storage) -> AsyncIterator[Cacher]:
    storage = Cacher(etcd3)
    yield storage
    await storage.close()
