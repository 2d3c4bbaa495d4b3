"""HorizontalPodAutoscalers of autoscaling/v2, and of v1 as far as v1 can say it (`apis/autoscaling/validation`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from apiserver.api.field_errors import field_forbidden, field_invalid, not_supported, required
from apiserver.api.validation.common import (
    EMPTY,
    NEGATIVE,
    NOT_POSITIVE,
    Errors,
    Obj,
    check_name,
    check_nonnegative,
    parse_quantity,
)
from apiserver.api.validation.names import dns_label_problems, path_segment_problems
from apiserver.api.validation.resources import check_container_resource_name

__all__ = ["check_autoscaler", "check_autoscaler_status"]

PERIOD_SECONDS_MAX: Final = 1800
STABILIZATION_SECONDS_MAX: Final = 3600
_TARGET_TYPES: Final = ("Utilization", "Value", "AverageValue")
_SELECT_POLICIES: Final = ("Disabled", "Max", "Min")


def check_autoscaler(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A HorizontalPodAutoscaler; `minReplicas` and `maxReplicas` by themselves are checked by tags."""
    spec = obj.get("spec") or EMPTY
    low, high = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if low is not None and high < low:
        errors.append(field_invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    target = spec.get("scaleTargetRef") or EMPTY
    before = ((old or EMPTY).get("spec") or EMPTY).get("scaleTargetRef")
    _check_reference(errors, "spec.scaleTargetRef", target)
    if before is None or any(target.get(member) != before.get(member) for member in ("apiVersion", "kind")):
        _check_group(errors, "spec.scaleTargetRef", target, may_be_core=target.get("kind") == "ReplicationController")
    usage = spec.get("targetCPUUtilizationPercentage")  # v1, which shows it as the metric it becomes
    if usage is not None and usage < 1:
        at = "spec.metrics[0].resource.target.averageUtilization"
        errors.append(field_invalid(at, usage, "must be greater than 0"))
    metrics = spec.get("metrics") or []
    for index, metric in enumerate(metrics):
        _check_metric(errors, f"spec.metrics[{index}]", metric)
    if low == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        text = "must specify at least one Object or External metric to support scaling to zero replicas"
        errors.append(field_forbidden("spec.metrics", text))
    behavior = spec.get("behavior") or EMPTY
    for member in ("scaleUp", "scaleDown"):
        if behavior.get(member) is not None:
            _check_rules(errors, f"spec.behavior.{member}", behavior[member])


def check_autoscaler_status(errors: Errors, obj: Obj, old: Obj) -> None:
    """What the controller says of an autoscaler."""
    status = obj.get("status") or EMPTY
    for index, condition in enumerate(status.get("conditions") or ()):
        at = f"status.conditions[{index}].observedGeneration"
        check_nonnegative(errors, at, condition.get("observedGeneration"))
    for member in ("currentReplicas", "desiredReplicas"):
        check_nonnegative(errors, f"status.{member}", status.get(member, 0))


def _check_reference(errors: Errors, path: str, reference: Obj) -> None:
    """A CrossVersionObjectReference, which names an object in a group."""
    for member in ("kind", "name"):
        if not reference.get(member):
            errors.append(required(f"{path}.{member}"))
        else:
            check_name(errors, f"{path}.{member}", reference[member], path_segment_problems)


def _check_group(errors: Errors, path: str, reference: Obj, *, may_be_core: bool) -> None:
    version = reference.get("apiVersion", "")
    if version.count("/") > 1:
        errors.append(field_invalid(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}"))
    elif not may_be_core and not version.partition("/")[1]:
        errors.append(field_invalid(f"{path}.apiVersion", version, "apiVersion must specify API group"))


def _check_rules(errors: Errors, path: str, rules: Obj) -> None:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        errors.append(
            field_invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
        )
    if window is not None and window > STABILIZATION_SECONDS_MAX:
        text = f"must be less than or equal to {STABILIZATION_SECONDS_MAX}"
        errors.append(field_invalid(f"{path}.stabilizationWindowSeconds", window, text))
    policy = rules.get("selectPolicy")
    if policy is not None and policy not in _SELECT_POLICIES:
        errors.append(not_supported(f"{path}.selectPolicy", policy, ("Disabled", "Max", "Min")))
    if not rules.get("policies"):
        errors.append(required(f"{path}.policies", "must specify at least one Policy"))
    for index, each in enumerate(rules.get("policies") or ()):
        _check_policy(errors, f"{path}.policies[{index}]", each)
    tolerance = rules.get("tolerance")
    if tolerance is not None and parse_quantity(tolerance).sign() < 0:
        errors.append(field_invalid(f"{path}.tolerance", tolerance, NEGATIVE))


def _check_policy(errors: Errors, path: str, policy: Obj) -> None:
    if policy.get("type") not in ("Percent", "Pods"):
        errors.append(not_supported(f"{path}.type", policy.get("type", ""), ("Percent", "Pods")))
    for member in ("value", "periodSeconds"):
        if policy.get(member, 0) <= 0:
            errors.append(field_invalid(f"{path}.{member}", policy.get(member, 0), NOT_POSITIVE))
    period = policy.get("periodSeconds", 0)
    if period > PERIOD_SECONDS_MAX:
        text = f"must be less than or equal to {PERIOD_SECONDS_MAX}"
        errors.append(field_invalid(f"{path}.periodSeconds", period, text))


def _check_metric(errors: Errors, path: str, metric: Obj) -> None:
    kind = metric.get("type", "")
    if not kind:
        errors.append(required(f"{path}.type", "must specify a metric source type"))
    if kind not in _METRIC_TYPES:
        errors.append(not_supported(f"{path}.type", kind, _METRIC_TYPES))
    present = [member for member in _SOURCES if metric.get(member) is not None]
    if present:
        _SOURCES[present[0]](errors, f"{path}.{present[0]}", metric[present[0]])
    expected = _METRIC_MEMBERS.get(kind, "")
    if not expected:
        errors.append(not_supported(f"{path}.type", kind, _METRIC_TYPES))
    elif expected not in present:
        errors.append(required(f"{path}.{expected}", "must populate information for the given metric source"))
    if len(present) != 1:
        for member in present:
            if member != expected:
                errors.append(field_forbidden(f"{path}.{member}", "must populate the given metric source only"))


def _check_identifier(errors: Errors, path: str, metric: Obj) -> None:
    if not metric.get("name"):
        errors.append(required(f"{path}.name", "must specify a metric name"))
    else:
        check_name(errors, f"{path}.name", metric["name"], path_segment_problems)


def _check_target(errors: Errors, path: str, target: Obj) -> None:
    kind = target.get("type", "")
    if not kind:
        errors.append(required(f"{path}.type", "must specify a metric target type"))
    if kind not in _TARGET_TYPES:
        errors.append(field_invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue"))
    for member in ("value", "averageValue"):
        value = target.get(member)
        if value is not None and parse_quantity(value).sign() <= 0:
            errors.append(field_invalid(f"{path}.{member}", value, "must be positive"))
    usage = target.get("averageUtilization")
    if usage is not None and usage < 1:
        errors.append(field_invalid(f"{path}.averageUtilization", usage, "must be greater than 0"))


def _check_object(errors: Errors, path: str, source: Obj) -> None:
    target = source.get("target") or EMPTY
    described = source.get("describedObject") or EMPTY
    _check_reference(errors, f"{path}.describedObject", described)
    _check_group(errors, f"{path}.describedObject", described, may_be_core=True)
    _check_identifier(errors, f"{path}.metric", source.get("metric") or EMPTY)
    _check_target(errors, f"{path}.target", target)
    if target.get("value") is None and target.get("averageValue") is None:
        text = "must set either a target value or averageValue"
        errors.append(required(f"{path}.target.averageValue", text))


def _check_external(errors: Errors, path: str, source: Obj) -> None:
    target = source.get("target") or EMPTY
    _check_identifier(errors, f"{path}.metric", source.get("metric") or EMPTY)
    _check_target(errors, f"{path}.target", target)
    given = [target.get(member) is not None for member in ("value", "averageValue")]
    if not any(given):
        text = "must set either a target value for metric or a per-pod target"
        errors.append(required(f"{path}.target.averageValue", text))
    if all(given):
        text = "may not set both a target value for metric and a per-pod target"
        errors.append(field_forbidden(f"{path}.target.value", text))


def _check_pods(errors: Errors, path: str, source: Obj) -> None:
    target = source.get("target") or EMPTY
    _check_identifier(errors, f"{path}.metric", source.get("metric") or EMPTY)
    _check_target(errors, f"{path}.target", target)
    if target.get("averageValue") is None:
        errors.append(required(f"{path}.target.averageValue", "must specify a positive target averageValue"))


def _check_resource(errors: Errors, path: str, source: Obj) -> None:
    if not source.get("name"):
        errors.append(required(f"{path}.name", "must specify a resource name"))
    _check_resource_target(errors, f"{path}.target", source.get("target") or EMPTY)


def _check_container_resource(errors: Errors, path: str, source: Obj) -> None:
    if not source.get("name"):
        errors.append(required(f"{path}.name", "must specify a resource name"))
    else:
        check_container_resource_name(errors, f"{path}.name", source["name"])
    if not source.get("container"):
        errors.append(required(f"{path}.container", "must specify a container"))
    else:
        check_name(errors, f"{path}.container", source["container"], dns_label_problems)
    _check_resource_target(errors, f"{path}.target", source.get("target") or EMPTY)


def _check_resource_target(errors: Errors, path: str, target: Obj) -> None:
    _check_target(errors, path, target)
    given = [target.get(member) is not None for member in ("averageUtilization", "averageValue")]
    if not any(given):
        text = "must set either a target raw value or a target utilization"
        errors.append(required(f"{path}.averageUtilization", text))
    if all(given):
        text = "may not set both a target raw value and a target utilization"
        errors.append(field_forbidden(f"{path}.averageValue", text))


_SOURCES: Final[dict[str, Callable[[Errors, str, Obj], None]]] = {
    "object": _check_object,
    "external": _check_external,
    "pods": _check_pods,
    "resource": _check_resource,
    "containerResource": _check_container_resource,
}
_METRIC_MEMBERS: Final = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_METRIC_TYPES: Final = tuple(_METRIC_MEMBERS)
