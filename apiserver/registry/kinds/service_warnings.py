"""Warnings about services (kubernetes `pkg/api/service`)."""

from __future__ import annotations

from collections.abc import Iterator

from apiserver.api.validation.services import is_headless
from apiserver.registry.interface import Object
from apiserver.registry.kinds.ip_warnings import warnings_for_cidr, warnings_for_ip

__all__ = ["warnings_for_service"]

_HINTS = "service.kubernetes.io/topology-aware-hints"
_MODE = "service.kubernetes.io/topology-mode"


def warnings_for_service(service: Object) -> list[str]:
    """What is allowed but does not do what its author thinks."""
    return list(_warnings(service))


def _warnings(service: Object) -> Iterator[str]:
    spec, headless = service["spec"], _is_headless_cluster_ip(service["spec"])
    if _HINTS in (service["metadata"].get("annotations") or {}):
        yield f"annotation {_HINTS} is deprecated, please use {_MODE} instead"
    if spec.get("clusterIP") and not is_headless(spec):
        for index, address in enumerate(spec.get("clusterIPs") or ()):
            yield from warnings_for_ip(f"spec.clusterIPs[{index}]", address)
    if headless:
        for member in ("loadBalancerIP", "externalIPs"):
            if spec.get(member):
                yield f"spec.{member} is ignored for headless services"
        if spec.get("sessionAffinity") != "None":
            yield "spec.SessionAffinity is ignored for headless services"
    yield from _external_warnings(spec, headless)
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'


def _external_warnings(spec: Object, headless: bool) -> Iterator[str]:
    addresses, is_name = spec.get("externalIPs") or [], spec.get("type") == "ExternalName"
    for index, address in enumerate(addresses):
        yield from warnings_for_ip(f"spec.externalIPs[{index}]", address)
    if addresses and not headless and not is_name:
        yield "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
    if spec.get("loadBalancerIP"):
        yield from warnings_for_ip("spec.loadBalancerIP", spec["loadBalancerIP"])
    for index, cidr in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        yield from warnings_for_cidr(f"spec.loadBalancerSourceRanges[{index}]", cidr)
    if is_name and addresses:
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if not is_name and spec.get("externalName"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'


def _is_headless_cluster_ip(spec: Object) -> bool:
    return spec.get("type") == "ClusterIP" and spec.get("clusterIP") == "None"
