"""Services: addresses and node ports are allocated before the write and given back after (KEP-563, KEP-1880)."""

from __future__ import annotations

from apiserver.api.field_errors import FieldError
from apiserver.api.scheme import Resource
from apiserver.api.status import invalid
from apiserver.api.validation.services import (
    check_health_check_port,
    check_load_balancer_status,
    check_service,
    is_externally_accessible,
    needs_health_check,
)
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.service_allocation import ServiceAllocator
from apiserver.registry.kinds.service_warnings import warnings_for_service
from apiserver.registry.strategy import Finisher, Shared, Strategy

__all__ = ["ServiceStrategy"]


class ServiceStrategy(Strategy):
    """The strategy of services. One object serves all of them: it holds the allocator."""

    def __init__(self, resource: Resource, shared: Shared) -> None:
        super().__init__(resource, shared)
        self.allocator = ServiceAllocator(shared.options)

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """The singular address of an old client fills the plural."""
        super().prepare_for_create(context, obj)
        spec = obj["spec"]
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        """Take allocated values over from `old` where they were left out, drop those the new type has no use for."""
        super().prepare_for_update(context, obj, old)
        _take_over_allocated(obj["spec"], old["spec"])
        _normalize_addresses(obj["spec"], old["spec"])
        _drop_useless(obj, old)

    def check(self, context: OperationContext, obj: Object, old: Object | None) -> list[FieldError]:
        """All rules but those of allocation."""
        errors: list[FieldError] = []
        check_service(errors, obj, old)
        return errors

    def check_status(self, context: OperationContext, obj: Object, old: Object) -> list[FieldError]:
        """The load balancer's status."""
        errors: list[FieldError] = []
        now, before = (of.get("status", {}).get("loadBalancer") or {} for of in (obj, old))
        check_load_balancer_status(errors, now, before, is_balancer=obj["spec"].get("type") == "LoadBalancer")
        return errors

    def warnings_on_create(self, context: OperationContext, obj: Object) -> list[str]:
        """What is allowed but hardly meant."""
        return warnings_for_service(obj)

    def warnings_on_update(self, context: OperationContext, obj: Object, old: Object) -> list[str]:
        """Likewise of a change."""
        return warnings_for_service(obj)

    async def begin_create(self, context: OperationContext, obj: Object) -> Finisher | None:
        """Allocate; the finisher gives everything back when the write fails."""
        return await self._allocate(context, obj, None)

    async def begin_update(self, context: OperationContext, obj: Object, old: Object) -> Finisher | None:
        """Allocate what is new; the finisher gives back what is no longer held when the write succeeds."""
        return await self._allocate(context, obj, old)

    async def _allocate(self, context: OperationContext, obj: Object, old: Object | None) -> Finisher:
        allocator = self.allocator
        allocator.set_families(obj, old)
        addresses = await allocator.allocate_addresses(context, obj, _with_addresses(old))
        try:
            ports = await allocator.allocate_ports(context, obj, old)
        except BaseException:
            await allocator.release_addresses(context, obj, addresses)
            raise

        async def finish(success: bool) -> None:
            if not success:
                await allocator.release_addresses(context, obj, addresses)
                allocator.release_ports(context, obj, ports)
            elif old is not None:
                for what, items in allocator.given_up(obj, old):
                    if what == "ports":
                        allocator.release_ports(context, obj, items)
                    else:
                        await allocator.release_addresses(context, obj, items)

        errors: list[FieldError] = []
        check_health_check_port(errors, obj["spec"])
        if errors:
            await finish(False)
            raise invalid("", "Service", obj["metadata"].get("name", ""), errors)
        return finish

    async def after_delete(self, context: OperationContext, obj: Object) -> None:
        """Give everything back."""
        await self.allocator.release_all(context, obj)


def _with_addresses(old: Object | None) -> Object | None:
    """The old service where it held addresses; None where it was ExternalName and all are new."""
    return None if old is None or old["spec"].get("type") == "ExternalName" else old


def _needs_address(spec: Object) -> bool:
    return spec.get("type") != "ExternalName"


def _needs_node_ports(spec: Object) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer")


def _take_over_allocated(spec: Object, before: Object) -> None:
    """A client may leave out what was allocated, without reading it first."""
    if _needs_address(before) and _needs_address(spec):
        if not spec.get("clusterIP") and before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs") and before.get("clusterIPs"):
            spec["clusterIPs"] = list(before["clusterIPs"])
    if _needs_node_ports(before) and _needs_node_ports(spec):
        now, was = (
            {port["nodePort"] for port in of.get("ports") or () if port.get("nodePort")} for of in (spec, before)
        )
        by_name = {port.get("name", ""): port.get("nodePort", 0) for port in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            known = by_name.get(port.get("name", ""), 0)
            if not port.get("nodePort") and known and known not in now & was:
                port["nodePort"] = known
    known = before.get("healthCheckNodePort", 0)
    if needs_health_check(before) and needs_health_check(spec) and known and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = known


def _normalize_addresses(spec: Object, before: Object) -> None:
    """Where an old client changed the singular address alone, the plural follows."""
    now, was = spec.get("clusterIPs"), before.get("clusterIPs")
    if spec.get("clusterIP") != before.get("clusterIP") and (now or []) == (was or []):
        if not spec.get("clusterIP"):
            spec.pop("clusterIPs", None)
        else:
            spec["clusterIPs"] = [spec["clusterIP"]]


def _drop_useless(obj: Object, old: Object) -> None:
    """Values of the old type that the client only carried along (kubernetes `dropTypeDependentFields`)."""
    spec, before = obj["spec"], old["spec"]
    if _needs_address(before) and not _needs_address(spec):
        if (spec.get("clusterIP"), spec.get("clusterIPs")) == (before.get("clusterIP"), before.get("clusterIPs")):
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
        _drop_same(spec, before, "ipFamilies", "ipFamilyPolicy")
    if _needs_node_ports(before) and not _needs_node_ports(spec):
        was = {port.get("nodePort") for port in before.get("ports") or ()}
        if all(port.get("nodePort") in was for port in spec.get("ports") or () if port.get("nodePort")):
            for port in spec.get("ports") or ():
                port.pop("nodePort", None)
    if needs_health_check(before) and not needs_health_check(spec):
        _drop_same(spec, before, "healthCheckNodePort")
    if before.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        _drop_same(spec, before, "allocateLoadBalancerNodePorts", "loadBalancerClass")
    if is_externally_accessible(before) and not is_externally_accessible(spec):
        _drop_same(spec, before, "externalTrafficPolicy")
    if spec.get("type") != "LoadBalancer":
        obj["status"] = {**obj.get("status", {}), "loadBalancer": {}}


def _drop_same(spec: Object, before: Object, *names: str) -> None:
    for name in names:
        if name in spec and spec[name] == before.get(name):
            del spec[name]
