"""The messages are etcd's: names, numbers, and the bytes they make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kvstore.etcdpb import election_pb2, kv_pb2, lease_pb2, lock_pb2, raft_internal_pb2
from kvstore.etcdpb import rpc_pb2 as pb

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (pb.PutRequest(key=b"k", value=b"v", lease=1, prev_kv=True), "0a016b12017618012001"),
        (pb.RangeRequest(key=b"a", range_end=b"b", limit=5, sort_target=pb.RangeRequest.MOD), "0a016112016218053003"),
        (
            pb.Compare(key=b"k", target=pb.Compare.MOD, result=pb.Compare.GREATER, mod_revision=0),
            "080110021a016b3000",  # a member of a oneof is written even when it is zero
        ),
        (pb.Compare(range_end=b"z"), "8204017a"),
        (pb.WatchResponse(watch_id=1, events=[kv_pb2.Event(type=kv_pb2.Event.DELETE)]), "10015a020801"),
        (
            kv_pb2.KeyValue(key=b"k", create_revision=2, mod_revision=3, version=1, value=b"v"),
            "0a016b1002180320012a0176",
        ),
        (lease_pb2.Lease(ID=7, TTL=10, RemainingTTL=5), "0807100a1805"),
        (
            raft_internal_pb2.InternalRaftRequest(
                header=raft_internal_pb2.RequestHeader(ID=9), put=pb.PutRequest(key=b"k")
            ),
            "22030a016ba206020809",
        ),
    ],
)
def test_bytes_on_the_wire(message: pb.PutRequest, wire: str) -> None:
    assert message.SerializeToString(deterministic=True).hex() == wire
    assert type(message).FromString(bytes.fromhex(wire)) == message


def test_there_are_49_methods() -> None:
    files = (pb.DESCRIPTOR, lock_pb2.DESCRIPTOR, election_pb2.DESCRIPTOR)
    services = [service for file in files for service in file.services_by_name.values()]
    assert sum(len(service.methods) for service in services) == 49
    assert {service.full_name for service in services} == {
        *(f"etcdserverpb.{name}" for name in ("KV", "Watch", "Lease", "Cluster", "Maintenance", "Auth")),
        "v3lockpb.Lock",
        "v3electionpb.Election",
    }


@pytest.mark.slow
def test_committed_modules_are_what_the_sources_give(tmp_path: Path) -> None:
    script = ROOT / "hack" / "codegen_protos.py"
    subprocess.run([sys.executable, str(script), "--output", str(tmp_path)], check=True)
    made = sorted(tmp_path.rglob("*_pb2.py*"))
    assert {path.parent.name for path in made} == {"etcdpb", "wire"}
    for path in made:
        committed = ROOT / path.relative_to(tmp_path)
        assert committed.read_bytes() == path.read_bytes(), f"{committed} is out of date: run hack/update_codegen.py"
