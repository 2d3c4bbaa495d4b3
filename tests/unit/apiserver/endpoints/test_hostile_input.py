"""Whatever comes in, a clear answer goes out: never a traceback."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck as Check
from hypothesis import given, settings
from hypothesis import strategies as st

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
MERGE = "application/merge-patch+json"
PROTOBUF = "application/vnd.kubernetes.protobuf"


def nested(depth: int) -> bytes:
    return b'{"x":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize("depth", [200, 300, 2000, 20_000])
@pytest.mark.parametrize("content_type", ["application/json", "application/yaml"])
async def test_deep_bodies(api: Any, depth: int, content_type: str) -> None:
    answer = await api("POST", CONFIG_MAPS, nested(depth), content_type=content_type)
    assert answer.status in (400, 422), answer.body


@pytest.mark.parametrize("depth", [200, 300, 2000])
@pytest.mark.parametrize("content_type", [MERGE, "application/strategic-merge-patch+json"])
async def test_deep_patches(api: Any, depth: int, content_type: str) -> None:
    await api("POST", CONFIG_MAPS, BODY, expect=201)
    answer = await api("PATCH", CONFIG_MAPS + "/a", nested(depth), content_type=content_type)
    assert answer.status < 500, answer.body


async def test_json_patch_that_builds_depth(api: Any) -> None:
    await api("POST", CONFIG_MAPS, BODY, expect=201)
    operations = [{"op": "add", "path": "/x", "value": json.loads(nested(240))}]
    operations += [{"op": "copy", "from": "/x", "path": "/x" + "/x" * 239 + "/x"}]
    answer = await api("PATCH", CONFIG_MAPS + "/a", operations, content_type="application/json-patch+json")
    assert answer.status < 500, answer.body


async def test_odd_names(api: Any) -> None:
    for name in (".", "..", "a%b", "\x00", "a b", "ü", "A" * 5000):
        answer = await api("GET", f"{CONFIG_MAPS}/{name}")
        assert answer.status in (400, 404), (name, answer.body)


@settings(max_examples=150, deadline=None, suppress_health_check=list(Check))
@given(data=st.data())
async def test_random_documents(api: Any, data: Any) -> None:
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
    keys = st.sampled_from(
        ["metadata", "name", "labels", "data", "kind", "apiVersion", "finalizers", "x", "annotations"]
    )
    values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4))
    body = data.draw(values)
    method, path, content_type = data.draw(
        st.sampled_from(
            [
                ("POST", CONFIG_MAPS, "application/json"),
                ("PUT", CONFIG_MAPS + "/a", "application/json"),
                ("PATCH", CONFIG_MAPS + "/a", MERGE),
                ("PATCH", CONFIG_MAPS + "/a", "application/strategic-merge-patch+json"),
                ("PATCH", CONFIG_MAPS + "/a", "application/json-patch+json"),
                ("DELETE", CONFIG_MAPS + "/b", "application/json"),
                ("POST", "/api/v1/namespaces/default/bindings", "application/json"),
                ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "application/json"),
            ]
        )
    )
    await api("POST", CONFIG_MAPS, BODY)
    answer = await api(method, path, json.dumps(body).encode(), content_type=content_type)
    assert b"panic" not in answer.body, (method, path, body)


async def test_cut_and_damaged_protobuf(api: Any) -> None:
    whole = api.codec.to_storage(BODY)
    chance = random.Random(1)
    damaged = [whole[:cut] for cut in range(len(whole))]
    for _ in range(300):
        copy = bytearray(whole)
        copy[chance.randrange(len(copy))] ^= 1 << chance.randrange(8)
        damaged.append(bytes(copy))
    for body in damaged:
        answer = await api("POST", CONFIG_MAPS + "?dryRun=All", body or b"\0", content_type=PROTOBUF)
        assert answer.status in (201, 400, 404, 422), (body, answer.body)


@pytest.mark.parametrize(
    "query",
    [
        "limit=99999999999999999999",
        "limit=-5",
        "resourceVersion=x",
        "continue=%%%",
        "timeoutSeconds=x&watch=1",
        "labelSelector=" + "a," * 500,
        "fieldSelector=%00",
        "watch=1&resourceVersion=-1",
        "fieldValidation=Strict&fieldValidation=Nope",
        "=&&=&a",
    ],
)
async def test_odd_queries(api: Any, query: str) -> None:
    answer = await api("GET", f"{CONFIG_MAPS}?{query}")
    assert answer.status < 500, answer.body
    if answer.stream is not None:
        await answer.stream.aclose()
