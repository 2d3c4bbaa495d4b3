"""Rows of what the control plane keeps for itself: leases, flow control, storage versions, API extensions."""

from __future__ import annotations

from typing import Any

from apiserver.endpoints.tables.cells import (
    NONE,
    UNSET,
    Object,
    Printer,
    PrinterTable,
    age,
    condition_status,
    first_few,
    is_true,
)
from apiserver.endpoints.tables.durations import Now

__all__ = ["PRINTERS"]


def _lease(obj: Object, now: Now) -> list[Any]:
    return [obj["metadata"].get("name", ""), (obj.get("spec") or {}).get("holderIdentity") or "", age(obj, now)]


def _lease_candidate(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    return [
        obj["metadata"].get("name", ""),
        spec.get("leaseName", ""),
        spec.get("binaryVersion", ""),
        spec.get("emulationVersion", ""),
        age(obj, now),
    ]


def _flow_schema(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    method = spec.get("distinguisherMethod")
    dangling = condition_status((obj.get("status") or {}).get("conditions"), "Dangling")
    return [
        obj["metadata"].get("name", ""),
        (spec.get("priorityLevelConfiguration") or {}).get("name", ""),
        spec.get("matchingPrecedence", 0),
        NONE if method is None else method.get("type", ""),
        age(obj, now),
        "?" if dangling is None else dangling,
    ]


def _flow_schema_order(obj: Object) -> tuple[int, str]:
    return (obj.get("spec") or {}).get("matchingPrecedence", 0), obj["metadata"].get("name", "")


def _priority_level(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    limited = spec.get("limited")
    queuing = ((limited or {}).get("limitResponse") or {}).get("queuing")
    sizes: list[Any] = [NONE] * 3
    if queuing is not None:
        sizes = [queuing.get(name, 0) for name in ("queues", "handSize", "queueLengthLimit")]
    return [
        obj["metadata"].get("name", ""),
        spec.get("type", ""),
        NONE if limited is None else limited.get("nominalConcurrencyShares", 0),
        *sizes,
        age(obj, now),
    ]


def _storage_version(obj: Object, now: Now) -> list[Any]:
    status = obj.get("status") or {}
    versions = [
        f"{version.get('apiServerID', '')}={version.get('encodingVersion', '')}"
        for version in status.get("storageVersions") or ()
    ]
    common = status.get("commonEncodingVersion", UNSET)
    return [obj["metadata"].get("name", ""), common, first_few(versions), age(obj, now)]


def _custom_resource_definition(obj: Object, now: Now) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    names = spec.get("names") or {}
    versions = sorted(
        f"{version.get('name', '')}(storage)" if version.get("storage") else version.get("name", "")
        for version in spec.get("versions") or ()
        if version.get("served")
    )
    return [
        obj["metadata"].get("name", ""),
        spec.get("scope", ""),
        ",".join(versions),
        obj["metadata"].get("creationTimestamp") or "0001-01-01T00:00:00Z",
        spec.get("group", ""),
        names.get("kind", ""),
        ",".join(names.get("shortNames") or ()),
        is_true(status.get("conditions"), "Established"),
    ]


def _api_service(obj: Object, now: Now) -> list[Any]:
    service = (obj.get("spec") or {}).get("service")
    where = "Local" if service is None else f"{service.get('namespace', '')}/{service.get('name', '')}"
    available = "Unknown"
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Available":
            available = condition.get("status", "")
            if available != "True" and condition.get("reason"):
                available += f" ({condition['reason']})"
            break
    return [obj["metadata"].get("name", ""), where, available, age(obj, now)]


PRINTERS: PrinterTable = {
    ("coordination.k8s.io", "Lease"): Printer(_lease),
    ("coordination.k8s.io", "LeaseCandidate"): Printer(_lease_candidate),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): Printer(_flow_schema, sort_key=_flow_schema_order),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): Printer(_priority_level),
    ("internal.apiserver.k8s.io", "StorageVersion"): Printer(_storage_version),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Printer(_custom_resource_definition),
    ("apiregistration.k8s.io", "APIService"): Printer(_api_service),
}
