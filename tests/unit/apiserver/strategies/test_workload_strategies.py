"""Workloads: generations, selectors, templates, and what clients are warned of."""

from __future__ import annotations

import copy
from typing import Any

import pytest

TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}}
SELECTOR = {"matchLabels": {"app": "a"}}
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
NAME_WARNING = (
    "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
    "a DNS label is recommended: [must not contain dots]"
)


def workload(kind: str, name: str = "w", **spec: Any) -> dict[str, Any]:
    api_version = {"ReplicationController": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}.get(kind, "apps/v1")
    given: dict[str, Any] = {"selector": copy.deepcopy(SELECTOR), "template": copy.deepcopy(TEMPLATE)}
    if kind == "ReplicationController":
        given["selector"] = {"app": "a"}
    if kind in ("Job", "CronJob"):
        job = {"template": {"spec": {**copy.deepcopy(TEMPLATE["spec"]), "restartPolicy": "Never"}}}
        given = job if kind == "Job" else {"schedule": "* * * * *", "jobTemplate": {"spec": job}}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": {**given, **spec}}


KINDS = ("DaemonSet", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")


@pytest.mark.parametrize("kind", KINDS)
async def test_the_generation_counts_changes_of_the_specification(server, kind):
    obj = await server.create({**workload(kind), "status": {"observedGeneration": 9}})
    assert obj["metadata"]["generation"] == 1
    assert "observedGeneration" not in obj["status"]
    manifest = workload(kind)
    manifest["metadata"]["labels"] = {"a": "b"}
    same = await server.update({**manifest, "status": {"observedGeneration": 9}}, obj)
    assert same["metadata"]["generation"] == 1
    assert same["status"] == obj["status"]
    manifest["spec"]["minReadySeconds"] = 5
    changed = await server.update(manifest, same)
    assert changed["metadata"]["generation"] == 2
    status = await server.update({**workload(kind), "status": {"observedGeneration": 2}}, changed, "status")
    assert status["spec"] == changed["spec"]
    assert (status["metadata"]["generation"], status["status"]["observedGeneration"]) == (2, 2)


async def test_annotations_of_a_deployment_count_too(server):
    obj = await server.create(workload("Deployment"))
    manifest = workload("Deployment")
    manifest["metadata"]["annotations"] = {"a": "b"}
    assert (await server.update(manifest, obj))["metadata"]["generation"] == 2


async def test_a_daemon_set_counts_changes_of_its_template_in_an_annotation(server):
    def generation(obj: dict[str, Any]) -> str:
        return obj["metadata"]["annotations"][TEMPLATE_GENERATION]

    obj = await server.create(workload("DaemonSet"))
    assert generation(obj) == "1"
    obj = await server.update(workload("DaemonSet", minReadySeconds=5), obj)
    assert generation(obj) == "1"
    manifest = workload("DaemonSet", minReadySeconds=5)
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:2"
    manifest["metadata"]["annotations"] = {TEMPLATE_GENERATION: "77"}
    obj = await server.update(manifest, obj)
    assert generation(obj) == "2"
    assert generation(await server.update(manifest, obj, "status")) == "2"


async def test_claim_templates_say_what_they_are(server):
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    claim["spec"]["resources"] = {"requests": {"storage": "1.5"}}
    manifest = workload("StatefulSet", serviceName="w", volumeClaimTemplates=[claim], revisionHistoryLimit=3)
    obj = await server.create(manifest)
    template = obj["spec"]["volumeClaimTemplates"][0]
    assert (template["apiVersion"], template["kind"]) == ("v1", "PersistentVolumeClaim")
    assert server.warnings == [
        'spec.volumeClaimTemplates[0].resources.requests[storage]: fractional byte value "1500m" is invalid, '
        "must be an integer"
    ]
    again = await server.update(manifest, obj)
    assert again["metadata"]["generation"] == 1


async def test_a_job_gets_a_selector_that_only_its_own_pods_match(server):
    obj = await server.create(workload("Job"))
    uid = obj["metadata"]["uid"]
    labels = {
        "controller-uid": uid,
        "batch.kubernetes.io/controller-uid": uid,
        "job-name": "w",
        "batch.kubernetes.io/job-name": "w",
    }
    assert obj["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert obj["spec"]["template"]["metadata"]["labels"] == labels
    assert obj["metadata"]["labels"] == labels
    assert obj["metadata"]["generation"] == 1
    suspended = copy.deepcopy(obj)
    suspended["spec"]["suspend"] = True
    assert (await server.update(suspended, obj))["metadata"]["generation"] == 2


async def test_a_job_may_bring_its_own_selector(server):
    template = {**copy.deepcopy(TEMPLATE), "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
    obj = await server.create(workload("Job", manualSelector=True, selector=SELECTOR, template=template))
    assert obj["spec"]["selector"] == SELECTOR
    assert obj["spec"]["template"]["metadata"]["labels"] == {"app": "a"}


async def test_a_job_may_not_take_the_labels_of_another(server):
    template = {"metadata": {"labels": {"job-name": "other"}}, **workload("Job")["spec"]["template"]}
    with pytest.raises(AssertionError, match="must be 'w'"):
        await server.create(workload("Job", template=template))


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "ReplicationController", "Job", "CronJob"])
async def test_names_that_pods_could_not_have(server, kind):
    obj = await server.create(workload(kind, "a.b"))
    assert server.warnings == [NAME_WARNING]
    server.warnings.clear()
    changed = copy.deepcopy(obj)
    changed["metadata"]["labels"] = {"a": "b"}
    await server.update(changed, obj)
    assert server.warnings == []


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        *((kind, "spec.template") for kind in (*KINDS, "Job")),
        ("CronJob", "spec.jobTemplate.spec.template"),
    ],
)
async def test_templates_are_warned_of_where_they_are(server, kind, path):
    manifest = workload(kind)
    spec: Any = manifest
    for name in path.split("."):
        spec = spec[name]
    spec["spec"]["nodeSelector"] = {"beta.kubernetes.io/os": "linux"}
    obj = await server.create(manifest)
    warning = f'{path}.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead'
    assert server.warnings == [warning]
    if kind != "Job":  # of which nothing changes that counts
        server.warnings.clear()
        changed = copy.deepcopy(obj)
        changed["spec"]["suspend" if kind == "CronJob" else "minReadySeconds"] = True if kind == "CronJob" else 5
        await server.update(changed, obj)
        assert server.warnings == [warning]


async def test_a_huge_indexed_job_is_warned_of(server):
    await server.create(workload("Job", completionMode="Indexed", completions=100_001, parallelism=10_001))
    assert [text.partition(":")[0] for text in server.warnings] == ["spec"]
    await server.create(workload("Job", "x", completionMode="Indexed", completions=100_000, parallelism=10_001))
    assert len(server.warnings) == 1


async def test_a_pod_template_has_a_generation(server):
    manifest = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "t"}, "template": TEMPLATE}
    obj = await server.create(manifest)
    manifest = copy.deepcopy(manifest)
    manifest["template"]["spec"]["containers"][0]["image"] = "nginx:2"
    assert [each["metadata"]["generation"] for each in (obj, await server.update(manifest, obj))] == [1, 2]
