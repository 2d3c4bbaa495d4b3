"""mini-etcd as a process of its own, for clients that mean no good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.etcd_process import MINI_ETCD, EtcdProcess


@pytest.fixture(scope="session")
def mini_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    """One for all tests: what one client does to it is for the next to notice."""
    with EtcdProcess.start(tmp_path_factory.mktemp("mini-etcd"), program=MINI_ETCD) as process:
        yield process
        assert process.process.poll() is None, b"".join(process.log[-5:])
        assert not any(b"Traceback" in line or b'"level":"error"' in line for line in process.log)


def resident_bytes(process: EtcdProcess) -> int:
    """Resident memory of a server, as the kernel counts it."""
    for line in Path(f"/proc/{process.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")
