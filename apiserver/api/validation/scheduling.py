"""Where pods may run: affinity, tolerations, spreading (core `validateAffinity`, `ValidateTolerations` and others)."""

from __future__ import annotations

from typing import Final

from apiserver.api.field_errors import duplicate, field_forbidden, field_invalid, not_supported, required
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_label_key, check_name, check_positive
from apiserver.api.validation.names import dns_label_problems, label_value_problems
from apiserver.api.validation.selectors import (
    check_label_selector,
    check_node_selector,
    check_node_selector_term,
)

__all__ = ["TAINT_EFFECTS", "check_affinity", "check_tolerations", "check_topology_spread"]

TAINT_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_IN_BOTH: Final = "exists in both matchLabelKeys and labelSelector"
_NEEDS_SELECTOR: Final = "must not be specified when labelSelector is not set"


def check_affinity(errors: Errors, path: str, affinity: Obj) -> None:
    """An Affinity."""
    node = affinity.get("nodeAffinity")
    if node is not None:
        _check_node_affinity(errors, f"{path}.nodeAffinity", node)
    for member in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(member)
        if pods is not None:
            _check_pod_affinity(errors, f"{path}.{member}", pods)


def _check_node_affinity(errors: Errors, path: str, affinity: Obj) -> None:
    if affinity.get(_REQUIRED) is not None:
        check_node_selector(errors, f"{path}.{_REQUIRED}", affinity[_REQUIRED])
    for index, term in enumerate(affinity.get(_PREFERRED) or ()):
        at = f"{path}.{_PREFERRED}[{index}]"
        _check_weight(errors, at, term)
        check_node_selector_term(errors, f"{at}.preference", term.get("preference") or EMPTY, any_value=True)


def _check_weight(errors: Errors, path: str, term: Obj) -> None:
    weight = term.get("weight", 0)
    if not 1 <= weight <= 100:
        errors.append(field_invalid(f"{path}.weight", weight, "must be in the range 1-100"))


def _check_pod_affinity(errors: Errors, path: str, affinity: Obj) -> None:
    for index, term in enumerate(affinity.get(_REQUIRED) or ()):
        _check_pod_term(errors, f"{path}.{_REQUIRED}[{index}]", term)
    for index, term in enumerate(affinity.get(_PREFERRED) or ()):
        at = f"{path}.{_PREFERRED}[{index}]"
        _check_weight(errors, at, term)
        _check_pod_term(errors, f"{at}.podAffinityTerm", term.get("podAffinityTerm") or EMPTY)


def _check_pod_term(errors: Errors, path: str, term: Obj) -> None:
    check_label_selector(errors, f"{path}.labelSelector", term.get("labelSelector"))
    check_label_selector(errors, f"{path}.namespaceSelector", term.get("namespaceSelector"))
    for namespace in term.get("namespaces") or ():
        check_name(errors, f"{path}.namespace", namespace, dns_label_problems)
    _check_label_keys(errors, path, term)
    key = term.get("topologyKey", "")
    if not key:
        errors.append(required(f"{path}.topologyKey", "can not be empty"))
    check_label_key(errors, f"{path}.topologyKey", key)


def _check_label_keys(errors: Errors, path: str, term: Obj) -> None:
    """matchLabelKeys and mismatchLabelKeys, whose keys may stand in the selector once: the server puts them there."""
    selector = term.get("labelSelector")
    keys: dict[str, list[str]] = {m: term.get(m) or [] for m in ("matchLabelKeys", "mismatchLabelKeys")}
    for member, listed in keys.items():
        if listed and selector is None:
            errors.append(field_forbidden(f"{path}.{member}", _NEEDS_SELECTOR))
        else:
            for index, key in enumerate(listed):
                check_label_key(errors, f"{path}.{member}[{index}]", key)
    match_keys = keys["matchLabelKeys"]
    if selector is not None and match_keys:
        seen = set(selector.get("matchLabels") or EMPTY)
        for expression in selector.get("matchExpressions") or ():
            key = expression.get("key", "")
            if key in match_keys and key in seen:
                errors.append(field_invalid(f"{path}[{match_keys.index(key)}]", key, _IN_BOTH))
            seen.add(key)
    for index, key in enumerate(match_keys):
        if key in keys["mismatchLabelKeys"]:
            text = "exists in both matchLabelKeys and mismatchLabelKeys"
            errors.append(field_invalid(f"{path}.matchLabelKeys[{index}]", key, text))


def check_tolerations(errors: Errors, path: str, tolerations: list[Obj]) -> None:
    """Tolerations of a pod."""
    for index, toleration in enumerate(tolerations):
        at = f"{path}[{index}]"
        key, operator = toleration.get("key", ""), toleration.get("operator", "")
        value, effect = toleration.get("value", ""), toleration.get("effect", "")
        if key:
            check_label_key(errors, f"{at}.key", key)
        elif operator != "Exists":
            text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.append(field_invalid(f"{at}.operator", operator, text))
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errors.append(field_invalid(f"{at}.effect", effect, text))
        _check_toleration_operator(errors, f"{at}.operator", operator, value)
        if effect and effect not in TAINT_EFFECTS:
            errors.append(not_supported(f"{at}.effect", effect, TAINT_EFFECTS))


def _check_toleration_operator(errors: Errors, path: str, operator: str, value: str) -> None:
    if operator in ("Equal", ""):
        problems = label_value_problems(value)
        if problems:
            errors.append(field_invalid(path, value, ";".join(problems)))
    elif operator == "Exists":
        if value:
            text = "value must be empty when `operator` is 'Exists'"
            errors.append(field_invalid(path, value, text))
    elif operator in ("Lt", "Gt"):  # alpha in 1.37, so not accepted by default
        errors.append(not_supported(path, operator, ("Equal", "Exists", "Lt", "Gt")))
    else:
        errors.append(not_supported(path, operator, ("Equal", "Exists")))


def check_topology_spread(errors: Errors, path: str, constraints: list[Obj]) -> None:
    """TopologySpreadConstraints of a pod."""
    for index, constraint in enumerate(constraints):
        at = f"{path}[{index}]"
        key, action = constraint.get("topologyKey", ""), constraint.get("whenUnsatisfiable", "")
        check_positive(errors, f"{at}.maxSkew", constraint.get("maxSkew", 0))
        if not key:
            errors.append(required(f"{at}.topologyKey", "can not be empty"))
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            errors.append(not_supported(f"{at}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway")))
        for other in constraints[index + 1 :]:
            if (other.get("topologyKey", ""), other.get("whenUnsatisfiable", "")) == (key, action):
                errors.append(duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
                break
        domains = constraint.get("minDomains")
        check_positive(errors, f"{at}.minDomains", domains)
        if domains is not None and action != "DoNotSchedule":
            text = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
            errors.append(field_invalid(f"{at}.minDomains", domains, text))
        for member in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            policy = constraint.get(member)
            if policy is not None and policy not in ("Honor", "Ignore"):
                errors.append(not_supported(f"{at}.{member}", policy, ("Honor", "Ignore")))
        _check_label_keys(errors, at, constraint)
        check_label_selector(errors, f"{at}.labelSelector", constraint.get("labelSelector"))
