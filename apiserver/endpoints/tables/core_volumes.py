"""Rows of persistent volumes and their claims."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apiserver.endpoints.tables.cells import UNSET, Object, Printer, PrinterTable, age
from apiserver.endpoints.tables.durations import Now

__all__ = ["PRINTERS"]

_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _access_modes(modes: Iterable[str] | None) -> str:
    present = set(modes or ())
    return ",".join(short for mode, short in _ACCESS_MODES.items() if mode in present)


def _phase(obj: Object) -> str:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    phase: str = (obj.get("status") or {}).get("phase", "")
    return phase


def _storage_class(obj: Object) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    name: str = annotations.get(_CLASS_ANNOTATION, (obj.get("spec") or {}).get("storageClassName") or "")
    return name


def _persistent_volume(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    claim = spec.get("claimRef")
    return [
        obj["metadata"].get("name", ""),
        (spec.get("capacity") or {}).get("storage", "0"),
        _access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim is not None else "",
        _storage_class(obj),
        spec.get("volumeAttributesClassName", UNSET),
        (obj.get("status") or {}).get("reason", ""),
        age(obj, now),
        spec.get("volumeMode", UNSET),
    ]


def _persistent_volume_claim(obj: Object, now: Now) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    volume = spec.get("volumeName", "")
    return [
        obj["metadata"].get("name", ""),
        _phase(obj),
        volume,
        (status.get("capacity") or {}).get("storage", "0") if volume else "",
        _access_modes(status.get("accessModes")) if volume else "",
        _storage_class(obj),
        spec.get("volumeAttributesClassName", UNSET),
        age(obj, now),
        spec.get("volumeMode", UNSET),
    ]


PRINTERS: PrinterTable = {
    ("", "PersistentVolume"): Printer(_persistent_volume),
    ("", "PersistentVolumeClaim"): Printer(_persistent_volume_claim),
}
