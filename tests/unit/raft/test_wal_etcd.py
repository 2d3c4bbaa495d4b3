"""Logs across: we read what a real etcd wrote, and a real etcd starts from what we wrote."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError

from kvstore.etcdpb import raft_internal_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from raft.core import ConfChange, ConfChangeType, Config, Entry, EntryType, HardState, Peer, RawNode
from raft.environment import RealFileSystem
from raft.wal import WAL
from raft.wal.record import encode_varint
from raft.wire import ProtobufConfChangeCodec

ETCD = shutil.which("etcd", path=f"{Path(sys.executable).parent}:/usr/bin")
ETCDCTL = shutil.which("etcdctl", path=f"{Path(sys.executable).parent}:/usr/bin")
START_SECONDS = 30
FILES = RealFileSystem()

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not ETCD or not ETCDCTL, reason="NO REAL ETCD: the formats of our log are not checked against it"
    ),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def real_etcd(data_dir: Path, peer_url: str) -> Iterator[str]:
    """A real etcd on this data directory; gives its client endpoint."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    log = (data_dir.parent / "etcd.log").open("ab")
    arguments = [
        f"--data-dir={data_dir}",
        "--name=m1",
        f"--initial-cluster=m1={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--listen-peer-urls={peer_url}",
        f"--listen-client-urls={endpoint}",
        f"--advertise-client-urls={endpoint}",
    ]
    process = subprocess.Popen([str(ETCD), *arguments], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while etcdctl(endpoint, "endpoint", "health", check=False) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((data_dir.parent / "etcd.log").read_text()[-3000:])
        yield endpoint
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_SECONDS)
        log.close()


def etcdctl(endpoint: str, *arguments: str, check: bool = True) -> str | None:
    result = subprocess.run(
        [str(ETCDCTL), f"--endpoints={endpoint}", "--command-timeout=2s", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"ETCDCTL_API": "3"},
    )
    if check:
        assert result.returncode == 0, result.stderr
    return result.stdout if result.returncode == 0 else None


def test_we_read_the_log_of_a_real_etcd(tmp_path: Path) -> None:
    with real_etcd(tmp_path / "data", f"http://127.0.0.1:{free_port()}") as endpoint:
        for number in range(5):
            etcdctl(endpoint, "put", f"key{number}", f"value{number}")
    wal, recovered = WAL.open(FILES, str(tmp_path / "data" / "member" / "wal"))
    assert recovered.torn_path is None
    assert recovered.metadata
    assert recovered.entries[0].index == 1
    assert recovered.entries[0].type is EntryType.CONF_CHANGE
    change = ProtobufConfChangeCodec().decode_v1(recovered.entries[0])
    assert json.loads(change.context)["name"] == "m1"
    puts = []
    for entry in recovered.entries:
        if entry.type is EntryType.NORMAL and entry.data:
            try:
                request = raft_internal_pb2.InternalRaftRequest.FromString(entry.data)
            except DecodeError:
                continue  # a request of the older API, by which a member publishes its name
            if request.HasField("put"):
                puts.append((request.put.key, request.put.value))
    assert puts == [(b"key%d" % number, b"value%d" % number) for number in range(5)]
    # And it goes on where etcd stopped: what we append, etcd takes for its own.
    last, term = recovered.entries[-1].index, recovered.hard_state.term
    request = raft_internal_pb2.InternalRaftRequest(put=pb.PutRequest(key=b"ours", value=b"too"))
    request.header.ID = 77
    wal.save(
        HardState(term + 1, recovered.hard_state.vote, last + 1),
        [Entry(last + 1, term + 1, request.SerializeToString())],
    )
    wal.close()
    with real_etcd(tmp_path / "data", f"http://127.0.0.1:{free_port()}") as endpoint:
        assert etcdctl(endpoint, "get", "ours", "--print-value-only") == "too\n"
        assert etcdctl(endpoint, "get", "key4", "--print-value-only") == "value4\n"


def test_a_real_etcd_starts_from_a_log_of_ours(tmp_path: Path) -> None:
    peer_url = f"http://127.0.0.1:{free_port()}"
    member_id, cluster_id = 0x1234567890ABCDEF, 0xFEDCBA0987654321
    data = tmp_path / "data"
    (data / "member" / "snap").mkdir(parents=True, mode=0o700)
    # etcdserverpb.Metadata: NodeID = 1, ClusterID = 2.
    metadata = b"\x08" + encode_varint(member_id) + b"\x10" + encode_varint(cluster_id)
    wal = WAL.create(FILES, str(data / "member" / "wal"), metadata)
    context = json.dumps({"id": member_id, "peerURLs": [peer_url], "name": "m1"}).encode()
    node = RawNode(Config(id=member_id, random_below=lambda limit: 0, codec=ProtobufConfChangeCodec()))
    node.bootstrap([Peer(member_id, context)])

    def work() -> None:
        while node.has_ready:
            ready = node.ready()
            wal.save(ready.hard_state, ready.entries, must_sync=ready.must_sync)
            if ready.must_sync:
                node.persisted()
            for entry in ready.committed_entries:
                if entry.type is not EntryType.NORMAL:
                    node.apply_conf_change(ConfChange(ConfChangeType.ADD_NODE, member_id).as_v2())
            if ready.committed_entries:
                node.applied(ready.committed_entries[-1].index)

    work()
    node.campaign()
    work()
    for number in range(100):
        put = pb.PutRequest(key=b"key%d" % number, value=b"value%d" % number)
        request = raft_internal_pb2.InternalRaftRequest(put=put)
        request.header.ID = number + 1
        node.propose([request.SerializeToString()])
        work()
    wal.close()
    with real_etcd(data, peer_url) as endpoint:
        for number in (0, 50, 99):
            assert etcdctl(endpoint, "get", f"key{number}", "--print-value-only") == f"value{number}\n"
        status = json.loads(etcdctl(endpoint, "endpoint", "status", "-w", "json") or "")[0]["Status"]
        assert status["header"]["member_id"] == member_id
        assert status["header"]["cluster_id"] == cluster_id
