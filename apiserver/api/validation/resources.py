"""Compute resources: their names and quantities (core `validateResourceRequirements` and its helpers)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from apiserver.api.field_errors import (
    duplicate,
    field_forbidden,
    field_invalid,
    field_not_found,
    not_supported,
    required,
)
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_name, parse_quantity
from apiserver.api.validation.names import dns_label_problems, label_key_problems

__all__ = [
    "STANDARD_RESOURCES",
    "check_container_resource_name",
    "check_quantity",
    "check_requirements",
    "check_resource_name",
    "is_extended_resource",
    "is_huge_page",
    "is_integer_resource",
    "is_native_resource",
    "may_be_overcommitted",
]

_CONTAINER_RESOURCES: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_INTEGER_RESOURCES: Final = frozenset(
    {
        "configmaps",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
        "services.loadbalancers",
        "services.nodeports",
    }
)
STANDARD_RESOURCES: Final = (
    _CONTAINER_RESOURCES
    | _INTEGER_RESOURCES
    | {
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
        "requests.storage",
        "storage",
    }
)
_HUGE_PAGES: Final = "hugepages-"
_ORDINARY_RESOURCES: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_POD_LEVEL_RESOURCES: Final = frozenset({"cpu", "memory"})


def is_huge_page(name: str) -> bool:
    """Whether a resource is huge pages of some size."""
    return name.startswith(_HUGE_PAGES)


def is_native_resource(name: str) -> bool:
    """Whether a resource is Kubernetes' own: without a prefix, or with one in kubernetes.io."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended_resource(name: str) -> bool:
    """Whether a resource comes from a device plugin or the like."""
    if is_native_resource(name) or name.startswith("requests."):
        return False
    return not label_key_problems(f"requests.{name}")


def is_integer_resource(name: str) -> bool:
    """Whether a resource is counted in whole numbers."""
    return name in _INTEGER_RESOURCES or is_extended_resource(name)


def may_be_overcommitted(name: str) -> bool:
    """Whether requests may be less than the limit."""
    return is_native_resource(name) and not is_huge_page(name)


def check_resource_name(errors: Errors, path: str, name: str) -> None:
    """The name of any resource."""
    problems = label_key_problems(name)
    for problem in problems:
        errors.append(field_invalid(path, name, problem))
    is_standard = name in STANDARD_RESOURCES or name.removeprefix("requests.").startswith(_HUGE_PAGES)
    if not problems and "/" not in name and not is_standard:
        errors.append(field_invalid(path, name, "must be a standard resource type or fully qualified"))


def check_container_resource_name(errors: Errors, path: str, name: str) -> None:
    """The name of a resource a container can have."""
    if name in _CONTAINER_RESOURCES:
        return
    check_resource_name(errors, path, name)
    if "/" not in name:
        if not is_huge_page(name):
            errors.append(field_invalid(path, name, "must be a standard resource for containers"))
    elif not is_native_resource(name) and not is_extended_resource(name):
        errors.append(field_invalid(path, name, "doesn't follow extended resource name standard"))


def _check_pod_resource_name(errors: Errors, path: str, name: str) -> None:
    if name not in _POD_LEVEL_RESOURCES and not is_huge_page(name):
        before = len(errors)
        check_resource_name(errors, path, name)
        if len(errors) == before:
            errors.append(not_supported(path, name, ["cpu", "hugepages-", "memory"]))


@lru_cache(maxsize=1024)
def _quantity_problem(name: str, text: str) -> str:
    quantity = parse_quantity(text)
    if quantity.sign() < 0:
        return "must be greater than or equal to 0"
    if is_integer_resource(name) and quantity.milli_value() % 1000 != 0:
        return "must be an integer"
    return ""


def check_quantity(errors: Errors, path: str, name: str, text: str) -> None:
    """The quantity of a resource: not negative, and whole where the resource is counted."""
    problem = _quantity_problem(name, text)
    if problem:
        errors.append(field_invalid(path, text, problem))


def check_requirements(
    errors: Errors, path: str, requirements: Obj | None, claim_names: list[str] | None, *, pod_level: bool = False
) -> None:
    """ResourceRequirements of a container, or with `pod_level` of a whole pod.

    Args:
        claim_names: names of the pod's resource claims.
    """
    if not requirements:
        return
    limits, requests = requirements.get("limits") or EMPTY, requirements.get("requests") or EMPTY
    if not pod_level and not requirements.get("claims") and _are_plain(limits, requests):
        return
    check_resource = _check_pod_resource_name if pod_level else check_container_resource_name
    for member, quantities in (("limits", limits), ("requests", requests)):
        for name, text in quantities.items():
            at = f"{path}.{member}[{name}]"
            check_resource(errors, at, name)
            check_quantity(errors, at, name, text)
            if member == "requests":
                _check_against_limit(errors, path, name, text, limits.get(name))
            if is_huge_page(name):
                _check_huge_page(errors, at, name, text)
    names = {*limits, *requests}
    if any(is_huge_page(name) for name in names) and not names & {"cpu", "memory"}:
        errors.append(field_forbidden(path, "HugePages require cpu or memory"))
    if requirements.get("claims"):
        _check_claims(errors, f"{path}.claims", requirements["claims"], claim_names or [])


def _are_plain(limits: dict[str, str], requests: dict[str, str]) -> bool:
    """Whether there is nothing but valid amounts of what every container can have; the short way for most."""
    for name, text in limits.items():
        if name not in _ORDINARY_RESOURCES or _quantity_problem(name, text):
            return False
    for name, text in requests.items():
        if name not in _ORDINARY_RESOURCES or _quantity_problem(name, text):
            return False
        limit = limits.get(name)
        if limit is not None and limit != text and parse_quantity(text) > parse_quantity(limit):
            return False
    return True


def _check_against_limit(errors: Errors, path: str, name: str, text: str, limit: str | None) -> None:
    if limit is None:
        if not may_be_overcommitted(name):
            errors.append(required(f"{path}.limits", "Limit must be set for non overcommitable resources"))
        return
    if text == limit:
        return
    order = parse_quantity(text).compare(parse_quantity(limit))
    if order != 0 and not may_be_overcommitted(name):
        errors.append(field_invalid(f"{path}.requests", text, f"must be equal to {name} limit of {limit}"))
    elif order > 0:
        errors.append(field_invalid(f"{path}.requests", text, f"must be less than or equal to {name} limit of {limit}"))


def _check_huge_page(errors: Errors, path: str, name: str, text: str) -> None:
    size = parse_quantity(name.removeprefix(_HUGE_PAGES)).value()
    if size <= 0 or parse_quantity(text).value() % size != 0:
        errors.append(field_invalid(path, text, f"{text} is not positive integer multiple of {name}"))


def _check_claims(errors: Errors, path: str, claims: list[Obj], pod_claims: list[str]) -> None:
    seen: list[str] = []
    for index, claim in enumerate(claims):
        name, request = claim.get("name", ""), claim.get("request", "")
        at = f"{path}[{index}]"
        if not name:
            errors.append(required(at))
            continue
        if name in seen:
            errors.append(duplicate(at, name))
        else:
            key = f"{name}/{request}" if request else name
            if request:
                check_name(errors, f"{at}.request", request, dns_label_problems)
            if key in seen:
                errors.append(duplicate(at, key))
            elif not request:
                for other in seen:
                    if other.partition("/")[0] == name:
                        errors.append(duplicate(at, name))
            seen.append(key)
        if name not in pod_claims:
            listed = f": {', '.join(sorted(pod_claims))}" if pod_claims else " which is empty"
            text = f"must be one of the names in pod.spec.resourceClaims{listed}"
            errors.append(field_not_found(at, name, text))
