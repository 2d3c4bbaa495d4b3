"""How long the codec takes: loading the tables, first use, and objects through every step. Best of several runs."""

from __future__ import annotations

import copy
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from apiserver.api.scheme import load_scheme
from apiserver.codec import Codec, encode_list_json
from apiserver.codec.json import parse_json
from apiserver.codec.yaml import parse_yaml
from hack.bench.report import Row, print_rows

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"

CONFIG_MAP: dict[str, Any] = {
    "kind": "ConfigMap",
    "apiVersion": "v1",
    "metadata": {
        "name": "settings-1",
        "namespace": "default",
        "uid": "7c1e9a7e-2f5e-4d5e-8f53-3f1f1d1a6f3e",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": "web"},
    },
    "data": {"payload": "x" * 1024},
}
SMALL_POD: dict[str, Any] = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
    "spec": {
        "containers": [
            {
                "name": "web",
                "image": "nginx:1.27",
                "ports": [{"containerPort": 80}],
                "env": [{"name": "MODE", "value": "fast"}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
            }
        ]
    },
}


def running_pod() -> dict[str, Any]:
    """A pod as a cluster has it: defaulted, scheduled, running, with managed fields."""
    container = {
        **SMALL_POD["spec"]["containers"][0],
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/web"},
            {"name": "kube-api-access", "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
        ],
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": 80, "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    token = {"expirationSeconds": 3607, "path": "token"}
    items = [{"key": "ca.crt", "path": "ca.crt"}]
    sources = [{"serviceAccountToken": token}, {"configMap": {"name": "kube-root-ca.crt", "items": items}}]
    conditions = [
        {"type": name, "status": "True", "lastProbeTime": None, "lastTransitionTime": "2026-01-01T00:00:03Z"}
        for name in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    fields = {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:containers": {'k:{"name":"web"}': {}}}}
    managed = [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        for manager in ("kube-controller-manager", "kubelet")
    ]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9", "uid": "u", "controller": True}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            **CONFIG_MAP["metadata"],
            "generateName": "web-7d4b9-",
            "ownerReferences": [owner],
            "managedFields": managed,
        },
        "spec": {
            "volumes": [
                {"name": "config", "configMap": {"name": "web", "defaultMode": 420}},
                {"name": "kube-api-access", "projected": {"sources": sources, "defaultMode": 420}},
            ],
            "containers": [container],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "nodeName": "node-1",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "tolerations": [
                {
                    "key": f"node.kubernetes.io/{name}",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
                for name in ("not-ready", "unreachable")
            ],
            "priority": 0,
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {
            "phase": "Running",
            "conditions": conditions,
            "hostIP": "10.0.0.1",
            "podIP": "10.244.0.7",
            "podIPs": [{"ip": "10.244.0.7"}],
            "startTime": "2026-01-01T00:00:00Z",
            "containerStatuses": [
                {
                    "name": "web",
                    "state": {"running": {"startedAt": "2026-01-01T00:00:02Z"}},
                    "lastState": {},
                    "ready": True,
                    "restartCount": 0,
                    "image": "nginx:1.27",
                    "imageID": "docker.io/library/nginx@sha256:0123456789abcdef",
                    "containerID": "containerd://0123456789abcdef",
                    "started": True,
                }
            ],
            "qosClass": "Burstable",
        },
    }


def microseconds(call: Callable[[], object], seconds: float = 0.15, repeat: int = 5) -> float:
    """The best mean of several runs, each of about `seconds / repeat`."""
    started = time.perf_counter()
    call()
    once = time.perf_counter() - started
    number = max(1, int(seconds / repeat / max(once, 1e-7)))
    best = float("inf")
    for _ in range(repeat):
        started = time.perf_counter()
        for _ in range(number):
            call()
        best = min(best, (time.perf_counter() - started) / number)
    return best * 1e6


def start_up() -> list[Row]:
    """What a fresh process pays."""
    started = time.perf_counter()
    scheme = load_scheme()
    loaded = time.perf_counter()
    for kind in ("Pod", "PodList"):
        scheme.type_of("", "v1", kind)
    codec = Codec(scheme)
    codec.to_storage(codec.normalize(copy.deepcopy(SMALL_POD), strict=True).obj)
    used = time.perf_counter()
    return [
        Row("load the index of all resources", (loaded - started) * 1e3, "ms", "<= 5"),
        Row("first pod: tables of its group, normalize, encode", (used - loaded) * 1e3, "ms", "<= 20"),
    ]


def populated_pod(codec: Codec) -> dict[str, Any]:
    """A pod with every field set, as the golden files have it."""
    spec = importlib.util.spec_from_file_location("golden_populate", GOLDEN / "populate.py")
    assert spec is not None
    assert spec.loader is not None
    populate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(populate)
    kind = ("", "v1", "Pod")
    obj: dict[str, Any] = populate.canonical(codec, kind, populate.Populator(codec.scheme, None, 0).object(kind))
    return obj


def object_rows(codec: Codec, name: str, obj: dict[str, Any], limits: tuple[float, float, float]) -> list[Row]:
    """Normalizing, encoding and decoding of one object; `limits` in microseconds, 0 for none."""
    obj = codec.normalize(copy.deepcopy(obj), strict=True).obj
    stored, text = codec.to_storage(obj), orjson.dumps(obj)
    for _ in range(200):  # until the functions of the innermost types are compiled
        codec.from_storage(stored)
        codec.to_storage(obj)
    steps: list[tuple[str, Callable[[], object], float]] = [
        ("normalize", lambda: codec.normalize(obj, strict=True), limits[0]),
        ("to protobuf", lambda: codec.to_storage(obj), limits[1]),
        ("from protobuf", lambda: codec.from_storage(stored), limits[2]),
        ("orjson.dumps, to compare", lambda: orjson.dumps(obj), 0),
        ("orjson.loads, to compare", lambda: orjson.loads(text), 0),
    ]
    return [
        Row(f"{name}: {step}", microseconds(call), "µs", f"<= {limit:g}" if limit else None)
        for step, call, limit in steps
    ]


def text_rows(codec: Codec) -> list[Row]:
    """Request bodies and lists."""
    pod = codec.normalize(running_pod(), strict=True).obj
    text = orjson.dumps(pod)
    as_yaml = orjson.dumps(SMALL_POD)  # JSON is YAML
    items = [text] * 1000
    metadata = {"resourceVersion": "1"}
    return [
        Row("running pod: parse JSON strictly", microseconds(lambda: parse_json(text, strict=True)), "µs"),
        Row("small pod: parse YAML", microseconds(lambda: parse_yaml(as_yaml, strict=True)), "µs"),
        Row(
            "list of 1000 encoded pods as JSON",
            microseconds(lambda: encode_list_json("v1", "PodList", metadata, items)) / 1e3,
            "ms",
            "<= 10",
        ),
    ]


def run() -> list[Row]:
    """All figures."""
    rows = start_up()
    codec = Codec(load_scheme())
    rows += object_rows(codec, "ConfigMap of 1 KiB", CONFIG_MAP, (10, 15, 15))
    rows += object_rows(codec, "small pod", SMALL_POD, (40, 0, 0))
    rows += object_rows(codec, "running pod", running_pod(), (0, 0, 0))
    rows += object_rows(codec, "pod with every field", populated_pod(codec), (0, 150, 300))
    return rows + text_rows(codec)


if __name__ == "__main__":
    print_rows(run())
