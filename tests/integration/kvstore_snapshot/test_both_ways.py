"""A snapshot of ours in a real etcd, one of a real etcd in ours: the same keys, revisions, history, leases, users."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from kvstore.bolt import BoltReader
from kvstore.client.grpc import GrpcClient
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.etcd_process import EtcdProcess
from tests.integration.kvstore_snapshot.conftest import (
    COMPACTED,
    LEASE,
    etcdctl,
    etcdutl,
    look,
    restore_ours,
    restore_real,
    save,
    write_history,
)
from tests.integration.mini_etcd_process import MiniEtcdProcess, mini_etcd

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize("compacted", [0, COMPACTED])
async def test_ours_in_a_real_etcd(tmp_path: Path, compacted: int) -> None:
    with MiniEtcdProcess.start(tmp_path / "ours") as ours:
        await write_history(ours, compacted)
        seen = await look(ours.endpoint, compacted)
        snapshot = save(ours, tmp_path / "saved.db")
    with EtcdProcess.start(restore_real(snapshot, tmp_path / "real")) as real:
        assert await look(real.endpoint, compacted) == seen
        client = GrpcClient([real.endpoint])
        assert (await client.put(pb.PutRequest(key=b"new", value=b""))).header.revision == seen.revision + 1
        if compacted:
            with pytest.raises(EtcdError, match="compacted"):
                await client.range(pb.RangeRequest(key=b"a", revision=compacted - 1))
        await client.close()


@pytest.mark.parametrize("compacted", [0, COMPACTED])
async def test_a_real_etcd_s_in_ours(tmp_path: Path, compacted: int) -> None:
    with EtcdProcess.start(tmp_path / "real") as real:
        await write_history(real, compacted)
        seen = await look(real.endpoint, compacted)
        snapshot = save(real, tmp_path / "saved.db")
    with MiniEtcdProcess.start(restore_ours(snapshot, tmp_path / "ours")) as ours:
        assert await look(ours.endpoint, compacted) == seen
        client = GrpcClient([ours.endpoint])
        assert (await client.put(pb.PutRequest(key=b"new", value=b""))).header.revision == seen.revision + 1
        if compacted:
            with pytest.raises(EtcdError, match="compacted"):
                await client.range(pb.RangeRequest(key=b"a", revision=compacted - 1))
        await client.close()
        again = save(ours, tmp_path / "again.db")
    with EtcdProcess.start(restore_real(again, tmp_path / "back")) as back:  # and home again
        seen_back = await look(back.endpoint, compacted)
        assert seen_back.history[: len(seen.history)] == seen.history
        assert (seen_back.lease, seen_back.users) == (seen.lease, seen.users)


def rows_of(snapshot: Path) -> dict[str, dict[bytes, bytes]]:
    with snapshot.open("rb") as file:
        reader = BoltReader(file)
        reader.check()
        return {name.decode(): dict(reader.rows(name)) for name in reader.buckets()}


async def test_equal_histories_make_equal_databases(tmp_path: Path) -> None:
    """Key by key. Different is only what must be: ids and URLs of the members, positions in the log, the version."""
    saved = {}
    for name, kind in (("ours", MiniEtcdProcess), ("real", EtcdProcess)):
        with kind.start(tmp_path / name) as member:
            await write_history(member)
            saved[name] = rows_of(save(member, tmp_path / f"{name}.db"))
    ours, real = saved["ours"], saved["real"]
    assert set(ours) == set(real)
    for bucket in ("key", "lease", "alarm", "members_removed", "authRoles"):
        assert ours[bucket] == real[bucket], bucket
    assert set(ours["meta"]) - set(real["meta"]) == {b"storageVersion"}  # new in 3.6
    assert set(real["meta"]) <= set(ours["meta"])
    for key in (b"scheduledCompactRev", b"finishedCompactRev"):
        assert ours["meta"][key] == real["meta"][key]
    for key in set(real["meta"]):
        assert len(ours["meta"][key]) == len(real["meta"][key]) or key == b"confState"
    for rows in (ours, real):
        (member_id,) = rows["members"]
        assert json.loads(rows["meta"][b"confState"]) == {"voters": [int(member_id, 16)], "auto_leave": False}
        member = json.loads(rows["members"][member_id])
        assert member["id"] == int(member_id, 16)
        assert set(member) - {"clientURLs"} == {"id", "name", "peerURLs"}  # early 3.5 has no client URLs there
    assert set(ours["cluster"]) == set(real["cluster"]) == {b"clusterVersion"}
    assert set(ours["authUsers"]) == set(real["authUsers"]) == {b"alice"}
    assert ours["auth"] == real["auth"]


async def test_alarms_go_along(tmp_path: Path) -> None:
    with MiniEtcdProcess.start(tmp_path / "small", flags=["--quota-backend-bytes=400000"]) as ours:
        client = GrpcClient([ours.endpoint])
        for number in range(10):
            with contextlib.suppress(EtcdError):
                await client.put(pb.PutRequest(key=b"%d" % number, value=bytes(100_000)))
        await client.close()
        alarm = etcdctl(ours.endpoint, "alarm", "list")
        assert "alarm:NOSPACE" in alarm
        snapshot = save(ours, tmp_path / "saved.db")
    with EtcdProcess.start(restore_real(snapshot, tmp_path / "real")) as real:
        assert etcdctl(real.endpoint, "alarm", "list") == alarm
        again = save(real, tmp_path / "again.db")
    with MiniEtcdProcess.start(restore_ours(again, tmp_path / "ours")) as ours:
        assert etcdctl(ours.endpoint, "alarm", "list") == alarm


async def test_status_says_what_etcdutl_says(tmp_path: Path) -> None:
    """But for the total: etcdutl counts every row of every bucket before 3.6, and the keys that are there since."""
    for name, kind in (("ours", MiniEtcdProcess), ("real", EtcdProcess)):
        with kind.start(tmp_path / name) as member:
            await write_history(member)
            seen = await look(member.endpoint)
            snapshot = save(member, tmp_path / f"{name}.db")
        theirs = json.loads(etcdutl("snapshot", "status", str(snapshot), "-w", "json").stdout)
        mine = json.loads(mini_etcd("snapshot", "status", str(snapshot), "-w", "json").stdout)
        assert {key: mine[key] for key in ("hash", "revision", "totalSize")} == {
            key: theirs[key] for key in ("hash", "revision", "totalSize")
        }
        assert mine["totalKey"] == len(seen.ranges[seen.revision])
        assert theirs["totalKey"] == sum(map(len, rows_of(snapshot).values()))
        assert mine["version"] == ("3.6.0" if name == "ours" else "")
        simple = mini_etcd("snapshot", "status", str(snapshot)).stdout.rstrip("\n").split(", ")
        theirs_simple = etcdutl("snapshot", "status", str(snapshot)).stdout.rstrip("\n").split(", ")
        assert [simple[0], simple[1], simple[3]] == [theirs_simple[0], theirs_simple[1], theirs_simple[3]]
        assert mini_etcd("snapshot", "status", str(snapshot), "-w", "table").stdout.count(theirs_simple[0]) == 1
        assert f'"Hash" : {theirs["hash"]}\n' in mini_etcd("snapshot", "status", str(snapshot), "-w", "fields").stdout


def test_etcd_3_4_takes_it_too(tmp_path: Path) -> None:
    old = "/usr/bin/etcdctl"
    version = subprocess.run([old, "version"], capture_output=True, text=True).stdout if shutil.which(old) else ""
    if "version: 3.4" not in version:
        pytest.skip("etcd 3.4 is not installed (apt-get install etcd-client)")
    with MiniEtcdProcess.start(tmp_path / "ours") as ours:
        etcdctl(ours.endpoint, "put", "a", "1")
        saved = tmp_path / "saved.db"
        for command in (
            [f"--endpoints={ours.endpoint}", "snapshot", "save", str(saved)],
            ["snapshot", "status", str(saved)],
            ["snapshot", "restore", str(saved), f"--data-dir={tmp_path / 'restored'}"],
        ):
            subprocess.run([old, *command], check=True, capture_output=True, env={"ETCDCTL_API": "3"})
    assert (tmp_path / "restored" / "member" / "snap" / "db").exists()


@pytest.mark.parametrize("bump", [1_000, 1_000_000_000])
async def test_restore_with_a_higher_revision(tmp_path: Path, bump: int) -> None:
    """Nobody who knows the old cluster may see other data under a revision that it has seen."""
    with EtcdProcess.start(tmp_path / "real") as real:
        await write_history(real)
        seen = await look(real.endpoint)
        snapshot = save(real, tmp_path / "saved.db")
    flags = [f"--bump-revision={bump}", "--mark-compacted"]
    with MiniEtcdProcess.start(restore_ours(snapshot, tmp_path / "ours", *flags)) as ours:
        client = GrpcClient([ours.endpoint])
        newest = await client.range(pb.RangeRequest(key=b"\0", range_end=b"\0"))
        assert newest.header.revision == seen.revision + bump
        stored = [kv.SerializeToString(deterministic=True) for kv in newest.kvs]
        assert stored == seen.ranges[seen.revision]
        with pytest.raises(EtcdError, match="compacted"):
            await client.range(pb.RangeRequest(key=b"\0", range_end=b"\0", revision=seen.revision))
        stream = client.watch()
        create = pb.WatchCreateRequest(key=b"a", start_revision=seen.revision + 1)
        await stream.send(pb.WatchRequest(create_request=create))
        responses = [response async for response in _until_canceled(stream)]
        assert responses[-1].compact_revision == seen.revision + bump
        await stream.close()
        put = await client.put(pb.PutRequest(key=b"new", value=b"", lease=LEASE))
        assert put.header.revision == seen.revision + bump + 1
        await client.close()


async def _until_canceled(stream):  # type: ignore[no-untyped-def]
    async for response in stream:
        yield response
        if response.canceled:
            return
