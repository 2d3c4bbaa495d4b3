"""The other commands: dump, defrag, version; help; arguments in Go's forms."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kvstore.app import Options, start_member
from kvstore.environment import real_environment
from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.kvstore_snapshot.conftest import etcdctl, restore_ours, save
from tests.integration.mini_etcd_process import MiniEtcdProcess, mini_etcd

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose server has stopped; beside it a snapshot of it."""
    directory = tmp_path_factory.mktemp("stopped")
    with MiniEtcdProcess.start(directory) as ours:
        etcdctl(ours.endpoint, "put", "color", "blue")
        etcdctl(ours.endpoint, "put", "long", "x" * 10_000)
        etcdctl(ours.endpoint, "del", "color")
        etcdctl(ours.endpoint, "lease", "grant", "500")
        etcdctl(ours.endpoint, "user", "add", "alice:secret-of-alice")
        save(ours, directory / "saved.db")
    return directory


def lines(*arguments: str) -> list[str]:
    done = mini_etcd(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_dump_the_log(stopped: Path) -> None:
    shown = lines("dump", "wal", f"--data-dir={stopped / 'etcd'}")
    assert shown[0].startswith("WAL metadata: nodeID=")
    assert any('put { key: "color" value: "blue" }' in line for line in shown)
    (user,) = (line for line in shown if "auth_user_add" in line)
    assert 'name: "alice"' in user
    assert "assword" not in user
    assert max(map(len, shown)) < 200


def test_dump_the_database(stopped: Path) -> None:
    shown = lines("dump", "db", f"--data-dir={stopped / 'etcd'}")
    at = shown.index("bucket key")
    assert shown[at + 1].startswith('  rev={2 0} key: "color" create_revision: 2 mod_revision: 2')
    assert shown[at + 3] == '  rev={4 0} deleted key: "color"'
    assert "  alice" in shown
    assert not any("secret" in line for line in shown)
    saved = lines("dump", "db", f"--file={stopped / 'saved.db'}", "--bucket", "key")
    assert saved == shown[at : at + 4]


def test_defrag(stopped: Path, tmp_path: Path) -> None:
    async def fill_and_empty() -> None:
        member = await start_member(Options(data_dir=str(tmp_path / "data"), sync=False), real_environment())
        client = member.client()
        for number in range(100):
            put = await client.put(pb.PutRequest(key=b"a", value=bytes([number]) * 50_000))
        await member.core.backend.flush()
        await client.compact(pb.CompactionRequest(revision=put.header.revision, physical=True))
        await member.stop()

    asyncio.run(fill_and_empty())
    database = tmp_path / "data" / "member" / "snap" / "db"
    before = database.stat().st_size
    (said,) = lines("defrag", "--data-dir", str(tmp_path / "data"))
    assert said.startswith("Finished defragmenting")
    assert database.stat().st_size < before / 4
    assert any('key: "a"' in line for line in lines("dump", "db", f"--data-dir={tmp_path / 'data'}"))


def test_a_directory_in_use(stopped: Path, tmp_path: Path) -> None:
    with MiniEtcdProcess.start(restore_ours(stopped / "saved.db", tmp_path)) as ours:
        for command in (("defrag",), ("dump", "db"), ("dump", "wal")):
            refused = mini_etcd(*command, f"--data-dir={tmp_path / 'etcd'}")
            assert refused.returncode == 1
            assert "is in use by another server" in refused.stderr
        assert etcdctl(ours.endpoint, "get", "long", "--keys-only").strip() == "long"


def test_version_and_help(stopped: Path) -> None:
    assert lines("version")[1] == "API version: 3.6"
    for command in (["snapshot"], ["snapshot", "status"], ["snapshot", "restore"], ["defrag"], ["dump"], ["version"]):
        assert lines(*command, "--help")[0].startswith(f"usage: mini-etcd {' '.join(command)}")
    for command in (["snapshot"], ["snapshot", "save"], ["dump"], ["dump", "wal"], ["defrag"], ["snapshot", "status"]):
        refused = mini_etcd(*command)
        assert refused.returncode == 2
        assert "Traceback" not in refused.stderr
    assert "mini-etcd snapshot status|restore FILE" in mini_etcd("--help").stdout


def test_starting_a_server_does_not_load_the_commands(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = "import sys, kvstore.__main__, kvstore.app.serve; print(*(name for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "kvstore.app.serve" in loaded
    assert not {"argparse", "kvstore.app.commands", "kvstore.app.restore"} & set(loaded)
