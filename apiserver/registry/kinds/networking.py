"""Networking beyond services: endpoint slices, ingresses, network policies."""

from __future__ import annotations

from typing import Final

from apiserver.api.validation.endpoint_slices import check_endpoint_slice
from apiserver.api.validation.networking import (
    check_ingress,
    check_ingress_class,
    check_ingress_status,
    check_ip_address,
    check_network_policy,
    check_service_cidr,
)
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.checked import CheckedStrategy, Checks, checked
from apiserver.registry.kinds.ip_warnings import warnings_for_cidr, warnings_for_ip

__all__ = [
    "EndpointSliceStrategy",
    "IPAddressStrategy",
    "IngressClassStrategy",
    "IngressStrategy",
    "NetworkPolicyStrategy",
    "ServiceCIDRStrategy",
]

INGRESS_CLASS: Final = "kubernetes.io/ingress.class"
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
_OWN_MANAGERS: Final = frozenset(
    {"endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"},
)


def _slice_warnings(obj: Object, old: Object | None) -> list[str]:
    warnings = []
    if old is None and obj.get("addressType") == "FQDN":
        warnings.append("spec.addressType: FQDN endpoints are deprecated")
    if (obj["metadata"].get("labels") or {}).get(MANAGED_BY) in _OWN_MANAGERS or obj.get("addressType") == "FQDN":
        return warnings
    for index, endpoint in enumerate(obj.get("endpoints") or ()):
        for place, address in enumerate(endpoint.get("addresses") or ()):
            warnings += warnings_for_ip(f"endpoints[{index}].addresses[{place}]", address)
    return warnings


def _ingress_warnings(obj: Object, old: Object | None) -> list[str]:
    if old is not None or obj["spec"].get("ingressClassName") is not None:
        return []
    if INGRESS_CLASS not in (obj["metadata"].get("annotations") or {}):
        return []
    return [f"annotation \"{INGRESS_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"]


def _policy_warnings(obj: Object, old: Object | None) -> list[str]:
    warnings = []
    for member, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(obj["spec"].get(member) or ()):
            for place, peer in enumerate(rule.get(peers) or ()):
                block, path = peer.get("ipBlock"), f"spec.{member}[{index}].{peers}[{place}].ipBlock"
                if block is not None:
                    warnings += warnings_for_cidr(f"{path}.cidr", block.get("cidr", ""))
                    for number, cidr in enumerate(block.get("except") or ()):
                        warnings += warnings_for_cidr(f"{path}.except[{number}]", cidr)
    return warnings


class EndpointSliceStrategy(CheckedStrategy):
    """The strategy of endpoint slices."""

    checks = Checks(check_endpoint_slice, warnings=_slice_warnings)

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """What v1 no longer has in writing is not taken from it."""
        super().prepare_for_create(context, obj)
        _drop_topology(obj)

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        """Likewise, where the endpoints change at all."""
        super().prepare_for_update(context, obj, old)
        if obj.get("endpoints") != old.get("endpoints"):
            _drop_topology(obj)


def _drop_topology(endpoint_slice: Object) -> None:
    for endpoint in endpoint_slice.get("endpoints") or ():
        endpoint.pop("deprecatedTopology", None)


IngressStrategy = checked(check_ingress, check_ingress_status, _ingress_warnings)
IngressClassStrategy = checked(check_ingress_class)
NetworkPolicyStrategy = checked(check_network_policy, warnings=_policy_warnings)
IPAddressStrategy = checked(lambda errors, obj, old: check_ip_address(errors, obj))
ServiceCIDRStrategy = checked(check_service_cidr)
