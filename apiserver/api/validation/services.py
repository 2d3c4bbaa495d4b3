"""Services and endpoints (core `validateService`, `ValidateEndpoints`)."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv6Address, ip_address
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
    check_ip,
    check_label_key,
    check_labels,
    check_name,
    check_one_of,
    check_port,
    check_port_or_name,
)
from apiserver.api.validation.names import dns_label_problems, dns_subdomain_problems

__all__ = [
    "check_cluster_ips",
    "check_endpoint_ip",
    "check_endpoints",
    "check_health_check_port",
    "check_load_balancer_status",
    "check_service",
    "family_of",
    "is_externally_accessible",
    "is_headless",
    "needs_health_check",
]

AFFINITY_SECONDS_MAX: Final = 86400
PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
SOURCE_RANGES: Final = "service.beta.kubernetes.io/load-balancer-source-ranges"
_TOPOLOGY_MODE: Final = "service.kubernetes.io/topology-mode"
_TOPOLOGY_HINTS: Final = "service.kubernetes.io/topology-aware-hints"
_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_ONLY_BALANCER: Final = "may only be used when `type` is 'LoadBalancer'"
_ONCE: Final = "may not change once set"


def is_headless(spec: Obj) -> bool:
    """Whether a service asks for no address."""
    return spec.get("clusterIPs") == ["None"]


def is_externally_accessible(spec: Obj) -> bool:
    """Whether traffic from outside the cluster can reach a service."""
    kind = spec.get("type")
    return kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check(spec: Obj) -> bool:
    """Whether a load balancer must ask nodes if they have an endpoint."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def family_of(address: str) -> str:
    """IPv4, IPv6, or `unknown`."""
    try:
        return f"IPv{ip_address(address).version}"
    except ValueError:
        return "unknown"


def check_service(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A Service, new or changed, before anything is allocated."""
    spec, before = obj.get("spec") or EMPTY, (old or EMPTY).get("spec") or EMPTY
    annotations = obj["metadata"].get("annotations") or EMPTY
    if old is not None:
        _check_changes(errors, spec, before)
    mode, hints = annotations.get(_TOPOLOGY_MODE), annotations.get(_TOPOLOGY_HINTS)
    if mode is not None and hints is not None and mode != hints:
        text = f"must match annotations[{_TOPOLOGY_HINTS}] when both are specified"
        errors.append(field_invalid(f"metadata.annotations[{_TOPOLOGY_MODE}]", mode, text))
    kind, ports = spec.get("type", ""), spec.get("ports") or []
    if not ports and not is_headless(spec) and kind != "ExternalName":
        errors.append(required("spec.ports"))
    if kind in ("LoadBalancer", "NodePort") and is_headless(spec):
        text = f"may not be set to 'None' for {kind} services"
        errors.append(field_invalid("spec.clusterIPs[0]", "None", text))
    if kind == "ExternalName":
        _check_external_name(errors, spec)
    _check_ports(errors, ports, headless=is_headless(spec))
    check_labels(errors, "spec.selector", spec.get("selector"))
    _check_affinity(errors, spec)
    check_cluster_ips(errors, spec, before)
    for index, address in enumerate(spec.get("externalIPs") or ()):
        count = len(errors)
        check_ip(errors, f"spec.externalIPs[{index}]", address, before.get("externalIPs") or ())
        if len(errors) == count:
            check_endpoint_ip(errors, f"spec.externalIPs[{index}]", address)
    check_one_of(errors, "spec.type", kind, _TYPES)
    _check_port_uses(errors, kind, ports)
    _check_load_balancer(errors, spec, before, annotations, (old or EMPTY).get("metadata") or EMPTY)
    _check_traffic(errors, spec)


def _check_external_name(errors: Errors, spec: Obj) -> None:
    for member in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(member):
            errors.append(field_forbidden(f"spec.{member}", "may not be set for ExternalName services"))
    name = spec.get("externalName", "").removesuffix(".")
    if name:
        check_name(errors, "spec.externalName", name, dns_subdomain_problems)
    else:
        errors.append(required("spec.externalName"))


def _check_ports(errors: Errors, ports: list[Obj], *, headless: bool) -> None:
    names: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"spec.ports[{index}]", port.get("name", "")
        if name:
            check_name(errors, f"{at}.name", name, dns_label_problems)
            if name in names:
                errors.append(duplicate(f"{at}.name", name))
            names.add(name)
        elif len(ports) > 1:
            errors.append(required(f"{at}.name"))
        check_port(errors, f"{at}.port", port.get("port", 0))
        if port.get("protocol") not in PROTOCOLS:
            check_one_of(errors, f"{at}.protocol", port.get("protocol"), PROTOCOLS)
        check_port_or_name(errors, f"{at}.targetPort", port.get("targetPort", 0))
        if port.get("appProtocol") is not None:
            check_label_key(errors, f"{at}.appProtocol", port["appProtocol"])


def _check_port_uses(errors: Errors, kind: str, ports: list[Obj]) -> None:
    node_ports: set[tuple[str, int]] = set()
    numbers: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        at, node_port = f"spec.ports[{index}]", port.get("nodePort", 0)
        if node_port and kind == "ClusterIP":
            text = "may not be used when `type` is 'ClusterIP'"
            errors.append(field_forbidden(f"{at}.nodePort", text))
        protocol = port.get("protocol", "")
        if node_port and (protocol, node_port) in node_ports:
            errors.append(duplicate(f"{at}.nodePort", node_port))
        node_ports.add((protocol, node_port))
        number = port.get("port", 0)
        if (protocol, number) in numbers:
            shown = {
                "Name": "",
                "Protocol": protocol,
                "AppProtocol": None,
                "Port": number,
                "TargetPort": 0,
                "NodePort": 0,
            }
            errors.append(duplicate(at, shown))
        numbers.add((protocol, number))


def _check_affinity(errors: Errors, spec: Obj) -> None:
    affinity, config = spec.get("sessionAffinity", ""), spec.get("sessionAffinityConfig")
    at = "spec.sessionAffinityConfig"
    check_one_of(errors, "spec.sessionAffinity", affinity, ("ClientIP", "None"))
    if affinity == "None":
        if config is not None:
            errors.append(field_forbidden(at, "must not be set when session affinity is None"))
    elif affinity == "ClientIP":
        text = "when session affinity type is ClientIP"
        client = (config or EMPTY).get("clientIP")
        if config is None:
            errors.append(required(at, text))
        elif client is None:
            errors.append(required(f"{at}.clientIP", text))
        elif client.get("timeoutSeconds") is None:
            errors.append(required(f"{at}.clientIP.timeoutSeconds", text))
        elif not 0 < client["timeoutSeconds"] <= AFFINITY_SECONDS_MAX:
            text = f"must be greater than 0 and less than {AFFINITY_SECONDS_MAX}"
            errors.append(field_invalid(f"{at}.clientIP.timeoutSeconds", client["timeoutSeconds"], text))


def check_cluster_ips(errors: Errors, spec: Obj, before: Obj) -> None:
    """The service's addresses and families, and whether they agree."""
    if spec.get("type") == "ExternalName":
        return
    single, several = spec.get("clusterIP", ""), spec.get("clusterIPs") or []
    if single and not several:
        errors.append(required("spec.clusterIPs"))
    elif single and several[0] != single:
        errors.append(field_invalid("spec.clusterIPs", several, "first value must match `clusterIP`"))
    elif not single and several:
        text = "must be empty when `clusterIP` is not specified"
        errors.append(field_invalid("spec.clusterIPs", several, text))
    families = spec.get("ipFamilies") or []
    for index, family in enumerate(families):
        if family not in ("IPv4", "IPv6"):
            errors.append(not_supported(f"spec.ipFamilies[{index}]", family, ("IPv4", "IPv6")))
        if family in families[:index]:
            errors.append(duplicate(f"spec.ipFamilies[{index}]", family))
    policy = spec.get("ipFamilyPolicy")
    policies = ("PreferDualStack", "RequireDualStack", "SingleStack")
    if policy is not None and policy not in policies:
        errors.append(not_supported("spec.ipFamilyPolicy", policy, policies))
    if not _check_addresses(errors, several, before.get("clusterIPs") or ()):
        return
    if len(several) > 1 and len({family_of(address) for address in several}) < 2:
        text = "may specify no more than one IP for each IP family"
        errors.append(field_invalid("spec.clusterIPs", several, text))
    if not is_headless(spec):
        for index, (address, family) in enumerate(zip(several, families, strict=False)):
            if family_of(address) != family:
                text = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
                errors.append(field_invalid(f"spec.clusterIPs[{index}]", address, text))


def _check_addresses(errors: Errors, addresses: list[str], known: Collection[str]) -> bool:
    """Whether the addresses are addresses."""
    count = len(errors)
    for index, address in enumerate(addresses):
        if index == 0 and address == "None":
            if len(addresses) > 1:
                text = "'None' must be the first and only value"
                errors.append(field_invalid("spec.clusterIPs", addresses, text))
            continue
        check_ip(errors, f"spec.clusterIPs[{index}]", address, known)
    valid = len(errors) == count
    if len(addresses) > 2:
        errors.append(field_invalid("spec.clusterIPs", addresses, "may only hold up to 2 values"))
    return valid


def check_endpoint_ip(errors: Errors, path: str, value: str) -> None:
    """An address that can be an endpoint outside of this host and link."""
    try:
        address = ip_address(value)
    except ValueError:
        errors.append(field_invalid(path, value, "must be a valid IP address"))
        return
    if address.is_unspecified:
        errors.append(field_invalid(path, value, f"may not be unspecified ({value})"))
    if address.is_loopback:
        errors.append(field_invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if address.is_link_local:
        text = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        errors.append(field_invalid(path, value, text))
    first_two = address.packed[:2]
    is_multicast = first_two == b"\xff\x02" if isinstance(address, IPv6Address) else address.packed[:3] == b"\xe0\0\0"
    if is_multicast:
        text = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        errors.append(field_invalid(path, value, text))


def _check_load_balancer(errors: Errors, spec: Obj, before: Obj, annotations: Obj, old_metadata: Obj) -> None:
    is_balancer = spec.get("type") == "LoadBalancer"
    ranges, annotated = spec.get("loadBalancerSourceRanges") or [], annotations.get(SOURCE_RANGES)
    if ranges:
        if not is_balancer:
            errors.append(field_forbidden("spec.LoadBalancerSourceRanges", _ONLY_BALANCER))
        known = [value.strip() for value in before.get("loadBalancerSourceRanges") or ()]
        for index, value in enumerate(ranges):
            check_cidr(errors, f"spec.LoadBalancerSourceRanges[{index}]", value.strip(), known)
    elif annotated is not None:
        at = f"metadata.annotations[{SOURCE_RANGES}]"
        if not is_balancer:
            errors.append(field_forbidden(at, _ONLY_BALANCER))
        if annotated.strip() and (old_metadata.get("annotations") or EMPTY).get(SOURCE_RANGES) != annotated:
            for value in annotated.strip().split(","):
                check_cidr(errors, at, value.strip())
    allocate = spec.get("allocateLoadBalancerNodePorts")
    if allocate is not None and not is_balancer:
        errors.append(field_forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCER))
    if allocate is None and is_balancer:
        errors.append(required("allocateLoadBalancerNodePorts"))
    name = spec.get("loadBalancerClass")
    if name is not None:
        if is_balancer:
            check_label_key(errors, "spec.loadBalancerClass", name)
        else:
            errors.append(field_forbidden("spec.loadBalancerClass", _ONLY_BALANCER))


def _check_traffic(errors: Errors, spec: Obj) -> None:
    policy = spec.get("externalTrafficPolicy", "")
    at = "spec.externalTrafficPolicy"
    if is_externally_accessible(spec):
        check_one_of(errors, at, policy, ("Cluster", "Local"))
    elif policy:
        errors.append(field_invalid(at, policy, "may only be set for externally-accessible services"))
    if not needs_health_check(spec) and spec.get("healthCheckNodePort"):
        text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        errors.append(field_invalid("spec.healthCheckNodePort", spec["healthCheckNodePort"], text))
    internal = spec.get("internalTrafficPolicy")
    if internal is None:
        if spec.get("type") in ("NodePort", "LoadBalancer", "ClusterIP"):
            errors.append(required("spec.internalTrafficPolicy"))
    elif internal not in ("Cluster", "Local"):
        errors.append(not_supported("spec.internalTrafficPolicy", internal, ("Cluster", "Local")))
    distribution = spec.get("trafficDistribution")
    supported = ("PreferClose", "PreferSameZone", "PreferSameNode")
    if distribution is not None and distribution not in supported:
        errors.append(not_supported("spec.trafficDistribution", distribution, supported))


def check_health_check_port(errors: Errors, spec: Obj) -> None:
    """After allocation a service that needs a health check port has one."""
    if needs_health_check(spec):
        if not spec.get("healthCheckNodePort"):
            errors.append(required("spec.healthCheckNodePort"))
        else:
            check_port(errors, "spec.healthCheckNodePort", spec["healthCheckNodePort"])


def _check_changes(errors: Errors, spec: Obj, before: Obj) -> None:
    both_internal = "ExternalName" not in (spec.get("type"), before.get("type"))
    if both_internal and not (is_headless(spec) and is_headless(before)):
        _check_address_changes(errors, spec, before)
    if both_internal and not is_headless(spec) and not is_headless(before):
        _check_family_changes(errors, spec, before)
    if spec.get("type") == before.get("type") == "LoadBalancer":
        if spec.get("loadBalancerClass") != before.get("loadBalancerClass"):
            errors.append(field_invalid("spec.loadBalancerClass", spec.get("loadBalancerClass"), _ONCE))
        ports = spec.get("healthCheckNodePort", 0), before.get("healthCheckNodePort", 0)
        if needs_health_check(spec) and needs_health_check(before) and ports[0] != ports[1]:
            errors.append(field_forbidden("spec.healthCheckNodePort", "field is immutable"))


def _check_address_changes(errors: Errors, spec: Obj, before: Obj) -> None:
    now, was = spec.get("clusterIPs") or [], before.get("clusterIPs") or []
    if len(now) == len(was):
        for index, address in enumerate(was):
            if address != now[index]:
                errors.append(field_invalid(f"spec.clusterIPs[{index}]", now, _ONCE))
        return
    if not now:
        errors.append(field_invalid("spec.clusterIPs[0]", None, "primary clusterIP can not be unset"))
    elif was and now[0] != was[0]:
        errors.append(field_invalid("spec.clusterIPs[0]", now, _ONCE))
    if len(was) > len(now) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        text = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        errors.append(field_invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), text))


def _check_family_changes(errors: Errors, spec: Obj, before: Obj) -> None:
    now, was = spec.get("ipFamilies") or [], before.get("ipFamilies") or []
    if now and was and now[0] != was[0]:
        errors.append(field_invalid("spec.ipFamilies[0]", now, _ONCE))
    if len(was) > len(now) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        text = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        errors.append(field_invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), text))


def check_load_balancer_status(errors: Errors, status: Obj, before: Obj, *, is_balancer: bool) -> None:
    """`status.loadBalancer` of a service."""
    ingresses, at = status.get("ingress") or [], "status.loadBalancer.ingress"
    if ingresses and not is_balancer:
        errors.append(field_forbidden(at, "may only be used when `spec.type` is 'LoadBalancer'"))
        return
    known = [ingress["ip"] for ingress in before.get("ingress") or () if ingress.get("ip")]
    for index, ingress in enumerate(ingresses):
        address, mode, name = ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname")
        if address:
            check_ip(errors, f"{at}[{index}].ip", address, known)
        if mode is None:
            if address:
                errors.append(required(f"{at}[{index}].ipMode", "must be specified when `ip` is set"))
        elif not address:
            errors.append(field_forbidden(f"{at}[{index}].ipMode", "may not be specified when `ip` is not set"))
        elif mode not in ("Proxy", "VIP"):
            errors.append(not_supported(f"{at}[{index}].ipMode", mode, ("Proxy", "VIP")))
        if name:
            check_name(errors, f"{at}[{index}].hostname", name, dns_subdomain_problems)
            if family_of(name) != "unknown":
                errors.append(field_invalid(f"{at}[{index}].hostname", name, "must be a DNS name, not an IP address"))


def check_endpoints(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """An Endpoints object, new or changed."""
    subsets = obj.get("subsets") or []
    if old is not None and subsets == (old.get("subsets") or []):
        return
    for index, subset in enumerate(subsets):
        at = f"subsets[{index}]"
        addresses, unready = subset.get("addresses") or [], subset.get("notReadyAddresses") or []
        if not addresses and not unready:
            errors.append(required(at, "must specify `addresses` or `notReadyAddresses`"))
        for member, listed in (("addresses", addresses), ("notReadyAddresses", unready)):
            for position, address in enumerate(listed):
                _check_endpoint_address(errors, f"{at}.{member}[{position}]", address)
        ports = subset.get("ports") or []
        for position, port in enumerate(ports):
            where = f"{at}.ports[{position}]"
            if port.get("name"):
                check_name(errors, f"{where}.name", port["name"], dns_label_problems)
            elif len(ports) > 1:
                errors.append(required(f"{where}.name"))
            check_port(errors, f"{where}.port", port.get("port", 0))
            check_one_of(errors, f"{where}.protocol", port.get("protocol"), PROTOCOLS)
            if port.get("appProtocol") is not None:
                check_label_key(errors, f"{where}.appProtocol", port["appProtocol"])


def _check_endpoint_address(errors: Errors, path: str, address: Obj) -> None:
    count = len(errors)
    check_ip(errors, f"{path}.ip", address.get("ip", ""))
    if len(errors) == count:
        check_endpoint_ip(errors, f"{path}.ip", address["ip"])
    if address.get("hostname"):
        check_name(errors, f"{path}.hostname", address["hostname"], dns_label_problems)
    if address.get("nodeName") is not None:
        for problem in dns_subdomain_problems(address["nodeName"]):
            errors.append(field_invalid(f"{path}.nodeName", address["nodeName"], problem))
