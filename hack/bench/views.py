"""How long the views take: tables, patches, discovery, OpenAPI. Prints the best of several runs in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson

from apiserver.api.scheme import load_scheme
from apiserver.endpoints.openapi import OpenAPI
from apiserver.endpoints.patches import apply_json_patch, apply_merge_patch, apply_strategic_merge_patch
from apiserver.endpoints.tables import IncludeObject, Row, TableOptions, list_table

NOW = 1_770_000_000.0


def pod(index: int) -> dict[str, Any]:
    """A pod as a cluster has them: labels, managed fields, one container that was restarted now and then."""
    terminated = {"exitCode": 1, "finishedAt": "2026-01-01T00:00:00Z"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"web-{index}",
            "namespace": "default",
            "uid": "5f1b6f0e-5d0a-4f3e-9a52-1f4a0a7f9d11",
            "resourceVersion": "123",
            "creationTimestamp": f"2026-01-01T00:{index % 60:02}:00Z",
            "labels": {"app": "web", "tier": "front"},
            "managedFields": [
                {
                    "manager": "kubectl",
                    "operation": "Update",
                    "apiVersion": "v1",
                    "time": "2026-01-01T00:00:00Z",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:spec": {"f:containers": {'k:{"name":"a"}': {".": {}, "f:image": {}}}}},
                }
            ],
        },
        "spec": {"containers": [{"name": "a", "image": "b"}], "nodeName": "n1"},
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [
                {
                    "name": "a",
                    "ready": True,
                    "restartCount": index % 3,
                    "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                    "lastState": {"terminated": terminated} if index % 3 else {},
                }
            ],
        },
    }


def best(name: str, run: Callable[[], Any], *, repeat: int = 7) -> None:
    """Run and print."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    print(f"{name:45} {min(times) * 1e3:9.3f} ms")


def main() -> None:
    """Measure everything once."""
    scheme = load_scheme()
    pods = scheme.resource("", "v1", "pods")
    assert pods is not None
    rows = [Row(view, orjson.dumps(view)) for view in map(pod, range(1000))]
    for include in IncludeObject:
        options = TableOptions(include)
        best(
            f"1,000 pods as a Table, object {include.value}",
            lambda options=options: list_table(pods, rows, options, now_seconds=NOW, metadata={}),
        )
    body = orjson.dumps(pod(1))
    strategic = {"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a", "image": "c"}]}}
    best("decode a pod (to compare)", lambda: orjson.loads(body))
    best(
        "… and apply a strategic merge patch",
        lambda: apply_strategic_merge_patch(orjson.loads(body), strategic, scheme, pods.type),
    )
    merge = {"metadata": {"labels": {"x": "y"}}}
    best("… and apply a merge patch", lambda: apply_merge_patch(orjson.loads(body), merge))
    operations = [{"op": "replace", "path": "/spec/containers/0/image", "value": "c"}]
    best("… and apply a JSON patch", lambda: apply_json_patch(orjson.loads(body), operations))

    def all_documents() -> None:
        openapi = OpenAPI(scheme, lambda resource: resource.served_by_default, "v1.37.0")
        for name in openapi.names():
            openapi.document(name)

    best("all OpenAPI v3 documents", all_documents, repeat=3)


if __name__ == "__main__":
    main()
