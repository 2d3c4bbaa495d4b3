"""PATCH, from the body to what is stored."""

from __future__ import annotations

from typing import Any

import pytest

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@pytest.mark.parametrize(
    ("content_type", "patch"),
    [
        (JSON_PATCH, [{"op": "add", "path": "/data/x", "value": "1"}]),
        (MERGE, {"data": {"x": "1"}}),
        (STRATEGIC, {"data": {"x": "1"}}),
        (MERGE + "; charset=utf-8", {"data": {"x": "1"}}),
    ],
)
async def test_each_type(api: Any, content_type: str, patch: Any) -> None:
    created = (await api("POST", CONFIG_MAPS, BODY, expect=201)).json
    answer = await api("PATCH", CONFIG_MAPS + "/a", patch, expect=200, content_type=content_type)
    assert answer.json["data"] == {"k": "v", "x": "1"}
    assert answer.json["metadata"]["uid"] == created["metadata"]["uid"]


async def test_unknown_types_are_415_and_name_the_known(api: Any) -> None:
    await api("POST", CONFIG_MAPS, BODY, expect=201)
    for content_type in ("application/json", "application/apply-patch+yaml", "text/plain"):
        answer = await api("PATCH", CONFIG_MAPS + "/a", {}, expect=415, content_type=content_type)
        assert answer.json["message"] == (
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json"
        )


async def test_bad_patches(api: Any) -> None:
    await api("POST", CONFIG_MAPS, BODY, expect=201)
    path = CONFIG_MAPS + "/a"
    answer = await api("PATCH", path, b"{", expect=400, content_type=MERGE)
    assert answer.json["message"].startswith("error decoding patch: ")
    test = [{"op": "test", "path": "/data/k", "value": "no"}]
    answer = await api("PATCH", path, test, expect=422, content_type=JSON_PATCH)
    assert (answer.json["code"], answer.json["details"]) == (422, {})
    unknown = {"data": {"b": "2"}, "flower": {"rose": 1, "colors": ["red", None]}}
    answer = await api("PATCH", path + "?fieldValidation=Strict", unknown, expect=422, content_type=STRATEGIC)
    assert answer.json["message"] == (
        ' "" is invalid: patch: Invalid value: "map[data:map[b:2] flower:map[colors:[red <nil>] rose:1]]": '
        'strict decoding error: unknown field "flower"'
    )
    answer = await api("PATCH", path, {"data": "x"}, expect=422, content_type=MERGE)
    assert answer.json["message"].startswith(' "" is invalid: patch: Invalid value: "{')
    answer = await api("PATCH", path + "?force=true", {}, expect=422, content_type=MERGE)
    assert answer.json["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch'
    )
    await api("PATCH", CONFIG_MAPS + "/nope", {}, expect=404, content_type=MERGE)


async def test_a_patch_never_creates(api: Any) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l"
    await api("PATCH", path, {"spec": {}}, expect=404, content_type=MERGE)
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}}
    created = await api("PUT", path, lease, expect=201)
    assert created.json["metadata"]["uid"]
    lease["metadata"] = {"name": "m", "uid": "x"}
    await api("PUT", path[:-1] + "m", lease, expect=409)


async def test_field_validation_of_patches(api: Any) -> None:
    await api("POST", CONFIG_MAPS, BODY, expect=201)
    path = CONFIG_MAPS + "/a"
    strict = await api("PATCH", path + "?fieldValidation=Strict", {"nope": 1}, expect=422, content_type=MERGE)
    assert 'strict decoding error: unknown field "nope"' in strict.json["message"]
    warned = await api("PATCH", path, {"nope": 1}, expect=200, content_type=MERGE)
    assert warned.warnings == ['299 - "unknown field \\"nope\\""']


async def test_patch_with_a_resource_version_conflicts(api: Any) -> None:
    created = (await api("POST", CONFIG_MAPS, BODY, expect=201)).json
    version = created["metadata"]["resourceVersion"]
    await api("PATCH", CONFIG_MAPS + "/a", {"data": {"x": "1"}}, expect=200, content_type=MERGE)
    stale = {"metadata": {"resourceVersion": version}, "data": {"x": "2"}}
    answer = await api("PATCH", CONFIG_MAPS + "/a", stale, expect=409, content_type=MERGE)
    assert answer.json["reason"] == "Conflict"


async def test_identity_cannot_be_patched(api: Any) -> None:
    await api("POST", CONFIG_MAPS, BODY, expect=201)
    answer = await api("PATCH", CONFIG_MAPS + "/a", {"metadata": {"name": "b"}}, expect=400, content_type=MERGE)
    assert answer.json["message"] == "the name of the object (b) does not match the name on the URL (a)"
    answer = await api("PATCH", CONFIG_MAPS + "/a", {"metadata": {"uid": "b"}}, expect=422, content_type=MERGE)
    assert "field is immutable" in answer.json["message"]
    kept = await api(
        "PATCH",
        CONFIG_MAPS + "/a",
        {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7}},
        expect=200,
        content_type=MERGE,
    )
    assert kept.json["metadata"]["creationTimestamp"] == "2027-01-15T08:00:00Z"
    assert "generation" not in kept.json["metadata"]


async def test_status_and_spec_are_apart(api: Any) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template},
        "status": {"replicas": 9},
    }
    created = (await api("POST", path, body, expect=201)).json
    assert created["status"] == {}
    assert created["metadata"]["generation"] == 1
    changed = await api(
        "PATCH", path + "/d", {"spec": {"replicas": 3}, "status": {"replicas": 9}}, expect=200, content_type=MERGE
    )
    assert changed.json["status"] == {}
    assert changed.json["metadata"]["generation"] == 2
    status = await api(
        "PATCH",
        path + "/d/status",
        {"spec": {"replicas": 7}, "status": {"replicas": 1}},
        expect=200,
        content_type=MERGE,
    )
    assert status.json["spec"]["replicas"] == 3
    assert status.json["status"] == {"replicas": 1}
    assert status.json["metadata"]["generation"] == 2
    assert (await api("GET", path + "/d/status", expect=200)).json == status.json


async def test_scale(api: Any) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    await api("POST", path, body, expect=201)
    scale = (await api("GET", path + "/d/scale", expect=200)).json
    assert scale["kind"] == "Scale"
    assert scale["apiVersion"] == "autoscaling/v1"
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 0, "selector": "a=b"}
    scale["spec"]["replicas"] = 5
    written = (await api("PUT", path + "/d/scale", scale, expect=200)).json
    assert written["spec"] == {"replicas": 5}
    assert (await api("GET", path + "/d", expect=200)).json["spec"]["replicas"] == 5
    patched = await api("PATCH", path + "/d/scale", {"spec": {"replicas": 1}}, expect=200, content_type=MERGE)
    assert patched.json["spec"] == {"replicas": 1}
    stale = await api("PUT", path + "/d/scale", scale, expect=409)
    assert stale.json["reason"] == "Conflict"
    negative = await api("PATCH", path + "/d/scale", {"spec": {"replicas": -1}}, expect=422, content_type=MERGE)
    assert negative.json["message"] == (
        'Scale.autoscaling "d" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
    )
    await api("GET", path + "/nope/scale", expect=404)
    table = await api("GET", path + "/d/scale", expect=200, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert [column["name"] for column in table.json["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert table.json["rows"][0]["cells"] == ["d", 1, 0, "0s"]
