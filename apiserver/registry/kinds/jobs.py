"""Jobs and cron jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from apiserver.api.validation.jobs import check_cron_job, check_job
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.checked import CheckedStrategy, Checks, checked
from apiserver.registry.kinds.pod_warnings import warnings_for_template
from apiserver.registry.kinds.workloads import warnings_for_pod_names

__all__ = ["CronJobStrategy", "JobStrategy"]

NAME_LABELS: Final = ("job-name", "batch.kubernetes.io/job-name")
UID_LABELS: Final = ("controller-uid", "batch.kubernetes.io/controller-uid")
TRACKED_COMPLETIONS_MAX: Final = 100_000
TRACKED_PARALLELISM_MAX: Final = 10_000
_UNTRACKABLE: Final = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "
    "Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
)
_ZONE_IN_SCHEDULE: Final = (
    "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone field instead, see "
    "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#time-zones for more details"
)


def _spec_warnings(path: str, spec: Object) -> Iterator[str]:
    if (
        spec.get("completionMode") == "Indexed"
        and (spec.get("completions") or 0) > TRACKED_COMPLETIONS_MAX
        and (spec.get("parallelism") or 0) > TRACKED_PARALLELISM_MAX
    ):
        yield f"{path}: {_UNTRACKABLE}"
    yield from warnings_for_template(f"{path}.template", spec.get("template"))


def _job_warnings(obj: Object, old: Object | None) -> list[str]:
    if old is None:
        return [*warnings_for_pod_names(obj), *_spec_warnings("spec", obj["spec"])]
    if obj["metadata"].get("generation") == old["metadata"].get("generation"):
        return []
    return list(_spec_warnings("spec", obj["spec"]))


def _cron_job_warnings(obj: Object, old: Object | None) -> list[str]:
    spec = obj["spec"]
    warnings = warnings_for_pod_names(obj) if old is None else []
    if old is None or obj["metadata"].get("generation") != old["metadata"].get("generation"):
        warnings += _spec_warnings("spec.jobTemplate.spec", (spec.get("jobTemplate") or {}).get("spec") or {})
    if "TZ" in spec.get("schedule", ""):
        warnings.append(_ZONE_IN_SCHEDULE)
    return warnings


CronJobStrategy = checked(check_cron_job, warnings=_cron_job_warnings)


class JobStrategy(CheckedStrategy):
    """The strategy of jobs."""

    checks = Checks(check_job, warnings=_job_warnings)

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """Make a selector that no other job has, unless the client made one."""
        super().prepare_for_create(context, obj)
        if not obj["spec"].get("manualSelector"):
            _generate_selector(obj)
            self.default(context, obj)  # the job takes its labels from the template, now that it has some


def _generate_selector(job: Object) -> None:
    """Labels that are there already stay: validation tells the client if they are wrong."""
    spec, name, uid = job["spec"], job["metadata"].get("name", ""), job["metadata"]["uid"]
    generated = {**dict.fromkeys(NAME_LABELS, name), **dict.fromkeys(UID_LABELS, uid)}
    template = spec.setdefault("template", {}).setdefault("metadata", {})
    template["labels"] = {**generated, **(template.get("labels") or {})}
    selector = spec["selector"] = spec.get("selector") or {}
    selector["matchLabels"] = {UID_LABELS[1]: uid, **(selector.get("matchLabels") or {})}
