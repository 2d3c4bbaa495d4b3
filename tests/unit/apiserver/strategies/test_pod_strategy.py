"""Pods, through all the ways of writing them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.unit.apiserver.strategies.strategy_world import Server


def pod(name: str = "p", labels: dict[str, str] | None = None, annotations: Any = None, **spec: Any) -> dict[str, Any]:
    containers = spec.pop("containers", [{"name": "c", "image": "nginx"}])
    metadata: dict[str, Any] = {"name": name}
    if labels:
        metadata["labels"] = labels
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers, **spec}}


def container(**members: Any) -> dict[str, Any]:
    return {"name": "c", "image": "nginx", **members}


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
    ],
)
async def test_a_new_pod_is_pending_whatever_its_author_says(server, resources, quality):
    manifest = pod(containers=[container(resources=resources)])
    manifest["status"] = {"phase": "Running", "podIP": "10.1.1.1"}
    manifest["metadata"]["generation"] = 7
    obj = await server.create(manifest)
    assert obj["status"] == {"phase": "Pending", "qosClass": quality}
    assert obj["metadata"]["generation"] == 1


async def test_a_gated_pod_says_why_it_is_not_scheduled(server):
    obj = await server.create(pod(schedulingGates=[{"name": "x.org/wait"}]))
    assert obj["status"]["conditions"] == [
        {
            "type": "PodScheduled",
            "status": "False",
            "lastProbeTime": None,
            "lastTransitionTime": "2023-11-14T22:30:00Z",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }
    ]


async def test_label_keys_become_requirements(server):
    term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "a"}}}
    affinity = {
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{**term, "matchLabelKeys": ["hash", "absent"]}]
        },
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {**term, "mismatchLabelKeys": ["tenant"]}}
            ]
        },
    }
    spread = [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["hash"]}
        | {"labelSelector": {}}
    ]
    labels = {"app": "a", "hash": "h1", "tenant": "t1"}
    obj = await server.create(pod(labels=labels, affinity=affinity, topologySpreadConstraints=spread))
    affinity = obj["spec"]["affinity"]
    required = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    preferred = affinity["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"]
    hashed = [{"key": "hash", "operator": "In", "values": ["h1"]}]
    assert required["labelSelector"]["matchExpressions"] == hashed
    tenant = [{"key": "tenant", "operator": "NotIn", "values": ["t1"]}]
    assert preferred["labelSelector"]["matchExpressions"] == tenant
    assert obj["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchExpressions"] == hashed


@pytest.mark.parametrize(
    ("annotation", "profile", "warns"),
    [
        ("runtime/default", {"type": "RuntimeDefault"}, True),
        ("localhost/mine", {"type": "Localhost", "localhostProfile": "mine"}, True),
        ("unconfined", None, False),  # as the pod says already
    ],
)
async def test_apparmor_annotations_become_fields(server, annotation, profile, warns):
    key = "container.apparmor.security.beta.kubernetes.io/c"
    context = {"appArmorProfile": {"type": "Unconfined"}}
    obj = await server.create(pod(annotations={key: annotation}, securityContext=context))
    assert obj["spec"]["containers"][0].get("securityContext", {}).get("appArmorProfile") == profile
    text = f'metadata.annotations[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead'
    assert server.warnings == ([text] if warns else [])


@pytest.mark.parametrize(
    ("spec", "phase", "asked", "grace"),
    [
        ({}, "Pending", None, 0),  # not scheduled: no kubelet to wait for
        ({"nodeName": "n"}, "Pending", None, 30),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 5}, "Running", None, 5),
        ({"nodeName": "n"}, "Running", 7, 7),
        ({"nodeName": "n"}, "Running", 0, 0),
        ({"nodeName": "n"}, "Running", -3, 1),
        ({"nodeName": "n"}, "Succeeded", 7, 0),
        ({"nodeName": "n"}, "Failed", None, 0),
    ],
)
def test_how_long_a_pod_may_take_to_end(server, spec, phase, asked, grace):
    obj = server.prepared(pod(**spec))
    obj["status"]["phase"] = phase
    options = {} if asked is None else {"gracePeriodSeconds": asked}
    assert server.strategy(obj).check_graceful_delete(server.context(obj), obj, options)
    assert options == {"gracePeriodSeconds": grace}


async def test_an_update_counts_generations_and_leaves_the_status_alone(server):
    obj = await server.create(pod(containers=[container(image="nginx:1")]))
    manifest = pod(labels={"a": "b"}, containers=[container(image="nginx:1")])
    labelled = await server.update({**manifest, "status": {"phase": "Running"}}, obj)
    assert (labelled["metadata"]["generation"], labelled["status"]) == (1, obj["status"])
    imaged = await server.update(pod(containers=[container(image="nginx:2")]), labelled)
    assert imaged["metadata"]["generation"] == 2


async def test_an_update_of_the_status_keeps_what_old_kubelets_leave_out(server):
    obj = await server.create(pod())
    first = {"type": "Ready", "status": "True", "observedGeneration": 1}
    second = {"type": "Ready", "status": "False", "observedGeneration": 2}
    manifest = pod(image="ignored", labels={"a": "b"})
    del manifest["spec"]["image"]
    manifest["status"] = {"phase": "Running", "observedGeneration": 3, "conditions": [first, second]}
    running = await server.update(manifest, obj, "status")
    assert running["status"]["qosClass"] == "BestEffort"
    assert running["metadata"]["labels"] == {"a": "b"}
    assert running["metadata"]["generation"] == 1
    bare = [{"type": "Ready", "status": "True"}, {"type": "Ready", "status": "False"}]
    manifest["status"] = {"phase": "Running", "conditions": [*bare, {"type": "Initialized", "status": "True"}]}
    again = await server.update(manifest, running, "status")
    assert again["status"]["observedGeneration"] == 3
    generations = [condition.get("observedGeneration") for condition in again["status"]["conditions"]]
    assert generations == [1, 2, None]


async def test_the_quality_of_service_does_not_change(server):
    obj = await server.create(pod())
    manifest = {**pod(), "status": {"phase": "Running", "qosClass": "Guaranteed"}}
    with pytest.raises(AssertionError, match="field is immutable"):
        await server.update(manifest, obj, "status")


async def test_ephemeral_containers_come_and_nothing_else_does(server):
    obj = await server.create(pod(labels={"a": "b"}))
    debugger = {"name": "debug", "image": "busybox"}
    manifest = pod(containers=[container(image="other")], ephemeralContainers=[debugger])
    changed = await server.update(manifest, obj, "ephemeralcontainers")
    assert changed["spec"]["ephemeralContainers"][0]["name"] == "debug"
    assert changed["spec"]["containers"] == obj["spec"]["containers"]
    assert changed["metadata"]["labels"] == {"a": "b"}
    assert changed["metadata"]["generation"] == 2
    with pytest.raises(AssertionError, match="may not be removed"):
        await server.update(pod(), changed, "ephemeralcontainers")


async def test_a_resize_changes_resources_and_nothing_else(server):
    obj = await server.create(pod(containers=[container(resources={"requests": {"cpu": "1"}})]))
    bigger = container(image="other", resources={"requests": {"cpu": "2"}})
    changed = await server.update(pod(containers=[bigger], priorityClassName="x"), obj, "resize")
    assert changed["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "2"}}
    assert changed["spec"]["containers"][0]["image"] == "nginx"
    assert "priorityClassName" not in changed["spec"]
    assert changed["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("containers", "problem"),
    [
        ([container(), {"name": "d", "image": "x"}], "containers may not be added or removed on resize"),
        ([container(name="other")], "containers may not be renamed or reordered on resize"),
        ([container(resources={})], "resource requests cannot be removed"),
    ],
)
async def test_what_a_resize_may_not_do(server, containers, problem):
    obj = await server.create(pod(containers=[container(resources={"requests": {"cpu": "1", "memory": "1Gi"}})]))
    with pytest.raises(AssertionError, match=problem):
        await server.update(pod(containers=containers), obj, "resize")


_NO_SELECTOR = "a null labelSelector results in matching no pod"
_TERM = {"matchExpressions": [{"key": "beta.kubernetes.io/os", "operator": "Exists"}]}


@pytest.mark.parametrize(
    ("given", "warnings"),
    [
        ({}, []),
        (
            {"name": "a.b"},
            [
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
                "a DNS label is recommended: [must not contain dots]"
            ],
        ),
        (
            {"nodeSelector": {"beta.kubernetes.io/arch": "x"}},
            ['spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use "kubernetes.io/arch" instead'],
        ),
        (
            {
                "affinity": {
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": _TERM}]
                    }
                }
            },
            [
                "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference."
                "matchExpressions[0].key: beta.kubernetes.io/os is deprecated since v1.14; "
                'use "kubernetes.io/os" instead'
            ],
        ),
        (
            {
                "affinity": {
                    "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}
                }
            },
            [
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: "
                + _NO_SELECTOR
            ],
        ),
        (
            {
                "topologySpreadConstraints": [
                    {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
                ]
            },
            [f"spec.topologySpreadConstraints[0].labelSelector: {_NO_SELECTOR}"],
        ),
        (
            {"annotations": {"scheduler.alpha.kubernetes.io/critical-pod": ""}},
            [
                "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; "
                'use the "priorityClassName" field instead'
            ],
        ),
        (
            {"volumes": [{"name": "v", "gitRepo": {"repository": "x"}}]},
            ["spec.volumes[0].gitRepo: deprecated in v1.11"],
        ),
        (
            {"imagePullSecrets": [{"name": "a"}, {"name": "a"}, {}]},
            [
                'spec.imagePullSecrets[1].name: duplicate name "a"',
                'spec.imagePullSecrets[2].name: invalid empty name ""',
            ],
        ),
        (
            {"hostAliases": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}]},
            ['spec.hostAliases[1].ip: duplicate ip "1.1.1.1"'],
        ),
        (
            {"containers": [container(resources={"limits": {"memory": "1500m", "cpu": "1500m"}})]},
            [
                'spec.containers[0].resources.limits[memory]: fractional byte value "1500m" is invalid, '
                "must be an integer",
                'spec.containers[0].resources.requests[memory]: fractional byte value "1500m" is invalid, '
                "must be an integer",
            ],
        ),
        (
            {
                "containers": [
                    container(
                        env=[{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "3"}]
                    )
                ]
            },
            ['spec.containers[0].env[2]: hides previous definition of "A", which may be dropped when using apply'],
        ),
        (
            {"containers": [container(ports=[{"containerPort": 80}, {"containerPort": 80, "hostPort": 8}])]},
            ["spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]"],
        ),
        (
            {
                "containers": [
                    container(
                        ports=[
                            {"containerPort": 80, "hostPort": 8},
                            {"containerPort": 80, "hostPort": 8, "hostIP": "1.1.1.1"},
                        ]
                    )
                ]
            },
            ["spec.containers[0].ports[1]: dangerously ambiguous port definition with spec.containers[0].ports[0]"],
        ),
        (
            {"containers": [container(ports=[{"name": "w", "containerPort": 80, "hostIP": "1.1.1.1"}])]},
            [
                "spec.containers[0].ports[0]: hostIP set without hostPort: "
                "{Name:w HostPort:0 ContainerPort:80 Protocol:TCP HostIP:1.1.1.1}"
            ],
        ),
    ],
)
async def test_warnings(server, given, warnings):
    await server.create(pod(**given))
    assert server.warnings == warnings


async def test_updates_do_not_warn(server):
    obj = await server.create(pod("a.b"))
    server.warnings.clear()
    await server.update(pod("a.b", labels={"a": "b"}), obj)
    assert server.warnings == []


async def test_preparing_does_not_share_with_the_manifest(server: Server):
    manifest = pod(affinity={"podAffinity": {}})
    before = copy.deepcopy(manifest)
    await server.create(manifest)
    assert manifest == before
