"""Stores to run the suite on: in this process, ours as a process, and a real etcd."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kvstore.app import Options, start_member
from kvstore.client import Client
from kvstore.client.grpc import GrpcClient
from kvstore.environment import real_environment
from tests.integration.etcd_process import READY_LINE, EtcdProcess, binary, free_ports

READY_SECONDS_MAX = 20.0


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
    directory: Path = tmp_path_factory.mktemp("mini-etcd")
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "kvstore",
        f"--data-dir={directory / 'data'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=Path(__file__).parents[3])
    log: list[bytes] = []
    ready = threading.Event()

    def read_log() -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                log.append(line)
                if READY_LINE in line:
                    ready.set()
        ready.set()

    threading.Thread(target=read_log, daemon=True).start()
    assert ready.wait(READY_SECONDS_MAX), log
    assert process.poll() is None, b"".join(log).decode()
    yield url
    process.terminate()
    assert process.wait(10) == 0, b"".join(log).decode()


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
