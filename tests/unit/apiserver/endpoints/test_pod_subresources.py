"""Binding, eviction, and what kubelets would answer."""

from __future__ import annotations

from typing import Any

import pytest

PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "i"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "x"}},
        "spec": {"containers": containers, **spec},
    }


def binding(name: str = "p", node: str = "n") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": node}}


@pytest.mark.parametrize("path", [PODS + "/p/binding", "/api/v1/namespaces/default/bindings"])
async def test_binding(api: Any, path: str) -> None:
    await api("POST", PODS, pod(), expect=201)
    answer = await api("POST", path, binding(), expect=201)
    assert answer.json == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    bound = (await api("GET", PODS + "/p", expect=200)).json
    assert bound["spec"]["nodeName"] == "n"
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"
    assert bound["status"]["conditions"][0]["status"] == "True"
    again = await api("POST", path, binding(node="m"), expect=409)
    assert again.json["message"] == (
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n"'
    )
    await api("POST", path, binding(node=""), expect=500)


async def test_binding_of_nothing(api: Any) -> None:
    await api("POST", PODS + "/p/binding", binding(), expect=404)
    await api("POST", PODS, pod(), expect=201)
    other = await api("POST", PODS + "/p/binding", binding("q"), expect=400)
    assert other.json["message"] == "name in URL does not match name in Binding object"


async def test_pods_without_a_node(api: Any) -> None:
    await api("POST", PODS, pod(), expect=201)
    assert (await api("GET", PODS + "/p/log", expect=204)).body == b""
    answer = await api("POST", PODS + "/p/exec?command=sh", expect=400)
    assert answer.json["message"] == "pod p does not have a host assigned"
    answer = await api("GET", PODS + "/p/log?container=z", expect=400)
    assert answer.json["message"] == "container z is not valid for pod p"
    await api("GET", PODS + "/q/log", expect=404)


async def test_pods_with_a_node(api: Any) -> None:
    await api("POST", PODS, pod(nodeName="n"), expect=201)
    answer = await api("GET", PODS + "/p/log", expect=404)
    assert answer.json["message"] == 'nodes "n" not found'
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    await api("POST", "/api/v1/nodes", node, expect=201)
    patch = {"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.9"}]}}
    await api("PATCH", "/api/v1/nodes/n/status", patch, expect=200, content_type="application/merge-patch+json")
    answer = await api("POST", PODS + "/p/portforward", expect=500)
    assert answer.json["message"] == "error dialing backend: dial tcp 10.0.0.9:10250: connect: connection refused"


def eviction(name: str = "p", **options: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    if options:
        body["deleteOptions"] = options
    return body


async def test_eviction_without_a_budget_deletes(api: Any) -> None:
    await api("POST", PODS, pod(), expect=201)
    answer = await api("POST", PODS + "/p/eviction?dryRun=All", eviction(), expect=201)
    assert answer.json["status"] == "Success"
    await api("GET", PODS + "/p", expect=200)
    await api("POST", PODS + "/p/eviction", eviction(gracePeriodSeconds=0), expect=201)
    await api("GET", PODS + "/p", expect=404)


async def test_eviction_asks_the_budget(api: Any) -> None:
    merge = "application/merge-patch+json"
    for name in ("p", "q"):
        await api("POST", PODS, pod(name, nodeName="n"), expect=201)
        ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        await api("PATCH", f"{PODS}/{name}/status", ready, expect=200, content_type=merge)
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}},
    }
    await api("POST", BUDGETS, budget, expect=201)
    answer = await api("POST", PODS + "/p/eviction", eviction(), expect=429)
    assert answer.json["details"]["causes"][0]["message"] == (
        "The disruption budget b is still being processed by the server."
    )
    assert answer.header("retry-after") == "10"
    status = {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1}
    await api("PATCH", BUDGETS + "/b/status", {"status": status}, expect=200, content_type=merge)
    await api("POST", PODS + "/p/eviction", eviction(gracePeriodSeconds=0), expect=201)
    await api("GET", PODS + "/p", expect=404)
    left = (await api("GET", BUDGETS + "/b", expect=200)).json["status"]
    assert left["disruptionsAllowed"] == 0
    assert list(left["disruptedPods"]) == ["p"]
    answer = await api("POST", PODS + "/q/eviction", eviction("q"), expect=429)
    assert answer.json["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert answer.json["details"]["causes"] == [
        {"reason": "DisruptionBudget", "message": "The disruption budget b needs 1 healthy pods and has 2 currently"}
    ]
    await api("GET", PODS + "/q", expect=200)
