"""The cells of each kind, by example; every row is what `kubectl get -o wide` would show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apiserver.api.scheme import Scheme
from apiserver.endpoints.tables.durations import Now, human_duration, unix_seconds
from apiserver.endpoints.tables.printers import DEFAULT_PRINTER, PRINTERS, printer_for

NOW = "2026-01-10T00:00:00Z"
CREATED = "2026-01-09T23:55:00Z"  # 5m ago


def cells(group: str, kind: str, obj: dict[str, Any]) -> list[Any]:
    obj = {"metadata": {"name": "x", "creationTimestamp": CREATED, **obj.pop("metadata", {})}, **obj}
    return printer_for(group, kind).cells(obj, Now(unix_seconds(NOW)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1.9, "0s"),
        (0, "0s"),
        (119.9, "119s"),
        (120, "2m"),
        (182, "3m2s"),
        (599, "9m59s"),
        (600, "10m"),
        (179 * 60, "179m"),
        (180 * 60, "3h"),
        (7 * 3600 + 59 * 60, "7h59m"),
        (8 * 3600 + 59 * 60, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (52 * 3600, "2d4h"),
        (8 * 86400 - 1, "7d23h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (735 * 86400, "2y5d"),
        (8 * 365 * 86400, "8y"),
        (8 * 365 * 86400 + 86400, "8y"),
    ],
)
def test_human_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def pod(status: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "a"}], **spec}, "status": {"phase": "Running", **status}}


def container(state: dict[str, Any], *, ready: bool = False, restarts: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": more.pop("name", "a"), "state": state, "ready": ready, "restartCount": restarts, **more}


RUNNING = {"running": {"startedAt": CREATED}}
COMPLETED = {"terminated": {"exitCode": 0, "reason": "Completed"}}
SIDECAR = {"name": "s", "restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("obj", "ready", "status", "restarts"),
    [
        (pod({"phase": "Pending"}), "0/1", "Pending", "0"),
        (pod({"containerStatuses": [container(RUNNING, ready=True)]}), "1/1", "Running", "0"),
        (pod({"containerStatuses": [container(RUNNING)]}), "0/1", "Running", "0"),
        (pod({"phase": "Failed", "reason": "Evicted"}), "0/1", "Evicted", "0"),
        (
            pod({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
            "0/1",
            "SchedulingGated",
            "0",
        ),
        (
            pod({"containerStatuses": [container({"waiting": {"reason": "ImagePullBackOff"}})]}),
            "0/1",
            "ImagePullBackOff",
            "0",
        ),
        (
            pod(
                {
                    "containerStatuses": [
                        container(
                            {"waiting": {"reason": "CrashLoopBackOff"}},
                            restarts=3,
                            lastState={"terminated": {"exitCode": 1, "finishedAt": "2026-01-09T23:59:30Z"}},
                        )
                    ]
                }
            ),
            "0/1",
            "CrashLoopBackOff",
            "3 (30s ago)",
        ),
        (pod({"containerStatuses": [container(RUNNING, ready=True, restarts=2)]}), "1/1", "Running", "2"),
        (pod({"containerStatuses": [container({"terminated": {"exitCode": 2}})]}), "0/1", "ExitCode:2", "0"),
        (pod({"containerStatuses": [container({"terminated": {"exitCode": 2, "signal": 9}})]}), "0/1", "Signal:9", "0"),
        (pod({"phase": "Succeeded", "containerStatuses": [container(COMPLETED)]}), "0/1", "Completed", "0"),
        # A finished container beside a running one.
        (
            pod(
                {
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [container(COMPLETED), container(RUNNING, ready=True)],
                }
            ),
            "1/1",
            "Running",
            "0",
        ),
        (
            pod({"containerStatuses": [container(COMPLETED), container(RUNNING, ready=True)]}),
            "1/1",
            "NotReady",
            "0",
        ),
        (
            pod(
                {
                    "containerStatuses": [
                        container(COMPLETED),
                        container({"terminated": {"exitCode": 1, "reason": "Error"}}),
                    ]
                }
            ),
            "0/1",
            "Error",
            "0",
        ),
        # Init containers.
        (
            pod(
                {
                    "initContainerStatuses": [
                        container(COMPLETED),
                        container({"waiting": {"reason": "PodInitializing"}}),
                    ]
                },
                initContainers=[{"name": "i"}, {"name": "j"}],
            ),
            "0/1",
            "Init:1/2",
            "0",
        ),
        (
            pod(
                {"initContainerStatuses": [container({"terminated": {"exitCode": 1, "reason": "Error"}}, restarts=4)]},
                initContainers=[{"name": "i"}],
            ),
            "0/1",
            "Init:Error",
            "4",
        ),
        (
            pod(
                {"initContainerStatuses": [container({"terminated": {"exitCode": 7}})]}, initContainers=[{"name": "i"}]
            ),
            "0/1",
            "Init:ExitCode:7",
            "0",
        ),
        (
            pod(
                {"initContainerStatuses": [container({"terminated": {"exitCode": 7, "signal": 15}})]},
                initContainers=[{"name": "i"}],
            ),
            "0/1",
            "Init:Signal:15",
            "0",
        ),
        (
            pod(
                {"initContainerStatuses": [container({"waiting": {"reason": "ErrImagePull"}})]},
                initContainers=[{"name": "i"}],
            ),
            "0/1",
            "Init:ErrImagePull",
            "0",
        ),
        # Sidecars count as containers, and their restarts stay when initialization is over.
        (
            pod(
                {
                    "initContainerStatuses": [
                        container(RUNNING, name="s", started=True, ready=True, restarts=1),
                        container(COMPLETED, name="i", restarts=5),
                    ],
                    "containerStatuses": [container(RUNNING, ready=True, restarts=2)],
                },
                initContainers=[SIDECAR, {"name": "i"}],
            ),
            "2/2",
            "Running",
            "3",
        ),
        # Deletion.
        (pod({}) | {"metadata": {"deletionTimestamp": CREATED}}, "0/1", "Terminating", "0"),
        (pod({"reason": "NodeLost"}) | {"metadata": {"deletionTimestamp": CREATED}}, "0/1", "Unknown", "0"),
        (pod({"phase": "Succeeded"}) | {"metadata": {"deletionTimestamp": CREATED}}, "0/1", "Succeeded", "0"),
    ],
)
def test_pod_status(obj: dict[str, Any], ready: str, status: str, restarts: str) -> None:
    assert cells("", "Pod", obj)[1:4] == [ready, status, restarts]


def test_pod_wide_cells() -> None:
    obj = pod(
        {
            "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}],
            "nominatedNodeName": "n2",
            "conditions": [{"type": "gate/a", "status": "True"}, {"type": "gate/b", "status": "False"}],
        },
        nodeName="n1",
        readinessGates=[{"conditionType": "gate/a"}, {"conditionType": "gate/b"}, {"conditionType": "gate/c"}],
    )
    assert cells("", "Pod", obj)[4:] == ["5m", "10.0.0.7", "n1", "n2", "1/3"]
    assert cells("", "Pod", {})[4:] == ["5m", "<none>", "<none>", "<none>", "<none>"]


def test_finished_pods_carry_a_row_condition() -> None:
    conditions = PRINTERS["", "Pod"].conditions
    assert conditions is not None
    assert conditions({"status": {"phase": "Running"}}) == []
    assert [conditions({"status": {"phase": phase}})[0]["reason"] for phase in ("Succeeded", "Failed")] == [
        "Succeeded",
        "Failed",
    ]


TEMPLATE = {
    "metadata": {"labels": {"b": "2", "a": "1"}},
    "spec": {
        "containers": [{"name": "c", "image": "i:1"}, {"name": "d", "image": "j"}],
        "nodeSelector": {"disk": "ssd"},
    },
}
SELECTOR = {"matchLabels": {"b": "2"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}]}


def service(kind: str, **spec: Any) -> dict[str, Any]:
    return {"spec": {"type": kind, "clusterIPs": ["10.0.0.1"], **spec}}


CASES: list[tuple[str, str, dict[str, Any], list[Any]]] = [
    ("", "ConfigMap", {"data": {"a": "1"}, "binaryData": {"b": "", "c": ""}}, ["x", 3, "5m"]),
    ("", "ConfigMap", {"metadata": {"creationTimestamp": None}}, ["x", 0, "<unknown>"]),
    ("", "Secret", {"type": "Opaque", "data": {"a": "MQ=="}}, ["x", "Opaque", 1, "5m"]),
    ("", "Namespace", {"status": {"phase": "Active"}}, ["x", "Active", "5m"]),
    ("", "ServiceAccount", {}, ["x", "5m"]),
    ("", "LimitRange", {}, ["x", CREATED]),
    ("rbac.authorization.k8s.io", "Role", {"metadata": {"creationTimestamp": None}}, ["x", "0001-01-01T00:00:00Z"]),
    (
        "",
        "Service",
        service(
            "ClusterIP",
            ports=[{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
            selector={"b": "2", "a": "1"},
        ),
        ["x", "ClusterIP", "10.0.0.1", "<none>", "80/TCP,53/UDP", "5m", "a=1,b=2"],
    ),
    (
        "",
        "Service",
        service(
            "NodePort", ports=[{"port": 80, "nodePort": 30080, "protocol": "TCP"}], externalIPs=["1.2.3.4", "5.6.7.8"]
        ),
        ["x", "NodePort", "10.0.0.1", "1.2.3.4,5.6.7.8", "80:30080/TCP", "5m", "<none>"],
    ),
    ("", "Service", service("LoadBalancer"), ["x", "LoadBalancer", "10.0.0.1", "<pending>", "<none>", "5m", "<none>"]),
    (
        "",
        "Service",
        service("LoadBalancer", externalIPs=["9.9.9.9"])
        | {"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example"}, {"ip": "8.8.8.8", "hostname": "h"}]}}},
        ["x", "LoadBalancer", "10.0.0.1", "8.8.8.8,lb.example,9.9.9.9", "<none>", "5m", "<none>"],
    ),
    (
        "",
        "Service",
        {"spec": {"type": "ExternalName", "externalName": "db.example"}},
        ["x", "ExternalName", "<none>", "db.example", "<none>", "5m", "<none>"],
    ),
    ("", "Endpoints", {}, ["x", "<none>", "5m"]),
    (
        "",
        "Endpoints",
        {"subsets": [{"notReadyAddresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]},
        ["x", "", "5m"],
    ),
    (
        "",
        "Endpoints",
        {
            "subsets": [
                {"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 443}]},
                {"addresses": [{"ip": "10.0.0.9"}]},
            ]
        },
        ["x", "10.0.0.1:80,[fd00::1]:80,10.0.0.1:443 + 2 more...", "5m"],
    ),
    (
        "",
        "ResourceQuota",
        {"status": {"hard": {"pods": "10", "limits.cpu": "4", "cpu": "2"}, "used": {"pods": "3"}}},
        ["x", "cpu: 0/2, pods: 3/10", "limits.cpu: 0/4", "5m"],
    ),
    (
        "",
        "ComponentStatus",
        {"conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]},
        ["x", "Healthy", "ok", ""],
    ),
    ("", "ComponentStatus", {}, ["x", "Unknown", "", ""]),
    (
        "",
        "Node",
        {
            "metadata": {"labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge", "x": "y"}},
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.1.1.1"}],
                "nodeInfo": {
                    "kubeletVersion": "v1.37.0",
                    "osImage": "Debian",
                    "kernelVersion": "6.1",
                    "architecture": "amd64",
                    "containerRuntimeVersion": "containerd://2.0",
                },
            },
        },
        [
            "x",
            "Ready,SchedulingDisabled",
            "edge,worker",
            "5m",
            "v1.37.0",
            "10.1.1.1",
            "<none>",
            "Debian",
            "6.1 (amd64)",
            "containerd://2.0",
        ],
    ),
    (
        "",
        "Node",
        {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
        ["x", "NotReady", "<none>", "5m", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"],
    ),
    (
        "",
        "PersistentVolume",
        {
            "spec": {
                "capacity": {"storage": "5Gi"},
                "accessModes": ["ReadWriteMany", "ReadWriteOnce", "ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": "ns", "name": "c"},
                "storageClassName": "fast",
                "volumeMode": "Filesystem",
            },
            "status": {"phase": "Bound"},
        },
        ["x", "5Gi", "RWO,RWX", "Retain", "Bound", "ns/c", "fast", "<unset>", "", "5m", "Filesystem"],
    ),
    (
        "",
        "PersistentVolumeClaim",
        {
            "spec": {"storageClassName": "fast", "volumeName": "pv"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]},
        },
        ["x", "Bound", "pv", "1Gi", "RWO", "fast", "<unset>", "5m", "<unset>"],
    ),
    (
        "",
        "PersistentVolumeClaim",
        {
            "metadata": {"deletionTimestamp": NOW, "annotations": {"volume.beta.kubernetes.io/storage-class": "old"}},
            "status": {"phase": "Pending", "accessModes": ["ReadWriteOnce"]},
        },
        ["x", "Terminating", "", "", "", "old", "<unset>", "5m", "<unset>"],
    ),
    (
        "",
        "Event",
        {
            "lastTimestamp": "2026-01-09T23:59:50Z",
            "firstTimestamp": CREATED,
            "type": "Normal",
            "reason": "Started",
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"},
            "source": {"component": "kubelet", "host": "n1"},
            "message": " Started \n",
            "count": 4,
        },
        ["10s", "Normal", "Started", "pod/p", "spec.containers{a}", "kubelet, n1", "Started", "5m", 4, "x"],
    ),
    (
        "events.k8s.io",
        "Event",
        {
            "eventTime": "2026-01-09T23:59:00.000000Z",
            "series": {"count": 3, "lastObservedTime": "2026-01-09T23:59:59.500000Z"},
            "type": "Warning",
            "reason": "R",
            "regarding": {"kind": "Node"},
            "reportingController": "c",
            "note": "n",
        },
        ["0s", "Warning", "R", "node", "", "c", "n", "60s", 3, "x"],
    ),
    ("", "PodTemplate", {"template": TEMPLATE}, ["x", "c,d", "i:1,j", "a=1,b=2"]),
    (
        "",
        "ReplicationController",
        {
            "spec": {"replicas": 3, "selector": {"a": "1"}, "template": TEMPLATE},
            "status": {"replicas": 2, "readyReplicas": 1},
        },
        ["x", 3, 2, 1, "5m", "c,d", "i:1,j", "a=1"],
    ),
    (
        "apps",
        "Deployment",
        {
            "spec": {"replicas": 3, "template": TEMPLATE, "selector": SELECTOR},
            "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1},
        },
        ["x", "1/3", 2, 1, "5m", "c,d", "i:1,j", "a in (x,y),b=2"],
    ),
    ("apps", "Deployment", {"spec": {"selector": {}}}, ["x", "0/0", 0, 0, "5m", "", "", ""]),
    (
        "apps",
        "Deployment",
        {"spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "Nope"}]}}},
        ["x", "0/0", 0, 0, "5m", "", "", "<invalid>"],
    ),
    (
        "apps",
        "ReplicaSet",
        {"spec": {"replicas": 3, "selector": {"matchLabels": {"a": "1"}}}, "status": {"replicas": 2}},
        ["x", 3, 2, 0, "5m", "", "", "a=1"],
    ),
    (
        "apps",
        "DaemonSet",
        {
            "spec": {"template": TEMPLATE, "selector": {}},
            "status": {
                "desiredNumberScheduled": 5,
                "currentNumberScheduled": 4,
                "numberReady": 3,
                "updatedNumberScheduled": 2,
                "numberAvailable": 1,
            },
        },
        ["x", 5, 4, 3, 2, 1, "disk=ssd", "5m", "c,d", "i:1,j", "<none>"],
    ),
    ("apps", "StatefulSet", {"spec": {"replicas": 2}, "status": {"readyReplicas": 1}}, ["x", "1/2", "5m", "", ""]),
    (
        "apps",
        "ControllerRevision",
        {
            "metadata": {
                "ownerReferences": [
                    {"kind": "N"},
                    {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": True},
                ]
            },
            "revision": 2,
        },
        ["x", "daemonset.apps/d", 2, "5m"],
    ),
    (
        "batch",
        "Job",
        {
            "spec": {"completions": 3, "template": TEMPLATE, "selector": {"matchLabels": {"j": "1"}}},
            "status": {
                "succeeded": 3,
                "startTime": "2026-01-09T23:50:00Z",
                "completionTime": "2026-01-09T23:52:03Z",
                "conditions": [
                    {"type": "SuccessCriteriaMet", "status": "True"},
                    {"type": "Complete", "status": "True"},
                ],
            },
        },
        ["x", "Complete", "3/3", "2m3s", "5m", "c,d", "i:1,j", "j=1"],
    ),
    (
        "batch",
        "Job",
        {"spec": {"parallelism": 4}, "status": {"startTime": "2026-01-09T23:59:00Z"}},
        ["x", "Running", "0/1 of 4", "60s", "5m", "", "", "<none>"],
    ),
    (
        "batch",
        "Job",
        {"spec": {"parallelism": 1}, "status": {"conditions": [{"type": "Suspended", "status": "True"}]}},
        ["x", "Suspended", "0/1", "", "5m", "", "", "<none>"],
    ),
    (
        "batch",
        "CronJob",
        {
            "spec": {"schedule": "* * * * *", "suspend": False, "jobTemplate": {"spec": {"template": TEMPLATE}}},
            "status": {"active": [{}], "lastScheduleTime": "2026-01-09T23:59:21Z"},
        },
        ["x", "* * * * *", "<none>", "False", 1, "39s", "5m", "c,d", "i:1,j", "<none>"],
    ),
    (
        "autoscaling",
        "HorizontalPodAutoscaler",
        {
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "minReplicas": 1,
                "maxReplicas": 9,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}},
                    {"type": "Pods", "pods": {"target": {"averageValue": "1k"}}},
                    {"type": "External", "external": {"target": {"value": "5"}}},
                ],
            },
            "status": {
                "currentReplicas": 2,
                "currentMetrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 17}}}
                ],
            },
        },
        ["x", "Deployment/web", "cpu: 17%/80%, <unknown>/1k + 1 more...", "1", 9, 2, "5m"],
    ),
    (
        "autoscaling",
        "HorizontalPodAutoscaler",
        {
            "apiVersion": "autoscaling/v1",
            "spec": {
                "scaleTargetRef": {"kind": "D", "name": "w"},
                "maxReplicas": 3,
                "targetCPUUtilizationPercentage": 50,
            },
        },
        ["x", "D/w", "cpu: <unknown>/50%", "<unset>", 3, 0, "5m"],
    ),
    (
        "autoscaling",
        "HorizontalPodAutoscaler",
        {
            "spec": {
                "metrics": [
                    {
                        "type": "ContainerResource",
                        "containerResource": {"name": "memory", "target": {"averageValue": "1Gi"}},
                    },
                    {"type": "Object", "object": {"target": {"averageValue": "10"}}},
                ]
            },
            "status": {
                "currentMetrics": [
                    {"containerResource": {"current": {"averageValue": "2Gi"}}},
                    {"object": {"current": {"averageValue": "20"}}},
                ]
            },
        },
        ["x", "/", "memory: 2Gi/1Gi, 20/10 (avg)", "<unset>", 0, 0, "5m"],
    ),
    ("autoscaling", "Scale", {"spec": {"replicas": 3}, "status": {"replicas": 2}}, ["x", 3, 2, "5m"]),
    (
        "networking.k8s.io",
        "Ingress",
        {
            "spec": {
                "ingressClassName": "nginx",
                "rules": [{"host": "a"}, {}, {"host": "b"}, {"host": "c"}, {"host": "d"}],
                "tls": [{}],
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "2.2.2.2"}, {"ip": "1.1.1.1"}]}},
        },
        ["x", "nginx", "a,b,c + 2 more...", "1.1.1.1,2.2.2.2", "80, 443", "5m"],
    ),
    ("networking.k8s.io", "Ingress", {"spec": {"rules": [{}]}}, ["x", "<none>", "*", "", "80", "5m"]),
    (
        "networking.k8s.io",
        "IngressClass",
        {
            "metadata": {"annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
            "spec": {"controller": "c", "parameters": {"apiGroup": "g", "kind": "K", "name": "n"}},
        },
        ["x (default)", "c", "K.g/n", "5m"],
    ),
    ("networking.k8s.io", "NetworkPolicy", {"spec": {"podSelector": {}}}, ["x", "<none>", "5m"]),
    (
        "networking.k8s.io",
        "IPAddress",
        {"spec": {"parentRef": {"resource": "services", "namespace": "ns", "name": "s"}}},
        ["x", "services/ns/s", "5m"],
    ),
    (
        "networking.k8s.io",
        "ServiceCIDR",
        {"spec": {"cidrs": ["10.0.0.0/16", "fd00::/108"]}},
        ["x", "10.0.0.0/16,fd00::/108", "5m"],
    ),
    (
        "discovery.k8s.io",
        "EndpointSlice",
        {
            "addressType": "IPv4",
            "ports": [{"port": 80}, {"name": "dns"}, {}],
            "endpoints": [{"addresses": ["1", "2"]}, {"addresses": ["3", "4", "5"]}],
        },
        ["x", "IPv4", "80,dns,*", "1,2,3 + 2 more...", "5m"],
    ),
    ("discovery.k8s.io", "EndpointSlice", {"addressType": "IPv4"}, ["x", "IPv4", "<unset>", "<unset>", "5m"]),
    (
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        {
            "roleRef": {"kind": "ClusterRole", "name": "admin"},
            "subjects": [
                {"kind": "User", "name": "u"},
                {"kind": "Group", "name": "g"},
                {"kind": "User", "name": "v"},
                {"kind": "ServiceAccount", "namespace": "n", "name": "s"},
            ],
        },
        ["x", "ClusterRole/admin", "5m", "u, v", "g", "n/s"],
    ),
    ("storage.k8s.io", "StorageClass", {"provisioner": "p"}, ["x", "p", "Delete", "Immediate", False, "5m"]),
    (
        "storage.k8s.io",
        "CSIDriver",
        {"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "b"}], "volumeLifecycleModes": ["Persistent"]}},
        ["x", True, False, False, "a,b", False, "Persistent", "5m"],
    ),
    ("storage.k8s.io", "CSINode", {"spec": {"drivers": [{}, {}]}}, ["x", 2, "5m"]),
    ("storage.k8s.io", "CSIStorageCapacity", {"storageClassName": "s"}, ["x", "s", "<unset>"]),
    (
        "storage.k8s.io",
        "VolumeAttachment",
        {
            "spec": {"attacher": "a", "source": {"persistentVolumeName": "p"}, "nodeName": "n"},
            "status": {"attached": True},
        },
        ["x", "a", "p", "n", True, "5m"],
    ),
    ("storage.k8s.io", "VolumeAttributesClass", {"driverName": "d"}, ["x", "d", "5m"]),
    (
        "storagemigration.k8s.io",
        "StorageVersionMigration",
        {
            "spec": {"resource": {"group": "g", "resource": "r"}},
            "status": {"conditions": [{"type": "Running", "status": "False"}, {"type": "Succeeded", "status": "True"}]},
        },
        ["x", "r.g", "Succeeded"],
    ),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", {"webhooks": [{}]}, ["x", 1, "5m"]),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicy",
        {"spec": {"validations": [{}, {}], "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}},
        ["x", 2, "v1/ConfigMap", "5m"],
    ),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy", {}, ["x", 0, "<unset>", "5m"]),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
        {"spec": {"policyName": "p", "paramRef": {"name": "n"}}},
        ["x", "p", "*/n", "5m"],
    ),
    (
        "certificates.k8s.io",
        "CertificateSigningRequest",
        {
            "spec": {"signerName": "s", "username": "u", "expirationSeconds": 3600 * 24},
            "status": {"conditions": [{"type": "Approved"}, {"type": "Failed"}], "certificate": "eA=="},
        },
        ["x", "5m", "s", "u", "24h", "Approved,Failed,Issued"],
    ),
    ("certificates.k8s.io", "CertificateSigningRequest", {}, ["x", "5m", "<none>", "", "<none>", "Pending"]),
    ("certificates.k8s.io", "ClusterTrustBundle", {}, ["x", "<none>"]),
    (
        "certificates.k8s.io",
        "PodCertificateRequest",
        {"spec": {"podName": "p"}, "status": {"conditions": [{"type": "Issued"}]}},
        ["x", "p", "", "", "", "Issued", "<none>"],
    ),
    ("coordination.k8s.io", "Lease", {"spec": {"holderIdentity": "h"}}, ["x", "h", "5m"]),
    (
        "coordination.k8s.io",
        "LeaseCandidate",
        {"spec": {"leaseName": "l", "binaryVersion": "1"}},
        ["x", "l", "1", "", "5m"],
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "FlowSchema",
        {
            "spec": {
                "priorityLevelConfiguration": {"name": "p"},
                "matchingPrecedence": 500,
                "distinguisherMethod": {"type": "ByUser"},
            },
            "status": {"conditions": [{"type": "Dangling", "status": "False"}]},
        },
        ["x", "p", 500, "ByUser", "5m", "False"],
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
        {
            "spec": {
                "type": "Limited",
                "limited": {
                    "nominalConcurrencyShares": 30,
                    "limitResponse": {"queuing": {"queues": 64, "handSize": 6, "queueLengthLimit": 50}},
                },
            }
        },
        ["x", "Limited", 30, 64, 6, 50, "5m"],
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
        {"spec": {"type": "Exempt"}},
        ["x", "Exempt", "<none>", "<none>", "<none>", "<none>", "5m"],
    ),
    (
        "internal.apiserver.k8s.io",
        "StorageVersion",
        {"status": {"storageVersions": [{"apiServerID": "a", "encodingVersion": "v1"}]}},
        ["x", "<unset>", "a=v1", "5m"],
    ),
    (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        {
            "spec": {
                "scope": "Namespaced",
                "group": "g",
                "names": {"kind": "K", "shortNames": ["k", "kk"]},
                "versions": [
                    {"name": "v2", "served": True, "storage": True},
                    {"name": "v1", "served": True},
                    {"name": "v0", "served": False},
                ],
            },
            "status": {"conditions": [{"type": "Established", "status": "True"}]},
        },
        ["x", "Namespaced", "v1,v2(storage)", CREATED, "g", "K", "k,kk", True],
    ),
    ("apiregistration.k8s.io", "APIService", {}, ["x", "Local", "Unknown", "5m"]),
    (
        "apiregistration.k8s.io",
        "APIService",
        {
            "spec": {"service": {"namespace": "n", "name": "s"}},
            "status": {"conditions": [{"type": "Available", "status": "False", "reason": "R"}]},
        },
        ["x", "n/s", "False (R)", "5m"],
    ),
    ("scheduling.k8s.io", "PriorityClass", {"value": 7, "preemptionPolicy": "Never"}, ["x", 7, False, "5m", "Never"]),
    ("scheduling.k8s.io", "Workload", {}, ["x", "5m"]),
    (
        "scheduling.k8s.io",
        "PodGroup",
        {
            "spec": {"schedulingPolicy": {"gang": {}}, "workloadRef": {"workloadName": "w"}},
            "status": {"conditions": [{"type": "PodGroupInitiallyScheduled", "status": "False"}]},
        },
        ["x", "Gang", "w", "Unschedulable", "5m"],
    ),
    (
        "scheduling.k8s.io",
        "CompositePodGroup",
        {"spec": {"schedulingPolicy": {"basic": {}}}},
        ["x", "Basic", "<none>", "5m"],
    ),
    ("node.k8s.io", "RuntimeClass", {"handler": "runc"}, ["x", "runc", "5m"]),
    (
        "policy",
        "PodDisruptionBudget",
        {"spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 1}},
        ["x", "50%", "N/A", 1, "5m"],
    ),
    ("policy", "PodDisruptionBudget", {"spec": {"maxUnavailable": 1}}, ["x", "N/A", "1", 0, "5m"]),
    ("resource.k8s.io", "DeviceClass", {}, ["x", "5m"]),
    (
        "resource.k8s.io",
        "ResourceClaim",
        {"metadata": {"deletionTimestamp": NOW}, "status": {"allocation": {}, "reservedFor": [{}]}},
        ["x", "deleted,allocated,reserved", "5m"],
    ),
    ("resource.k8s.io", "ResourceClaim", {}, ["x", "pending", "5m"]),
    ("resource.k8s.io", "ResourceSlice", {"spec": {"driver": "d", "pool": {"name": "p"}}}, ["x", "", "d", "p", "5m"]),
    (
        "resource.k8s.io",
        "DeviceTaintRule",
        {"spec": {"taint": {"key": "k", "value": "v", "effect": "NoExecute", "timeAdded": CREATED}}},
        ["x", "k", "v", "NoExecute", "5m", "5m"],
    ),
    (
        "resource.k8s.io",
        "ResourcePoolStatusRequest",
        {
            "spec": {"driver": "d"},
            "status": {
                "poolCount": 3,
                "pools": [
                    {"totalDevices": 4, "availableDevices": 1, "allocatedDevices": 2, "unavailableDevices": 1},
                    {"validationError": "bad"},
                ],
                "conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": CREATED}],
            },
        },
        ["x", "d", "4", "1", "2", "1", "1", 3, "Complete (2/3 pools)", "5m"],
    ),
    ("resource.k8s.io", "ResourcePoolStatusRequest", {}, ["x", "", "-", "-", "-", "-", "-", 0, "Pending", "<none>"]),
    (
        "lifecycle.k8s.io",
        "Eviction",
        {
            "spec": {"target": {"pod": {"name": "p"}}},
            "status": {
                "observedGeneration": 1,
                "requesters": [{"name": "b"}, {"name": "a"}, {"name": "c", "intent": "Withdrawn"}],
                "targetResponders": [{"name": "r", "state": "Active"}, {"name": "s", "state": "Inactive"}],
                "responders": [
                    {
                        "name": "r",
                        "startTime": CREATED,
                        "heartbeatTime": "2026-01-09T23:59:50Z",
                        "expectedCompletionTime": "2026-01-10T00:01:00Z",
                        "message": " m ",
                    }
                ],
            },
        },
        [
            "x",
            "p",
            "Pod",
            "Progressing",
            "r (1/2)",
            "Started (5m ago)",
            "in 60s",
            "a + 1 more...",
            "5m",
            "10s ago",
            "m",
        ],
    ),
    (
        "lifecycle.k8s.io",
        "Eviction",
        {},
        ["x", "<unset>", "<unset>", "Pending", "<unset>", "<unset>", "<unknown>", "<none>", "5m", "<unset>", "<unset>"],
    ),
    (
        "lifecycle.k8s.io",
        "EvictionRequest",
        {
            "spec": {"requester": "r", "intent": "Evict"},
            "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "Why"}]},
        },
        ["x", "<unset>", "<unset>", "Failed (Why)", "r", "Evict", "5m"],
    ),
]


@pytest.mark.parametrize(
    ("group", "kind", "obj", "want"), CASES, ids=[f"{case[1]}-{i}" for i, case in enumerate(CASES)]
)
def test_cells(group: str, kind: str, obj: dict[str, Any], want: list[Any]) -> None:
    assert cells(group, kind, obj) == want


def test_every_kind_with_columns_of_its_own_has_a_printer(scheme: Scheme) -> None:
    plain = ("Name", "Created At")
    for resource in scheme.resources():
        printer = printer_for(resource.group, resource.kind)
        columns = (resource.columns, printer.columns or resource.columns)
        has_own = any(tuple(column.name for column in shown) != plain for shown in columns)
        assert (printer is not DEFAULT_PRINTER) == has_own, resource.kind


def test_an_empty_object_of_every_kind_fills_its_columns(scheme: Scheme) -> None:
    for resource in scheme.resources():
        printer = printer_for(resource.group, resource.kind)
        row = printer.cells({"metadata": {}}, Now(0))
        surplus = 1 if resource.kind == "IPAddress" else 0
        assert len(row) == len(printer.columns or resource.columns) + surplus, resource.kind
        assert all(isinstance(cell, (str, int, bool)) for cell in row), resource.kind


GOLDEN = Path(__file__).parents[5] / "shared" / "golden"


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="needs the shared golden files")
def test_a_full_object_of_every_kind_fills_its_columns(scheme: Scheme) -> None:
    tried = 0
    for path in GOLDEN.glob("*.json"):
        obj = json.loads(path.read_text())
        group, _, version = obj.get("apiVersion", "").rpartition("/")
        resource = scheme.resource_for_kind(group, version, obj.get("kind", ""))
        if resource is None:
            continue
        printer = printer_for(group, resource.kind)
        row = printer.cells(obj, Now(unix_seconds(NOW)))
        surplus = 1 if resource.kind == "IPAddress" else 0
        assert len(row) == len(printer.columns or resource.columns) + surplus, resource.kind
        assert all(isinstance(cell, (str, int, bool)) for cell in row), (resource.kind, row)
        tried += 1
    assert tried > 20
