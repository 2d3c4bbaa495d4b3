"""Network policies, ingresses and their classes, addresses and ranges of services (`pkg/apis/networking`)."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from apiserver.api.field_errors import (
    field_forbidden,
    field_invalid,
    not_supported,
    required,
    too_long,
)
from apiserver.api.validation.common import (
    EMPTY,
    Errors,
    Obj,
    check_cidr,
    check_ip,
    check_name,
    check_port,
)
from apiserver.api.validation.names import (
    dns_label_problems,
    dns_subdomain_problems,
    path_segment_problems,
    port_name_problems,
    wildcard_subdomain_problems,
)
from apiserver.api.validation.objectmeta import IMMUTABLE
from apiserver.api.validation.selectors import check_label_selector
from apiserver.api.validation.services import family_of

__all__ = [
    "check_domain_prefixed_path",
    "check_ingress",
    "check_ingress_class",
    "check_ingress_status",
    "check_ip_address",
    "check_network_policy",
    "check_service_cidr",
]

CONTROLLER_BYTES_MAX: Final = 250
_CLASS_ANNOTATION: Final = "kubernetes.io/ingress.class"
_BAD_SEQUENCES: Final = ("//", "/./", "/../", "%2f", "%2F")
_BAD_SUFFIXES: Final = ("/..", "/.")


def check_network_policy(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A NetworkPolicy, new or changed."""
    spec = obj.get("spec") or EMPTY
    known = _cidrs_of((old or EMPTY).get("spec") or EMPTY)
    check_label_selector(errors, "spec.podSelector", spec.get("podSelector"))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            at = f"spec.{direction}[{index}]"
            for position, port in enumerate(rule.get("ports") or ()):
                _check_policy_port(errors, f"{at}.ports[{position}]", port)
            for position, peer in enumerate(rule.get(peers) or ()):
                _check_peer(errors, f"{at}.{peers}[{position}]", peer, known)
    types = spec.get("policyTypes") or []
    if len(types) > 2:
        errors.append(field_invalid("spec.policyTypes", types, "may not specify more than two policyTypes"))
        return
    for index, kind in enumerate(types):
        if kind not in ("Ingress", "Egress"):
            errors.append(not_supported(f"spec.policyTypes[{index}]", kind, ("Ingress", "Egress")))


def _cidrs_of(spec: Obj) -> list[str]:
    blocks = [
        peer["ipBlock"]
        for direction, peers in (("ingress", "from"), ("egress", "to"))
        for rule in spec.get(direction) or ()
        for peer in rule.get(peers) or ()
        if peer.get("ipBlock")
    ]
    return [cidr for block in blocks for cidr in (block.get("cidr", ""), *(block.get("except") or ()))]


def _check_policy_port(errors: Errors, path: str, port: Obj) -> None:
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in ("TCP", "UDP", "SCTP"):
        errors.append(not_supported(f"{path}.protocol", protocol, ("TCP", "UDP", "SCTP")))
    if number is None:
        if end is not None:
            errors.append(field_invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified"))
    elif isinstance(number, str):
        if end is not None:
            errors.append(field_invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric"))
        check_name(errors, f"{path}.port", number, port_name_problems)
    else:
        check_port(errors, f"{path}.port", number)
        if end is not None:
            if end < number:
                errors.append(field_invalid(f"{path}.endPort", end, "must be greater than or equal to `port`"))
            check_port(errors, f"{path}.endPort", end)


def _check_peer(errors: Errors, path: str, peer: Obj, known: list[str]) -> None:
    given = [member for member in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(member) is not None]
    for member in given:
        if member == "ipBlock":
            _check_block(errors, f"{path}.ipBlock", peer["ipBlock"], known)
        else:
            check_label_selector(errors, f"{path}.{member}", peer[member])
    if not given:
        errors.append(required(path, "must specify a peer"))
    elif len(given) > 1 and "ipBlock" in given:
        errors.append(field_forbidden(path, "may not specify both ipBlock and another peer"))


def _check_block(errors: Errors, path: str, block: Obj, known: list[str]) -> None:
    cidr = block.get("cidr", "")
    if not cidr:
        return  # a tag says that it is required
    check_cidr(errors, f"{path}.cidr", cidr, known)
    network = _network(cidr)
    if network is None:
        return
    for index, except_cidr in enumerate(block.get("except") or ()):
        check_cidr(errors, f"{path}.except[{index}]", except_cidr, known)
        inner = _network(except_cidr)
        if inner is not None and not (_is_within(inner, network) and inner.prefixlen > network.prefixlen):
            text = "must be a strict subset of `cidr`"
            errors.append(field_invalid(f"{path}.except[{index}]", except_cidr, text))


def _network(cidr: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(cidr, strict=False)
    except ValueError:
        return None


def _is_within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    return inner.network_address in outer


def check_ingress(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """An Ingress, new or changed."""
    spec = obj.get("spec") or EMPTY
    if old is None or spec != old.get("spec"):
        _check_ingress_spec(errors, spec)
    annotation = (obj["metadata"].get("annotations") or EMPTY).get(_CLASS_ANNOTATION)
    name = spec.get("ingressClassName")
    if old is None and annotation is not None and name is not None and annotation != name:
        text = "must match `ingressClassName` when both are specified"
        errors.append(field_invalid(f"annotations.{_CLASS_ANNOTATION}", annotation, text))


def _check_ingress_spec(errors: Errors, spec: Obj) -> None:
    rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
    if not rules and backend is None:
        text = "either `defaultBackend` or `rules` must be specified"
        errors.append(field_invalid("spec", spec.get("rules"), text))
    if backend is not None:
        _check_backend(errors, "spec.defaultBackend", backend)
    for index, rule in enumerate(rules):
        at, host = f"spec.rules[{index}]", rule.get("host", "")
        if host:
            if family_of(host) != "unknown":
                errors.append(field_invalid(f"{at}.host", host, "must be a DNS name, not an IP address"))
            _check_host(errors, f"{at}.host", host)
        http = rule.get("http")
        if http is not None:
            if not http.get("paths"):
                errors.append(required(f"{at}.http.paths"))
            for position, path in enumerate(http.get("paths") or ()):
                _check_path(errors, f"{at}.http.paths[{position}]", path)
    for index, tls in enumerate(spec.get("tls") or ()):
        for position, host in enumerate(tls.get("hosts") or ()):
            _check_host(errors, f"spec.tls[{index}].hosts[{position}]", host)
        if tls.get("secretName"):
            check_name(errors, f"spec.tls[{index}].secretName", tls["secretName"], dns_subdomain_problems)
    if spec.get("ingressClassName") is not None:
        check_name(errors, "spec.ingressClassName", spec["ingressClassName"], dns_subdomain_problems)


def _check_host(errors: Errors, path: str, host: str) -> None:
    check_name(errors, path, host, wildcard_subdomain_problems if "*" in host else dns_subdomain_problems)


def _check_path(errors: Errors, path: str, item: Obj) -> None:
    kind, value = item.get("pathType"), item.get("path", "")
    if kind is None:
        errors.append(required(f"{path}.pathType", "pathType must be specified"))
        return
    if kind in ("Exact", "Prefix"):
        if not value.startswith("/"):
            errors.append(field_invalid(f"{path}.path", value, "must be an absolute path"))
        for sequence in _BAD_SEQUENCES:
            if sequence in value:
                errors.append(field_invalid(f"{path}.path", value, f"must not contain '{sequence}'"))
        for suffix in _BAD_SUFFIXES:
            if value.endswith(suffix):
                errors.append(field_invalid(f"{path}.path", value, f"cannot end with '{suffix}'"))
    elif kind == "ImplementationSpecific":
        if value and not value.startswith("/"):
            errors.append(field_invalid(f"{path}.path", value, "must be an absolute path"))
    else:
        errors.append(not_supported(f"{path}.pathType", kind, ("Exact", "ImplementationSpecific", "Prefix")))
    _check_backend(errors, f"{path}.backend", item.get("backend") or EMPTY)


def _check_backend(errors: Errors, path: str, backend: Obj) -> None:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        errors.append(field_invalid(path, "", "cannot set both resource and service backends"))
    elif resource is not None:
        _check_reference(errors, f"{path}.resource", resource)
    elif service is None:
        errors.append(field_invalid(path, "", "resource or service backend is required"))
    else:
        if not service.get("name"):
            errors.append(required(f"{path}.service.name"))
        else:
            check_name(errors, f"{path}.service.name", service["name"], dns_label_problems)
        port = service.get("port") or EMPTY
        name, number = port.get("name"), port.get("number")
        if name and number:
            errors.append(field_invalid(path, "", "cannot set both port name & port number"))
        elif name:
            check_name(errors, f"{path}.service.port.name", name, port_name_problems)
        elif number:
            check_port(errors, f"{path}.service.port.number", number)
        else:
            errors.append(required(path, "port name or number is required"))


def _check_reference(errors: Errors, path: str, reference: Obj, *, names_by_tag: bool = False) -> None:
    if reference.get("apiGroup") is not None:
        check_name(errors, f"{path}.apiGroup", reference["apiGroup"], dns_subdomain_problems)
    for member in ("kind", "name"):
        if reference.get(member):
            check_name(errors, f"{path}.{member}", reference[member], path_segment_problems)
        elif not names_by_tag:
            errors.append(required(f"{path}.{member}"))


def check_ingress_status(errors: Errors, obj: Obj, old: Obj) -> None:
    """The load balancers of an Ingress."""
    now, was = (((of.get("status") or EMPTY).get("loadBalancer") or EMPTY).get("ingress") or () for of in (obj, old))
    known = [ingress["ip"] for ingress in was if ingress.get("ip")]
    for index, ingress in enumerate(now):
        at = f"status.loadBalancer.ingress[{index}]"
        if ingress.get("ip"):
            check_ip(errors, f"{at}.ip", ingress["ip"], known)
        if ingress.get("hostname"):
            check_name(errors, f"{at}.hostname", ingress["hostname"], dns_subdomain_problems)
            if family_of(ingress["hostname"]) != "unknown":
                text = "must be a DNS name, not an IP address"
                errors.append(field_invalid(f"{at}.hostname", ingress["hostname"], text))


def check_domain_prefixed_path(errors: Errors, path: str, value: str) -> None:
    """A value such as `acme.io/foo`."""
    domain, slash, rest = value.partition("/")
    if not value:
        errors.append(required(path))
        return
    if not slash or not domain or not rest:
        errors.append(field_invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")'))
        return
    for problem in dns_subdomain_problems(domain):
        errors.append(field_invalid(path, domain, problem))


def check_ingress_class(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """An IngressClass: its controller never changes."""
    spec = obj.get("spec") or EMPTY
    controller = spec.get("controller", "")
    if old is not None and controller != (old.get("spec") or EMPTY).get("controller", ""):
        errors.append(field_invalid("spec.controller", controller, IMMUTABLE))
    if len(controller) > CONTROLLER_BYTES_MAX:
        errors.append(too_long("spec.controller", CONTROLLER_BYTES_MAX))
    check_domain_prefixed_path(errors, "spec.controller", controller)
    parameters = spec.get("parameters")
    if parameters is None:
        return
    at = "spec.parameters"
    _check_reference(errors, at, parameters, names_by_tag=True)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        errors.append(required(f"{at}.scope"))
    elif scope not in ("Cluster", "Namespace"):
        errors.append(not_supported(f"{at}.scope", scope, ("Cluster", "Namespace")))
    elif scope == "Namespace":
        if namespace is None:
            errors.append(required(f"{at}.namespace", "`parameters.scope` is set to 'Namespace'"))
        else:
            check_name(errors, f"{at}.namespace", namespace, dns_label_problems)
    elif namespace is not None:
        errors.append(field_forbidden(f"{at}.namespace", "`parameters.scope` is set to 'Cluster'"))


def check_ip_address(errors: Errors, obj: Obj) -> None:
    """An IPAddress; what must be given is checked by tags."""
    parent = (obj.get("spec") or EMPTY).get("parentRef") or EMPTY
    at = "spec.parentRef"
    if parent.get("group"):
        check_name(errors, f"{at}.group", parent["group"], dns_subdomain_problems)
    for member in ("resource", "name", "namespace"):
        if parent.get(member):
            check_name(errors, f"{at}.{member}", parent[member], path_segment_problems)


def check_service_cidr(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A ServiceCIDR: a second range of the other family may be added, nothing else changes."""
    cidrs = (obj.get("spec") or EMPTY).get("cidrs") or []
    if old is not None:
        before = (old.get("spec") or EMPTY).get("cidrs") or []
        if len(cidrs) == len(before):
            for index, cidr in enumerate(cidrs):
                if cidr != before[index]:
                    errors.append(field_invalid(f"spec.cidrs[{index}]", cidr, IMMUTABLE))
            return
        if (len(before), len(cidrs)) != (1, 2):
            errors.append(field_invalid("spec.cidrs", cidrs or None, IMMUTABLE))
            return
        if cidrs[0] != before[0]:
            errors.append(field_invalid("spec.cidrs[0]", cidrs[0], IMMUTABLE))
    if not cidrs:
        errors.append(required("spec.cidrs", "at least one CIDR required"))
        return
    if len(cidrs) > 2:
        errors.append(field_invalid("spec.cidrs", obj["spec"], "may only hold up to 2 values"))
        return
    for index, cidr in enumerate(cidrs):
        _check_canonical_cidr(errors, f"spec.cidrs[{index}]", cidr)
    versions = [network.version for network in map(_network, cidrs) if network is not None]
    if len(versions) == 2 and versions[0] == versions[1]:
        text = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        errors.append(field_invalid("spec.cidrs", cidrs, text))


def _check_canonical_cidr(errors: Errors, path: str, cidr: str) -> None:
    count = len(errors)
    check_cidr(errors, path, cidr)
    if len(errors) == count and str(ip_network(cidr)) != cidr:
        errors.append(field_invalid(path, cidr, f'must be in canonical form ("{ip_network(cidr)}")'))
