"""Events, of the core group and of events.k8s.io (core `events.go`). Errors name the members of the core group."""

from __future__ import annotations

from typing import Any, Final

from apiserver.api.field_errors import field_invalid, required
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_label_key
from apiserver.api.validation.workloads import check_immutable

__all__ = ["check_core_event", "check_event"]

_LENGTHS_MAX: Final = {"reportingInstance": 128, "action": 128, "reason": 128, "message": 1024}
# What events.k8s.io calls what the core group calls otherwise.
_NAMES_OF_EVENTS: Final = {
    "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "involvedObject": "regarding",
    "lastTimestamp": "deprecatedLastTimestamp",
    "message": "note",
    "source": "deprecatedSource",
}
_FROZEN: Final = (
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "reason",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingController",
    "reportingInstance",
)
_MISMATCH: Final = "does not match event.namespace"


def check_core_event(errors: Errors, event: Obj, old: Obj | None) -> None:
    """An Event of the core group, new or changed."""
    _check(errors, event, event.get("involvedObject") or EMPTY, event.get("message", ""), "reportingComponent")


def _check(errors: Errors, event: Obj, involved: Obj, message: str, controller: str) -> None:
    namespace, of_object = event["metadata"].get("namespace", ""), involved.get("namespace", "")
    at = "involvedObject.namespace"
    if not event.get("eventTime"):
        allowed = namespace in ("", "default") if not of_object else namespace == of_object
        if not allowed:
            errors.append(field_invalid(at, of_object, _MISMATCH))
        return
    if not of_object and namespace not in ("default", "kube-system"):
        errors.append(field_invalid(at, of_object, _MISMATCH))
    if not event.get(controller):
        errors.append(required(controller))
    check_label_key(errors, controller, event.get(controller, ""))
    for member, limit in _LENGTHS_MAX.items():
        value = message if member == "message" else event.get(member, "")
        if not value and member != "message":
            errors.append(required(member))
        if len(value.encode()) > limit:
            errors.append(field_invalid(member, "", f"can have at most {limit} characters"))


def check_event(errors: Errors, event: Obj, old: Obj | None) -> None:
    """An Event of events.k8s.io: with a time, without anything that is deprecated; only its series changes."""
    _check(errors, event, event.get("regarding") or EMPTY, event.get("note", ""), "reportingController")
    if old is not None:
        if event.get("series") != old.get("series"):
            _check_series(errors, event)
        for member in _FROZEN:
            name = _NAMES_OF_EVENTS.get(member, member)
            now, was = (_given(of.get(name)) for of in (event, old))
            check_immutable(errors, member, now, was)
        return
    _check_series(errors, event)
    if not event.get("eventTime"):
        errors.append(required("eventTime"))
    if event.get("type") not in ("Normal", "Warning"):
        errors.append(field_invalid("type", "", f"has invalid value: {event.get('type', '')}"))
    for member in ("firstTimestamp", "lastTimestamp", "count", "source"):
        if _given(event.get(_NAMES_OF_EVENTS[member])):
            errors.append(field_invalid(member, "", "needs to be unset"))


def _given(value: Any) -> Any:
    """None for what counts as not given."""
    return value or None


def _check_series(errors: Errors, event: Obj) -> None:
    series = event.get("series")
    if series is None:
        return
    if series.get("count", 0) < 2:
        errors.append(field_invalid("series.count", "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        errors.append(required("series.lastObservedTime"))
