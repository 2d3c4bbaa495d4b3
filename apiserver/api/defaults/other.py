"""Defaults of the smaller groups that need code, and of the API's extensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["SPECIAL"]

Obj = dict[str, Any]

_RBAC_GROUP: Final = "rbac.authorization.k8s.io"


def _network_policy(obj: Obj) -> None:
    spec = obj.get("spec")
    if spec is not None and not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _ingress_class(obj: Obj) -> None:
    parameters = (obj.get("spec") or {}).get("parameters")
    if parameters is not None and parameters.get("scope") is None:
        parameters["scope"] = "Cluster"


def _rbac_subject(obj: Obj) -> None:
    if not obj.get("apiGroup") and obj.get("kind") in ("User", "Group"):
        obj["apiGroup"] = _RBAC_GROUP


def _device_request(obj: Obj) -> None:
    if not obj.get("allocationMode"):
        obj["allocationMode"] = "ExactCount"
    if obj["allocationMode"] == "ExactCount" and not obj.get("count"):
        obj["count"] = 1


def _device_request_v1beta1(obj: Obj) -> None:
    """Only of a request for one class; one that lists alternatives has no mode of its own."""
    if obj.get("deviceClassName"):
        _device_request(obj)


def _csi_driver(obj: Obj) -> None:
    """The gate VolumeLimitScaling is on since 1.37."""
    spec = obj.setdefault("spec", {})
    if spec.get("preventPodSchedulingIfMissing") is None:
        spec["preventPodSchedulingIfMissing"] = False


def _custom_resource_definition_spec(obj: Obj) -> None:
    names = obj.setdefault("names", {})
    kind = names.get("kind") or ""
    if not names.get("singular") and kind:
        names["singular"] = kind.lower()
    if not names.get("listKind") and kind:
        names["listKind"] = f"{kind}List"


def _custom_resource_definition(obj: Obj) -> None:
    status = obj.setdefault("status", {})
    if not status.get("storedVersions"):
        for version in obj.get("spec", {}).get("versions") or ():
            if version.get("storage"):
                status["storedVersions"] = [version.get("name", "")]
                break


_EXTENSIONS: Final = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1."
SPECIAL: Final[dict[str, Callable[[Obj], None]]] = {
    "k8s.io.api.networking.v1.IngressClass": _ingress_class,
    "k8s.io.api.networking.v1.NetworkPolicy": _network_policy,
    "k8s.io.api.rbac.v1.Subject": _rbac_subject,
    "k8s.io.api.resource.v1.DeviceSubRequest": _device_request,
    "k8s.io.api.resource.v1.ExactDeviceRequest": _device_request,
    "k8s.io.api.resource.v1beta1.DeviceRequest": _device_request_v1beta1,
    "k8s.io.api.resource.v1beta1.DeviceSubRequest": _device_request,
    "k8s.io.api.resource.v1beta2.DeviceSubRequest": _device_request,
    "k8s.io.api.resource.v1beta2.ExactDeviceRequest": _device_request,
    "k8s.io.api.storage.v1.CSIDriver": _csi_driver,
    _EXTENSIONS + "CustomResourceDefinition": _custom_resource_definition,
    _EXTENSIONS + "CustomResourceDefinitionSpec": _custom_resource_definition_spec,
}
