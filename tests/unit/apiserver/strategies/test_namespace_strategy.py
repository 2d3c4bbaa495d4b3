"""Namespaces and their finalizers."""

from __future__ import annotations

from typing import Any

import pytest


def namespace(*finalizers: str, **metadata: Any) -> dict[str, Any]:
    spec = {"finalizers": list(finalizers)} if finalizers else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", **metadata}, "spec": spec}


@pytest.mark.parametrize(
    ("given", "finalizers"),
    [
        ((), ["kubernetes"]),
        (("x.org/mine",), ["x.org/mine", "kubernetes"]),
        (("kubernetes", "x.org/mine"), ["kubernetes", "x.org/mine"]),
    ],
)
async def test_a_new_namespace_is_active_and_has_a_finalizer(server, given, finalizers):
    obj = await server.create({**namespace(*given), "status": {"phase": "Terminating"}})
    assert obj["spec"]["finalizers"] == finalizers
    assert obj["status"] == {"phase": "Active"}
    assert obj["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
    assert "generation" not in obj["metadata"]


async def test_an_update_changes_neither_finalizers_nor_status(server):
    obj = await server.create(namespace())
    changed = await server.update({**namespace("x.org/mine", labels={"a": "b"}), "status": {"phase": "X"}}, obj)
    assert changed["spec"] == {"finalizers": ["kubernetes"]}
    assert changed["status"] == {"phase": "Active"}
    assert changed["metadata"]["labels"]["a"] == "b"


async def test_finalize_changes_the_finalizers_and_not_the_status(server):
    obj = await server.create(namespace())
    changed = await server.update({**namespace(), "status": {"phase": "X"}}, obj, "finalize")
    assert "finalizers" not in changed["spec"]
    assert changed["status"] == {"phase": "Active"}


@pytest.mark.parametrize(
    ("finalizer", "problem"),
    [
        ("x.org/mine", ""),
        ("mine", "name is neither a standard finalizer name nor is it fully qualified"),
    ],
)
async def test_names_of_finalizers(server, finalizer, problem):
    obj = await server.create(namespace())
    if not problem:
        await server.update(namespace(finalizer), obj, "finalize")
        return
    with pytest.raises(AssertionError, match=problem):
        await server.update(namespace(finalizer), obj, "finalize")


async def test_the_phase_follows_the_deletion(server):
    obj = await server.create(namespace())
    with pytest.raises(AssertionError, match="if `deletionTimestamp` is empty"):
        await server.update({**namespace(), "status": {"phase": "Terminating"}}, obj, "status")
    conditions = [{"type": "X", "status": "True"}]
    changed = await server.update(
        {**namespace("x.org/mine"), "status": {"phase": "Active", "conditions": conditions}}, obj, "status"
    )
    assert changed["status"]["conditions"][0]["type"] == "X"
    assert changed["spec"] == {"finalizers": ["kubernetes"]}
