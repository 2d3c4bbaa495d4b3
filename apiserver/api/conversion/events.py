"""Events: events.k8s.io/v1 and core v1, the form in which all events are stored."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["event_from_core", "event_to_core"]

# events.k8s.io name -> core name; all other fields have one name.
_NAMES: Final = {
    "note": "message",
    "regarding": "involvedObject",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
_CORE_NAMES: Final = {core: name for name, core in _NAMES.items()}


def event_to_core(event: dict[str, Any]) -> dict[str, Any]:
    """events.k8s.io/v1 to core v1."""
    return {_NAMES.get(name, name): value for name, value in event.items()}


def event_from_core(event: dict[str, Any]) -> dict[str, Any]:
    """Core v1 to events.k8s.io/v1."""
    return {_CORE_NAMES.get(name, name): value for name, value in event.items()}
