"""Rows of events, which the core group and `events.k8s.io` show alike though they name the fields differently."""

from __future__ import annotations

from typing import Any

from apiserver.api.scheme import Column
from apiserver.endpoints.tables.cells import Object, Printer, PrinterTable
from apiserver.endpoints.tables.durations import Now

__all__ = ["PRINTERS"]

_CORE_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedCount": "count",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedSource": "source",
}


def _event(obj: Object, now: Now) -> list[Any]:
    involved, source = obj.get("involvedObject") or {}, obj.get("source") or {}
    series = obj.get("series")
    first_seen = now.age(obj.get("firstTimestamp") or obj.get("eventTime"))
    last_timestamp = obj.get("lastTimestamp")
    last_seen = now.age(last_timestamp) if last_timestamp else first_seen
    count = obj.get("count", 0) or 1
    if series is not None:
        last_seen = now.age(series.get("lastObservedTime"))
        count = series.get("count", 0)
    kind = involved.get("kind", "").lower()
    name = involved.get("name")
    component = source.get("component") or obj.get("reportingComponent", "")
    instance = source.get("host") or obj.get("reportingInstance")
    return [
        last_seen,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{name}" if name else kind,
        involved.get("fieldPath", ""),
        f"{component}, {instance}" if instance else component,
        obj.get("message", "").strip(),
        first_seen,
        count,
        obj["metadata"].get("name", ""),
    ]


# `events.k8s.io` is served from the core group's events and has their columns.
_NEW_EVENT_COLUMNS = (
    Column("Last Seen", "string", how="when it was last observed, or happened"),
    Column("Type", "string", how="type"),
    Column("Reason", "string", how="reason"),
    Column("Object", "string", how="regarding: kind/name"),
    Column("Subobject", "string", priority=1, how="regarding.fieldPath"),
    Column("Source", "string", priority=1, how="reportingController, reportingInstance"),
    Column("Message", "string", how="note"),
    Column("First Seen", "string", priority=1, how="when it was first observed, or happened"),
    Column("Count", "string", priority=1, how="how often it was observed"),
    Column("Name", "string", "name", priority=1, how="metadata.name"),
)


def _new_event(obj: Object, now: Now) -> list[Any]:
    return _event({_CORE_NAMES.get(name, name): value for name, value in obj.items()}, now)


PRINTERS: PrinterTable = {
    ("", "Event"): Printer(_event),
    ("events.k8s.io", "Event"): Printer(_new_event, columns=_NEW_EVENT_COLUMNS),
}
