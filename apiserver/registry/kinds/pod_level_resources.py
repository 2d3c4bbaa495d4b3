"""Resources of a whole pod: what is left out follows from its containers (KEP-2837)."""

from __future__ import annotations

from typing import Final

from apiserver.api.quantity import Quantity
from apiserver.api.validation.common import parse_quantity
from apiserver.api.validation.pod_resources import aggregate_container_limits, aggregate_container_requests
from apiserver.api.validation.resources import is_huge_page
from apiserver.registry.interface import Object

__all__ = ["default_pod_level_resources", "keep_pod_level_resources"]

_SUPPORTED: Final = frozenset({"cpu", "memory"})


def default_pod_level_resources(spec: Object) -> None:
    """Complete `spec.resources` where it says anything."""
    resources = spec.get("resources")
    if not resources or not (resources.get("requests") or resources.get("limits")):
        return
    requests: dict[str, str] = dict(resources.get("requests") or {})
    limits: dict[str, str] = dict(resources.get("limits") or {})
    of_containers = aggregate_container_limits(spec)
    for name, total in of_containers.items():
        if is_huge_page(name) and name not in requests:
            limits.setdefault(name, str(total))
    for name, total in aggregate_container_requests(spec).items():
        if name in _SUPPORTED:
            requests.setdefault(name, str(total))
    for name, limit in limits.items():
        if _is_supported(name):
            requests.setdefault(name, limit)
    for name, request in requests.items():
        if _is_supported(name) and name not in limits and _all_have_limit(spec, name) and name in of_containers:
            limits[name] = _greater(request, of_containers[name])
    spec["resources"] = {
        **resources,
        **({"limits": limits} if limits else {}),
        **({"requests": requests} if requests else {}),
    }


def _is_supported(name: str) -> bool:
    return name in _SUPPORTED or is_huge_page(name)


def _all_have_limit(spec: Object, name: str) -> bool:
    return all(
        name in ((container.get("resources") or {}).get("limits") or ())
        for member in ("containers", "initContainers", "ephemeralContainers")
        for container in spec.get(member) or ()
    )


def _greater(request: str, total: Quantity) -> str:
    """A limit is not below the request."""
    return request if parse_quantity(request) > total else str(total)


def keep_pod_level_resources(spec: Object, before: Object) -> None:
    """Clients that do not know the member drop it without meaning to."""
    if spec.get("resources") is None and before.get("resources") is not None:
        spec["resources"] = before["resources"]
