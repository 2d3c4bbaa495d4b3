"""Roles and bindings for tests, and what is asked about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apiserver.authz.interface import Attributes
from apiserver.authz.rbac import RoleIndex
from apiserver.request import UserInfo

PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}


def index_of(objects: Iterable[dict[str, Any]]) -> RoleIndex:
    index = RoleIndex()
    for obj in objects:
        index.apply(PLURALS[obj["kind"]], obj, gone=False)
    return index


def role(name: str, *rules: dict[str, Any], namespace: str = "", **more: Any) -> dict[str, Any]:
    kind = "Role" if namespace else "ClusterRole"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **more.pop("metadata", {})}
    return {"kind": kind, "metadata": metadata, "rules": list(rules), **more}


def binding(name: str, role_name: str, *users: str, namespace: str = "", kind: str = "ClusterRole") -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role_name},
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"} for user in users],
    }


def allow(verbs: str, resources: str, groups: str = "", **more: Any) -> dict[str, Any]:
    """A rule; words are separated by spaces."""
    return {"verbs": verbs.split(), "apiGroups": groups.split(","), "resources": resources.split(), **more}


def question(user: UserInfo, words: str) -> Attributes:
    """`get pods.group/log team/a`, `list nodes`, `get /healthz`."""
    verb, what, *where = words.split()
    if what.startswith("/"):
        return Attributes(user, verb, False, path=what)
    whole, _, subresource = what.partition("/")
    resource, _, group = whole.partition(".")
    namespace, _, name = (where[0] if where else "").partition("/")
    namespace = "" if namespace == "-" else namespace
    return Attributes(user, verb, True, group, "v1", namespace, resource, subresource, name)
