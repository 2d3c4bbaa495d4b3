"""The roles and bindings every cluster has: created at start, and completed again when something is missing.

They stand in `manifests/rbac/`. What has been taken out of a role or binding is put back and what has been added stays;
an object annotated `rbac.authorization.kubernetes.io/autoupdate: "false"` is left alone (`pkg/registry/rbac/rest`,
`component-helpers/auth/rbac/reconciliation`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from apiserver.api.status import StatusError
from apiserver.app.internal_writes import InternalWriter
from apiserver.authz.rbac import GROUP, covers
from apiserver.controllers import aggregated_rules
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.store import Store
from apiserver.registry.stores import Stores
from apiserver.storage import ListOptions

__all__ = ["RBACBootstrap", "bootstrap_objects", "completed", "node_rules"]

_LOG = logging.getLogger("apiserver.bootstrap")
AUTO_UPDATE: Final = "rbac.authorization.kubernetes.io/autoupdate"
_PLURALS: Final = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}
_FILES: Final = ("cluster-roles.yaml", "controller-roles.yaml", "namespace-roles.yaml")


def bootstrap_objects() -> list[Object]:
    """Every role and binding of `manifests/rbac`, the rules of aggregated ones filled in."""
    objects: list[Object] = []
    for name in _FILES:
        objects += _objects_of(name)
    _aggregate([obj for obj in objects if obj["kind"] == "ClusterRole"])
    return objects


def node_rules() -> list[dict[str, Any]]:
    """What every node may do: the rules of the ClusterRole `system:node`."""
    (role,) = (obj for obj in _objects_of(_FILES[0]) if obj["metadata"]["name"] == "system:node" and "rules" in obj)
    rules: list[dict[str, Any]] = role["rules"]
    return rules


def _objects_of(name: str) -> list[Object]:
    return list(yaml.load_all(_manifest(name), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def _manifest(name: str) -> str:
    """From the installed package, or from the source tree that it runs from."""
    installed = resources.files("apiserver") / "manifests" / "rbac" / name
    if installed.is_file():
        return installed.read_text(encoding="utf-8")
    return (Path(__file__).parents[2] / "manifests" / "rbac" / name).read_text(encoding="utf-8")


def _aggregate(roles: list[Object]) -> None:
    aggregated = [role for role in roles if "aggregationRule" in role]
    settled = False
    while not settled:  # some gather what others have gathered
        settled = True
        for role in aggregated:
            rules = aggregated_rules(role, roles)
            settled = settled and rules == role.get("rules")
            role["rules"] = rules


class RBACBootstrap:
    """Brings the RBAC objects of a store to the state every cluster starts from."""

    def __init__(
        self, stores: Stores, writer: InternalWriter, context_for: Callable[[Store, str], OperationContext]
    ) -> None:
        self._stores = stores
        self._writer = writer
        self._context_for = context_for

    async def run(self) -> None:
        """Create and complete, all at once: one batch for the log of an embedded store."""
        wanted: dict[str, list[Object]] = {}
        for obj in bootstrap_objects():
            wanted.setdefault(_PLURALS[obj["kind"]], []).append(obj)
        work = []
        for plural, objects in wanted.items():
            store = self._stores.find(GROUP, "v1", plural)
            if store is None:  # switched off by --runtime-config
                continue
            listed = await store.list(ListOptions())
            present = {(item.namespace, item.name): item for item in listed.items}
            for obj in objects:
                metadata = obj["metadata"]
                existing = present.get((metadata.get("namespace", ""), metadata["name"]))
                if existing is None:
                    work.append(self._create(plural, obj))
                elif completed(existing.view(store.resource), obj) is not None:
                    work.append(self._complete(store, obj))
        await asyncio.gather(*work)

    async def _create(self, plural: str, obj: Object) -> None:
        try:
            await self._writer.create(GROUP, "v1", plural, obj)
        except StatusError as error:
            if error.reason != "AlreadyExists":  # another server on the same store was first
                raise

    async def _complete(self, store: Store, obj: Object) -> None:
        metadata = obj["metadata"]
        context = self._context_for(store, metadata.get("namespace", ""))
        existing = (await store.get(context.namespace, metadata["name"])).view(store.resource)
        if existing.get("roleRef") != obj.get("roleRef"):  # which cannot be changed
            await store.delete(context, metadata["name"], {})
            await self._create(store.resource.plural, obj)
            return

        async def complete(present: Object, _revision: int) -> Object:
            return completed(present, obj) or present

        await store.update(context, metadata["name"], complete)
        _LOG.info("completed %s %s", store.resource.plural, metadata["name"])


def completed(existing: Object, wanted: Object) -> Object | None:
    """The existing object with what it lacks of the wanted one; None when nothing is to be done."""
    metadata, target = existing["metadata"], wanted["metadata"]
    annotations = metadata.get("annotations") or {}
    if annotations.get(AUTO_UPDATE) == "false":
        return None
    changed: dict[str, Any] = {}
    if "aggregationRule" in wanted:
        selectors = (existing.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
        missing = _missing(selectors, wanted["aggregationRule"]["clusterRoleSelectors"])
        if missing:
            changed["aggregationRule"] = {"clusterRoleSelectors": [*selectors, *missing]}
    elif "roleRef" in wanted:
        subjects = existing.get("subjects") or []
        missing = _missing(subjects, wanted.get("subjects") or ())
        if missing:
            changed["subjects"] = [*subjects, *missing]
        if existing.get("roleRef") != wanted["roleRef"]:
            changed["roleRef"] = wanted["roleRef"]
    else:
        rules = existing.get("rules") or []
        missing = [] if rules == wanted["rules"] else covers(rules, wanted["rules"])
        if missing:
            changed["rules"] = [*rules, *missing]
    labels = {**target["labels"], **(metadata.get("labels") or {})}
    annotations = {**target["annotations"], **annotations}
    if labels != (metadata.get("labels") or {}) or annotations != (metadata.get("annotations") or {}):
        changed["metadata"] = {**metadata, "labels": labels, "annotations": annotations}
    return {**existing, **changed} if changed else None


def _missing(present: Iterable[Any], wanted: Iterable[Any]) -> list[Any]:
    have = list(present)
    return [item for item in wanted if item not in have]
