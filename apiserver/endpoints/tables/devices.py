"""Rows of `resource.k8s.io`: devices, claims for them, and the pools they come from."""

from __future__ import annotations

from typing import Any

from apiserver.endpoints.tables.cells import NONE, Object, Printer, PrinterTable, age, is_true, name_and_age
from apiserver.endpoints.tables.durations import Now

__all__ = ["PRINTERS"]


def _device_taint_rule(obj: Object, now: Now) -> list[Any]:
    taint = (obj.get("spec") or {}).get("taint") or {}
    added = taint.get("timeAdded")
    return [
        obj["metadata"].get("name", ""),
        taint.get("key", ""),
        taint.get("value", ""),
        taint.get("effect", ""),
        now.age(added) if added else "",
        age(obj, now),
    ]


def _claim_state(obj: Object) -> str:
    status = obj.get("status") or {}
    deleted = bool(obj["metadata"].get("deletionTimestamp"))
    allocated = status.get("allocation") is not None
    states = ["deleted"] if deleted else []
    if allocated:
        states.append("allocated")
        if status.get("reservedFor"):
            states.append("reserved")
    elif not deleted:
        states.append("pending")
    return ",".join(states)


def _resource_claim(obj: Object, now: Now) -> list[Any]:
    return [obj["metadata"].get("name", ""), _claim_state(obj), age(obj, now)]


_COUNTS = ("totalDevices", "availableDevices", "allocatedDevices", "unavailableDevices")


def _pool_status_request(obj: Object, now: Now) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status")
    conditions = (status or {}).get("conditions")
    pools = (status or {}).get("pools") or ()
    pool_count = (status or {}).get("poolCount") or 0
    counts = ["-"] * (len(_COUNTS) + 1)
    if status is not None and not is_true(conditions, "Failed"):
        counts = [str(sum(pool.get(name) or 0 for pool in pools)) for name in _COUNTS]
        counts.append(str(sum(bool(pool.get("validationError")) for pool in pools)))
    state, completed = "Pending", NONE
    if is_true(conditions, "Failed"):
        state = "Failed"
    elif is_true(conditions, "Complete"):
        state = f"Complete ({len(pools)}/{pool_count} pools)" if len(pools) < pool_count else "Complete"
        for condition in conditions or ():
            if condition.get("type") == "Complete":
                completed = now.age(condition.get("lastTransitionTime"))
                break
    return [obj["metadata"].get("name", ""), spec.get("driver", ""), *counts, pool_count, state, completed]


def _resource_slice(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    return [
        obj["metadata"].get("name", ""),
        spec.get("nodeName") or "",
        spec.get("driver", ""),
        (spec.get("pool") or {}).get("name", ""),
        age(obj, now),
    ]


PRINTERS: PrinterTable = {
    ("resource.k8s.io", "DeviceClass"): Printer(name_and_age),
    ("resource.k8s.io", "DeviceTaintRule"): Printer(_device_taint_rule),
    ("resource.k8s.io", "ResourceClaim"): Printer(_resource_claim),
    ("resource.k8s.io", "ResourceClaimTemplate"): Printer(name_and_age),
    ("resource.k8s.io", "ResourcePoolStatusRequest"): Printer(_pool_status_request),
    ("resource.k8s.io", "ResourceSlice"): Printer(_resource_slice),
}
