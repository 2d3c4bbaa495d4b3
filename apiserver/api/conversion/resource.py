"""Dynamic resource allocation: resource.k8s.io v1beta1 against v1beta2 and v1, which have one shape.

v1beta1 has the fields of an exact device request in the request itself, where later versions have them below
`exactly`; and the fields of a device below `basic`, where later versions have them in the device itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = [
    "claim_from_v1beta1",
    "claim_template_from_v1beta1",
    "claim_template_to_v1beta1",
    "claim_to_v1beta1",
    "slice_from_v1beta1",
    "slice_to_v1beta1",
]

Object = dict[str, Any]

# What stays in the request in all versions.
_REQUEST_FIELDS: Final = frozenset({"name", "firstAvailable"})


def claim_from_v1beta1(claim: Object) -> Object:
    """A ResourceClaim from v1beta1."""
    return _with_spec(claim, lambda spec: _with_requests(spec, _request_from_v1beta1))


def claim_to_v1beta1(claim: Object) -> Object:
    """A ResourceClaim to v1beta1."""
    return _with_spec(claim, lambda spec: _with_requests(spec, _request_to_v1beta1))


def claim_template_from_v1beta1(template: Object) -> Object:
    """A ResourceClaimTemplate from v1beta1."""
    return _with_spec(template, claim_from_v1beta1)


def claim_template_to_v1beta1(template: Object) -> Object:
    """A ResourceClaimTemplate to v1beta1."""
    return _with_spec(template, claim_to_v1beta1)


def slice_from_v1beta1(resource_slice: Object) -> Object:
    """A ResourceSlice from v1beta1."""
    return _with_spec(resource_slice, lambda spec: _with_devices(spec, _device_from_v1beta1))


def slice_to_v1beta1(resource_slice: Object) -> Object:
    """A ResourceSlice to v1beta1."""
    return _with_spec(resource_slice, lambda spec: _with_devices(spec, _device_to_v1beta1))


def _with_spec(obj: Object, change: Callable[[Object], Object]) -> Object:
    spec = obj.get("spec")
    return {**obj, "spec": change(spec)} if spec else obj


def _with_requests(spec: Object, change: Callable[[Object], Object]) -> Object:
    devices = spec.get("devices")
    if not devices or not devices.get("requests"):
        return spec
    return {**spec, "devices": {**devices, "requests": [change(request) for request in devices["requests"]]}}


def _with_devices(spec: Object, change: Callable[[Object], Object]) -> Object:
    return {**spec, "devices": [change(device) for device in spec["devices"]]} if spec.get("devices") else spec


def _request_from_v1beta1(request: Object) -> Object:
    exactly = {name: value for name, value in request.items() if name not in _REQUEST_FIELDS}
    kept = {name: value for name, value in request.items() if name in _REQUEST_FIELDS}
    # deviceClassName is there, empty, when only alternatives are requested; false is a value of adminAccess.
    is_exact = any(value or value is False for value in exactly.values())
    return {**kept, "exactly": exactly} if is_exact else kept


def _request_to_v1beta1(request: Object) -> Object:
    kept = {name: value for name, value in request.items() if name != "exactly"}
    return kept | (request.get("exactly") or {})


def _device_from_v1beta1(device: Object) -> Object:
    return {"name": device.get("name", ""), **(device.get("basic") or {})}


def _device_to_v1beta1(device: Object) -> Object:
    return {"name": device["name"], "basic": {name: value for name, value in device.items() if name != "name"}}
