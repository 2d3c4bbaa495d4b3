"""Rows of what pods are scheduled by: `scheduling.k8s.io`, `policy`, `node.k8s.io`."""

from __future__ import annotations

from typing import Any

from apiserver.endpoints.tables.cells import NONE, Object, Printer, PrinterTable, age, name_and_age
from apiserver.endpoints.tables.durations import Now

__all__ = ["PRINTERS"]


def _policy_and_workload(obj: Object) -> list[str]:
    spec = obj.get("spec") or {}
    gang = (spec.get("schedulingPolicy") or {}).get("gang")
    workload = spec.get("workloadRef")
    return ["Basic" if gang is None else "Gang", NONE if workload is None else workload.get("workloadName", "")]


def _composite_pod_group(obj: Object, now: Now) -> list[Any]:
    return [obj["metadata"].get("name", ""), *_policy_and_workload(obj), age(obj, now)]


def _pod_group_status(obj: Object) -> str:
    conditions = {
        condition.get("type"): condition for condition in reversed((obj.get("status") or {}).get("conditions") or [])
    }
    if "DisruptionTarget" in conditions:
        reason: str = conditions["DisruptionTarget"].get("reason", "")
        return reason
    scheduled = conditions.get("PodGroupInitiallyScheduled")
    if scheduled is None:
        return "Pending"
    return "Scheduled" if scheduled.get("status") == "True" else "Unschedulable"


def _pod_group(obj: Object, now: Now) -> list[Any]:
    return [obj["metadata"].get("name", ""), *_policy_and_workload(obj), _pod_group_status(obj), age(obj, now)]


def _priority_class(obj: Object, now: Now) -> list[Any]:
    return [
        obj["metadata"].get("name", ""),
        obj.get("value", 0),
        obj.get("globalDefault", False),
        age(obj, now),
        obj.get("preemptionPolicy", ""),
    ]


def _runtime_class(obj: Object, now: Now) -> list[Any]:
    return [obj["metadata"].get("name", ""), obj.get("handler", ""), age(obj, now)]


def _pod_disruption_budget(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    return [
        obj["metadata"].get("name", ""),
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        (obj.get("status") or {}).get("disruptionsAllowed", 0),
        age(obj, now),
    ]


PRINTERS: PrinterTable = {
    ("scheduling.k8s.io", "CompositePodGroup"): Printer(_composite_pod_group),
    ("scheduling.k8s.io", "PodGroup"): Printer(_pod_group),
    ("scheduling.k8s.io", "PriorityClass"): Printer(_priority_class),
    ("scheduling.k8s.io", "Workload"): Printer(name_and_age),
    ("node.k8s.io", "RuntimeClass"): Printer(_runtime_class),
    ("policy", "PodDisruptionBudget"): Printer(_pod_disruption_budget),
}
