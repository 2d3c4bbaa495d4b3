"""Stores to run the suite on: in this process, ours as a process, and a real etcd."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kvstore.app import Options, start_member
from kvstore.client import Client
from kvstore.client.grpc import GrpcClient
from kvstore.environment import real_environment
from tests.integration.etcd_process import MINI_ETCD, EtcdProcess, binary


@pytest.fixture(scope="session")
def reference_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """A real etcd of the suite's own; None where none is installed."""
    if binary("etcd") is None:
        yield None
        return
    with EtcdProcess.start(tmp_path_factory.mktemp("reference")) as process:
        yield process.endpoint


@pytest.fixture(scope="session")
def mini_etcd_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our server as a process."""
    with EtcdProcess.start(tmp_path_factory.mktemp("mini-etcd"), program=MINI_ETCD) as process:
        yield process.endpoint
        process.stop()
        assert process.process.returncode == 0, b"".join(process.log).decode()


@pytest.fixture
async def in_process(tmp_path: Path) -> AsyncIterator[Client]:
    member = await start_member(Options(data_dir=str(tmp_path / "data")), real_environment())
    yield member.client()
    await member.stop()


@pytest.fixture
async def over_grpc(mini_etcd_endpoint: str) -> AsyncIterator[Client]:
    client = GrpcClient([mini_etcd_endpoint])
    yield client
    await client.close()


@pytest.fixture
async def reference(reference_endpoint: str | None) -> AsyncIterator[Client | None]:
    if reference_endpoint is None:
        yield None
        return
    client = GrpcClient([reference_endpoint])
    yield client
    await client.close()
