"""Node, ABAC and Webhook authorization, and an AuthorizationConfiguration, with real processes."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.client_users import kubectl_as
from tests.e2e.server_process import Kubectl, ServerProcess
from tests.unit.apiserver.authz.https_service import self_signed

pytestmark = pytest.mark.e2e


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


def test_a_node_sees_what_its_pods_need(tmp_path: Path, home: Path) -> None:
    server = ServerProcess(tmp_path / "data", "--authorization-mode=Node,RBAC").start()
    admin = Kubectl(server.kubeconfig, home)
    node = kubectl_as(server, home, "system:node:n1", "system:nodes")
    for name in ("used", "unused"):
        admin("create", "secret", "generic", name, "--from-literal=a=b")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {
            "nodeName": "n1",
            "automountServiceAccountToken": False,
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "secret": {"secretName": "used"}}],
        },
    }
    assert node.fails("get", "secret", "used").endswith("no relationship found between node 'n1' and this object\n")
    admin("create", "-f", "-", stdin=json.dumps(pod))
    assert "used" in node("get", "secret", "used")
    assert node.fails("get", "secret", "unused") == (
        'Error from server (Forbidden): secrets "unused" is forbidden: User "system:node:n1" cannot get resource '
        '"secrets" in API group "" in the namespace "default": no relationship found between node \'n1\' and this '
        "object\n"
    )
    assert node("get", "pods", "-A", "--field-selector=spec.nodeName=n1", "-o", "name") == "pod/p\n"
    assert "can only list/watch pods with spec.nodeName field selector" in node.fails("get", "pods")
    assert "cannot read all nodes, only its own Node object" in node.fails("get", "nodes")
    admin("delete", "pod", "p", "--force", "--grace-period=0")
    node.fails("get", "secret", "used")
    assert server.stop() == 0


def test_abac(tmp_path: Path, home: Path) -> None:
    policies = tmp_path / "policies.jsonl"
    spec = {"user": "jane", "namespace": "default", "resource": "configmaps", "readonly": True}
    policy = {"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": spec}
    discovery = {**policy, "spec": {"group": "system:authenticated", "readonly": True, "nonResourcePath": "*"}}
    policies.write_text(f"# policies\n{json.dumps(policy)}\n{json.dumps(discovery)}\n")
    flags = ("--authorization-mode=ABAC", f"--authorization-policy-file={policies}")
    server = ServerProcess(tmp_path / "data", *flags).start()
    jane = kubectl_as(server, home, "jane")
    jane("get", "configmaps")
    assert jane.fails("create", "configmap", "a").endswith(": No policy matched.\n")
    Kubectl(server.kubeconfig, home)("create", "configmap", "a")
    assert server.stop() == 0


class Reviewer(http.server.BaseHTTPRequestHandler):
    """Allows whatever `allowed` says, and never lets anybody see secrets."""

    reviews: list[dict[str, Any]]

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.reviews.append(review)
        spec = review["spec"]
        attributes = spec.get("resourceAttributes", {})
        review["status"] = {"allowed": spec["user"] == "jane" and attributes.get("resource") == "pods"}
        if attributes.get("resource") == "secrets":
            review["status"] = {"allowed": False, "denied": True, "reason": "secrets are secret"}
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def reviewer(tmp_path: Path) -> Iterator[tuple[type[Reviewer], Path]]:
    cert, key = self_signed(tmp_path)
    handler = type("Here", (Reviewer,), {"reviews": []})
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    service.socket = context.wrap_socket(service.socket, server_side=True)
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    kubeconfig = tmp_path / "webhook.kubeconfig"
    address = f"https://127.0.0.1:{service.server_port}/"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": {"server": address, "certificate-authority": cert.name}}],
                "contexts": [{"name": "c", "context": {"cluster": "c"}}],
                "current-context": "c",
            }
        )
    )
    yield handler, kubeconfig
    service.shutdown()
    service.server_close()
    thread.join()


def test_a_webhook_before_rbac(tmp_path: Path, home: Path, reviewer: tuple[type[Reviewer], Path]) -> None:
    handler, kubeconfig = reviewer
    webhook = {
        "timeout": "3s",
        "subjectAccessReviewVersion": "v1",
        "failurePolicy": "NoOpinion",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(kubeconfig)},
    }
    authorizers = [{"type": "Webhook", "name": "service", "webhook": webhook}, {"type": "RBAC", "name": "rbac"}]
    config = tmp_path / "authorization.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "AuthorizationConfiguration",
                "authorizers": authorizers,
            }
        )
    )
    server = ServerProcess(tmp_path / "data", f"--authorization-config={config}").start()
    admin, jane = Kubectl(server.kubeconfig, home), kubectl_as(server, home, "jane")
    assert jane("get", "pods") == ""
    assert jane.fails("get", "configmaps").endswith('in the namespace "default"\n')
    admin("create", "rolebinding", "admin", "--clusterrole=admin", "--user=jane")
    jane("get", "configmaps")
    assert jane.fails("get", "secrets").endswith(": secrets are secret\n")
    asked = len(handler.reviews)
    assert jane("get", "pods") == ""
    assert len(handler.reviews) == asked
    assert "webhook authorizer does not support user rule resolution" in jane.run("auth", "can-i", "--list").stderr
    assert server.stop() == 0


def test_files_that_cannot_be_used_stop_the_start(tmp_path: Path) -> None:
    config = tmp_path / "authorization.yaml"
    config.write_text("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: []\n")
    server = ServerProcess(tmp_path / "data", f"--authorization-config={config}")
    with pytest.raises(AssertionError, match="at least one authorization mode must be defined"):
        server.start()
    assert server.process is not None
    assert server.process.wait(timeout=20) == 1
    server._close_output()
    assert "Traceback" not in server.log.read_text()
