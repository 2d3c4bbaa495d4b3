"""Addresses, families and node ports of services (kubernetes `service/storage/alloc.go`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from apiserver.api.field_errors import FieldError, field_invalid
from apiserver.api.status import StatusError, internal_error, invalid
from apiserver.api.validation.services import family_of, needs_health_check
from apiserver.registry.allocators import AddressRange, AllocationError, PortRange, RangeFullError, Reservations
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.options import KindOptions

__all__ = ["ServiceAllocator", "node_ports_of"]

OTHER_FAMILY: Final = {"IPv4": "IPv6", "IPv6": "IPv4"}
MANAGED_BY: Final = "ipallocator.k8s.io"
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
        self._addresses = Reservations[str]()
        self._node_ports = Reservations[int]()

    @property
    def primary_family(self) -> str:
        """The family a service gets that asks for none."""
        return self._primary

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
        new: list[str] = []
        in_cache = await self._addresses_in_cache(context)
        try:
            for index, family in wanted:
                asked = given[index] if index < len(given) else ""
                address = await self._allocate_address(context, service, family, asked, in_cache)
                new.append(address)
                given[index : index + 1] = [address]
        except StatusError:
            await self.release_addresses(context, new)
            raise
        spec["clusterIPs"] = given
        spec["clusterIP"] = given[0]
        return new

    async def _addresses_in_cache(self, context: OperationContext) -> list[str]:
        services = await context.reader.list("", "services")
        return [address for each in services for address in _addresses_of(each.get("spec") or {})]

    async def _allocate_address(
        self, context: OperationContext, service: Object, family: str, asked: str, in_cache: list[str]
    ) -> str:
        addresses = self._ranges[family]
        refused: set[str] = set()
        while True:
            taken = self._addresses.taken(in_cache, context.clock) | refused
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
            self._addresses.reserve([address], context.clock)
            if await self._record(context, service, family, address):
                return address
            self._addresses.cancel([address])
            refused.add(address)

    async def _record(self, context: OperationContext, service: Object, family: str, address: str) -> bool:
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
        labels = {"ipaddress.kubernetes.io/ip-family": family, "ipaddress.kubernetes.io/managed-by": MANAGED_BY}
        obj = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IPAddress",
            "metadata": {"name": address, "labels": labels},
            "spec": {"parentRef": parent},
        }
        try:
            await self._writer.create("networking.k8s.io", "v1", "ipaddresses", obj)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                self._addresses.cancel([address])
                raise
            return False
        return True

    async def cancel_addresses(self, context: OperationContext, addresses: list[str]) -> None:
        """The write failed for which addresses were reserved."""
        if not context.dry_run:
            await self.release_addresses(context, addresses)
            self._addresses.cancel(addresses)

    async def release_addresses(self, context: OperationContext, addresses: list[str]) -> None:
        """Addresses that their service has no more."""
        if context.dry_run or not addresses:
            return
        self._addresses.release(addresses, context.clock)
        if self._writer is not None:
            for address in addresses:
                await self._writer.delete("networking.k8s.io", "v1", "ipaddresses", "", address)

    async def allocate_ports(self, context: OperationContext, service: Object, old: Object | None) -> list[int]:
        """Give the service the node ports it needs and has not; returns the new ones, reserved."""
        spec = service["spec"]
        wants = spec.get("type") in ("NodePort", "LoadBalancer")
        health = needs_health_check(spec)
        if not wants and not health:
            return []
        held = set(node_ports_of(old["spec"])) if old is not None else set()
        services = await context.reader.list("", "services")
        in_cache = [port for each in services for port in node_ports_of(each.get("spec") or {})]
        taken = self._node_ports.taken(in_cache, context.clock)
        new: list[int] = []
        if wants:
            new += self._allocate_node_ports(context, service, held, taken)
        if health and not (spec.get("healthCheckNodePort") in held and spec.get("healthCheckNodePort")):
            new.append(self._allocate_health_port(context, spec, taken | set(new)))
        if not context.dry_run:
            self._node_ports.reserve(new, context.clock)
        return new

    def _allocate_node_ports(
        self, context: OperationContext, service: Object, held: set[int], taken: set[int]
    ) -> list[int]:
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
                    asked = self._ports.pick(taken | held | set(new), context.randomness)
                except RangeFullError as error:
                    raise internal_error(f"failed to allocate a nodePort: {error}") from None
                new.append(asked)
            elif asked not in held and asked not in new:
                try:
                    self._ports.check(asked, taken)
                except AllocationError as error:
                    at = f"spec.ports[{index}].nodePort"
                    raise _invalid(service, [field_invalid(at, asked, str(error))]) from None
                new.append(asked)
            port["nodePort"] = by_number[number] = asked
        return new

    def _allocate_health_port(self, context: OperationContext, spec: Object, taken: set[int]) -> int:
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

    def cancel_ports(self, context: OperationContext, ports: list[int]) -> None:
        """The write failed for which ports were reserved."""
        if not context.dry_run:
            self._node_ports.cancel(ports)

    def release_ports(self, context: OperationContext, ports: list[int]) -> None:
        """Ports that their service has no more."""
        if not context.dry_run:
            self._node_ports.release(ports, context.clock)

    async def release_all(self, context: OperationContext, service: Object) -> None:
        """Everything a deleted service held."""
        spec = service.get("spec") or {}
        self.release_ports(context, node_ports_of(spec))
        await self.release_addresses(context, _addresses_of(spec))

    def given_up(self, service: Object, old: Object) -> Iterator[tuple[str, list[Any]]]:
        """What an update took from a service: ("addresses" or "ports", the items)."""
        spec, before = service.get("spec") or {}, old.get("spec") or {}
        kept = set(_addresses_of(spec))
        yield "addresses", [address for address in _addresses_of(before) if address not in kept]
        ports = set(node_ports_of(spec))
        yield "ports", [port for port in node_ports_of(before) if port not in ports]


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
