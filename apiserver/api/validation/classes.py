"""PriorityClasses and RuntimeClasses (kubernetes `apis/scheduling/validation`, `apis/node/validation`)."""

from __future__ import annotations

from typing import Final

from apiserver.api.field_errors import duplicate, field_forbidden, field_invalid, not_supported, required
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_labels
from apiserver.api.validation.objectmeta import IMMUTABLE
from apiserver.api.validation.resources import check_requirements
from apiserver.api.validation.scheduling import check_tolerations

__all__ = ["SYSTEM_PRIORITIES", "check_priority_class", "check_runtime_class"]

SYSTEM_PREFIX: Final = "system-"
SYSTEM_PRIORITIES: Final = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}
USER_PRIORITY_MAX: Final = 1000000000
_POLICIES: Final = ("PreemptLowerPriority", "Never")


def check_priority_class(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A PriorityClass: what it is worth never changes, and only the system's may be worth more than the limit."""
    value, policy = obj.get("value", 0), obj.get("preemptionPolicy")
    if old is not None:
        if value != old.get("value", 0):
            errors.append(field_forbidden("value", "may not be changed in an update."))
        if policy != old.get("preemptionPolicy"):
            errors.append(field_invalid("preemptionPolicy", policy, IMMUTABLE))
        return
    name = obj["metadata"].get("name", "")
    if name.startswith(SYSTEM_PREFIX):
        problem = _system_problem(name, value, bool(obj.get("globalDefault")))
        if problem:
            text = (
                f"priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. error: {problem}"
            )
            errors.append(field_forbidden("metadata.name", text))
    elif value > USER_PRIORITY_MAX:
        text = f"maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}"
        errors.append(field_forbidden("value", text))
    if policy is not None:
        if not policy:
            errors.append(required("preemptionPolicy"))
        elif policy not in _POLICIES:
            errors.append(not_supported("preemptionPolicy", policy, _POLICIES))


def _system_problem(name: str, value: int, is_default: bool) -> str:
    if name not in SYSTEM_PRIORITIES:
        return f"{name} is not a known system priority class"
    if value != SYSTEM_PRIORITIES[name]:
        return f"value of {name} PriorityClass must be {SYSTEM_PRIORITIES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if is_default else ""


def check_runtime_class(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A RuntimeClass; its handler is checked by tags."""
    if old is not None:
        return
    overhead = obj.get("overhead")
    if overhead is not None:
        check_requirements(errors, "overhead", {"limits": overhead.get("podFixed") or {}}, None)
    scheduling = obj.get("scheduling") or EMPTY
    check_labels(errors, "scheduling.nodeSelector", scheduling.get("nodeSelector"))
    tolerations = scheduling.get("tolerations") or []
    check_tolerations(errors, "scheduling.tolerations", tolerations)
    seen: set[tuple[str, ...]] = set()
    for index, toleration in enumerate(tolerations):
        key = tuple(toleration.get(member, "") for member in ("key", "operator", "value", "effect"))
        if key in seen:
            errors.append(duplicate(f"scheduling.tolerations[{index}]", toleration))
        seen.add(key)
