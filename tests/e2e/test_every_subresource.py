"""What lies below a resource, and what is only asked and never kept: status, scale, pods' subresources, reviews."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.discovery import APIResource, discover
from tests.e2e.http_client import HTTPConnection
from tests.e2e.server_process import Kubectl, ServerProcess

pytestmark = pytest.mark.e2e

MANIFESTS = Path(__file__).parent / "every_kind.yaml"
MERGE = {"Content-Type": "application/merge-patch+json"}
TIME = "2026-01-01T00:00:00Z"


def condition(kind: str, status: str = "True", **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, "lastTransitionTime": TIME, "reason": "Test", "message": "test", **more}


GPU = {"request": "gpu", "driver": "gpu.example.com", "pool": "node-1", "device": "gpu-0"}
STATUSES: dict[str, dict[str, Any]] = {
    "v1 Namespace": {"conditions": [condition("NamespaceContentRemaining", "False")]},
    "v1 Node": {
        "capacity": {"cpu": "4", "memory": "8Gi"},
        "conditions": [condition("Ready", lastHeartbeatTime=TIME)],
        "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
    },
    "v1 PersistentVolumeClaim": {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
    },
    "v1 PersistentVolume": {"phase": "Available"},
    "v1 Pod": {
        "phase": "Running",
        "podIP": "10.1.2.3",
        "conditions": [condition("Ready")],
        "containerStatuses": [
            {
                "name": "main",
                "ready": True,
                "restartCount": 1,
                "image": "nginx:1.27",
                "imageID": "",
                "state": {"running": {"startedAt": TIME}},
            }
        ],
    },
    "v1 ReplicationController": {"replicas": 2, "readyReplicas": 1, "observedGeneration": 1},
    "v1 ResourceQuota": {"hard": {"pods": "10"}, "used": {"pods": "1"}},
    "v1 Service": {"conditions": [condition("Ready")]},
    "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy": {"observedGeneration": 1},
    "apiextensions.k8s.io/v1 CustomResourceDefinition": {"conditions": [condition("NonStructuralSchema", "False")]},
    "apiregistration.k8s.io/v1 APIService": {"conditions": [condition("Available", "False")]},
    "apps/v1 DaemonSet": {"desiredNumberScheduled": 2, "currentNumberScheduled": 1, "observedGeneration": 1},
    "apps/v1 Deployment": {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 1, "availableReplicas": 1},
    "apps/v1 ReplicaSet": {"replicas": 1, "fullyLabeledReplicas": 1, "readyReplicas": 1},
    "apps/v1 StatefulSet": {"replicas": 3, "readyReplicas": 1, "currentRevision": "sample-1"},
    "autoscaling/v1 HorizontalPodAutoscaler": {"currentReplicas": 2, "desiredReplicas": 3},
    "autoscaling/v2 HorizontalPodAutoscaler": {"desiredReplicas": 3, "conditions": [condition("AbleToScale")]},
    "batch/v1 CronJob": {"lastScheduleTime": TIME},
    "batch/v1 Job": {"active": 2, "ready": 1, "startTime": TIME},
    "certificates.k8s.io/v1 CertificateSigningRequest": {"conditions": [condition("Failed", lastUpdateTime=TIME)]},
    "certificates.k8s.io/v1 PodCertificateRequest": {"conditions": [condition("Failed")]},
    "flowcontrol.apiserver.k8s.io/v1 FlowSchema": {"conditions": [condition("Dangling")]},
    "flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration": {"conditions": [condition("Example")]},
    "networking.k8s.io/v1 Ingress": {"loadBalancer": {"ingress": [{"ip": "192.0.2.5"}]}},
    "networking.k8s.io/v1 ServiceCIDR": {"conditions": [condition("Ready")]},
    "policy/v1 PodDisruptionBudget": {"currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 2},
    "resource.k8s.io/v1 DeviceTaintRule": {"conditions": [condition("EvictionInProgress")]},
    "resource.k8s.io/v1 ResourceClaim": {"allocation": {"devices": {"results": [GPU]}}},
    "storage.k8s.io/v1 CSINode": {"storageHealth": [{"name": "csi.example.com"}]},
    "storage.k8s.io/v1 VolumeAttachment": {"attached": True, "attachmentMetadata": {"devicePath": "/dev/vdb"}},
    "storagemigration.k8s.io/v1 StorageVersionMigration": {"conditions": [condition("Running")]},
}


async def test_status_is_written_by_its_subresource_and_by_nothing_else(server: ServerProcess, namespace: str) -> None:
    wanted = {f"{obj['apiVersion']} {obj['kind']}": obj for obj in yaml.safe_load_all(MANIFESTS.read_text())}
    async with await HTTPConnection.open(server.kubeconfig) as connection:
        resources = await discover(connection)
        with_status = {one.kind for one in resources if one.name.endswith("/status")}
        assert with_status == set(STATUSES)
        problems = []
        for resource in resources:
            if resource.kind in STATUSES and "/" not in resource.name:
                obj = wanted[resource.kind]
                problems += await status_problems(connection, resource, obj, namespace)
    assert not problems, "\n".join(problems)


async def status_problems(
    connection: HTTPConnection, resource: APIResource, manifest: dict[str, Any], namespace: str
) -> list[str]:
    collection = resource.path(namespace)
    if manifest["metadata"]["name"] == "sample":  # not to meet what another test has left to be deleted
        manifest["metadata"]["name"] = f"{namespace}-sample"
    answer = await connection.call("POST", collection, manifest)
    if answer.status != 201:
        return [f"{resource.kind}: not created: {answer.json()['message']}"]
    created = answer.json()
    path = f"{collection}/{created['metadata']['name']}"
    try:
        return [f"{resource.kind}: {text}" for text in await status_steps(connection, path, created)]
    finally:
        deleted = await connection.call("DELETE", path, {"gracePeriodSeconds": 0})
        assert deleted.status in (200, 202), deleted.body


async def status_steps(connection: HTTPConnection, path: str, created: dict[str, Any]) -> list[str]:
    wanted = STATUSES[f"{created['apiVersion']} {created['kind']}"]
    answer = await connection.call("PATCH", f"{path}/status", {"spec": None, "status": wanted}, MERGE)
    if answer.status != 200:
        return [f"status is not written: {answer.json()['message']}"]
    written = answer.json()
    problems = []
    if not contains(written["status"], wanted):
        problems.append(f"status is {written['status']} instead of {wanted}")
    if any(specified(written)[part] != specified(created)[part] for part in ("spec", "generation")):
        problems.append("writing the status has changed the spec")
    answer = await connection.call("PATCH", path, {"status": None, "metadata": {"labels": {"a": "b"}}}, MERGE)
    if answer.status != 200:
        return [*problems, f"is not updated: {answer.json()['message']}"]
    updated = answer.json()
    if updated["status"] != written["status"]:
        problems.append(f"an update has changed the status to {updated['status']}")
    if updated["metadata"]["labels"]["a"] != "b":
        problems.append("the label is missing")
    read = (await connection.call("GET", f"{path}/status")).json()
    if read != updated:
        problems.append("GET of the status is another object")
    return problems


def specified(obj: dict[str, Any]) -> dict[str, Any]:
    return {"spec": obj["spec"], "generation": obj["metadata"].get("generation")}


def contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


SCALABLE = {
    "v1 ReplicationController": "replicationcontroller",
    "apps/v1 Deployment": "deployment",
    "apps/v1 ReplicaSet": "replicaset",
    "apps/v1 StatefulSet": "statefulset",
}


async def test_everything_that_scales(server: ServerProcess, kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    async with await HTTPConnection.open(server.kubeconfig) as connection:
        resources = await discover(connection)
    scaled = {one.name.removesuffix("/scale") for one in resources if one.name.endswith("/scale")}
    assert scaled == {f"{name}s" for name in SCALABLE.values()}
    wanted = [
        obj for obj in yaml.safe_load_all(MANIFESTS.read_text()) if f"{obj['apiVersion']} {obj['kind']}" in SCALABLE
    ]
    file = tmp_path / "scalable.yaml"
    file.write_text(yaml.safe_dump_all(wanted))
    kubectl("create", "-n", namespace, "-f", str(file))
    assert kubectl("scale", "-n", namespace, "-f", str(file), "--replicas=7").count(" scaled\n") == len(wanted)
    for name in SCALABLE.values():
        scale = kubectl.json("get", name, "sample", "-n", namespace, "--subresource=scale")
        assert (scale["apiVersion"], scale["kind"]) == ("autoscaling/v1", "Scale")
        assert scale["spec"] == {"replicas": 7}
        assert scale["status"]["selector"].startswith("app")
        refused = kubectl.fails("scale", name, "sample", "-n", namespace, "--replicas=1", "--current-replicas=2")
        assert "Expected replicas to be 2, was 7" in refused
        table = kubectl("get", name, "sample", "-n", namespace, "--subresource=scale")
        assert table.split()[:4] == ["NAME", "DESIRED", "AVAILABLE", "AGE"]
    for obj in kubectl.json("get", "-n", namespace, "-f", str(file))["items"]:
        assert obj["spec"]["replicas"] == 7
        assert obj["metadata"]["generation"] == 2


def review(group: str, kind: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": f"{group}/v1", "kind": kind, **content}


PODS_OF_JANE = {"namespace": "default", "verb": "get", "resource": "pods"}


async def test_reviews_are_answered_and_not_kept(server: ServerProcess) -> None:
    authorization = "authorization.k8s.io"
    async with await HTTPConnection.open(server.kubeconfig) as connection:

        async def ask(plural: str, body: dict[str, Any], namespace: str = "") -> tuple[int, Any]:
            middle = f"/namespaces/{namespace}" if namespace else ""
            return await connection.request("POST", f"/apis/{body['apiVersion']}{middle}/{plural}", body)

        status, who = await ask("selfsubjectreviews", review("authentication.k8s.io", "SelfSubjectReview"))
        assert status == 201
        assert who["status"]["userInfo"]["username"] == "kubernetes-admin"
        may_i = review(
            authorization, "SelfSubjectAccessReview", spec={"nonResourceAttributes": {"path": "/", "verb": "get"}}
        )
        status, answer = await ask("selfsubjectaccessreviews", may_i)
        assert (status, answer["status"]["allowed"], answer["spec"]) == (201, True, may_i["spec"])
        somebody = {"spec": {"user": "jane", "groups": ["a"], "resourceAttributes": PODS_OF_JANE}}
        status, answer = await ask("subjectaccessreviews", review(authorization, "SubjectAccessReview", **somebody))
        assert (status, answer["status"]["allowed"]) == (201, True)
        local = review(authorization, "LocalSubjectAccessReview", metadata={"namespace": "default"}, **somebody)
        status, answer = await ask("localsubjectaccessreviews", local, "default")
        assert (status, answer["status"]["allowed"]) == (201, True)
        rules = review(authorization, "SelfSubjectRulesReview", spec={"namespace": "default"})
        status, answer = await ask("selfsubjectrulesreviews", rules)
        assert status == 201
        assert {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]} in answer["status"]["resourceRules"]

        status, answer = await ask("subjectaccessreviews", review(authorization, "SubjectAccessReview", spec={}))
        assert (status, answer["reason"]) == (422, "Invalid")
        assert {cause["field"] for cause in answer["details"]["causes"]} == {"spec.resourceAttributes", "spec.user"}
        status, answer = await connection.request("GET", f"/apis/{authorization}/v1/subjectaccessreviews")
        assert (status, answer["reason"]) == (405, "MethodNotAllowed")


def test_kubectl_validates_reviews_itself(kubectl: Kubectl) -> None:
    """What has no PATCH cannot say that the server validates fields: kubectl reads OpenAPI 2.0, in protobuf."""
    spec = {"user": "jane", "resourceAttributes": PODS_OF_JANE}
    body = review("authorization.k8s.io", "SubjectAccessReview", spec=spec)
    answer = kubectl.json("create", "-f", "-", stdin=json.dumps(body))
    assert answer["status"]["allowed"] is True
    body["spec"]["usr"] = "jane"
    unknown = 'unknown field "usr" in io.k8s.api.authorization.v1.SubjectAccessReviewSpec'
    assert unknown in kubectl.fails("create", "-f", "-", stdin=json.dumps(body))
    explained = kubectl("explain", "pods.spec.nodeName", "--output=plaintext-openapiv2")
    assert "FIELD:    nodeName <string>" in explained


POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  containers: [{name: main, image: "nginx:1.27", resources: {requests: {cpu: 100m}}}]
"""


def test_what_lies_below_a_pod(kubectl: Kubectl, namespace: str) -> None:
    in_namespace = ("-n", namespace)
    kubectl("create", *in_namespace, "-f", "-", stdin=POD % "p")
    # Not scheduled: kube-apiserver has nothing to connect to, and an empty log.
    assert kubectl("logs", "p", *in_namespace) == ""
    assert "pod p does not have a host assigned" in kubectl.fails("exec", "p", *in_namespace, "--", "ls")
    kubectl("debug", "p", *in_namespace, "--image=busybox:1.37", "--container=look")
    resize = {"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "200m"}}}]}}
    kubectl("patch", "pod", "p", *in_namespace, "--subresource=resize", "-p", json.dumps(resize))
    pod = kubectl.json("get", "pod", "p", *in_namespace)
    assert [one["name"] for one in pod["spec"]["ephemeralContainers"]] == ["look"]
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "200m"}
    image = {"spec": {"ephemeralContainers": [{"name": "look", "image": "other"}]}}
    assert "Forbidden: pod updates may not" in kubectl.fails(
        "patch", "pod", "p", *in_namespace, "-p", json.dumps(image)
    )

    path = f"/api/v1/namespaces/{namespace}/pods/p"
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n"},
    }
    kubectl("create", "--raw", f"{path}/binding", "-f", "-", stdin=json.dumps(binding))
    pod = kubectl.json("get", "pod", "p", *in_namespace)
    assert pod["spec"]["nodeName"] == "n"
    assert [(one["type"], one["status"]) for one in pod["status"]["conditions"]] == [("PodScheduled", "True")]
    again = kubectl.fails("create", "--raw", f"{path}/binding", "-f", "-", stdin=json.dumps(binding))
    assert 'pod p is already assigned to node "n"' in again

    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": namespace}}
    kubectl("create", "--raw", f"{path}/eviction", "-f", "-", stdin=json.dumps(eviction))
    assert "deletionTimestamp" in kubectl.json("get", "pod", "p", *in_namespace)["metadata"]


def test_certificates_are_approved(kubectl: Kubectl, tmp_path: Path) -> None:
    wanted = [obj for obj in yaml.safe_load_all(MANIFESTS.read_text()) if obj["kind"] == "CertificateSigningRequest"]
    wanted[0]["metadata"]["name"] = "approved"
    kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(wanted))
    kubectl("certificate", "approve", "approved")
    request = kubectl.json("get", "csr", "approved")
    assert [(one["type"], one["reason"]) for one in request["status"]["conditions"]] == [("Approved", "KubectlApprove")]
    assert "Approved" in kubectl("get", "csr", "approved")
    kubectl("delete", "csr", "approved")


def test_component_statuses(kubectl: Kubectl) -> None:
    rows = [line.split()[:3] for line in kubectl("get", "componentstatuses").splitlines()]
    assert rows[0] == ["NAME", "STATUS", "MESSAGE"]
    assert ["etcd-0", "Healthy", "ok"] in rows
