"""Claims of devices (dynamic resource allocation, KEP-4381)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from apiserver.api.field_errors import field_forbidden
from apiserver.api.metatime import format_time
from apiserver.api.status import invalid
from apiserver.api.validation.devices import (
    check_device_taint_rule,
    check_resource_claim,
    check_resource_claim_template,
    check_resource_slice,
)
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.checked import CheckedStrategy, Checks
from apiserver.registry.strategy import Finisher

__all__ = [
    "DeviceTaintRuleStrategy",
    "ResourceClaimStrategy",
    "ResourceClaimTemplateStrategy",
    "ResourceSliceStrategy",
]

ADMIN_LABEL: Final = "resource.kubernetes.io/admin-access"
_ADMIN_TEXT: Final = f"admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"


def _asks_for_admin_access(spec: Object) -> bool:
    """In any version: v1beta1 has the members of `exactly` one level higher."""
    requests = (spec.get("devices") or {}).get("requests") or ()
    return any(request.get("adminAccess") or (request.get("exactly") or {}).get("adminAccess") for request in requests)


async def _check_admin_access(context: OperationContext, obj: Object, spec: Object) -> None:
    """Administrators may use devices that are in use; who creates objects in their namespaces is trusted (KEP-5018)."""
    if not _asks_for_admin_access(spec):
        return
    namespace = await context.reader.get("", "namespaces", "", obj["metadata"].get("namespace", ""))
    labels = (namespace or {}).get("metadata", {}).get("labels") or {}
    if labels.get(ADMIN_LABEL) != "true":
        name, resource = obj["metadata"].get("name", ""), context.resource
        raise invalid(resource.group, resource.kind, name, [field_forbidden("", _ADMIN_TEXT)])


class ResourceClaimStrategy(CheckedStrategy):
    """The strategy of claims."""

    checks = Checks(check_resource_claim)

    async def begin_create(self, context: OperationContext, obj: Object) -> Finisher | None:
        """Admin access needs a namespace that is labelled for it."""
        await _check_admin_access(context, obj, obj.get("spec") or {})
        return None

    def prepare_status(self, context: OperationContext, obj: Object, old: Object) -> None:
        """The status of a device that the claim has no more goes with it (KEP-4817)."""
        status, before = obj.setdefault("status", {}), old.get("status") or {}
        gone = set(_allocated(before)) - set(_allocated(status))
        devices = [device for device in status.get("devices") or () if _identity(device) not in gone]
        if devices:
            status["devices"] = devices
        else:
            status.pop("devices", None)


def _set_time(context: OperationContext, taint: Object) -> None:
    if not taint.get("timeAdded"):
        taint["timeAdded"] = format_time(int(context.clock.now()))


class DeviceTaintRuleStrategy(CheckedStrategy):
    """The strategy of taint rules: a taint knows since when it is there."""

    checks = Checks(check_device_taint_rule)

    def default(self, context: OperationContext, obj: Object) -> None:
        """Since now, unless something else is said."""
        super().default(context, obj)
        _set_time(context, obj["spec"].get("taint") or {})

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        """Another effect begins now."""
        taint, before = obj["spec"].get("taint") or {}, old["spec"].get("taint") or {}
        if taint.get("effect") != before.get("effect") and taint.get("timeAdded") == before.get("timeAdded"):
            taint["timeAdded"] = format_time(int(context.clock.now()))
        super().prepare_for_update(context, obj, old)


class ResourceSliceStrategy(CheckedStrategy):
    """The strategy of slices."""

    checks = Checks(check_resource_slice)

    def default(self, context: OperationContext, obj: Object) -> None:
        """Taints of devices are there since now, unless something else is said."""
        super().default(context, obj)
        for device in obj["spec"].get("devices") or ():
            for taint in (device.get("basic") or device).get("taints") or ():
                _set_time(context, taint)


class ResourceClaimTemplateStrategy(CheckedStrategy):
    """The strategy of claim templates."""

    checks = Checks(check_resource_claim_template)

    async def begin_create(self, context: OperationContext, obj: Object) -> Finisher | None:
        """Admin access needs a namespace that is labelled for it."""
        await _check_admin_access(context, obj, (obj.get("spec") or {}).get("spec") or {})
        return None


def _identity(device: Object) -> tuple[str, str, str, str]:
    return device.get("driver", ""), device.get("pool", ""), device.get("device", ""), device.get("shareID") or ""


def _allocated(status: Object) -> Iterator[tuple[str, str, str, str]]:
    devices = (status.get("allocation") or {}).get("devices") or {}
    for result in devices.get("results") or ():
        yield _identity(result)
