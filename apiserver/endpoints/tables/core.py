"""Rows of the core group, apart from pods, nodes, volumes and events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apiserver.endpoints.tables.cells import (
    NONE,
    Object,
    Printer,
    PrinterTable,
    age,
    first_few,
    label_text,
    name_and_age,
)
from apiserver.endpoints.tables.durations import Now

__all__ = ["PRINTERS", "load_balancer_addresses"]


def _config_map(obj: Object, now: Now) -> list[Any]:
    size = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
    return [obj["metadata"].get("name", ""), size, age(obj, now)]


def _secret(obj: Object, now: Now) -> list[Any]:
    return [obj["metadata"].get("name", ""), obj.get("type", ""), len(obj.get("data") or ()), age(obj, now)]


def _namespace(obj: Object, now: Now) -> list[Any]:
    return [obj["metadata"].get("name", ""), (obj.get("status") or {}).get("phase", ""), age(obj, now)]


def load_balancer_addresses(status: Mapping[str, Any] | None) -> list[str]:
    """Addresses of a load balancer's ingress points: each an IP, or a hostname where there is none; sorted."""
    ingress = ((status or {}).get("loadBalancer") or {}).get("ingress") or ()
    return sorted({address for point in ingress if (address := point.get("ip") or point.get("hostname"))})


def _external_addresses(obj: Object) -> str:
    spec = obj.get("spec") or {}
    external: list[str] = spec.get("externalIPs") or []
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return ",".join(external) or NONE
        case "LoadBalancer":
            return ",".join([*load_balancer_addresses(obj.get("status")), *external]) or "<pending>"
        case "ExternalName":
            name: str = spec.get("externalName", "")
            return name
    return "<unknown>"


def _port_text(port: Mapping[str, Any]) -> str:
    node_port = port.get("nodePort", 0)
    numbers = f"{port.get('port', 0)}:{node_port}" if node_port > 0 else str(port.get("port", 0))
    return f"{numbers}/{port.get('protocol', '')}"


def _service(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    cluster_addresses = spec.get("clusterIPs")
    return [
        obj["metadata"].get("name", ""),
        spec.get("type", ""),
        cluster_addresses[0] if cluster_addresses else NONE,
        _external_addresses(obj),
        ",".join(map(_port_text, spec.get("ports") or ())) or NONE,
        age(obj, now),
        label_text(spec.get("selector")),
    ]


def _join_host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _endpoints(obj: Object, now: Now) -> list[Any]:
    subsets = obj.get("subsets") or ()
    shown: list[str] = []
    for subset in subsets:
        addresses = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = subset.get("ports")
        if not ports:
            shown.extend(addresses)
        for port in ports or ():
            shown.extend(_join_host_port(address, port.get("port", 0)) for address in addresses)
    return [obj["metadata"].get("name", ""), first_few(shown, empty="") if subsets else NONE, age(obj, now)]


def _resource_quota(obj: Object, now: Now) -> list[Any]:
    status = obj.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        column = limits if name.startswith("limits.") else requests
        column.append(f"{name}: {used.get(name, '0')}/{hard[name]}")
    return [obj["metadata"].get("name", ""), ", ".join(requests), ", ".join(limits), age(obj, now)]


def _component_status(obj: Object, now: Now) -> list[Any]:
    name = obj["metadata"].get("name", "")
    for condition in obj.get("conditions") or ():
        if condition.get("type") == "Healthy":
            status = "Healthy" if condition.get("status") == "True" else "Unhealthy"
            return [name, status, condition.get("message", ""), condition.get("error", "")]
    return [name, "Unknown", "", ""]


PRINTERS: PrinterTable = {
    ("", "ConfigMap"): Printer(_config_map),
    ("", "Secret"): Printer(_secret),
    ("", "Namespace"): Printer(_namespace),
    ("", "Service"): Printer(_service),
    ("", "ServiceAccount"): Printer(name_and_age),
    ("", "Endpoints"): Printer(_endpoints),
    ("", "ResourceQuota"): Printer(_resource_quota),
    ("", "ComponentStatus"): Printer(_component_status),
}
