"""Rows of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apiserver.endpoints.tables.cells import NONE, Object, Printer, PrinterTable, age
from apiserver.endpoints.tables.durations import UNKNOWN, Now

__all__ = ["PRINTERS"]

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def _status(obj: Object) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    text = "Unknown"
    for condition in conditions:  # of several, the last counts
        if condition.get("type") == "Ready":
            text = "Ready" if condition.get("status") == "True" else "NotReady"
    return f"{text},SchedulingDisabled" if (obj.get("spec") or {}).get("unschedulable") else text


def _roles(labels: Mapping[str, str] | None) -> str:
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels or () if key.startswith(_ROLE_PREFIX)}
    roles.add((labels or {}).get(_ROLE_LABEL, ""))
    return ",".join(sorted(roles - {""})) or NONE


def _address(status: Mapping[str, Any], kind: str) -> str:
    for address in status.get("addresses") or ():
        if address.get("type") == kind:
            found: str = address.get("address", "")
            return found
    return NONE


def _kernel(info: Mapping[str, Any]) -> str:
    kernel: str = info.get("kernelVersion") or UNKNOWN
    architecture = info.get("architecture")
    return f"{kernel} ({architecture})" if architecture else kernel


def _node(obj: Object, now: Now) -> list[Any]:
    metadata = obj["metadata"]
    status = obj.get("status") or {}
    info = status.get("nodeInfo") or {}
    return [
        metadata.get("name", ""),
        _status(obj),
        _roles(metadata.get("labels")),
        age(obj, now),
        info.get("kubeletVersion", ""),
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        _kernel(info),
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


PRINTERS: PrinterTable = {("", "Node"): Printer(_node)}
