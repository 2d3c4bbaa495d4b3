"""Rows of `storage.k8s.io` and `storagemigration.k8s.io`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apiserver.endpoints.tables.cells import NONE, UNSET, CellFunction, Object, Printer, PrinterTable, age
from apiserver.endpoints.tables.durations import Now

__all__ = ["PRINTERS"]

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def _csi_driver(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    requests = spec.get("tokenRequests")
    audiences = UNSET if requests is None else ",".join(request.get("audience", "") for request in requests)
    return [
        obj["metadata"].get("name", ""),
        spec.get("attachRequired", True),
        spec.get("podInfoOnMount", False),
        spec.get("storageCapacity", False),
        audiences,
        spec.get("requiresRepublish", False),
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
        age(obj, now),
    ]


def _csi_node(obj: Object, now: Now) -> list[Any]:
    drivers = (obj.get("spec") or {}).get("drivers") or ()
    return [obj["metadata"].get("name", ""), len(drivers), age(obj, now)]


def _csi_storage_capacity(obj: Object, now: Now) -> list[Any]:
    return [obj["metadata"].get("name", ""), obj.get("storageClassName", ""), obj.get("capacity", UNSET)]


def _class_row(obj: Object, now: Now, *, is_default: bool) -> list[Any]:
    name = obj["metadata"].get("name", "")
    return [
        f"{name} (default)" if is_default else name,
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        obj.get("allowVolumeExpansion", False),
        age(obj, now),
    ]


def _storage_class(obj: Object, now: Now) -> list[Any]:
    return _class_row(obj, now, is_default=False)


def _storage_classes(objects: Sequence[Object]) -> CellFunction:
    """Rows of a list, in which the newest of the classes marked default is the default."""
    marked = [obj for obj in objects if (obj["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"]
    marked.sort(key=lambda obj: str(obj["metadata"].get("name", "")))
    default = max(marked, key=lambda obj: str(obj["metadata"].get("creationTimestamp") or ""), default=None)

    def cells(obj: Object, now: Now) -> list[Any]:
        return _class_row(obj, now, is_default=obj is default)

    return cells


def _volume_attachment(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    return [
        obj["metadata"].get("name", ""),
        spec.get("attacher", ""),
        (spec.get("source") or {}).get("persistentVolumeName", ""),
        spec.get("nodeName", ""),
        (obj.get("status") or {}).get("attached", False),
        age(obj, now),
    ]


def _volume_attributes_class(obj: Object, now: Now) -> list[Any]:
    return [obj["metadata"].get("name", ""), obj.get("driverName", ""), age(obj, now)]


_MIGRATION_STATES = ("Running", "Failed", "Succeeded")


def _storage_version_migration(obj: Object, now: Now) -> list[Any]:
    resource = (obj.get("spec") or {}).get("resource") or {}
    group = resource.get("group", "")
    name = resource.get("resource", "")
    status = "Unknown"
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") in _MIGRATION_STATES:
            status = condition["type"]
    return [obj["metadata"].get("name", ""), f"{name}.{group}" if group else name, status]


PRINTERS: PrinterTable = {
    ("storage.k8s.io", "CSIDriver"): Printer(_csi_driver),
    ("storage.k8s.io", "CSINode"): Printer(_csi_node),
    ("storage.k8s.io", "CSIStorageCapacity"): Printer(_csi_storage_capacity),
    ("storage.k8s.io", "StorageClass"): Printer(_storage_class, for_list=_storage_classes),
    ("storage.k8s.io", "VolumeAttachment"): Printer(_volume_attachment),
    ("storage.k8s.io", "VolumeAttributesClass"): Printer(_volume_attributes_class),
    ("storagemigration.k8s.io", "StorageVersionMigration"): Printer(_storage_version_migration),
}
