"""Starting and stopping as a person does it, and what is said when it cannot work."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import stat
import subprocess
from pathlib import Path

import pytest

from tests.e2e.server_process import BIN, Kubectl, ServerProcess

pytestmark = pytest.mark.e2e


def run_until_exit(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "mini-apiserver"), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def one_clear_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = one_clear_line(run_until_exit(f"--data-dir={tmp_path / 'd'}", f"--secure-port={port}"))
    assert str(port) in line
    assert "in use" in line


@pytest.mark.parametrize("flag", ["listen-client-urls", "listen-peer-urls"])
def test_a_taken_port_of_the_embedded_store(tmp_path: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        flags = [f"--{flag}={url}", *([f"--advertise-client-urls={url}"] if flag == "listen-client-urls" else [])]
        line = one_clear_line(run_until_exit(f"--data-dir={tmp_path / 'd'}", "--secure-port=0", *flags))
    assert url in line
    assert "in use" in line


def test_a_data_directory_in_use(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data").start()
    try:
        line = one_clear_line(run_until_exit(f"--data-dir={server.data_dir}", "--secure-port=0"))
        assert str(server.data_dir) in line
        assert "in use" in line
    finally:
        assert server.stop() == 0


def test_an_unusable_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    line = one_clear_line(run_until_exit(f"--data-dir={tmp_path / 'file' / 'data'}", "--secure-port=0"))
    assert str(tmp_path / "file") in line


@pytest.mark.parametrize(
    "flag",
    [
        "--authorization-mode=Nothing",
        "--tls-cert-file=x",
        "--runtime-config=apps/v9=true",
        "--secure-port=70000",
        "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2",
        "--listen-client-urls=http://127.0.0.1:1",
    ],
)
def test_a_flag_that_cannot_be(tmp_path: Path, flag: str) -> None:
    line = one_clear_line(run_until_exit(f"--data-dir={tmp_path / 'd'}", flag))
    assert flag.split("=")[0] in line


def test_help_and_version() -> None:
    text = run_until_exit("--help").stdout
    for word in ("serving:", "etcd:", "authentication:", "authorization:", "admission:", "--data-dir", "kubectl"):
        assert word in text
    assert run_until_exit("--version").stdout.startswith("Kubernetes v1.37")


def test_private_files_are_private(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data").start()
    try:
        for folder, _, names in os.walk(server.data_dir):
            for name in names:
                mode = stat.S_IMODE(Path(folder, name).stat().st_mode)
                assert mode & 0o077 == 0, f"{folder}/{name} is {oct(mode)}"
    finally:
        assert server.stop() == 0


def test_a_stop_ends_watches_cleanly(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data").start()
    kubectl = Kubectl(server.kubeconfig, tmp_path)
    watch = kubectl.popen("get", "namespaces", "-w")
    assert watch.stdout is not None
    assert watch.stdout.readline().startswith("NAME")
    assert server.stop() == 0
    watch.communicate(timeout=20)


def test_authorization_deny_lets_only_masters_in(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", "--authorization-mode=AlwaysDeny").start()
    try:
        kubectl = Kubectl(server.kubeconfig, tmp_path)
        assert "default" in kubectl("get", "namespaces", "-o", "name")
        context = ssl.create_default_context(cafile=str(server.data_dir / "pki" / "ca.crt"))
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context)
        connection.request("GET", "/api/v1/namespaces")
        refused = connection.getresponse()
        assert refused.status == 403
        text = 'User "system:anonymous" cannot list resource "namespaces" in API group "" at the cluster scope'
        assert json.loads(refused.read())["message"] == f"namespaces is forbidden: {text}: Everything is forbidden."
        connection.close()
    finally:
        assert server.stop() == 0
