"""Rows of `autoscaling`: horizontal pod autoscalers and the scale subresource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apiserver.api.scheme import Column
from apiserver.endpoints.tables.cells import (
    NONE,
    UNSET,
    Object,
    Printer,
    PrinterTable,
    age,
    first_few,
    kind_and_name,
)
from apiserver.endpoints.tables.durations import UNKNOWN, Now

__all__ = ["PRINTERS"]

_MEMBERS = {
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def _percentage(value: int | None, missing: str) -> str:
    return missing if value is None else f"{value}%"


def _metric_text(spec: Mapping[str, Any], status: Mapping[str, Any] | None) -> str:
    """One metric as current/target; a missing quantity reads `<nil>`, a metric without a status `<unknown>`."""
    kind = spec.get("type", "")
    member = _MEMBERS.get(kind)
    if member is None:
        return "<unknown type>"
    source = spec.get(member) or {}
    target = source.get("target") or {}
    reported = (status or {}).get(member)
    current: Mapping[str, Any] = (reported or {}).get("current") or {}
    average = target.get("averageValue")
    if kind in ("External", "Object"):
        if average is not None:
            return f"{current.get('averageValue', UNKNOWN)}/{average} (avg)"
        value = UNKNOWN if reported is None else current.get("value", "<nil>")
        return f"{value}/{target.get('value', '<nil>')}"
    average_now = UNKNOWN if reported is None else current.get("averageValue", "<nil>")
    if kind == "Pods":
        return f"{average_now}/{'<nil>' if average is None else average}"
    if average is not None:
        return f"{source.get('name', '')}: {average_now}/{average}"
    utilization = _percentage(current.get("averageUtilization"), UNKNOWN)
    return f"{source.get('name', '')}: {utilization}/{_percentage(target.get('averageUtilization'), '<auto>')}"


def _metrics_text(specs: Sequence[Mapping[str, Any]] | None, statuses: Sequence[Mapping[str, Any]] | None) -> str:
    reported = statuses or ()
    texts = [
        _metric_text(spec, reported[index] if index < len(reported) else None) for index, spec in enumerate(specs or ())
    ]
    return first_few(texts, limit=2, separator=", ", empty=NONE)


def _cpu_metrics_of_v1(obj: Object) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The one metric that `autoscaling/v1` has, in the form of v2."""
    target = (obj.get("spec") or {}).get("targetCPUUtilizationPercentage")
    current = (obj.get("status") or {}).get("currentCPUUtilizationPercentage")
    if target is None:
        return [], []
    spec = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": target}}}
    status = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": current}}}
    return [spec], [] if current is None else [status]


def _horizontal_pod_autoscaler(obj: Object, now: Now) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    specs, statuses = spec.get("metrics"), status.get("currentMetrics")
    if obj.get("apiVersion") == "autoscaling/v1":
        specs, statuses = _cpu_metrics_of_v1(obj)
    return [
        obj["metadata"].get("name", ""),
        kind_and_name(spec.get("scaleTargetRef")),
        _metrics_text(specs, statuses),
        str(spec["minReplicas"]) if spec.get("minReplicas") is not None else UNSET,
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age(obj, now),
    ]


def _scale(obj: Object, now: Now) -> list[Any]:
    desired = (obj.get("spec") or {}).get("replicas", 0)
    return [obj["metadata"].get("name", ""), desired, (obj.get("status") or {}).get("replicas", 0), age(obj, now)]


# Scales are no resource of their own, so the schema tables have no columns for them.
_SCALE_COLUMNS = (
    Column("Name", "string", how="metadata.name"),
    Column("Desired", "integer", how="spec.replicas"),
    Column("Available", "integer", how="status.replicas"),
    Column("Age", "string", how="metadata.creationTimestamp"),
)

PRINTERS: PrinterTable = {
    ("autoscaling", "HorizontalPodAutoscaler"): Printer(_horizontal_pod_autoscaler),
    ("autoscaling", "Scale"): Printer(_scale, columns=_SCALE_COLUMNS),
}
