"""Defaults of the core group that need code (kubernetes `pkg/apis/core/v1/defaults.go`, `conversion.go`)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

__all__ = ["SPECIAL", "default_pull_policy"]

Obj = dict[str, Any]

CLIENT_IP_AFFINITY_SECONDS: Final = 10800
TYPES_WITH_CLUSTER_IP: Final = frozenset({"ClusterIP", "NodePort", "LoadBalancer"})


def default_pull_policy(reference: str) -> str:
    """Always for the tag `latest`, which is also that of a reference with neither tag nor digest; else IfNotPresent."""
    name, _, digest = reference.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or not (tag or digest) else "IfNotPresent"


def _container(obj: Obj) -> None:
    if not obj.get("imagePullPolicy"):
        obj["imagePullPolicy"] = default_pull_policy(obj.get("image") or "")


def _pod_spec(obj: Obj) -> None:
    """The two names of the service account are one; `serviceAccountName` wins."""
    name = obj.get("serviceAccountName") or obj.get("serviceAccount")
    if name:
        obj["serviceAccountName"] = obj["serviceAccount"] = name


def _pod(obj: Obj) -> None:
    """What holds for pods but, for historical reasons, not for pod templates."""
    spec = obj.get("spec")
    if spec is None:
        return
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    host_network = spec.get("hostNetwork")
    for member in ("containers", "initContainers"):
        for container in spec.get(member) or ():
            limits = container.get("resources", _EMPTY).get("limits")
            if limits:
                container["resources"]["requests"] = limits | (container["resources"].get("requests") or _EMPTY)
            if host_network:
                for port in container.get("ports") or ():
                    if not port.get("hostPort"):
                        port["hostPort"] = port.get("containerPort", 0)


def _pod_status(obj: Obj) -> None:
    """`podIP` and the first of `podIPs` are one; the older field wins."""
    single, several = obj.get("podIP"), obj.get("podIPs")
    if single:
        if not several or several[0].get("ip") != single:
            obj["podIPs"] = [{"ip": single}]
    elif several and several[0].get("ip"):
        obj["podIP"] = several[0]["ip"]


_VOLUME_COMMON: Final = frozenset({"name"})


def _volume(obj: Obj) -> None:
    if all(value is None or name in _VOLUME_COMMON for name, value in obj.items()):
        obj["emptyDir"] = {}
    image = obj.get("image")
    if image is not None and not image.get("pullPolicy"):
        image["pullPolicy"] = default_pull_policy(image.get("reference") or "")


def _service(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    affinity = spec["sessionAffinity"] = spec.get("sessionAffinity") or "None"
    if affinity == "None":
        spec.pop("sessionAffinityConfig", None)
    elif affinity == "ClientIP":
        config = spec.get("sessionAffinityConfig") or _EMPTY
        if (config.get("clientIP") or _EMPTY).get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": CLIENT_IP_AFFINITY_SECONDS}}
    kind = spec["type"] = spec.get("type") or "ClusterIP"
    for port in spec.get("ports") or ():
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    exposed = kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and spec.get("externalIPs"))
    if exposed and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if spec.get("internalTrafficPolicy") is None and kind in TYPES_WITH_CLUSTER_IP:
        spec["internalTrafficPolicy"] = "Cluster"
    if kind == "LoadBalancer":
        if spec.get("allocateLoadBalancerNodePorts") is None:
            spec["allocateLoadBalancerNodePorts"] = True
        balancer = obj.get("status", _EMPTY).get("loadBalancer") or _EMPTY
        for ingress in balancer.get("ingress") or ():
            if ingress.get("ip") and ingress.get("ipMode") is None:
                ingress["ipMode"] = "VIP"


def _endpoints(obj: Obj) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"


def _secret(obj: Obj) -> None:
    """`stringData` is for writing only: its entries go over those of `data`."""
    given = obj.pop("stringData", None)
    if given:
        data = dict(obj.get("data") or _EMPTY)
        data.update((key, b64encode(text.encode()).decode()) for key, text in given.items())
        obj["data"] = data


def _namespace(obj: Obj) -> None:
    name = obj.get("metadata", _EMPTY).get("name")
    if name:
        metadata = obj["metadata"]
        if (metadata.get("labels") or _EMPTY).get("kubernetes.io/metadata.name") != name:
            metadata["labels"] = {**(metadata.get("labels") or _EMPTY), "kubernetes.io/metadata.name": name}


def _node_spec(obj: Obj) -> None:
    """`podCIDR` and the first of `podCIDRs` are one; the older field wins."""
    single, several = obj.get("podCIDR"), obj.get("podCIDRs")
    if single and (not several or several[0] != single):
        obj["podCIDRs"] = [single]
    elif several and not single:
        obj["podCIDR"] = several[0]


def _node_status(obj: Obj) -> None:
    if obj.get("capacity") and obj.get("allocatable") is None:
        obj["allocatable"] = dict(obj["capacity"])


def _replication_controller(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    labels = ((spec.get("template") or _EMPTY).get("metadata") or _EMPTY).get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        metadata = obj.setdefault("metadata", {})
        if not metadata.get("labels"):
            metadata["labels"] = dict(labels)


def _limit_range_item(obj: Obj) -> None:
    if obj.get("type") != "Container":
        return
    limits = {**(obj.get("max") or _EMPTY), **(obj.get("default") or _EMPTY)}
    requests = {**(obj.get("min") or _EMPTY), **limits, **(obj.get("defaultRequest") or _EMPTY)}
    if limits:
        obj["default"] = limits
    if requests:
        obj["defaultRequest"] = requests


_EMPTY: Final[Obj] = {}

_PACKAGE: Final = "k8s.io.api.core.v1."
SPECIAL: Final[dict[str, Callable[[Obj], None]]] = {
    _PACKAGE + "Container": _container,
    _PACKAGE + "Endpoints": _endpoints,
    _PACKAGE + "EphemeralContainerCommon": _container,
    _PACKAGE + "LimitRangeItem": _limit_range_item,
    _PACKAGE + "Namespace": _namespace,
    _PACKAGE + "NodeSpec": _node_spec,
    _PACKAGE + "NodeStatus": _node_status,
    _PACKAGE + "Pod": _pod,
    _PACKAGE + "PodSpec": _pod_spec,
    _PACKAGE + "PodStatus": _pod_status,
    _PACKAGE + "ReplicationController": _replication_controller,
    _PACKAGE + "Secret": _secret,
    _PACKAGE + "Service": _service,
    _PACKAGE + "Volume": _volume,
}
