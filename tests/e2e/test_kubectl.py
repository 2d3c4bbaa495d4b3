"""What a person does with kubectl, with the real one."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.server_process import Kubectl

pytestmark = pytest.mark.e2e

SHOP = Path(__file__).parents[2] / "manifests" / "examples" / "shop.yaml"
POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: %s}}
spec:
  containers:
    - {name: main, image: "nginx:1.27"}
"""


@pytest.fixture
def shop(kubectl: Kubectl, namespace: str) -> str:
    """A namespace with the application of shop.yaml applied."""
    kubectl("apply", "-n", namespace, "-f", str(SHOP))
    return namespace


def columns(output: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in output.splitlines()]


def test_version_reports_client_and_server(kubectl: Kubectl) -> None:
    versions = json.loads(kubectl("version", "-o", "json"))
    assert versions["serverVersion"]["major"] == "1"
    assert versions["serverVersion"]["minor"] == "37"


def test_api_resources_and_versions(kubectl: Kubectl) -> None:
    names = kubectl("api-resources", "-o", "name").split()
    assert {
        "pods",
        "deployments.apps",
        "customresourcedefinitions.apiextensions.k8s.io",
        "leases.coordination.k8s.io",
    } <= set(names)
    rows = columns(kubectl("api-resources", "--api-group=apps"))
    assert rows[0][:3] == ["NAME", "SHORTNAMES", "APIVERSION"]
    assert ["deployments", "deploy", "apps/v1", "true", "Deployment"] in rows
    versions = kubectl("api-versions").split()
    assert {"v1", "apps/v1", "batch/v1", "networking.k8s.io/v1"} <= set(versions)
    assert not any("alpha" in version for version in versions)


def test_system_namespaces_and_the_kubernetes_service_exist(kubectl: Kubectl) -> None:
    names = kubectl("get", "namespaces", "-o", "jsonpath={.items[*].metadata.name}").split()
    assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= set(names)
    service = kubectl.json("get", "service", "kubernetes", "-n", "default")
    assert service["spec"]["clusterIP"] == "10.0.0.1"
    slices = kubectl.json("get", "endpointslices", "-n", "default", "-l", "kubernetes.io/service-name=kubernetes")
    assert len(slices["items"]) == 1


def test_create_get_in_every_output_form(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "configmap", "a", "-n", namespace, "--from-literal=color=blue", "--from-literal=size=3")
    rows = columns(kubectl("get", "configmaps", "-n", namespace))
    assert rows[0] == ["NAME", "DATA", "AGE"]
    assert rows[1][:2] == ["a", "2"]
    obj = kubectl.json("get", "configmap", "a", "-n", namespace)
    assert obj["data"] == {"color": "blue", "size": "3"}
    assert obj["metadata"]["resourceVersion"].isdigit()
    assert "kind: ConfigMap" in kubectl("get", "configmap", "a", "-n", namespace, "-o", "yaml")
    assert kubectl("get", "cm", "a", "-n", namespace, "-o", "jsonpath={.data.color}") == "blue"
    assert kubectl("get", "cm", "a", "-n", namespace, "-o", "name").strip() == "configmap/a"
    custom = kubectl("get", "cm", "a", "-n", namespace, "-o", "custom-columns=N:.metadata.name,C:.data.color")
    assert columns(custom) == [["N", "C"], ["a", "blue"]]
    assert kubectl("get", "cm", "a", "-n", namespace, "-o", "go-template={{.data.size}}") == "3"


def test_get_wide_selectors_sorting_and_all_namespaces(kubectl: Kubectl, namespace: str) -> None:
    for name, app in (("b", "red"), ("a", "tan"), ("c", "red")):
        kubectl("apply", "-n", namespace, "-f", "-", stdin=POD % (name, app))
    wide = columns(kubectl("get", "pods", "-n", namespace, "-o", "wide"))
    assert wide[0] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    assert wide[1][:4] == ["a", "0/1", "Pending", "0"]
    names = kubectl("get", "pods", "-n", namespace, "-l", "app=red", "-o", "name").split()
    assert names == ["pod/b", "pod/c"]
    assert kubectl("get", "pods", "-n", namespace, "-l", "app in (tan,blue)", "-o", "name").split() == ["pod/a"]
    assert kubectl("get", "pods", "-n", namespace, "--field-selector=metadata.name=b", "-o", "name").split() == [
        "pod/b"
    ]
    assert kubectl("get", "pods", "-n", namespace, "--field-selector=status.phase!=Pending", "-o", "name") == ""
    by_label = columns(kubectl("get", "pods", "-n", namespace, "--sort-by={.metadata.labels.app}", "--no-headers"))
    assert [row[0] for row in by_label][-1] == "a"
    everywhere = columns(kubectl("get", "pods", "-A"))
    assert everywhere[0][0] == "NAMESPACE"
    assert [namespace, "b"] in [row[:2] for row in everywhere]
    assert "field label not supported" in kubectl.fails(
        "get", "pods", "-n", namespace, "--field-selector=spec.color=red"
    )


def test_apply_diff_and_apply_again(kubectl: Kubectl, shop: str, tmp_path: Path) -> None:
    assert "unchanged" in kubectl("apply", "-n", shop, "-f", str(SHOP))
    changed = tmp_path / "shop.yaml"
    changed.write_text(SHOP.read_text().replace("nginx:1.27", "nginx:1.28").replace("replicas: 2", "replicas: 3"))
    diff = kubectl.run("diff", "-n", shop, "-f", str(changed), check=False)
    assert diff.returncode == 1, diff.stderr
    assert "+        image: nginx:1.28" in diff.stdout or "image: nginx:1.28" in diff.stdout
    out = kubectl("apply", "-n", shop, "-f", str(changed))
    assert "deployment.apps/shop configured" in out
    deployment = kubectl.json("get", "deployment", "shop", "-n", shop)
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1.28"
    assert deployment["metadata"]["generation"] == 2
    assert kubectl.run("diff", "-n", shop, "-f", str(changed), check=False).returncode == 0


def test_describe(kubectl: Kubectl, shop: str) -> None:
    text = kubectl("describe", "deployment", "shop", "-n", shop)
    assert re.search(r"Replicas:\s+2 desired", text)
    assert re.search(r"Image:\s+nginx:1.27", text)
    text = kubectl("describe", "service", "shop", "-n", shop)
    assert re.search(r"TargetPort:\s+http/TCP", text)
    assert "shop-secret" in kubectl("describe", "secret", "shop-secret", "-n", shop)
    assert "Active" in kubectl("describe", "namespace", shop)


def test_edit(kubectl: Kubectl, shop: str, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/greeting: hello/greeting: goodbye/' \"$1\"\n")
    editor.chmod(0o700)
    kubectl.run("edit", "configmap", "shop-config", "-n", shop, KUBE_EDITOR=str(editor))
    assert kubectl("get", "cm", "shop-config", "-n", shop, "-o", "jsonpath={.data.greeting}") == "goodbye"


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("strategic", '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"nginx:9"}]}}}}'),
        ("json", '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"nginx:9"}]'),
    ],
)
def test_patch_keeps_the_rest(kubectl: Kubectl, shop: str, kind: str, patch: str) -> None:
    kubectl("patch", "deployment", "shop", "-n", shop, f"--type={kind}", "-p", patch)
    container = kubectl.json("get", "deployment", "shop", "-n", shop)["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "nginx:9"
    assert container["ports"][0]["containerPort"] == 80


def test_merge_patch_and_replace(kubectl: Kubectl, shop: str) -> None:
    kubectl("patch", "cm", "shop-config", "-n", shop, "--type=merge", "-p", '{"data":{"greeting":null,"new":"1"}}')
    obj = kubectl.json("get", "cm", "shop-config", "-n", shop)
    assert set(obj["data"]) == {"settings.ini", "new"}
    obj["data"] = {"only": "this"}
    kubectl("replace", "-f", "-", stdin=json.dumps(obj))
    assert kubectl.json("get", "cm", "shop-config", "-n", shop)["data"] == {"only": "this"}
    stale = kubectl.fails("replace", "-f", "-", stdin=json.dumps(obj))
    assert "the object has been modified; please apply your changes to the latest version and try again" in stale


def test_label_annotate_scale_set_image_expose(kubectl: Kubectl, shop: str) -> None:
    kubectl("label", "deployment", "shop", "-n", shop, "tier=front")
    kubectl("annotate", "deployment", "shop", "-n", shop, "note=hello world")
    kubectl("scale", "deployment", "shop", "-n", shop, "--replicas=5")
    kubectl("set", "image", "deployment/shop", "-n", shop, "web=nginx:2")
    kubectl(
        "expose", "deployment", "shop", "-n", shop, "--name=front", "--port=8080", "--target-port=80", "--type=NodePort"
    )
    deployment = kubectl.json("get", "deployment", "shop", "-n", shop)
    assert deployment["metadata"]["labels"]["tier"] == "front"
    assert deployment["metadata"]["annotations"]["note"] == "hello world"
    assert deployment["spec"]["replicas"] == 5
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:2"
    service = kubectl.json("get", "service", "front", "-n", shop)
    assert service["spec"]["ports"][0]["targetPort"] == 80
    assert 30000 <= service["spec"]["ports"][0]["nodePort"] <= 32767
    kubectl("label", "deployment", "shop", "-n", shop, "tier-")
    assert "tier" not in kubectl.json("get", "deployment", "shop", "-n", shop)["metadata"]["labels"]


def test_watch_shows_changes_as_rows(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "configmap", "seen", "-n", namespace)
    watch = kubectl.popen("get", "configmaps", "-n", namespace, "-w", "--output-watch-events")
    try:
        assert watch.stdout is not None
        assert re.split(r"\s{2,}", watch.stdout.readline().strip()) == ["EVENT", "NAME", "DATA", "AGE"]
        assert watch.stdout.readline().split()[:3] == ["ADDED", "seen", "0"]
        kubectl("patch", "cm", "seen", "-n", namespace, "-p", '{"data":{"a":"1"}}')
        assert watch.stdout.readline().split()[:3] == ["MODIFIED", "seen", "1"]
        kubectl("delete", "cm", "seen", "-n", namespace)
        assert watch.stdout.readline().split()[:3] == ["DELETED", "seen", "1"]
    finally:
        watch.kill()
        watch.communicate()


def test_delete_by_name_selector_and_all(kubectl: Kubectl, shop: str) -> None:
    assert 'configmap "shop-config" deleted' in kubectl("delete", "configmap", "shop-config", "-n", shop)
    assert 'Error from server (NotFound): configmaps "shop-config" not found' in kubectl.fails(
        "delete", "configmap", "shop-config", "-n", shop
    )
    kubectl("delete", "deployment,service,cronjob", "-n", shop, "-l", "app=shop")
    kubectl("delete", "secrets", "--all", "-n", shop)
    assert kubectl("get", "deployment,service,cronjob,secret", "-n", shop, "-o", "name") == ""


def test_wait_for_condition_and_deletion(kubectl: Kubectl, namespace: str) -> None:
    kubectl("apply", "-n", namespace, "-f", "-", stdin=POD % ("p", "x"))
    ready = '{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}'
    kubectl("patch", "pod", "p", "-n", namespace, "--subresource=status", "-p", ready)
    kubectl("wait", "pod/p", "-n", namespace, "--for=condition=Ready", "--timeout=10s")
    kubectl("wait", "pod/p", "-n", namespace, "--for=jsonpath={.status.phase}=Running", "--timeout=10s")
    waiting = kubectl.popen("wait", "pod/p", "-n", namespace, "--for=delete", "--timeout=20s")
    kubectl("delete", "pod", "p", "-n", namespace)
    out, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, out + err


def test_deleting_a_namespace_takes_its_content_along(kubectl: Kubectl, shop: str) -> None:
    kubectl("delete", "namespace", shop, "--timeout=30s")
    assert "NotFound" in kubectl.fails("get", "namespace", shop)
    assert kubectl("get", "deployments,configmaps,secrets,services", "-n", shop, "-o", "name") == ""


def test_errors_are_kubernetes_own(kubectl: Kubectl, namespace: str) -> None:
    exists = kubectl.fails("create", "namespace", namespace)
    assert f'Error from server (AlreadyExists): namespaces "{namespace}" already exists' in exists
    missing = kubectl.fails("create", "configmap", "x", "-n", "no-such-namespace")
    assert 'namespaces "no-such-namespace" not found' in missing
    bad_name = kubectl.fails("create", "configmap", "Bad_Name", "-n", namespace)
    assert "a lowercase RFC 1123 subdomain must consist of" in bad_name
    unknown = kubectl.fails("apply", "-n", namespace, "-f", "-", stdin=POD.replace("spec:", "specs:") % ("p", "x"))
    assert 'unknown field "specs"' in unknown
    assert "doesn't have a resource type" in kubectl.fails("get", "flowers")


def test_dry_run_stores_nothing(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "configmap", "ghost", "-n", namespace, "--dry-run=server")
    assert "NotFound" in kubectl.fails("get", "configmap", "ghost", "-n", namespace)


def test_rollout_status_and_history_ask_for_what_is_there(kubectl: Kubectl, shop: str) -> None:
    status = (
        '{"status":{"observedGeneration":1,"replicas":2,"updatedReplicas":2,"readyReplicas":2,"availableReplicas":2}}'
    )
    kubectl("patch", "deployment", "shop", "-n", shop, "--subresource=status", "-p", status)
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/shop", "-n", shop, "--timeout=10s")
    rows = columns(kubectl("get", "deployments", "-n", shop))
    assert rows[0] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert rows[1][:4] == ["shop", "2/2", "2", "2"]


def test_explain_reads_the_openapi_documents(kubectl: Kubectl) -> None:
    text = kubectl("explain", "deployment.spec.strategy")
    assert "FIELDS:" in text
    assert "rollingUpdate" in text


def test_whoami_and_raw_paths(kubectl: Kubectl) -> None:
    who = kubectl("auth", "whoami", "-o", "json")
    info = json.loads(who)["status"]["userInfo"]
    assert info["username"] == "kubernetes-admin"
    assert set(info["groups"]) == {"system:masters", "system:authenticated"}
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert "[+]etcd ok" in kubectl("get", "--raw", "/livez?verbose")
    assert "apiserver_request_total" in kubectl("get", "--raw", "/metrics")


def test_every_kind_lists(kubectl: Kubectl) -> None:
    names = kubectl("api-resources", "--verbs=list", "-o", "name").split()
    assert len(names) > 55
    done: subprocess.CompletedProcess[str] = kubectl.run("get", ",".join(names), "-A", "--ignore-not-found")
    assert done.returncode == 0
