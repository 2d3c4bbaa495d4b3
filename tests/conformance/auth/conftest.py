"""Our server and a real etcd, both with passwords that are quickly hashed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.etcd_process import MINI_ETCD, EtcdProcess, binary

FLAGS = ("--bcrypt-cost=4",)


@pytest.fixture(scope="session")
def mini_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EtcdProcess.start(tmp_path_factory.mktemp("mini-etcd"), flags=FLAGS, program=MINI_ETCD) as process:
        yield process.endpoint


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """A real etcd of the suite's own; None where none is installed."""
    if binary("etcd") is None:
        yield None
        return
    with EtcdProcess.start(tmp_path_factory.mktemp("etcd"), flags=FLAGS) as process:
        yield process.endpoint
