"""Our database as a file of etcd's, and looking into such files, without a server."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import pytest

from kvstore.app.restore import RestoreError, RestoreOptions, restore
from kvstore.backend import LMDBFile, write_lmdb_file
from kvstore.bolt import BoltReader, BoltWriter
from kvstore.environment import real_environment
from kvstore.etcdpb import kv_pb2
from kvstore.mvcc import encode_revision
from kvstore.server.identity import Identity, derive_identity
from kvstore.snapshot import SavedSnapshot, SnapshotError, human_bytes, write_snapshot
from raft.core import HardState
from raft.environment import RealFileSystem
from raft.wal import WAL

Buckets = dict[str, list[tuple[bytes, bytes]]]


class Source:
    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    def rows(self, bucket: str) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._buckets.get(bucket, []))


def revision(main: int, key: bytes, *, deleted: bool = False) -> tuple[bytes, bytes]:
    kv = kv_pb2.KeyValue(key=key) if deleted else kv_pb2.KeyValue(key=key, mod_revision=main, value=b"v" * 100)
    return encode_revision(main, 0) + (b"t" if deleted else b""), kv.SerializeToString()


BUCKETS: Buckets = {
    "key": [revision(2, b"a"), revision(3, b"b"), revision(4, b"a"), revision(5, b"b", deleted=True)],
    "meta": [(b"consistent_index", bytes(7) + b"\x09"), (b"term", bytes(7) + b"\x02")],
    "cluster": [(b"clusterVersion", b"3.6.0")],
    "members": [
        (b"a", b'{"id":10,"peerURLs":["http://a:1"],"name":"a"}'),
        (b"b", b'{"id":11,"peerURLs":["http://b:1"],"isLearner":true}'),
    ],
    "authUsers": [(b"alice", b"\x0a\x05alice")],
}


def exported(buckets: Buckets, *, digest: bool = True) -> bytes:
    file = io.BytesIO()
    sizes = list(write_snapshot(Source(buckets), file, "3.6.0", bytes_per_step=100))
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(file.getvalue())
    return file.getvalue() + (hashlib.sha256(file.getvalue()).digest() if digest else b"")


def test_what_etcd_has_is_exported() -> None:
    reader = BoltReader(io.BytesIO(exported(BUCKETS)))
    assert len(reader.buckets()) == 10
    assert list(reader.rows(b"cluster")) == [(b"clusterVersion", b"3.6.0")]
    for bucket in ("key", "members", "authUsers"):
        assert list(reader.rows(bucket.encode())) == BUCKETS[bucket]
    meta = dict(reader.rows(b"meta"))
    assert json.loads(meta.pop(b"confState")) == {"voters": [10], "learners": [11], "auto_leave": False}
    assert meta == {**dict(BUCKETS["meta"]), b"storageVersion": b"3.6.0"}


def test_status() -> None:
    data = exported(BUCKETS)
    status = SavedSnapshot(io.BytesIO(data)).status()
    reader = BoltReader(io.BytesIO(data))
    joined = b"".join(name + b"".join(key + value for key, value in reader.rows(name)) for name in reader.buckets())
    assert status.hash == google_crc32c.value(joined)
    assert (status.revision, status.total_keys, status.version) == (5, 1, "3.6.0")
    assert status.total_size == len(data) - 32


def bolt(buckets: Buckets) -> bytes:
    file = io.BytesIO()
    writer = BoltWriter(file)
    for name, rows in sorted(buckets.items()):
        writer.add_bucket(name.encode(), rows)
    writer.finish()
    return file.getvalue()


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([(b"no revision", b"")], "cannot parse revision key"),
        ([(encode_revision(2, 0), b"\xff\xff")], "cannot unmarshal value"),
    ],
)
def test_status_of_something_else(rows: list[tuple[bytes, bytes]], reason: str) -> None:
    with pytest.raises(SnapshotError, match=reason):
        SavedSnapshot(io.BytesIO(bolt({"key": rows}))).status()


def test_a_digest_is_told_by_the_size() -> None:
    for digest in (True, False):
        data = exported(BUCKETS, digest=digest)
        assert SavedSnapshot(io.BytesIO(data)).has_digest == digest
    snapshot = SavedSnapshot(io.BytesIO(data))
    with pytest.raises(SnapshotError, match="snapshot missing hash but --skip-hash-check=false"):
        snapshot.verify_digest()
    wrong = SavedSnapshot(io.BytesIO(data + bytes(32)))
    with pytest.raises(SnapshotError, match=r"expected sha256 \[0 0 0 .*\], got \["):
        wrong.verify_digest()


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (9, "9 B"), (10, "10 B"), (999, "999 B"), (1000, "1.0 kB"), (24_576, "25 kB"), (1_449_984, "1.4 MB")],
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert human_bytes(count) == text


# --- restore

CLUSTER = {"m1": ["http://m1:2380"], "m2": ["http://m2:2380"], "m3": ["http://m3:2380"]}


def options(tmp_path: Path, name: str = "m2", **changes: object) -> RestoreOptions:
    fields: dict[str, object] = {
        "snapshot_path": str(tmp_path / "saved.db"),
        "name": name,
        "data_dir": str(tmp_path / name),
        "initial_cluster": ",".join(f"{other}={urls[0]}" for other, urls in CLUSTER.items()),
        "initial_cluster_token": "new",
        "peer_urls": tuple(CLUSTER[name]),
        **changes,
    }
    return RestoreOptions(**fields)  # type: ignore[arg-type]


def database(directory: Path) -> dict[str, dict[bytes, bytes]]:
    source = LMDBFile(str(directory / "member" / "snap" / "db"))
    names = ("key", "meta", "cluster", "members", "members_removed", "authUsers")
    found = {name: dict(source.rows(name)) for name in names}
    source.close()
    return found


def test_the_cluster_is_new_and_the_data_is_not(tmp_path: Path) -> None:
    removed: Buckets = {**BUCKETS, "members_removed": [(b"c", b"removed")]}
    (tmp_path / "saved.db").write_bytes(exported(removed))
    identities = set()
    for name in CLUSTER:
        restore(options(tmp_path, name), real_environment())
        identity = derive_identity(CLUSTER, name, "new")
        rows = database(tmp_path / name)
        assert rows["key"] == dict(BUCKETS["key"])
        assert rows["authUsers"] == dict(BUCKETS["authUsers"])
        assert rows["meta"] == {b"consistent_index": bytes(7) + b"\x03", b"term": bytes(7) + b"\x01"}
        assert rows["cluster"] == {b"clusterVersion": b"3.6.0"}
        assert rows["members_removed"] == {}
        assert sorted(json.loads(member)["name"] for member in rows["members"].values()) == sorted(CLUSTER)
        wal, recovered = WAL.open(RealFileSystem(), str(tmp_path / name / "member" / "wal"))
        wal.close()
        voters = tuple(sorted(int(key, 16) for key in rows["members"]))
        assert Identity.decode(recovered.metadata) == identity
        assert recovered.hard_state == HardState(1, voters[0], 3)
        assert [entry.index for entry in recovered.entries] == [1, 2, 3]
        assert recovered.snapshots[-1].conf_state is not None
        assert (recovered.snapshots[-1].index, recovered.snapshots[-1].conf_state.voters) == (3, voters)
        identities.add(identity)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o700
        assert (tmp_path / name / "member" / "snap" / "db").stat().st_mode & 0o777 == 0o600
    assert len(identities) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m1", "m2", "m3", "saved.db"]


def test_a_higher_revision_is_compacted(tmp_path: Path) -> None:
    (tmp_path / "saved.db").write_bytes(exported(BUCKETS))
    restore(options(tmp_path, revision_bump=1000), real_environment())
    rows = database(tmp_path / "m2")
    assert list(rows["key"].items()) == [*BUCKETS["key"], (encode_revision(1005, 0), b"")]
    assert rows["meta"][b"scheduledCompactRev"] == encode_revision(1005, 0)
    with pytest.raises(RestoreError, match="no revisions so high"):
        restore(options(tmp_path, "m1", revision_bump=(1 << 63) - 1), real_environment())


@pytest.mark.parametrize(
    ("buckets", "reason"),
    [
        ({"key": [(b"no revision", b"")]}, "no key and value at revision"),
        ({"key": [(encode_revision(2, 0), b"\xff\xff")]}, "no key and value at revision"),
        ({"lease": [(bytes(8), b"\xff\xff")]}, "unreadable value at"),
        ({"alarm": [(b"\xff\xff", b"")]}, "unreadable value at"),
        ({"meta": [(b"finishedCompactRev", b"7")]}, "unreadable value at"),
        ({"authUsers": [(b"u" * 600, b"")]}, "m2.*db: "),
    ],
)
def test_databases_that_no_server_could_use(tmp_path: Path, buckets: Buckets, reason: str) -> None:
    (tmp_path / "saved.db").write_bytes(bolt(buckets))
    with pytest.raises(RestoreError, match=reason):
        restore(options(tmp_path, skip_hash_check=True), real_environment())
    assert [path.name for path in tmp_path.iterdir()] == ["saved.db"]


def test_lmdb_files_of_any_size(tmp_path: Path) -> None:
    """More than the map is made for at first."""
    path = str(tmp_path / "db")
    rows = [(encode_revision(number, 0), bytes(1_500_000)) for number in range(2, 202)]
    counted: list[int] = []
    write_lmdb_file(path, [("key", rows), ("meta", [(b"a", b"1")])], counted.append)
    source = LMDBFile(path)
    assert [key for key, _ in source.rows("key")] == [key for key, _ in rows]
    assert (list(source.rows("meta")), list(source.rows("none"))) == ([(b"a", b"1")], [])
    source.close()
    assert sum(counted) == 201
