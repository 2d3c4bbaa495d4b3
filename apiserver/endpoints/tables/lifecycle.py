"""Rows of `lifecycle.k8s.io`: evictions, who asked for them and who responds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apiserver.endpoints.tables.cells import NONE, UNSET, Object, Printer, PrinterTable, age
from apiserver.endpoints.tables.durations import UNKNOWN, Now, human_duration, unix_seconds

__all__ = ["PRINTERS"]

_DONE_STATES = ("Canceled", "Interrupted", "Completed")


def _target(obj: Object) -> list[str]:
    """Name and type of the target."""
    pod = ((obj.get("spec") or {}).get("target") or {}).get("pod")
    return [UNSET, UNSET] if pod is None else [pod.get("name", ""), "Pod"]


def _state(obj: Object) -> str:
    status = obj.get("status") or {}
    for kind in ("TargetEvicted", "Failed"):
        for condition in status.get("conditions") or ():
            if condition.get("type") == kind and condition.get("status") == "True":
                return f"{kind} ({condition.get('reason', '')})"
    return "Progressing" if status.get("observedGeneration", 0) > 0 else "Pending"


def _current_responder(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The last active responder, else the last that is done."""
    responders = status.get("targetResponders") or ()
    for states in (("Active",), _DONE_STATES):
        for responder in reversed(responders):
            if responder.get("state") in states:
                found: Mapping[str, Any] = responder
                return found
    return None


def _expected_finish(state: str, report: Mapping[str, Any], now: Now) -> str:
    if state in _DONE_STATES:
        return "-"
    expected = report.get("expectedCompletionTime")
    if state != "Active" or not expected:
        return UNKNOWN
    remaining = unix_seconds(expected) - now.seconds
    return f"in {human_duration(remaining)}" if remaining >= 0 else f"{human_duration(-remaining)} ago"


def _responder_state(state: str, report: Mapping[str, Any], now: Now) -> str:
    if state == "Active" and report.get("startTime"):
        return f"Started ({now.age(report['startTime'])} ago)"
    if state == "Completed" and report.get("completionTime"):
        return f"Completed ({now.age(report['completionTime'])} ago)"
    return state


def _requesters(status: Mapping[str, Any]) -> str:
    requesters = status.get("requesters") or ()
    if not requesters:
        return NONE
    names = sorted(item.get("name", "") for item in requesters if item.get("intent") != "Withdrawn")
    if not names:
        return "<withdrawn>"
    return f"{names[0]} + {len(names) - 1} more..." if len(names) > 1 else names[0]


def _eviction(obj: Object, now: Now) -> list[Any]:
    status = obj.get("status") or {}
    responder = _current_responder(status)
    shown = [UNSET, UNSET, UNKNOWN]
    details = [UNSET, UNSET]
    if responder is not None:
        name, state = responder.get("name", ""), responder.get("state", "")
        reports = status.get("responders") or ()
        report: Mapping[str, Any] = next((item for item in reports if item.get("name") == name), {})
        everyone = status.get("targetResponders") or ()
        reached = sum(item.get("state") in (*_DONE_STATES, "Active") for item in everyone)
        shown = [
            f"{name} ({reached}/{len(everyone)})",
            _responder_state(state, report, now),
            _expected_finish(state, report, now),
        ]
        heartbeat = report.get("heartbeatTime")
        details = [f"{now.age(heartbeat)} ago" if heartbeat else UNSET, report.get("message", "").strip() or UNSET]
    return [
        obj["metadata"].get("name", ""),
        *_target(obj),
        _state(obj),
        *shown,
        _requesters(status),
        age(obj, now),
        *details,
    ]


def _eviction_request(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    return [
        obj["metadata"].get("name", ""),
        *_target(obj),
        _state(obj),
        spec.get("requester", ""),
        spec.get("intent", ""),
        age(obj, now),
    ]


PRINTERS: PrinterTable = {
    ("lifecycle.k8s.io", "Eviction"): Printer(_eviction),
    ("lifecycle.k8s.io", "EvictionRequest"): Printer(_eviction_request),
}
