"""The namespace controller: content first, then the namespace, and conditions that say what it waits for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from apiserver.controllers import NamespaceController
from apiserver.registry.interface import OperationContext
from apiserver.registry.store import Store
from apiserver.request import UserInfo

CONFIG_MAPS = "/api/v1/namespaces/doomed/configmaps"


@pytest.fixture
async def controlled(api: Any) -> AsyncIterator[Any]:
    """The server with a running controller and a namespace to delete."""
    namespaces = api.stores.find("", "v1", "namespaces")
    contents = [api.stores.find("", "v1", plural) for plural in ("configmaps", "secrets", "pods")]

    def context_for(store: Store, namespace: str) -> OperationContext:
        return OperationContext(
            resource=store.resource,
            namespace=namespace,
            user=UserInfo("system:apiserver"),
            clock=api.clock,
            randomness=api.environment.randomness,
            reader=api.reader,
            warn=lambda text: None,
        )

    controller = NamespaceController(namespaces, lambda: contents, context_for, api.clock)
    task = asyncio.create_task(controller.run())
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "doomed"}}, expect=201)
    yield api
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until_gone(api: Any) -> None:
    async with asyncio.timeout(5):
        while (await api("GET", "/api/v1/namespaces/doomed")).status != 404:
            await asyncio.sleep(0)


async def test_content_goes_first(controlled: Any) -> None:
    for number in range(3):
        await controlled("POST", CONFIG_MAPS, {"metadata": {"name": f"c{number}"}}, expect=201)
    await controlled("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "stays"}}, expect=201)
    deleted = await controlled("DELETE", "/api/v1/namespaces/doomed", expect=200)
    assert deleted.json["status"]["phase"] == "Terminating"
    await until_gone(controlled)
    assert (await controlled("GET", CONFIG_MAPS)).json["items"] == []
    await controlled("GET", "/api/v1/namespaces/default/configmaps/stays", expect=200)


async def test_a_finalizer_holds_the_namespace_back_and_is_named(controlled: Any) -> None:
    held = {"metadata": {"name": "held", "finalizers": ["example.com/wait"]}}
    await controlled("POST", CONFIG_MAPS, held, expect=201)
    await controlled("DELETE", "/api/v1/namespaces/doomed", expect=200)
    async with asyncio.timeout(5):
        while not (
            conditions := (await controlled("GET", "/api/v1/namespaces/doomed")).json["status"].get("conditions")
        ):
            await asyncio.sleep(0)
    assert [(item["type"], item["status"]) for item in conditions] == [("NamespaceContentRemaining", "True")]
    assert "configmaps has 1 resource instances" in conditions[0]["message"]
    await controlled(
        "PATCH",
        f"{CONFIG_MAPS}/held",
        {"metadata": {"finalizers": None}},
        expect=200,
        content_type="application/merge-patch+json",
    )
    await until_gone(controlled)


async def test_a_namespace_that_nobody_deleted_is_left_alone(controlled: Any) -> None:
    await controlled("POST", CONFIG_MAPS, {"metadata": {"name": "kept"}}, expect=201)
    await controlled("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}}, expect=201)
    await controlled("DELETE", "/api/v1/namespaces/other", expect=200)
    async with asyncio.timeout(5):
        while (await controlled("GET", "/api/v1/namespaces/other")).status != 404:
            await asyncio.sleep(0)
    await controlled("GET", f"{CONFIG_MAPS}/kept", expect=200)
