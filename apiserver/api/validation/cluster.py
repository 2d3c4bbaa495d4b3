"""Nodes, namespaces, quotas and limits (core `ValidateNode`, `ValidateResourceQuota` and others)."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_network
from typing import Final

from apiserver.api.field_errors import (
    duplicate,
    field_forbidden,
    field_invalid,
    not_supported,
    required,
)
from apiserver.api.validation.common import (
    EMPTY,
    Errors,
    Obj,
    check_cidr,
    check_label_key,
    check_name,
    parse_quantity,
)
from apiserver.api.validation.names import label_key_problems, label_value_problems
from apiserver.api.validation.objectmeta import IMMUTABLE
from apiserver.api.validation.resources import (
    STANDARD_RESOURCES,
    check_container_resource_name,
    check_quantity,
    check_resource_name,
    may_be_overcommitted,
)
from apiserver.api.validation.scheduling import TAINT_EFFECTS

__all__ = [
    "check_finalizers",
    "check_limit_range",
    "check_namespace_status",
    "check_node",
    "check_resource_quota",
    "check_resource_quota_status",
]

_STANDARD_FINALIZERS: Final = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
_QUOTA_SCOPES: Final = frozenset(
    {
        "BestEffort",
        "CrossNamespacePodAffinity",
        "NotBestEffort",
        "NotTerminating",
        "PriorityClass",
        "Terminating",
        "VolumeAttributesClass",
    }
)
_EXISTS_SCOPES: Final = _QUOTA_SCOPES - {"PriorityClass", "VolumeAttributesClass"}
_POD_QUOTAS: Final = frozenset(
    {
        "cpu",
        "memory",
        "pods",
        "ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
    }
)
_CLAIM_QUOTAS: Final = frozenset({"persistentvolumeclaims", "requests.storage"})
_LIMIT_TYPES: Final = frozenset({"Pod", "Container", "PersistentVolumeClaim"})
_is_feature = re.compile(r"[A-Z][a-zA-Z0-9]*(/[a-zA-Z][a-zA-Z0-9]*)*").fullmatch


def check_finalizers(errors: Errors, path: str, finalizers: list[str], *, indexed: bool) -> None:
    """`spec.finalizers` of a namespace: standard names or qualified ones."""
    for index, finalizer in enumerate(finalizers):
        at = f"{path}[{index}]" if indexed else path
        check_name(errors, at, finalizer, label_key_problems)
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            errors.append(field_invalid(at, finalizer, text))


def check_namespace_status(errors: Errors, namespace: Obj) -> None:
    """A namespace is Terminating exactly while it is being deleted."""
    phase = (namespace.get("status") or EMPTY).get("phase", "")
    deleting = bool(namespace["metadata"].get("deletionTimestamp"))
    wanted = "Terminating" if deleting else "Active"
    if phase != wanted:
        text = f"may only be '{wanted}' if `deletionTimestamp` is {'not ' if deleting else ''}empty"
        errors.append(field_invalid("status.Phase", phase, text))


def check_node(errors: Errors, node: Obj, old: Obj | None) -> None:
    """A Node, new or changed, its status included."""
    spec, status = node.get("spec") or EMPTY, node.get("status") or EMPTY
    for member in ("capacity", "allocatable"):
        for name, text in (status.get(member) or EMPTY).items():
            check_quantity(errors, f"status.{member}.{name}", name, text)
    _check_features(errors, status.get("declaredFeatures") or [])
    if spec.get("taints"):
        _check_taints(errors, "metadata.taints", spec["taints"])
    if old is None:
        _check_pod_cidrs(errors, spec.get("podCIDRs") or [])
        return
    seen: list[Obj] = []
    for index, address in enumerate(status.get("addresses") or ()):
        if address in seen:
            errors.append(duplicate(f"status.addresses[{index}]", address))
        seen.append(address)
    before = old.get("spec") or EMPTY
    if before.get("podCIDRs") and before["podCIDRs"] != spec.get("podCIDRs"):
        text = 'node updates may not change podCIDR except from "" to valid'
        errors.append(field_forbidden("spec.podCIDRs", text))
    was, provider = before.get("providerID", ""), spec.get("providerID", "")
    if was and provider != was:
        text = "field cannot be modified once set" if provider else "field cannot be cleared once set"
        errors.append(field_invalid("spec.providerID", None, text))
    if spec.get("externalID", "") != before.get("externalID", ""):
        errors.append(field_forbidden("spec.externalID", "may not be updated"))


def _check_features(errors: Errors, features: list[str]) -> None:
    for index, feature in enumerate(features):
        at = f"status.declaredFeatures[{index}]"
        if not _is_feature(feature):
            text = (
                f'invalid feature name "{feature}": must start with an UpperCamelCase segment, with subsequent segments'
                " separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric"
                " characters and slashes"
            )
            errors.append(field_invalid(at, feature, text))
        if index and features[index - 1] == feature:
            errors.append(duplicate(at, feature))
        elif index and features[index - 1] > feature:
            errors.append(field_invalid(at, feature, "list must be sorted alphabetically"))


def _check_taints(errors: Errors, path: str, taints: list[Obj]) -> None:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        at, key, effect = f"{path}[{index}]", taint.get("key", ""), taint.get("effect", "")
        check_label_key(errors, f"{at}.key", key)
        problems = label_value_problems(taint.get("value", ""))
        if problems:
            errors.append(field_invalid(f"{at}.value", taint["value"], ";".join(problems)))
        if not effect:
            errors.append(required(f"{at}.effect"))
        elif effect not in TAINT_EFFECTS:
            errors.append(not_supported(f"{at}.effect", effect, TAINT_EFFECTS))
        if (key, effect) in seen:
            shown = {
                "Key": taint.get("key", ""),
                "Value": taint.get("value", ""),
                "Effect": taint.get("effect", ""),
                "TimeAdded": taint.get("timeAdded"),
            }
            errors.append(replace(duplicate(at, shown), detail="taints must be unique by key and effect pair"))
        seen.add((key, effect))


def _check_pod_cidrs(errors: Errors, cidrs: list[str]) -> None:
    count = len(errors)
    for index, cidr in enumerate(cidrs):
        check_cidr(errors, f"spec.podCIDRs[{index}]", cidr)
    if len(errors) == count and len(cidrs) > 1:
        families = {ip_network(cidr).version for cidr in cidrs}
        if len(cidrs) > 2 or len(families) < 2:
            text = "may specify no more than one CIDR for each IP family"
            errors.append(field_invalid("spec.podCIDRs", cidrs, text))


def _check_quota_resource(errors: Errors, path: str, name: str, text: str) -> None:
    check_resource_name(errors, path, name)
    if "/" not in name and not _is_quota_resource(name):
        errors.append(field_invalid(path, name, "must be a standard resource for quota"))
    check_quantity(errors, path, name, text)


def _is_quota_resource(name: str) -> bool:
    return name in STANDARD_RESOURCES - {"storage"} or name.removeprefix("requests.").startswith("hugepages-")


def check_resource_quota(errors: Errors, quota: Obj, old: Obj | None) -> None:
    """A ResourceQuota, new or changed."""
    spec = quota.get("spec") or EMPTY
    hard, scopes = spec.get("hard") or EMPTY, spec.get("scopes") or []
    for name, text in hard.items():
        _check_quota_resource(errors, f"spec.hard[{name}]", name, text)
    for scope in scopes:
        if scope not in _QUOTA_SCOPES:
            errors.append(field_invalid("spec.scopes", scopes, "unsupported scope"))
        for name in sorted(hard):
            if _is_quota_resource(name) and not _scope_applies(scope, name):
                errors.append(field_invalid("spec.scopes", scopes, "unsupported scope applied to resource"))
    _check_conflicts(errors, scopes, scopes)
    selector = spec.get("scopeSelector")
    if selector is not None:
        _check_scope_selector(errors, selector, hard, scopes)
    if old is not None and set(scopes) != set((old.get("spec") or EMPTY).get("scopes") or ()):
        errors.append(field_invalid("spec.scopes", spec.get("scopes"), IMMUTABLE))


def _scope_applies(scope: str, name: str) -> bool:
    if scope == "VolumeAttributesClass":
        return name in _CLAIM_QUOTAS
    if scope == "BestEffort":
        return name == "pods"
    return name in _POD_QUOTAS or name.removeprefix("requests.").startswith("hugepages-")


def _check_conflicts(errors: Errors, found: list[str], shown: list[str]) -> None:
    for one, other in (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")):
        if one in found and other in found:
            errors.append(field_invalid("spec.scopes", shown, "conflicting scopes"))


def _check_scope_selector(errors: Errors, selector: Obj, hard: Obj, scopes: list[str]) -> None:
    at = "spec.scopeSelector.matchExpressions"
    found = []
    for expression in selector.get("matchExpressions") or ():
        scope, operator = expression.get("scopeName", ""), expression.get("operator", "")
        values = expression.get("values") or []
        found.append(scope)
        if scope not in _QUOTA_SCOPES:
            errors.append(field_invalid(f"{at}.scopeName", scope, "unsupported scope"))
        for name in sorted(hard):
            if _is_quota_resource(name) and not _scope_applies(scope, name):
                errors.append(field_invalid(at, selector, "unsupported scope applied to resource"))
        if scope in _EXISTS_SCOPES and operator != "Exists":
            text = (
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating,"
                " ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or"
                " ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            errors.append(field_invalid(f"{at}.operator", operator, text))
        if operator in ("In", "NotIn"):
            if not values:
                text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                errors.append(required(f"{at}.values", text))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                errors.append(field_invalid(f"{at}.values", values, text))
        else:
            errors.append(field_invalid(f"{at}.operator", operator, "not a valid selector operator"))
    _check_conflicts(errors, found, scopes)


def check_resource_quota_status(errors: Errors, quota: Obj) -> None:
    """The status of a ResourceQuota."""
    for member in ("hard", "used"):
        for name, text in ((quota.get("status") or EMPTY).get(member) or EMPTY).items():
            _check_quota_resource(errors, f"status.{member}[{name}]", name, text)


def check_limit_range(errors: Errors, obj: Obj) -> None:
    """A LimitRange."""
    kinds: set[str] = set()
    for index, item in enumerate((obj.get("spec") or EMPTY).get("limits") or ()):
        at, kind = f"spec.limits[{index}]", item.get("type", "")
        problems = label_key_problems(kind)
        for problem in problems:
            errors.append(field_invalid(f"{at}.type", kind, problem))
        if not problems and "/" not in kind and kind not in _LIMIT_TYPES:
            errors.append(field_invalid(f"{at}.type", kind, "must be a standard limit type or fully qualified"))
        if kind in kinds:
            errors.append(duplicate(f"{at}.type", kind))
        kinds.add(kind)
        _check_limit_item(errors, at, item, kind)


def _check_limit_item(errors: Errors, path: str, item: Obj, kind: str) -> None:
    check = check_container_resource_name if kind in ("Pod", "Container") else check_resource_name
    members = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
    for member in members:
        quantities = item.get(member) or EMPTY
        if kind == "Pod" and member in ("default", "defaultRequest"):
            if quantities:
                text = "may not be specified when `type` is 'Pod'"
                errors.append(field_forbidden(f"{path}.{member}", text))
            continue
        for name in quantities:
            check(errors, f"{path}.{member}[{name}]", name)
    if kind == "PersistentVolumeClaim" and not any("storage" in (item.get(m) or EMPTY) for m in ("min", "max")):
        text = "either minimum or maximum storage value is required, but neither was provided"
        errors.append(required(f"{path}.limits", text))
    for name in sorted({name for member in members for name in item.get(member) or ()}):
        _check_limit_order(errors, path, item, name)


def _check_limit_order(errors: Errors, path: str, item: Obj, name: str) -> None:
    """min <= defaultRequest <= default <= max, as far as they are given."""
    texts = {member: (item.get(member) or EMPTY).get(name) for member in ("min", "max", "default", "defaultRequest")}
    order = (
        ("min", "max", "min", "min value {} is greater than max value {}"),
        ("min", "defaultRequest", "defaultRequest", "min value {} is greater than default request value {}"),
        ("defaultRequest", "max", "defaultRequest", "default request value {} is greater than max value {}"),
        (
            "defaultRequest",
            "default",
            "defaultRequest",
            "default request value {} is greater than default limit value {}",
        ),
        ("min", "default", "default", "min value {} is greater than default value {}"),
        ("default", "max", "default", "default value {} is greater than max value {}"),
    )
    # kube-apiserver shows the bound, not the default, in the last two.
    shown = {("min", "default"): "min", ("default", "max"): "max"}
    for lower, upper, at, text in order:
        low, high = texts[lower], texts[upper]
        if low is not None and high is not None and parse_quantity(low) > parse_quantity(high):
            value = texts[shown.get((lower, upper), at)]
            errors.append(field_invalid(f"{path}.{at}[{name}]", value, text.format(low, high)))
    ratio = (item.get("maxLimitRequestRatio") or EMPTY).get(name)
    if ratio is not None:
        _check_ratio(errors, f"{path}.maxLimitRequestRatio[{name}]", ratio, texts["min"], texts["max"])
    default, request = texts["default"], texts["defaultRequest"]
    if default is not None and request is not None and not may_be_overcommitted(name) and default != request:
        text = f"default value {default} must equal to defaultRequest value {request} in {name}"
        errors.append(field_invalid(f"{path}.defaultRequest[{name}]", request, text))


def _check_ratio(errors: Errors, path: str, ratio: str, low: str | None, high: str | None) -> None:
    value = parse_quantity(ratio)
    if value < parse_quantity("1"):
        errors.append(field_invalid(path, ratio, f"ratio {ratio} is less than 1"))
    if low is None or high is None or not parse_quantity(low):
        return
    limit = parse_quantity(high).nanos / parse_quantity(low).nanos
    if value.as_float() > limit:
        errors.append(field_invalid(path, ratio, f"ratio {ratio} is greater than max/min = {limit:.6f}"))
