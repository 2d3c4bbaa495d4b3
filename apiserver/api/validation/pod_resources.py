"""Resources of a whole pod (KEP-2837): their validation, what containers add up to, and the QoS class."""

from __future__ import annotations

from apiserver.api.field_errors import field_forbidden, field_invalid
from apiserver.api.quantity import Quantity
from apiserver.api.validation.common import EMPTY, Errors, Obj, parse_quantity
from apiserver.api.validation.resources import check_requirements, is_huge_page

__all__ = ["aggregate_container_limits", "aggregate_container_requests", "check_pod_resources", "qos_class"]

Amounts = dict[str, Quantity]


def check_pod_resources(errors: Errors, path: str, spec: Obj) -> None:
    """`spec.resources`: supported names, and not less than what the containers ask for."""
    resources, at = spec["resources"], f"{path}.resources"
    if (spec.get("os") or EMPTY).get("name") == "windows":
        errors.append(field_forbidden(at, "may not be set for a windows pod"))
        return
    if resources.get("claims"):
        errors.append(field_forbidden(f"{at}.claims", "claims may not be set for Resources at pod-level"))
    check_requirements(errors, at, resources, None, pod_level=True)
    requests, limits = resources.get("requests") or EMPTY, resources.get("limits") or EMPTY
    for name, total in aggregate_container_requests(spec).items():
        if name in requests and total > parse_quantity(requests[name]):
            text = f"must be greater than or equal to aggregate container requests of {total}"
            errors.append(field_invalid(f"{at}.requests[{name}]", requests[name], text))
    for name, total in aggregate_container_limits(spec).items():
        if is_huge_page(name) and name in limits and total > parse_quantity(limits[name]):
            text = f"must be greater than or equal to aggregate container limits of {total}"
            errors.append(field_invalid(f"{at}.limits[{name}]", limits[name], text))
    for index, container in enumerate(spec.get("containers") or ()):
        for name, text in ((container.get("resources") or EMPTY).get("limits") or EMPTY).items():
            if name in limits and parse_quantity(text) > parse_quantity(limits[name]):
                detail = f"must be less than or equal to pod limits of {limits[name]}"
                errors.append(field_invalid(f"{at}.containers[{index}][{name}].limits", text, detail))


def aggregate_container_requests(spec: Obj) -> Amounts:
    """What the containers of a pod request together: the greater of all that run at once and of each init step."""
    return _aggregate(spec, "requests")


def aggregate_container_limits(spec: Obj) -> Amounts:
    """Likewise for limits."""
    return _aggregate(spec, "limits")


def _aggregate(spec: Obj, member: str) -> Amounts:
    running: Amounts = {}
    for container in spec.get("containers") or ():
        _add(running, _amounts(container, member))
    sidecars: Amounts = {}
    greatest: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = _amounts(container, member)
        if container.get("restartPolicy") == "Always":
            _add(running, own)
            _add(sidecars, own)
            step = dict(sidecars)
        else:
            step = dict(own)
            _add(step, sidecars)
        _maximize(greatest, step)
    _maximize(running, greatest)
    return running


def _amounts(container: Obj, member: str) -> Amounts:
    quantities = (container.get("resources") or EMPTY).get(member) or EMPTY
    return {name: parse_quantity(text) for name, text in quantities.items()}


def _add(total: Amounts, amounts: Amounts) -> None:
    for name, amount in amounts.items():
        total[name] = total[name] + amount if name in total else amount


def _maximize(total: Amounts, amounts: Amounts) -> None:
    for name, amount in amounts.items():
        if name not in total or amount > total[name]:
            total[name] = amount


def qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort, by requests and limits of CPU and memory (core `ComputePodQOS`)."""
    resources = spec.get("resources")
    if resources is not None and (resources.get("requests") or resources.get("limits")):
        return _qos_of(resources)
    found = ""
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        own = _qos_of(container.get("resources") or EMPTY)
        if own == "Burstable" or (found and found != own):
            return "Burstable"
        found = own
    return found or "BestEffort"


def _qos_of(resources: Obj) -> str:
    requests, limits = resources.get("requests") or EMPTY, resources.get("limits") or EMPTY
    if not requests and not limits:
        return "BestEffort"
    found = ""
    for name in ("cpu", "memory"):
        request, limit = parse_quantity(requests.get(name, "0")), parse_quantity(limits.get(name, "0"))
        if request != limit:
            return "Burstable"
        own = "Guaranteed" if request else "BestEffort"
        if found and found != own:
            return "Burstable"
        found = own
    return found
