"""The controllers that run beside the requests (`--controllers`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from apiserver.app.internal_writes import InternalWriter
from apiserver.app.options import Options
from apiserver.authn.service_accounts.tokens import TokenIssuer
from apiserver.authz.following import Follower
from apiserver.authz.rbac import GROUP as RBAC_GROUP
from apiserver.controllers import (
    ClusterRoleAggregation,
    NamespaceController,
    PerNamespace,
    TokenSecrets,
    default_service_account,
    root_ca_config_map,
)
from apiserver.registry.interface import OperationContext
from apiserver.registry.store import Store
from apiserver.registry.stores import StoreReader, Stores
from kvstore.environment import Clock

__all__ = ["Controllers"]


class Controllers:
    """Makes those that are switched on, and whose resources are.

    Args:
        issuer: makes tokens of service accounts.
        ca_bundle: what clients in pods should trust, in PEM.
        reader: objects of any kind.
    """

    def __init__(
        self,
        options: Options,
        stores: Stores,
        writer: InternalWriter,
        context_for: Callable[[Store, str], OperationContext],
        clock: Clock,
        issuer: TokenIssuer,
        ca_bundle: bytes,
        reader: StoreReader,
    ) -> None:
        self._reader = reader
        self._options = options
        self._stores = stores
        self._writer = writer
        self._context_for = context_for
        self._clock = clock
        self._issuer = issuer
        self._ca_bundle = ca_bundle

    def running(self) -> list[tuple[str, Awaitable[None]]]:
        """Each by name, to be awaited until the server stops."""
        made: list[tuple[str, Awaitable[None] | None]] = [
            (name, make())
            for name, make in (
                ("clusterrole-aggregation-controller", self._cluster_roles),
                ("namespace-controller", self._namespaces),
                ("root-ca-certificate-publisher-controller", self._root_ca),
                ("serviceaccount-controller", self._service_accounts),
                ("serviceaccount-token-controller", self._tokens),
            )
            if self._options.runs(name)
        ]
        return [(name, work) for name, work in made if work is not None]

    def _core(self, plural: str) -> Store | None:
        return self._stores.find("", "v1", plural)

    def _namespaces(self) -> Awaitable[None] | None:
        namespaces = self._core("namespaces")
        if namespaces is None:  # switched off by --runtime-config
            return None
        contents = partial(_namespaced_stores, self._stores)
        return NamespaceController(namespaces, contents, self._context_for, self._clock).run()

    def _cluster_roles(self) -> Awaitable[None] | None:
        roles = self._stores.find(RBAC_GROUP, "v1", "clusterroles")
        if roles is None:
            return None
        aggregation = ClusterRoleAggregation(roles, self._context_for)
        follower = Follower(self._reader.follow, self._clock, [(RBAC_GROUP, "clusterroles")], aggregation)
        return _both(follower.run(), aggregation.run())

    def _root_ca(self) -> Awaitable[None] | None:
        return self._per_namespace("configmaps", root_ca_config_map(self._ca_bundle.decode()))

    def _service_accounts(self) -> Awaitable[None] | None:
        return self._per_namespace("serviceaccounts", default_service_account())

    def _per_namespace(self, plural: str, template: dict[str, object]) -> Awaitable[None] | None:
        namespaces, objects = self._core("namespaces"), self._core(plural)
        if namespaces is None or objects is None:
            return None
        return PerNamespace(namespaces, objects, template, self._writer, self._context_for, self._clock).run()

    def _tokens(self) -> Awaitable[None] | None:
        secrets, accounts = self._core("secrets"), self._core("serviceaccounts")
        if secrets is None or accounts is None:
            return None
        make = self._issuer.issue_legacy
        return TokenSecrets(secrets, accounts, make, self._ca_bundle, self._context_for, self._clock).run()


async def _both(first: Coroutine[Any, Any, None], second: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(first)
        group.create_task(second)


def _namespaced_stores(stores: Stores) -> list[Store]:
    """One store for each namespaced kind of object that is kept, in the first version served."""
    found: dict[str, Store] = {}
    for resource in stores.scheme.resources():
        if resource.namespaced and not resource.is_virtual and resource.storage_prefix not in found:
            store = stores.find(resource.group, resource.version, resource.plural)
            if store is not None:
                found[resource.storage_prefix] = store
    return list(found.values())
