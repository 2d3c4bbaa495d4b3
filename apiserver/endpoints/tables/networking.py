"""Rows of `networking.k8s.io` and `discovery.k8s.io`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apiserver.endpoints.tables.cells import NONE, Object, Printer, PrinterTable, age, first_few, selector_text
from apiserver.endpoints.tables.core import load_balancer_addresses
from apiserver.endpoints.tables.durations import Now

__all__ = ["PRINTERS"]

_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"


def _hosts(rules: list[Mapping[str, Any]]) -> str:
    """The first three hosts; how many more is counted in rules, with or without host, as kube-apiserver counts."""
    shown: list[str] = []
    for rule in rules:
        if len(shown) == 3:
            return f"{','.join(shown)} + {len(rules) - 3} more..."
        if rule.get("host"):
            shown.append(rule["host"])
    return ",".join(shown) or "*"


def _ingress(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    return [
        obj["metadata"].get("name", ""),
        spec.get("ingressClassName", NONE),
        _hosts(spec.get("rules") or []),
        ",".join(load_balancer_addresses(obj.get("status"))),
        "80, 443" if spec.get("tls") else "80",
        age(obj, now),
    ]


def _ingress_class(obj: Object, now: Now) -> list[Any]:
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    name = metadata.get("name", "")
    if (metadata.get("annotations") or {}).get(_DEFAULT_CLASS) == "true":
        name += " (default)"
    parameters = NONE
    reference = spec.get("parameters")
    if reference is not None:
        group = reference.get("apiGroup")
        kind = reference.get("kind", "") if group is None else f"{reference.get('kind', '')}.{group}"
        parameters = f"{kind}/{reference.get('name', '')}"
    return [name, spec.get("controller", ""), parameters, age(obj, now)]


def _network_policy(obj: Object, now: Now) -> list[Any]:
    selector = (obj.get("spec") or {}).get("podSelector")
    return [obj["metadata"].get("name", ""), selector_text(selector), age(obj, now)]


def _ip_address(obj: Object, now: Now) -> list[Any]:
    """The row has one cell more than the kind has columns, as kube-apiserver's has."""
    reference = (obj.get("spec") or {}).get("parentRef")
    parent = NONE
    if reference is not None:
        group, resource = reference.get("group", ""), reference.get("resource", "")
        kind = f"{resource}.{group}" if group else resource
        namespace = reference.get("namespace")
        name = reference.get("name", "")
        parent = f"{kind.lower()}/{namespace}/{name}" if namespace else f"{kind.lower()}/{name}"
    return [obj["metadata"].get("name", ""), parent, age(obj, now)]


def _service_cidr(obj: Object, now: Now) -> list[Any]:
    ranges = (obj.get("spec") or {}).get("cidrs") or ()
    return [obj["metadata"].get("name", ""), ",".join(ranges), age(obj, now)]


def _port_text(port: Mapping[str, Any]) -> str:
    number = port.get("port")
    if number is not None:
        return str(number)
    name: str = port.get("name", "*")
    return name


def _endpoint_slice(obj: Object, now: Now) -> list[Any]:
    addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return [
        obj["metadata"].get("name", ""),
        obj.get("addressType", ""),
        first_few([_port_text(port) for port in obj.get("ports") or ()]),
        first_few(addresses),
        age(obj, now),
    ]


PRINTERS: PrinterTable = {
    ("networking.k8s.io", "IPAddress"): Printer(_ip_address),
    ("networking.k8s.io", "Ingress"): Printer(_ingress),
    ("networking.k8s.io", "IngressClass"): Printer(_ingress_class),
    ("networking.k8s.io", "NetworkPolicy"): Printer(_network_policy),
    ("networking.k8s.io", "ServiceCIDR"): Printer(_service_cidr),
    ("discovery.k8s.io", "EndpointSlice"): Printer(_endpoint_slice),
}
