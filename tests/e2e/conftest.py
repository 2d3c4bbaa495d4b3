"""Fixtures of the end-to-end tests: one server for the session, a namespace for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.e2e.server_process import Kubectl, ServerProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    # Many tests are about all ConfigMaps of a namespace, and want to begin with none.
    quiet = "--controllers=*,-root-ca-certificate-publisher-controller"
    running = ServerProcess(tmp_path_factory.mktemp("e2e") / "data", quiet).start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def kubectl(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return Kubectl(server.kubeconfig, tmp_path_factory.mktemp("home"))


_numbers = itertools.count()


@pytest.fixture
def namespace(kubectl: Kubectl, worker_id: str) -> str:
    name = f"test-{worker_id}-{next(_numbers)}"
    kubectl("create", "namespace", name)
    return name
