"""Rows of `apps`."""

from __future__ import annotations

from typing import Any

from apiserver.endpoints.tables.cells import (
    NONE,
    Object,
    Printer,
    PrinterTable,
    age,
    container_names_and_images,
    label_text,
    selector_text,
)
from apiserver.endpoints.tables.durations import Now

__all__ = ["PRINTERS"]


def _controller_revision(obj: Object, now: Now) -> list[Any]:
    metadata = obj["metadata"]
    controller = NONE
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            group = owner.get("apiVersion", "").rpartition("/")[0]
            kind = f"{owner.get('kind', '')}.{group}" if group else owner.get("kind", "")
            controller = f"{kind.lower()}/{owner.get('name', '')}"
            break
    return [metadata.get("name", ""), controller, obj.get("revision", 0), age(obj, now)]


def _daemon_set(obj: Object, now: Now) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    template = spec.get("template") or {}
    return [
        obj["metadata"].get("name", ""),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        label_text((template.get("spec") or {}).get("nodeSelector")),
        age(obj, now),
        *container_names_and_images(template),
        selector_text(spec.get("selector")),
    ]


def _deployment(obj: Object, now: Now) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        obj["metadata"].get("name", ""),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj, now),
        *container_names_and_images(spec.get("template")),
        selector_text(spec.get("selector"), empty="", invalid="<invalid>"),
    ]


def _replica_set(obj: Object, now: Now) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        obj["metadata"].get("name", ""),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj, now),
        *container_names_and_images(spec.get("template")),
        selector_text(spec.get("selector")),
    ]


def _stateful_set(obj: Object, now: Now) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        obj["metadata"].get("name", ""),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        age(obj, now),
        *container_names_and_images(spec.get("template")),
    ]


PRINTERS: PrinterTable = {
    ("apps", "ControllerRevision"): Printer(_controller_revision),
    ("apps", "DaemonSet"): Printer(_daemon_set),
    ("apps", "Deployment"): Printer(_deployment),
    ("apps", "ReplicaSet"): Printer(_replica_set),
    ("apps", "StatefulSet"): Printer(_stateful_set),
}
