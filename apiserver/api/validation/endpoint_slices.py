"""EndpointSlices (kubernetes `apis/discovery/validation`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from apiserver.api.field_errors import duplicate, field_invalid, not_supported, required, too_many
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_ip, check_label_key, check_labels, check_name
from apiserver.api.validation.names import (
    NAME_RULES,
    dns_label_problems,
    dns_subdomain_problems,
    label_value_problems,
)
from apiserver.api.validation.services import check_endpoint_ip, family_of

__all__ = ["check_endpoint_slice"]

ENDPOINTS_MAX: Final = 1000
PORTS_MAX: Final = 20000
TOPOLOGY_LABELS_MAX: Final = 16
HINTS_MAX: Final = 8
_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")


def check_endpoint_slice(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """An EndpointSlice; the address type and the number of addresses are checked by tags."""
    _check_ports(errors, obj.get("ports") or [])
    endpoints = obj.get("endpoints") or []
    if old is not None and endpoints == (old.get("endpoints") or []):
        return
    if len(endpoints) > ENDPOINTS_MAX:
        errors.append(too_many("endpoints", len(endpoints), ENDPOINTS_MAX))
        return
    for index, endpoint in enumerate(endpoints):
        _check_endpoint(errors, f"endpoints[{index}]", endpoint, obj.get("addressType", ""))


def _check_ports(errors: Errors, ports: list[Obj]) -> None:
    if len(ports) > PORTS_MAX:
        errors.append(too_many("ports", len(ports), PORTS_MAX))
        return
    names: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"ports[{index}]", port.get("name") or ""
        if name:
            check_name(errors, f"{at}.name", name, dns_label_problems)
        if name in names:
            errors.append(duplicate(f"{at}.name", name))
        names.add(name)
        protocol = port.get("protocol")
        if protocol is None:
            errors.append(required(f"{at}.protocol"))
        elif protocol not in _PROTOCOLS:
            errors.append(not_supported(f"{at}.protocol", protocol, _PROTOCOLS))
        if port.get("appProtocol") is not None:
            check_label_key(errors, f"{at}.appProtocol", port["appProtocol"])


def _check_endpoint(errors: Errors, path: str, endpoint: Obj, kind: str) -> None:
    for index, address in enumerate(endpoint.get("addresses") or ()):
        _check_address(errors, f"{path}.addresses", index, address, kind)
    if endpoint.get("nodeName") is not None:
        check_name(errors, f"{path}.nodeName", endpoint["nodeName"], dns_subdomain_problems)
    topology = endpoint.get("deprecatedTopology") or EMPTY
    if len(topology) > TOPOLOGY_LABELS_MAX:
        errors.append(too_many(f"{path}.deprecatedTopology", len(topology), TOPOLOGY_LABELS_MAX))
    check_labels(errors, f"{path}.deprecatedTopology", topology)
    if endpoint.get("hostname") is not None:
        check_name(errors, f"{path}.hostname", endpoint["hostname"], dns_label_problems)
    hints = endpoint.get("hints") or EMPTY
    for member, problems in (("forZones", label_value_problems), ("forNodes", dns_subdomain_problems)):
        _check_hints(errors, f"{path}.hints.{member}", hints.get(member) or [], problems)


def _check_address(errors: Errors, path: str, index: int, address: str, kind: str) -> None:
    at = f"{path}[{index}]"
    if kind == "FQDN":
        _check_domain(errors, at, address)
    elif kind in ("IPv4", "IPv6"):
        count = len(errors)
        if kind == "IPv4":
            check_ip(errors, at, address)
        else:
            errors += [field_invalid(at, address, problem) for problem in NAME_RULES["ip"](address, False)]
        if len(errors) > count:
            return
        if family_of(address) != kind:
            errors.append(field_invalid(path, address, f"must be an {kind} address"))
        check_endpoint_ip(errors, at, address)


def _check_domain(errors: Errors, path: str, name: str) -> None:
    if not name:
        errors.append(required(path))
        return
    name = name.removesuffix(".")
    problems = dns_subdomain_problems(name)
    if problems:
        errors.append(field_invalid(path, name, ",".join(problems)))
    elif "." not in name:
        text = "should be a domain with at least two segments separated by dots"
        errors.append(field_invalid(path, name, text))


def _check_hints(errors: Errors, path: str, hints: list[Obj], problems: Callable[[str], list[str]]) -> None:
    if len(hints) > HINTS_MAX:
        errors.append(too_many(path, len(hints), HINTS_MAX))
        return
    seen: set[str] = set()
    for index, hint in enumerate(hints):
        at, name = f"{path}[{index}].name", hint.get("name", "")
        if name in seen:
            errors.append(duplicate(at, name))
        seen.add(name)
        check_name(errors, at, name, problems)
