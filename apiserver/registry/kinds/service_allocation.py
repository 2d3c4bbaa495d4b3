"""Addresses, families and node ports of services (kubernetes `service/storage/alloc.go`)."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Any, Final

from apiserver.api.field_errors import FieldError, field_invalid
from apiserver.api.metatime import format_time
from apiserver.api.status import StatusError, internal_error, invalid
from apiserver.api.validation.services import family_of, needs_health_check
from apiserver.registry.allocators import (
    AddressRange,
    AllocationError,
    Following,
    Holdings,
    PortRange,
    RangeFullError,
)
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.options import KindOptions, ObjectWriter

__all__ = ["ServiceAllocator", "node_ports_of"]

OTHER_FAMILY: Final = {"IPv4": "IPv6", "IPv6": "IPv4"}
MANAGED_BY: Final = "ipallocator.k8s.io"
MANAGED_BY_LABEL: Final = "ipaddress.kubernetes.io/managed-by"
ORPHAN_AGE_SECONDS: Final = 60
_GROUP: Final = "networking.k8s.io"
NOT_FREE: Final = "provided IP is already allocated"


def node_ports_of(spec: Object) -> list[int]:
    """Every node port a service holds, the health check's included."""
    ports = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    if needs_health_check(spec) and spec.get("healthCheckNodePort"):
        ports.append(spec["healthCheckNodePort"])
    return ports


def _addresses_of(spec: Object) -> list[str]:
    if spec.get("type") == "ExternalName":
        return []
    return [address for address in spec.get("clusterIPs") or () if address != "None"]


class ServiceAllocator:
    """The allocator of one server; all services go through it."""

    def __init__(self, options: KindOptions) -> None:
        ranges = [AddressRange(cidr) for cidr in options.service_cidrs]
        self._ranges = {each.family: each for each in ranges}
        self._primary = ranges[0].family
        self._ports = PortRange(*options.node_ports)
        self._writer = options.writer
        self._addresses = Holdings[str]()
        self._node_ports = Holdings[int]()
        self._services = Following("", "services", self._observe)

    @property
    def primary_family(self) -> str:
        """The family a service gets that asks for none."""
        return self._primary

    def _observe(self, services: Sequence[tuple[Object, bool]], is_all: bool) -> None:
        if is_all:
            self._addresses.forget_observed()
            self._node_ports.forget_observed()
        for service, gone in services:
            uid, spec = service["metadata"].get("uid", ""), service.get("spec") or {}
            self._addresses.observe(uid, None if gone else _addresses_of(spec))
            self._node_ports.observe(uid, None if gone else node_ports_of(spec))

    async def _ready(self, context: OperationContext) -> None:
        """Know what the services hold."""
        fresh = await self._services.ready(context.reader)
        self._addresses.expire(context.clock)
        self._node_ports.expire(context.clock)
        if fresh and self._writer is not None:
            await self._delete_orphans(context, self._writer)

    async def _delete_orphans(self, context: OperationContext, writer: ObjectWriter) -> None:
        """IPAddresses whose service was never written, because a server died in between."""
        born_before = format_time(int(context.clock.now() - ORPHAN_AGE_SECONDS))
        for found in await context.reader.list(_GROUP, "ipaddresses"):
            metadata = found["metadata"]
            is_ours = (metadata.get("labels") or {}).get(MANAGED_BY_LABEL) == MANAGED_BY
            if is_ours and metadata["name"] not in self._addresses and metadata["creationTimestamp"] < born_before:
                await writer.delete(_GROUP, "v1", "ipaddresses", "", metadata["name"])

    def set_families(self, service: Object, old: Object | None) -> None:
        """Fill in `ipFamilies` and `ipFamilyPolicy`; raises 422 Invalid where they contradict the cluster."""
        spec = service["spec"]
        if spec.get("type") == "ExternalName" or _keeps_preferred_dual_stack(spec, old):
            return
        headless_without_selector = spec.get("clusterIP") == "None" and not spec.get("selector")
        if spec.get("ipFamilyPolicy") is None:
            before = (old or {}).get("spec", {}).get("ipFamilyPolicy")
            spec["ipFamilyPolicy"] = before or ("RequireDualStack" if headless_without_selector else "SingleStack")
        errors = self._reconcile(spec, old)
        if errors:
            raise _invalid(service, errors)
        if headless_without_selector:
            families = spec.setdefault("ipFamilies", [self._primary])
            if len(families) < 2 and spec["ipFamilyPolicy"] != "SingleStack":
                families.append(OTHER_FAMILY[families[0]])
            return
        errors = self._unconfigured(spec)
        if errors:
            raise _invalid(service, errors)
        families = spec.get("ipFamilies") or [self._primary]
        if spec["ipFamilyPolicy"] != "SingleStack" and len(families) == 1 and len(self._ranges) == 2:
            families = [families[0], OTHER_FAMILY[families[0]]]
        spec["ipFamilies"] = families

    def _reconcile(self, spec: Object, old: Object | None) -> list[FieldError]:
        errors: list[FieldError] = []
        policy, at = spec["ipFamilyPolicy"], "spec.ipFamilyPolicy"
        before = (old or {}).get("spec", {})
        for member, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
            now, was = spec.get(member) or [], before.get(member) or []
            if policy == "SingleStack":
                if old is not None and now == was and len(now) > 1:
                    spec[member] = now = now[:1]
                if len(now) == 2:
                    plural = "cluster IPs" if member == "clusterIPs" else "IP families"
                    text = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {plural} are specified"
                    errors.append(field_invalid(at, policy, text))
            elif now and len(now) < len(was):
                text = f"must be 'SingleStack' to release the secondary {what}"
                errors.append(field_invalid(at, policy, text))
        families = list(spec.get("ipFamilies") or ())
        for index, address in enumerate(spec.get("clusterIPs") or ()):
            if address == "None":
                break
            if index >= len(families):
                family = family_of(address)
                if family in self._ranges:
                    families.append(family)
                else:
                    text = f"{family} is not configured on this cluster"
                    errors.append(field_invalid(f"spec.clusterIPs[{index}]", spec["clusterIPs"], text))
        if families:
            spec["ipFamilies"] = families
        return errors

    def _unconfigured(self, spec: Object) -> list[FieldError]:
        errors = []
        if spec["ipFamilyPolicy"] == "RequireDualStack" and len(self._ranges) < 2:
            text = "this cluster is not configured for dual-stack services"
            errors.append(field_invalid("spec.ipFamilyPolicy", spec["ipFamilyPolicy"], text))
        for index, family in enumerate(spec.get("ipFamilies") or ()):
            if family not in self._ranges:
                errors.append(field_invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster"))
        return errors

    async def allocate_addresses(self, context: OperationContext, service: Object, old: Object | None) -> list[str]:
        """Give the service the addresses its families ask for and it has not; returns the new ones, reserved."""
        spec = service["spec"]
        if spec.get("type") == "ExternalName" or spec.get("clusterIPs") == ["None"]:
            return []
        held = _addresses_of(old["spec"]) if old is not None else []
        families, given = spec.get("ipFamilies") or [], list(spec.get("clusterIPs") or ())
        wanted = [(index, family) for index, family in enumerate(families) if index >= len(held)]
        if not wanted:
            return []
        await self._ready(context)
        new: list[str] = []
        try:
            for index, family in wanted:
                asked = given[index] if index < len(given) else ""
                address = await self._allocate_address(context, service, family, asked)
                new.append(address)
                given[index : index + 1] = [address]
        except BaseException:
            await self.release_addresses(context, service, new)
            raise
        spec["clusterIPs"] = given
        spec["clusterIP"] = given[0]
        return new

    async def _allocate_address(self, context: OperationContext, service: Object, family: str, asked: str) -> str:
        addresses, owner = self._ranges[family], service["metadata"].get("uid", "")
        refused: set[str] = set()
        taken = _Either(self._addresses, refused)
        while True:
            try:
                address = addresses.check(asked) if asked else addresses.pick(taken, context.randomness)
                if address in taken:
                    raise AllocationError(NOT_FREE)
            except AllocationError as error:
                text = f"failed to allocate IP {asked}: {error}"
                raise _invalid(
                    service, [field_invalid("spec.clusterIPs", service["spec"].get("clusterIPs"), text)]
                ) from None
            except RangeFullError as error:
                name = service["metadata"].get("name", "")
                raise internal_error(f'failed to allocate a serviceIP for Service "{name}": {error}') from None
            if context.dry_run:
                return address
            self._addresses.reserve(owner, [address], context.clock)
            try:
                if await self._record(service, family, address):
                    return address
            except BaseException:
                self._addresses.cancel(owner, [address])
                raise
            self._addresses.cancel(owner, [address])
            refused.add(address)

    async def _record(self, service: Object, family: str, address: str) -> bool:
        """Store the IPAddress that decides between servers; False when another one was first."""
        if self._writer is None:
            return True
        metadata = service["metadata"]
        parent = {
            "group": "",
            "resource": "services",
            "namespace": metadata.get("namespace", ""),
            "name": metadata["name"],
        }
        labels = {"ipaddress.kubernetes.io/ip-family": family, MANAGED_BY_LABEL: MANAGED_BY}
        obj = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IPAddress",
            "metadata": {"name": address, "labels": labels},
            "spec": {"parentRef": parent},
        }
        try:
            await self._writer.create(_GROUP, "v1", "ipaddresses", obj)
        except StatusError as error:
            if error.reason == "NotFound":  # the group is switched off: then the services alone decide
                return True
            if error.reason != "AlreadyExists":
                raise
            return False
        return True

    async def release_addresses(self, context: OperationContext, service: Object, addresses: list[str]) -> None:
        """Addresses that a service has no more, or that were reserved for a write that failed."""
        if context.dry_run or not addresses:
            return
        self._addresses.release(service["metadata"].get("uid", ""), addresses, context.clock)
        if self._writer is None:
            return
        for address in addresses:
            try:
                await self._writer.delete(_GROUP, "v1", "ipaddresses", "", address)
            except StatusError as error:
                if error.reason != "NotFound":
                    raise

    async def allocate_ports(self, context: OperationContext, service: Object, old: Object | None) -> list[int]:
        """Give the service the node ports it needs and has not; returns the new ones, reserved."""
        spec = service["spec"]
        wants = spec.get("type") in ("NodePort", "LoadBalancer")
        health = needs_health_check(spec)
        if not wants and not health:
            return []
        held = set(node_ports_of(old["spec"])) if old is not None else set()
        await self._ready(context)
        new: list[int] = []
        if wants:
            new += self._allocate_node_ports(context, service, held)
        if health and not (spec.get("healthCheckNodePort") in held and spec.get("healthCheckNodePort")):
            new.append(self._allocate_health_port(context, spec, _Either(self._node_ports, set(new))))
        if not context.dry_run:
            self._node_ports.reserve(service["metadata"].get("uid", ""), new, context.clock)
        return new

    def _allocate_node_ports(self, context: OperationContext, service: Object, held: set[int]) -> list[int]:
        """Ports with one number, of different protocols, share a node port."""
        spec = service["spec"]
        allocates = spec["type"] == "NodePort" or bool(spec.get("allocateLoadBalancerNodePorts"))
        new: list[int] = []
        by_number: dict[int, int] = {}
        for index, port in enumerate(spec.get("ports") or ()):
            number, asked = port.get("port", 0), port.get("nodePort", 0)
            if not asked and not allocates:
                continue
            asked = asked or by_number.get(number) or _requested(spec["ports"], number)
            if not asked:
                try:
                    asked = self._ports.pick(_Either(self._node_ports, {*held, *new}), context.randomness)
                except RangeFullError as error:
                    raise internal_error(f"failed to allocate a nodePort: {error}") from None
                new.append(asked)
            elif asked not in held and asked not in new:
                try:
                    self._ports.check(asked, self._node_ports)
                except AllocationError as error:
                    at = f"spec.ports[{index}].nodePort"
                    raise _invalid(service, [field_invalid(at, asked, str(error))]) from None
                new.append(asked)
            port["nodePort"] = by_number[number] = asked
        return new

    def _allocate_health_port(self, context: OperationContext, spec: Object, taken: Container[int]) -> int:
        asked: int = spec.get("healthCheckNodePort", 0)
        try:
            if asked:
                self._ports.check(asked, taken)
            else:
                asked = spec["healthCheckNodePort"] = self._ports.pick(taken, context.randomness)
        except AllocationError as error:
            text = f"failed to allocate requested HealthCheck NodePort {asked}: {error}"
            raise internal_error(text) from None
        except RangeFullError as error:
            raise internal_error(f"failed to allocate a HealthCheck NodePort {asked}: {error}") from None
        return asked

    def release_ports(self, context: OperationContext, service: Object, ports: list[int]) -> None:
        """Ports that a service has no more, or that were reserved for a write that failed."""
        if not context.dry_run:
            self._node_ports.release(service["metadata"].get("uid", ""), ports, context.clock)

    async def release_all(self, context: OperationContext, service: Object) -> None:
        """Everything a deleted service held."""
        spec = service.get("spec") or {}
        self.release_ports(context, service, node_ports_of(spec))
        await self.release_addresses(context, service, _addresses_of(spec))

    def given_up(self, service: Object, old: Object) -> Iterator[tuple[str, list[Any]]]:
        """What an update took from a service: ("addresses" or "ports", the items)."""
        spec, before = service.get("spec") or {}, old.get("spec") or {}
        kept = set(_addresses_of(spec))
        yield "addresses", [address for address in _addresses_of(before) if address not in kept]
        ports = set(node_ports_of(spec))
        yield "ports", [port for port in node_ports_of(before) if port not in ports]


class _Either:
    """What is in one of two containers."""

    def __init__(self, one: Container[Any], other: Container[Any]) -> None:
        self._one, self._other = one, other

    def __contains__(self, item: object) -> bool:
        return item in self._one or item in self._other


def _requested(ports: list[Object], number: int) -> int:
    return next((port["nodePort"] for port in ports if port.get("port") == number and port.get("nodePort")), 0)


def _keeps_preferred_dual_stack(spec: Object, old: Object | None) -> bool:
    """A PreferDualStack service that is not touched stays as it is, even where the cluster has become dual-stack."""
    if old is None:
        return False
    before = old.get("spec") or {}
    return (
        spec.get("ipFamilyPolicy") == "PreferDualStack"
        and before.get("ipFamilyPolicy") in (None, "PreferDualStack")
        and all(spec.get(member) == before.get(member) for member in ("type", "clusterIPs", "ipFamilies"))
    )


def _invalid(service: Object, errors: list[FieldError]) -> StatusError:
    return invalid("", "Service", service["metadata"].get("name", ""), errors)
