"""PodDisruptionBudgets (kubernetes `apis/policy/validation`)."""

from __future__ import annotations

from typing import Any, Final

from apiserver.api.field_errors import field_invalid, not_supported
from apiserver.api.validation.common import (
    EMPTY,
    Errors,
    Obj,
    check_integer_or_percent,
    check_nonnegative,
    is_percent,
)
from apiserver.api.validation.selectors import check_label_selector

__all__ = ["check_disruption_budget", "check_disruption_budget_status"]

_EVICTION_POLICIES: Final = ("AlwaysAllow", "IfHealthyBudget")


def check_disruption_budget(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A PodDisruptionBudget, new or changed."""
    spec = obj.get("spec") or EMPTY
    low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
    if low is not None and high is not None:
        text = "minAvailable and maxUnavailable cannot be both set"
        errors.append(field_invalid("spec", _as_go_prints(spec), text))
    for member, value in (("minAvailable", low), ("maxUnavailable", high)):
        if value is not None:
            check_integer_or_percent(errors, f"spec.{member}", value)
            if is_percent(value) and int(value[:-1]) > 100:
                errors.append(field_invalid(f"spec.{member}", value, "must not be greater than 100%"))
    check_label_selector(errors, "spec.selector", spec.get("selector"))
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in _EVICTION_POLICIES:
        errors.append(not_supported("spec.unhealthyPodEvictionPolicy", policy, _EVICTION_POLICIES))


def _as_go_prints(spec: Obj) -> Obj:
    """The internal type, whose members have their Go names and are always there."""
    members = ("minAvailable", "selector", "maxUnavailable", "unhealthyPodEvictionPolicy")
    return {member[0].upper() + member[1:]: spec.get(member) for member in members}


def check_disruption_budget_status(errors: Errors, obj: Obj, old: Obj) -> None:
    """The counts of the status."""
    status: dict[str, Any] = obj.get("status") or EMPTY
    for member in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
        check_nonnegative(errors, f"status.{member}", status.get(member, 0))
