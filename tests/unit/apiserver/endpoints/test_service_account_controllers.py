"""What every namespace has, and Secrets that get a token: made, made again, put right, taken away."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from apiserver.app.internal_writes import InternalWriter
from apiserver.controllers import PerNamespace, TokenSecrets, default_service_account, root_ca_config_map
from apiserver.registry.interface import OperationContext
from apiserver.request import UserInfo

BUNDLE = "-----BEGIN CERTIFICATE-----\n"
CONFIG_MAP = "/api/v1/namespaces/new/configmaps/kube-root-ca.crt"
ACCOUNT = "/api/v1/namespaces/new/serviceaccounts/default"
SECRETS = "/api/v1/namespaces/new/secrets"


@pytest.fixture
async def controlled(api: Any) -> AsyncIterator[Any]:
    """The API with all three controllers, and a new namespace."""
    find = api.stores.find

    def context_for(store: Any, namespace: str) -> OperationContext:
        return OperationContext(
            resource=store.resource,
            namespace=namespace,
            user=UserInfo("system:apiserver"),
            clock=api.clock,
            randomness=api.environment.randomness,
            reader=api.reader,
            warn=lambda text: None,
        )

    writer = InternalWriter(api.stores, context_for)
    namespaces, accounts, secrets = (find("", "v1", name) for name in ("namespaces", "serviceaccounts", "secrets"))
    common = (writer, context_for, api.clock)

    def make_token(account: dict[str, Any], secret: str) -> str:
        return f"token of {account['metadata']['name']} in {secret}"

    controllers = [
        PerNamespace(namespaces, find("", "v1", "configmaps"), root_ca_config_map(BUNDLE), *common),
        PerNamespace(namespaces, accounts, default_service_account(), *common),
        TokenSecrets(secrets, accounts, make_token, BUNDLE.encode(), context_for, api.clock),
    ]
    tasks = [asyncio.create_task(controller.run()) for controller in controllers]
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "new"}}, expect=201)
    yield api
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await found():
            await asyncio.sleep(0)


async def object_at(api: Any, path: str) -> Any:
    """What is there, once it is there."""

    async def there() -> bool:
        return bool((await api("GET", path)).status == 200)

    await until(there)
    return (await api("GET", path, expect=200)).json


async def until_gone(api: Any, path: str) -> None:
    async def gone() -> bool:
        return bool((await api("GET", path)).status == 404)

    await until(gone)


async def test_a_new_namespace_gets_both(controlled: Any) -> None:
    config_map = await object_at(controlled, CONFIG_MAP)
    assert config_map["data"] == {"ca.crt": BUNDLE}
    assert "kubernetes.io/description" in config_map["metadata"]["annotations"]
    account = await object_at(controlled, ACCOUNT)
    assert account["metadata"]["name"] == "default"
    assert (await object_at(controlled, ACCOUNT.replace("new", "default")))["metadata"]["namespace"] == "default"


@pytest.mark.parametrize("path", [CONFIG_MAP, ACCOUNT])
async def test_what_is_deleted_comes_back(controlled: Any, path: str) -> None:
    uid = (await object_at(controlled, path))["metadata"]["uid"]
    await controlled("DELETE", path, expect=200)
    assert (await object_at(controlled, path))["metadata"]["uid"] != uid


async def test_what_is_changed_is_put_right(controlled: Any) -> None:
    config_map = await object_at(controlled, CONFIG_MAP)
    config_map["data"] = {"ca.crt": "evil", "more": "x"}
    await controlled("PUT", CONFIG_MAP, config_map, expect=200)

    async def right() -> bool:
        return bool((await controlled("GET", CONFIG_MAP)).json["data"] == {"ca.crt": BUNDLE})

    await until(right)


async def test_nothing_comes_back_into_a_namespace_that_goes(controlled: Any) -> None:
    await object_at(controlled, CONFIG_MAP)
    await object_at(controlled, ACCOUNT)
    await controlled("DELETE", "/api/v1/namespaces/new", expect=200)
    await controlled("DELETE", CONFIG_MAP, expect=200)
    await controlled("POST", "/api/v1/namespaces", {"metadata": {"name": "later"}}, expect=201)
    await object_at(controlled, CONFIG_MAP.replace("new", "later"))  # whatever came before has been dealt with
    await controlled("GET", CONFIG_MAP, expect=404)


async def make_secret(api: Any, name: str = "old", account: str = "default", **annotations: str) -> Any:
    await object_at(api, ACCOUNT)
    metadata = {"name": name, "annotations": {"kubernetes.io/service-account.name": account, **annotations}}
    secret = {"metadata": metadata, "type": "kubernetes.io/service-account-token"}
    await api("POST", SECRETS, secret, expect=201)
    return f"{SECRETS}/{name}"


async def filled(api: Any, path: str) -> Any:
    async def done() -> bool:
        return "token" in ((await api("GET", path)).json.get("data") or {})

    await until(done)
    return (await api("GET", path)).json


async def test_a_secret_gets_a_token(controlled: Any) -> None:
    secret = await filled(controlled, await make_secret(controlled))
    data = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    assert data == {"token": "token of default in old", "ca.crt": BUNDLE, "namespace": "new"}
    account = await object_at(controlled, ACCOUNT)
    assert secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == account["metadata"]["uid"]


async def test_a_secret_for_nobody_is_deleted(controlled: Any) -> None:
    await until_gone(controlled, await make_secret(controlled, account="nobody"))


async def test_a_secret_for_an_account_that_was_is_deleted(controlled: Any) -> None:
    uid = {"kubernetes.io/service-account.uid": "another"}
    await until_gone(controlled, await make_secret(controlled, "stale", **uid))


async def test_a_secret_goes_with_its_account(controlled: Any) -> None:
    await controlled("POST", ACCOUNT.removesuffix("/default"), {"metadata": {"name": "builder"}}, expect=201)
    path = await make_secret(controlled, account="builder")
    await filled(controlled, path)
    await controlled("DELETE", ACCOUNT.replace("/default", "/builder"), expect=200)
    await until_gone(controlled, path)


async def test_other_secrets_are_left_alone(controlled: Any) -> None:
    plain = {"metadata": {"name": "plain", "annotations": {"kubernetes.io/service-account.name": "nobody"}}}
    await controlled("POST", SECRETS, plain, expect=201)
    await filled(controlled, await make_secret(controlled))
    found = (await controlled("GET", f"{SECRETS}/plain", expect=200)).json
    assert found.get("data") is None
