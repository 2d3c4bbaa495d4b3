"""Devices of dynamic resource allocation: classes, claims, slices, taints (kubernetes `apis/resource/validation`).

Expressions are not compiled, and of a claim's status and of counters only what tags say is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from apiserver.api.field_errors import duplicate, field_invalid, required, too_long, too_many
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_label_key, check_name
from apiserver.api.validation.names import (
    c_identifier_problems,
    dns_label_problems,
    dns_subdomain_problems,
    label_value_problems,
)
from apiserver.api.validation.objectmeta import IMMUTABLE
from apiserver.api.validation.selectors import check_node_selector
from apiserver.api.validation.volumes import check_csi_driver_name
from apiserver.api.validation.workloads import check_immutable

__all__ = [
    "check_device_class",
    "check_device_taint_rule",
    "check_resource_claim",
    "check_resource_claim_template",
    "check_resource_slice",
]

DEVICES_MAX: Final = 128
DEVICES_WITH_ADVANCED_FEATURES_MAX: Final = 64
POOL_NAME_BYTES_MAX: Final = 253
EXPRESSION_BYTES_MAX: Final = 10 * 1024
_PLACES: Final = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
# What stands under `exactly` since v1beta2.
_EXACT_MEMBERS: Final = ("deviceClassName", "selectors", "allocationMode", "count", "adminAccess", "tolerations")


def check_resource_claim(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A ResourceClaim, whose spec never changes, as its tags say."""
    if old is None:
        _check_claim(errors, "spec.devices", (obj.get("spec") or EMPTY).get("devices") or EMPTY)


def check_resource_claim_template(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A ResourceClaimTemplate, whose spec never changes."""
    spec = obj.get("spec") or EMPTY
    if old is None:
        _check_claim(errors, "spec.spec.devices", (spec.get("spec") or EMPTY).get("devices") or EMPTY)
    else:
        check_immutable(errors, "spec", spec, old.get("spec"))


def _check_claim(errors: Errors, path: str, claim: Obj) -> None:
    requests = claim.get("requests") or []
    names = set(_request_names(requests))
    for index, request in enumerate(requests):
        _check_request(errors, f"{path}.requests[{index}]", request)
    for index, constraint in enumerate(claim.get("constraints") or ()):
        at = f"{path}.constraints[{index}]"
        _check_references(errors, f"{at}.requests", constraint.get("requests") or [], names)
        if constraint.get("matchAttribute") is None and constraint.get("distinctAttribute") is None:
            text = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
            errors.append(required(at, text))  # kube-apiserver's text, though none is set
    for index, config in enumerate(claim.get("config") or ()):
        at = f"{path}.config[{index}]"
        _check_references(errors, f"{at}.requests", config.get("requests") or [], names)
        if config.get("opaque") is None:
            errors.append(required(f"{at}.opaque"))


def _request_names(requests: list[Obj]) -> Iterator[str]:
    for request in requests:
        name = request.get("name", "")
        yield name
        for alternative in request.get("firstAvailable") or ():
            yield f"{name}/{alternative.get('name', '')}"


def _check_references(errors: Errors, path: str, references: list[str], names: set[str]) -> None:
    for index, reference in enumerate(references):
        if reference not in names:
            text = (
                "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
            )
            errors.append(field_invalid(f"{path}[{index}]", reference, text))


def _check_request(errors: Errors, path: str, request: Obj) -> None:
    check_name(errors, f"{path}.name", request.get("name", ""), dns_label_problems)
    exactly, alternatives = request.get("exactly"), request.get("firstAvailable")
    if exactly is None:  # v1beta1 has its members here
        exactly = {name: request[name] for name in _EXACT_MEMBERS if request.get(name)} or None
    text = "exactly one of `exactly` or `firstAvailable` is required"
    if exactly is None and not alternatives:
        errors.append(required(path, text))
    elif exactly is not None and alternatives:
        errors.append(field_invalid(path, None, f"{text}, but multiple fields are set"))
    elif exactly is not None:
        _check_exact_request(errors, f"{path}.exactly", exactly)
    else:
        for index, alternative in enumerate(alternatives or ()):
            at = f"{path}.firstAvailable[{index}]"
            check_name(errors, f"{at}.name", alternative.get("name", ""), dns_label_problems)
            _check_exact_request(errors, at, alternative)


def _check_exact_request(errors: Errors, path: str, request: Obj) -> None:
    name = request.get("deviceClassName", "")
    if not name:
        errors.append(required(f"{path}.deviceClassName"))
    else:
        check_name(errors, f"{path}.deviceClassName", name, dns_subdomain_problems)
    _check_selectors(errors, f"{path}.selectors", request.get("selectors") or [])
    mode, count = request.get("allocationMode", ""), request.get("count", 0)
    if mode == "All" and count:
        text = "must not be specified when allocationMode is 'All'"
        errors.append(field_invalid(f"{path}.count", count, text))
    elif mode == "ExactCount" and count <= 0:
        errors.append(field_invalid(f"{path}.count", count, "must be greater than zero"))
    for index, toleration in enumerate(request.get("tolerations") or ()):
        at, operator, value = f"{path}.tolerations[{index}]", toleration.get("operator"), toleration.get("value", "")
        if operator == "Exists" and value:
            errors.append(field_invalid(f"{at}.value", value, "must be empty for operator `Exists`"))
        elif operator == "Equal":
            check_name(errors, f"{at}.value", value, label_value_problems)


def _check_selectors(errors: Errors, path: str, selectors: list[Obj]) -> None:
    for index, selector in enumerate(selectors):
        at, expression = f"{path}[{index}].cel", selector.get("cel")
        if expression is None:
            errors.append(required(at))
        elif len(expression.get("expression", "").encode()) > EXPRESSION_BYTES_MAX:
            errors.append(too_long(f"{at}.expression", EXPRESSION_BYTES_MAX))


def check_device_class(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A DeviceClass."""
    spec = obj.get("spec") or EMPTY
    _check_selectors(errors, "spec.selectors", spec.get("selectors") or [])
    for index, config in enumerate(spec.get("config") or ()):
        if config.get("opaque") is None:
            errors.append(required(f"spec.config[{index}].opaque"))


def check_device_taint_rule(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A DeviceTaintRule."""
    spec = obj.get("spec") or EMPTY
    selector = spec.get("deviceSelector") or EMPTY
    if selector.get("driver") is not None:
        check_csi_driver_name(errors, "spec.deviceSelector.driver", selector["driver"])
    if selector.get("pool") is not None:
        _check_pool_name(errors, "spec.deviceSelector.pool", selector["pool"])
    if selector.get("device") is not None:
        check_name(errors, "spec.deviceSelector.device", selector["device"], dns_label_problems)
    _check_taint(errors, "spec.taint", spec.get("taint") or EMPTY)


def _check_taint(errors: Errors, path: str, taint: Obj) -> None:
    check_label_key(errors, f"{path}.key", taint.get("key", ""))
    if taint.get("value"):
        check_name(errors, f"{path}.value", taint["value"], label_value_problems)


def _check_pool_name(errors: Errors, path: str, name: str) -> None:
    if not name:
        errors.append(required(path))
        return
    if len(name) > POOL_NAME_BYTES_MAX:
        errors.append(too_long(path, POOL_NAME_BYTES_MAX))
    for part in name.split("/"):
        check_name(errors, path, part, dns_subdomain_problems)


def check_resource_slice(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A ResourceSlice: some devices of one driver, in one place."""
    spec = obj.get("spec") or EMPTY
    pool = spec.get("pool") or EMPTY
    check_csi_driver_name(errors, "spec.driver", spec.get("driver", ""))
    _check_pool_name(errors, "spec.pool.name", pool.get("name", ""))
    if pool.get("resourceSliceCount", 0) <= 0:
        count = pool.get("resourceSliceCount", 0)
        errors.append(field_invalid("spec.pool.resourceSliceCount", count, "must be greater than zero"))
    if pool.get("generation", 0) < 0:
        text = "must be greater than or equal to zero"
        errors.append(field_invalid("spec.pool.generation", pool["generation"], text))
    if old is not None:
        _check_slice_change(errors, spec, old.get("spec") or EMPTY)
    _check_place(errors, spec)
    if spec.get("sharedCounters") is not None and spec.get("devices") is not None:
        errors.append(field_invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed"))
    _check_devices(errors, spec.get("devices") or [], per_device=bool(spec.get("perDeviceNodeSelection")))


def _check_slice_change(errors: Errors, spec: Obj, before: Obj) -> None:
    now, was = ((of.get("pool") or EMPTY).get("name", "") for of in (spec, before))
    if now != was:
        errors.append(field_invalid("spec.pool.name", now, IMMUTABLE))
    for member in ("driver", "nodeName"):
        if spec.get(member) != before.get(member):
            errors.append(field_invalid(f"spec.{member}", spec.get(member), IMMUTABLE))


def _check_place(errors: Errors, spec: Obj) -> None:
    given = []
    for member in _PLACES:
        value, at = spec.get(member), f"spec.{member}"
        if value is None:
            continue
        if value is False:
            errors.append(field_invalid(at, value, "must be either unset or set to true"))
        elif value == "":
            errors.append(field_invalid(at, value, "must be either unset or set to a non-empty string"))
        else:
            given.append(f"`{member}`")
            _check_node(errors, at, member, value)
    selector = spec.get("nodeSelector")
    if selector is not None and len(selector.get("nodeSelectorTerms") or ()) != 1:
        terms = selector.get("nodeSelectorTerms")
        errors.append(
            field_invalid("spec.nodeSelector.nodeSelectorTerms", terms, "must have exactly one node selector term")
        )
    text = f"exactly one of {', '.join(f'`{member}`' for member in _PLACES)} is required"
    if not given:
        errors.append(required("spec", text))
    elif len(given) > 1:
        errors.append(field_invalid("spec", f"{{{', '.join(given)}}}", f"{text}, but multiple fields are set"))


def _check_node(errors: Errors, path: str, member: str, value: Any) -> None:
    if member == "nodeName":
        check_name(errors, path, value, dns_subdomain_problems)
    elif member == "nodeSelector":
        check_node_selector(errors, path, value)


def _check_devices(errors: Errors, devices: list[Obj], *, per_device: bool) -> None:
    views = [device.get("basic") or device for device in devices]  # v1beta1 has most members there
    advanced = any(view.get("taints") or view.get("consumesCounters") for view in views)
    limit = DEVICES_WITH_ADVANCED_FEATURES_MAX if advanced else DEVICES_MAX
    if len(devices) > limit:
        errors.append(too_many("spec.devices", len(devices), limit))
    names: set[str] = set()
    for index, (device, view) in enumerate(zip(devices, views, strict=True)):
        at, name = f"spec.devices[{index}]", device.get("name", "")
        if name in names:
            errors.append(duplicate(f"{at}", name))
        names.add(name)
        check_name(errors, f"{at}.name", name, dns_label_problems)
        for member in ("attributes", "capacity"):
            for key in view.get(member) or ():
                _check_qualified_name(errors, f"{at}.{member}", key)
        for position, taint in enumerate(view.get("taints") or ()):
            _check_taint(errors, f"{at}.taints[{position}]", taint)
        _check_place_of_device(errors, at, view, per_device=per_device)


def _check_place_of_device(errors: Errors, path: str, device: Obj, *, per_device: bool) -> None:
    given = [member for member in _PLACES[:3] if device.get(member)]
    if not per_device:
        if given:
            text = (
                "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true"
                " in the ResourceSlice spec"
            )
            errors.append(field_invalid(path, None, text))
        return
    for member in given:
        _check_node(errors, f"{path}.{member}", member, device[member])
    if len(given) != 1:
        text = (
            "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set"
            " to true in the ResourceSlice spec"
        )
        shown = f"{{{', '.join(f'`{member}`' for member in given)}}}"
        errors.append(field_invalid(path, shown, text) if given else required(path, text))


def _check_qualified_name(errors: Errors, path: str, name: str) -> None:
    domain, slash, rest = name.rpartition("/")
    if slash and not domain:
        errors.append(field_invalid(path, "", "the domain must not be empty"))
    elif slash:
        check_csi_driver_name(errors, path, domain)
    if slash and not rest:
        errors.append(field_invalid(path, "", "the name must not be empty"))
    elif not (name == "" and not slash):
        check_name(errors, path, rest, c_identifier_problems)
