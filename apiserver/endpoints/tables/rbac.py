"""Rows of `rbac.authorization.k8s.io`; roles themselves have no columns of their own."""

from __future__ import annotations

from typing import Any

from apiserver.endpoints.tables.cells import Object, Printer, PrinterTable, age, kind_and_name
from apiserver.endpoints.tables.durations import Now

__all__ = ["PRINTERS"]


def _binding(obj: Object, now: Now) -> list[Any]:
    names: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.get("subjects") or ():
        name = subject.get("name", "")
        if subject.get("kind") == "ServiceAccount":
            name = f"{subject.get('namespace', '')}/{name}"
        if subject.get("kind") in names:
            names[subject["kind"]].append(name)
    metadata = obj["metadata"]
    return [
        metadata.get("name", ""),
        kind_and_name(obj.get("roleRef")),
        age(obj, now),
        *(", ".join(found) for found in names.values()),
    ]


PRINTERS: PrinterTable = {
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): Printer(_binding),
    ("rbac.authorization.k8s.io", "RoleBinding"): Printer(_binding),
}
