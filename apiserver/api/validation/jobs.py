"""Jobs and cron jobs (`pkg/apis/batch/validation`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final
from zoneinfo import available_timezones

from apiserver.api.field_errors import (
    FieldError,
    duplicate,
    field_invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_nonnegative, in_order
from apiserver.api.validation.cron import schedule_problem, time_zone_problem
from apiserver.api.validation.indexes import check_indexes
from apiserver.api.validation.names import dns_label_problems, dns_subdomain_problems
from apiserver.api.validation.objectmeta import IMMUTABLE
from apiserver.api.validation.pods import check_pod_template
from apiserver.api.validation.selectors import check_label_selector, selector_matches
from apiserver.api.validation.workloads import check_immutable

__all__ = ["check_cron_job", "check_job"]

CRON_JOB_NAME_BYTES_MAX: Final = 52
MANAGED_BY_BYTES_MAX: Final = 63
INDEXED_PARALLELISM_MAX: Final = 100_000
FAILED_INDEXES_MAX: Final = 100_000
COMPLETIONS_SOFT_LIMIT: Final = 100_000
HIGH_COMPLETIONS_LIMIT: Final = 10_000
FAILURE_RULES_MAX: Final = 20
EXIT_CODES_MAX: Final = 255
CONDITION_PATTERNS_MAX: Final = 20
SUCCESS_RULES_MAX: Final = 20
SUCCEEDED_INDEXES_BYTES_MAX: Final = 64 * 1024
_ACTIONS: Final = ("Count", "FailIndex", "FailJob", "Ignore")


def check_job(errors: Errors, job: Obj, old: Obj | None) -> None:
    """A Job, new or changed."""
    metadata, spec = job["metadata"], job.get("spec") or EMPTY
    if old is None:
        _check_generated_selector(errors, metadata, spec)
    if old is None or spec != old.get("spec"):
        _check_spec(errors, "spec", spec)
        selector = spec.get("selector")
        if selector is None:
            errors.append(required("spec.selector"))
        else:
            check_label_selector(errors, "spec.selector", selector)
        labels = ((spec.get("template") or EMPTY).get("metadata") or EMPTY).get("labels")
        if selector is None or not selector_matches(selector, labels or EMPTY):
            text = "`selector` does not match template `labels`"
            errors.append(field_invalid("spec.template.metadata.labels", in_order(labels), text))
    if old is not None:
        _check_update(errors, job, old)
    completions = spec.get("completions")
    if spec.get("completionMode") == "Indexed" and completions:
        host = f"{metadata.get('name', '')}-{completions - 1}"
        if dns_label_problems(host):
            text = f"will not able to create pod with invalid DNS label: {host}"
            errors.append(field_invalid("metadata.name", metadata.get("name", ""), text))


def _check_generated_selector(errors: Errors, metadata: Obj, spec: Obj) -> None:
    if spec.get("manualSelector") or spec.get("selector") is None:
        return
    uid, name = metadata.get("uid", ""), metadata.get("name", "")
    if not uid:
        errors.append(required("metadata.uid"))
    expected = {
        "controller-uid": uid,
        "job-name": name,
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
    }
    labels = ((spec.get("template") or EMPTY).get("metadata") or EMPTY).get("labels") or EMPTY
    for key, value in expected.items():
        at = f"spec.template.metadata.labels[{key}]"
        if key not in labels:
            errors.append(required(at, f"must be '{value}'"))
        elif labels[key] != value:
            errors.append(field_invalid(at, in_order(labels), f"must be '{value}'"))
    if not selector_matches(spec["selector"], expected):
        selector = {**spec["selector"], "matchLabels": in_order(spec["selector"].get("matchLabels"))}
        errors.append(field_invalid("spec.selector", selector, "`selector` not auto-generated"))


def _check_spec(errors: Errors, path: str, spec: Obj) -> None:
    for member in (
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ):
        check_nonnegative(errors, f"{path}.{member}", spec.get(member))
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        errors.append(required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if spec.get("managedBy") is not None:
        _check_managed_by(errors, f"{path}.managedBy", spec["managedBy"])
    mode = spec.get("completionMode")
    if mode is not None and mode not in ("NonIndexed", "Indexed"):
        errors.append(not_supported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed")))
    if mode == "Indexed":
        _check_indexed(errors, path, spec)
    elif mode in (None, "NonIndexed"):
        for member in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(member) is not None:
                errors.append(field_invalid(f"{path}.{member}", spec[member], "requires indexed completion mode"))
    if spec.get("podFailurePolicy") is not None:
        _check_failure_policy(errors, f"{path}.podFailurePolicy", spec)
    if spec.get("successPolicy") is not None:
        if mode != "Indexed":
            text = "requires indexed completion mode"
            errors.append(field_invalid(f"{path}.successPolicy", spec["successPolicy"], text))
        else:
            _check_success_policy(errors, f"{path}.successPolicy", spec)
    _check_replacement_policy(errors, f"{path}.podReplacementPolicy", spec)
    template = spec.get("template") or EMPTY
    check_pod_template(errors, f"{path}.template", template)
    _check_restart_policy(errors, f"{path}.template.spec.restartPolicy", template, spec)


def _check_managed_by(errors: Errors, path: str, value: str) -> None:
    domain, slash, rest = value.partition("/")
    if not value:
        errors.append(required(path))
    elif not slash or not domain or not rest:
        text = 'must be a domain-prefixed path (such as "acme.io/foo")'
        errors.append(field_invalid(path, value, text))
    else:
        for problem in dns_subdomain_problems(domain):
            errors.append(field_invalid(path, domain, problem))
    if len(value) > MANAGED_BY_BYTES_MAX:
        errors.append(too_long(path, MANAGED_BY_BYTES_MAX))


def _check_indexed(errors: Errors, path: str, spec: Obj) -> None:
    completions, parallelism = spec.get("completions"), spec.get("parallelism")
    failed = spec.get("maxFailedIndexes")
    if completions is None:
        errors.append(required(f"{path}.completions", "when completion mode is Indexed"))
    if parallelism is not None and parallelism > INDEXED_PARALLELISM_MAX:
        text = f"must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed"
        errors.append(field_invalid(f"{path}.parallelism", parallelism, text))
    if failed is not None:
        if completions is not None and failed > completions:
            errors.append(
                field_invalid(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions")
            )
        if failed > FAILED_INDEXES_MAX:
            text = f"must be less than or equal to {FAILED_INDEXES_MAX}"
            errors.append(field_invalid(f"{path}.maxFailedIndexes", failed, text))
    if (completions or 0) <= COMPLETIONS_SOFT_LIMIT or spec.get("backoffLimitPerIndex") is None:
        return
    above = f"completions are above {COMPLETIONS_SOFT_LIMIT} and used with backoff limit per index"
    if failed is None:
        text = f"must be specified when completions is above {COMPLETIONS_SOFT_LIMIT}"
        errors.append(required(f"{path}.maxFailedIndexes", text))
    for member, value in (("parallelism", parallelism), ("maxFailedIndexes", failed)):
        if value is not None and value > HIGH_COMPLETIONS_LIMIT:
            text = f"must be less than or equal to {HIGH_COMPLETIONS_LIMIT} when {above}"
            errors.append(field_invalid(f"{path}.{member}", value, text))


def _check_failure_policy(errors: Errors, path: str, spec: Obj) -> None:
    rules = spec["podFailurePolicy"].get("rules") or []
    pod = (spec.get("template") or EMPTY).get("spec") or EMPTY
    names = {c.get("name") for member in ("containers", "initContainers") for c in pod.get(member) or ()}
    if len(rules) > FAILURE_RULES_MAX:
        errors.append(too_many(f"{path}.rules", len(rules), FAILURE_RULES_MAX))
    for index, rule in enumerate(rules):
        at, action = f"{path}.rules[{index}]", rule.get("action", "")
        if not action:
            errors.append(required(f"{at}.action", f"valid values: {_quoted(_ACTIONS)}"))
        elif action == "FailIndex":
            if spec.get("backoffLimitPerIndex") is None:
                text = "requires the backoffLimitPerIndex to be set"
                errors.append(field_invalid(f"{at}.action", action, text))
        elif action not in _ACTIONS:
            errors.append(not_supported(f"{at}.action", action, _ACTIONS))
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
        if codes is not None:
            _check_exit_codes(errors, f"{at}.onExitCodes", codes, names)
        if len(conditions) > CONDITION_PATTERNS_MAX:
            errors.append(too_many(f"{at}.onPodConditions", len(conditions), CONDITION_PATTERNS_MAX))
        for position, pattern in enumerate(conditions):
            status = pattern.get("status", "")
            if status not in ("False", "True", "Unknown"):
                where = f"{at}.onPodConditions[{position}].status"
                errors.append(not_supported(where, status, ("False", "True", "Unknown")))
        if (codes is not None) == bool(conditions):
            text = "specifying both OnExitCodes and OnPodConditions is not supported"
            if codes is None:
                text = "specifying one of OnExitCodes and OnPodConditions is required"
            errors.append(_without_value(at, text))


def _without_value(path: str, detail: str) -> FieldError:
    """An Invalid error that shows no value: kube-apiserver omits it."""
    return _ValuelessError("FieldValueInvalid", path, None, detail)


class _ValuelessError(FieldError):
    def body(self) -> str:
        return f"Invalid value: {self.detail}"


def _quoted(values: tuple[str, ...]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"


def _check_exit_codes(errors: Errors, path: str, codes: Obj, names: set[Any]) -> None:
    operator, values = codes.get("operator", ""), codes.get("values") or []
    if not operator:
        errors.append(required(f"{path}.operator", f"valid values: {_quoted(('In', 'NotIn'))}"))
    elif operator not in ("In", "NotIn"):
        errors.append(not_supported(f"{path}.operator", operator, ("In", "NotIn")))
    name = codes.get("containerName")
    if name is not None and name not in names:
        text = "must be one of the container or initContainer names in the pod template"
        errors.append(field_invalid(f"{path}.containerName", name, text))
    if not values:
        errors.append(field_invalid(f"{path}.values", codes.get("values"), "at least one value is required"))
    elif len(values) > EXIT_CODES_MAX:
        errors.append(too_many(f"{path}.values", len(values), EXIT_CODES_MAX))
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            errors.append(field_invalid(f"{path}.values[{index}]", value, "must not be 0 for the In operator"))
        if value in values[:index]:
            errors.append(duplicate(f"{path}.values[{index}]", value))
    if values != sorted(values):
        errors.append(field_invalid(f"{path}.values", values, "must be ordered"))


def _check_success_policy(errors: Errors, path: str, spec: Obj) -> None:
    rules = spec["successPolicy"].get("rules") or []
    completions = spec.get("completions") or 0
    if not rules:
        text = "at least one rules must be specified when the successPolicy is specified"
        errors.append(required(f"{path}.rules", text))
    if len(rules) > SUCCESS_RULES_MAX:
        errors.append(too_many(f"{path}.rules", len(rules), SUCCESS_RULES_MAX))
    for index, rule in enumerate(rules):
        at, count, indexes = f"{path}.rules[{index}]", rule.get("succeededCount"), rule.get("succeededIndexes")
        if count is None and indexes is None:
            text = "at least one of succeededCount or succeededIndexes must be specified"
            errors.append(required(at, text))
        total = 0
        if indexes is not None:
            if len(indexes) > SUCCEEDED_INDEXES_BYTES_MAX:
                errors.append(too_long(f"{at}.succeededIndexes", SUCCEEDED_INDEXES_BYTES_MAX))
            total = check_indexes(errors, f"{at}.succeededIndexes", "succeededIndexes", indexes, completions)
        if count is None:
            continue
        check_nonnegative(errors, f"{at}.succeededCount", count)
        if count > completions:
            text = f"must be less than or equal to {completions} (the number of specified completions)"
            errors.append(field_invalid(f"{at}.succeededCount", count, text))
        if indexes is not None and count > total:
            text = (
                f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            )
            errors.append(field_invalid(f"{at}.succeededCount", count, text))


def _check_replacement_policy(errors: Errors, path: str, spec: Obj) -> None:
    policy = spec.get("podReplacementPolicy")
    if policy is None:
        return
    supported = ("Failed", "TerminatingOrFailed") if spec.get("podFailurePolicy") is None else ("Failed",)
    if policy not in supported:
        errors.append(not_supported(path, policy, supported))


def _check_restart_policy(errors: Errors, path: str, template: Obj, spec: Obj) -> None:
    policy = (template.get("spec") or EMPTY).get("restartPolicy", "")
    if policy in ("", "Always"):
        errors.append(required(path, 'valid values: "OnFailure", "Never"'))
    elif policy not in ("OnFailure", "Never"):
        errors.append(not_supported(path, policy, ("OnFailure", "Never")))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        text = 'only "Never" is supported when podFailurePolicy is specified'
        errors.append(field_invalid(path, policy, text))


def _check_update(errors: Errors, job: Obj, old: Obj) -> None:
    spec, before = job.get("spec") or EMPTY, old.get("spec") or EMPTY
    completions = spec.get("completions")
    if spec.get("completionMode") != "Indexed":
        check_immutable(errors, "spec.completions", completions, before.get("completions"))
    elif completions != before.get("completions") and completions not in (None, spec.get("parallelism")):
        text = "can only be modified in tandem with spec.parallelism"
        errors.append(field_invalid("spec.completions", completions, text))
    check_immutable(errors, "spec.selector", spec.get("selector"), before.get("selector"))
    _check_template_update(errors, spec, before, old.get("status") or EMPTY)
    for member in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        if spec.get(member) != before.get(member):
            errors.append(field_invalid(f"spec.{member}", spec.get(member), IMMUTABLE))


def _check_template_update(errors: Errors, spec: Obj, before: Obj, status: Obj) -> None:
    """The template never changes, except of a suspended job: scheduling directives and resources (KEP-2926)."""
    template, was = spec.get("template") or EMPTY, before.get("template") or EMPTY
    if template == was:
        return
    suspended = before.get("suspend") or any(
        condition.get("type") == "Suspended" and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )
    if not suspended or not before.get("suspend"):
        errors.append(field_invalid("spec.template", template, IMMUTABLE))
        return
    munged, kept = _without_directives(template), _without_directives(was)
    if munged != kept:
        errors.append(field_invalid("spec.template.spec", template.get("spec"), IMMUTABLE))


def _without_directives(template: Obj) -> Obj:
    """The pod's spec without what a suspended job may change."""
    pod = template.get("spec") or EMPTY
    rest = {k: v for k, v in pod.items() if k not in ("nodeSelector", "tolerations", "schedulingGates", "affinity")}
    affinity = {k: v for k, v in (pod.get("affinity") or EMPTY).items() if k != "nodeAffinity"}
    if affinity:
        rest["affinity"] = affinity
    for member in ("containers", "initContainers"):
        if pod.get(member):
            rest[member] = [{k: v for k, v in each.items() if k != "resources"} for each in pod[member]]
    return rest


def check_cron_job(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A CronJob, new or changed."""
    spec, before = obj.get("spec") or EMPTY, (old or EMPTY).get("spec")
    if old is None or spec != before:
        _check_cron_spec(errors, spec, before)
    name = obj["metadata"].get("name", "")
    if old is None and len(name) > CRON_JOB_NAME_BYTES_MAX:
        text = f"must be no more than {CRON_JOB_NAME_BYTES_MAX} characters"
        errors.append(field_invalid("metadata.name", name, text))


def _check_cron_spec(errors: Errors, spec: Obj, before: Obj | None) -> None:
    schedule, zone = spec.get("schedule", ""), spec.get("timeZone")
    if schedule:
        problem = schedule_problem(schedule)
        if problem:
            errors.append(field_invalid("spec.schedule", schedule, problem))
        had_zone = "TZ" in (before or EMPTY).get("schedule", "")
        if "TZ" in schedule and not had_zone:
            text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            errors.append(field_invalid("spec.schedule", schedule, text))
        elif "TZ" in schedule and zone is not None:
            text = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
            errors.append(field_invalid("spec.schedule", schedule, text))
    check_nonnegative(errors, "spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
    if zone is not None and (before is None or before.get("timeZone") != zone):
        problem = time_zone_problem(zone, _time_zones())
        if problem:
            errors.append(field_invalid("spec.timeZone", zone, problem))
    policy = spec.get("concurrencyPolicy", "")
    if not policy:
        errors.append(required("spec.concurrencyPolicy"))
    elif policy not in ("Allow", "Forbid", "Replace"):
        errors.append(not_supported("spec.concurrencyPolicy", policy, ("Allow", "Forbid", "Replace")))
    job = (spec.get("jobTemplate") or EMPTY).get("spec") or EMPTY
    _check_spec(errors, "spec.jobTemplate.spec", job)
    if job.get("selector") is not None:
        text = "`selector` will be auto-generated"
        errors.append(field_invalid("spec.jobTemplate.spec.selector", job["selector"], text))
    if job.get("manualSelector"):
        errors.append(not_supported("spec.jobTemplate.spec.manualSelector", True, ("nil", "false")))
    for member in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        check_nonnegative(errors, f"spec.{member}", spec.get(member))


@lru_cache(maxsize=1)
def _time_zones() -> frozenset[str]:
    """Names of the IANA database; UTC even where there is none."""
    return frozenset(available_timezones() | {"UTC", "Etc/UTC"})
