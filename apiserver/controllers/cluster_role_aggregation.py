"""Aggregated ClusterRoles: their rules are those of all ClusterRoles that their selectors name.

In a full cluster this is kube-controller-manager's `clusterrole-aggregation-controller`
(`pkg/controller/clusterroleaggregation`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from apiserver.api.label_selectors import SelectorError, label_selector_from_object
from apiserver.api.status import StatusError
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.store import Store

__all__ = ["ClusterRoleAggregation", "aggregated_rules"]

_LOG = logging.getLogger("apiserver.controllers.clusterroles")


def aggregated_rules(role: Object, roles: Iterable[Object]) -> list[dict[str, Any]]:
    """The rules that an aggregated role has among these roles, each once, in the order of selectors and names."""
    by_name = sorted(roles, key=lambda other: str(other["metadata"]["name"]))
    rules: list[dict[str, Any]] = []
    for selector in role["aggregationRule"].get("clusterRoleSelectors") or ():
        matches = label_selector_from_object(selector).matches
        for other in by_name:
            metadata = other["metadata"]
            if metadata["name"] != role["metadata"]["name"] and matches(metadata.get("labels") or {}):
                rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules


class ClusterRoleAggregation:
    """Writes the rules of aggregated roles whenever one of their parts changes (`authz.following.Knowledge`).

    Args:
        store: of ClusterRoles.
        context_for: the context of a write of the server itself.
    """

    def __init__(self, store: Store, context_for: Callable[[Store, str], OperationContext]) -> None:
        self._store = store
        self._context_for = context_for
        self._roles: dict[str, Object] = {}
        self._changed = asyncio.Event()

    def replace(self, resource: str, objects: Sequence[Object]) -> None:
        """See `Knowledge.replace`."""
        self._roles = {role["metadata"]["name"]: role for role in objects}
        self._changed.set()

    def apply(self, resource: str, obj: Object, gone: bool) -> None:
        """See `Knowledge.apply`."""
        if gone:
            self._roles.pop(obj["metadata"]["name"], None)
        else:
            self._roles[obj["metadata"]["name"]] = obj
        self._changed.set()

    async def run(self) -> None:
        """Work until cancelled. Roles that aggregate aggregated roles follow in the next pass."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            for role in [role for role in self._roles.values() if role.get("aggregationRule") is not None]:
                try:
                    rules = aggregated_rules(role, self._roles.values())
                    if rules != (role.get("rules") or []):
                        await self._write(role["metadata"]["name"])
                except (StatusError, SelectorError) as error:
                    _LOG.warning("cannot aggregate the ClusterRole %s: %s", role["metadata"]["name"], error)

    async def _write(self, name: str) -> None:
        async def with_rules(role: Object, _revision: int) -> Object:
            if role.get("aggregationRule") is not None:
                role["rules"] = aggregated_rules(role, self._others(role))
            return role

        await self._store.update(self._context_for(self._store, ""), name, with_rules)

    def _others(self, role: Mapping[str, Any]) -> list[Object]:
        return [other for other in self._roles.values() if other["metadata"]["name"] != role["metadata"]["name"]]
