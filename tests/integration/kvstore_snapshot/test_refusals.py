"""What is not restored, and what is said then: nothing is left behind, never a traceback."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.kvstore_snapshot.conftest import etcdctl, etcdutl, save
from tests.integration.mini_etcd_process import MiniEtcdProcess, mini_etcd

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("snapshot")
    with MiniEtcdProcess.start(directory) as ours:
        for number in range(30):
            etcdctl(ours.endpoint, "put", f"key{number}", "value" * 100)
        return save(ours, directory / "saved.db")


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The reason, which is the last line."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def restore(snapshot: Path, directory: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return mini_etcd("snapshot", "restore", str(snapshot), f"--data-dir={directory / 'new'}", *flags)


def test_damaged_snapshots(snapshot: Path, tmp_path: Path) -> None:
    whole = snapshot.read_bytes()
    flipped = bytearray(whole)
    flipped[3 * 4096 + 30] ^= 4
    database = whole[:-32]
    for content, flags, reason, by_etcd in (
        (bytes(flipped), [], "expected sha256 [", True),
        (whole[: len(whole) // 2], [], "snapshot missing hash but --skip-hash-check=false", True),
        (database, [], "snapshot missing hash but --skip-hash-check=false", True),
        (database[: 5 * 4096], ["--skip-hash-check"], "the file is truncated", False),
        (bytes(flipped[:-32]), ["--skip-hash-check=true"], "page 3", False),
        (b"", [], "missing hash", True),
        (b"", ["--skip-hash-check"], "invalid database", False),
        (b"no database" * 1000, ["--skip-hash-check"], "invalid database", False),
    ):
        damaged = tmp_path / "damaged.db"
        damaged.write_bytes(content)
        assert reason in refused(restore(damaged, tmp_path, *flags))
        assert [path.name for path in tmp_path.iterdir()] == ["damaged.db"]
        if by_etcd:  # the others it takes for good, or it panics
            assert etcdutl("snapshot", "restore", str(damaged), f"--data-dir={tmp_path / 'e'}", *flags).returncode != 0
            subprocess.run(["rm", "-rf", str(tmp_path / "e")], check=True)
        if content not in (whole, database) and "sha256" not in reason:
            assert refused(mini_etcd("snapshot", "status", str(damaged)))


def test_a_database_file_has_no_hash(snapshot: Path, tmp_path: Path) -> None:
    database = tmp_path / "db"
    database.write_bytes(snapshot.read_bytes()[:-32])
    assert restore(database, tmp_path, "--skip-hash-check").returncode == 0
    assert (
        mini_etcd("snapshot", "status", str(database)).stdout == mini_etcd("snapshot", "status", str(snapshot)).stdout
    )


def test_what_is_there_is_not_touched(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "file").write_text("mine")
    assert 'new" not empty or could not be read' in refused(restore(snapshot, tmp_path))
    (tmp_path / "wal").mkdir()
    flags = [f"--data-dir={tmp_path / 'other'}", f"--wal-dir={tmp_path / 'wal'}"]
    assert 'wal" exists' in refused(mini_etcd("snapshot", "restore", str(snapshot), *flags))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "wal"]
    (tmp_path / "new" / "file").unlink()
    assert restore(snapshot, tmp_path).returncode == 0  # an empty one is as good as none
    assert "not empty" in refused(restore(snapshot, tmp_path))


def test_the_log_elsewhere(snapshot: Path, tmp_path: Path) -> None:
    done = restore(snapshot, tmp_path, f"--wal-dir={tmp_path / 'wal'}")
    assert done.returncode == 0, done.stderr
    (tmp_path / "new").rename(tmp_path / "etcd")
    with MiniEtcdProcess.start(tmp_path, flags=[f"--wal-dir={tmp_path / 'wal'}"]) as ours:
        assert etcdctl(ours.endpoint, "get", "key7", "--print-value-only") == "value" * 100 + "\n"


@pytest.mark.parametrize(
    ("flags", "status", "reason"),
    [
        (["--name=other"], 1, "couldn't find local name"),
        (
            ["--initial-cluster=default=http://a:1,b=http://a:1", "--initial-advertise-peer-urls=http://a:1"],
            1,
            "duplicate",
        ),
        (["--initial-cluster=default=http://a:1"], 1, "missing from --initial-advertise-peer-urls"),
        (["--initial-cluster=nonsense"], 1, "error parsing initial cluster"),
        (["--bump-revision=5"], 2, "--mark-compacted required if --bump-revision > 0"),
        (["--mark-compacted"], 2, "--mark-compacted required if --bump-revision > 0"),
        (["--bump-revision=-1", "--mark-compacted"], 2, "invalid _revisions value"),
        (["--bogus"], 2, "unrecognized arguments: --bogus"),
    ],
)
def test_wrong_flags(snapshot: Path, tmp_path: Path, flags: list[str], status: int, reason: str) -> None:
    done = restore(snapshot, tmp_path, *flags)
    assert done.returncode == status
    assert reason in refused(done)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert refused(mini_etcd("snapshot", "status", str(missing))).endswith(f"{missing}: No such file or directory")
    assert "No such file or directory" in refused(restore(missing, tmp_path))
    assert refused(mini_etcd("snapshot", "status", str(tmp_path)))
    assert "there is no member" in refused(mini_etcd("dump", "db", f"--data-dir={missing}"))
    assert "there is no database" in refused(mini_etcd("defrag", f"--data-dir={missing}"))
    assert list(tmp_path.iterdir()) == []
