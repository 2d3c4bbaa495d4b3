"""Rows of `batch`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apiserver.endpoints.tables.cells import (
    NONE,
    UNSET,
    Object,
    Printer,
    PrinterTable,
    age,
    container_names_and_images,
    is_true,
    selector_text,
)
from apiserver.endpoints.tables.durations import Now, human_duration, unix_seconds

__all__ = ["PRINTERS"]

_UNDER_WAY = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def _job_status(obj: Object) -> str:
    conditions = (obj.get("status") or {}).get("conditions")
    for kind in ("Complete", "Failed"):
        if is_true(conditions, kind):
            return kind
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for kind in _UNDER_WAY:
        if is_true(conditions, kind):
            return kind
    return "Running"


def _completions(spec: Mapping[str, Any], succeeded: int) -> str:
    completions = spec.get("completions")
    if completions is not None:
        return f"{succeeded}/{completions}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(status: Mapping[str, Any], now: Now) -> str:
    start, end = status.get("startTime"), status.get("completionTime")
    if not start:
        return ""
    return human_duration(unix_seconds(end) - unix_seconds(start)) if end else now.age(start)


def _job(obj: Object, now: Now) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        obj["metadata"].get("name", ""),
        _job_status(obj),
        _completions(spec, status.get("succeeded", 0)),
        _job_duration(status, now),
        age(obj, now),
        *container_names_and_images(spec.get("template")),
        selector_text(spec.get("selector")),
    ]


_SUSPEND_TEXTS = {None: UNSET, True: "True", False: "False"}


def _cron_job(obj: Object, now: Now) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    last = status.get("lastScheduleTime")
    return [
        obj["metadata"].get("name", ""),
        spec.get("schedule", ""),
        spec.get("timeZone", NONE),
        _SUSPEND_TEXTS[spec.get("suspend")],
        len(status.get("active") or ()),
        now.age(last) if last else NONE,
        age(obj, now),
        *container_names_and_images(job.get("template")),
        selector_text(job.get("selector")),
    ]


PRINTERS: PrinterTable = {
    ("batch", "CronJob"): Printer(_cron_job),
    ("batch", "Job"): Printer(_job),
}
