"""Endpoints: stored with each address and each port once, whatever way the subsets were cut."""

from __future__ import annotations

from collections.abc import Iterator

from apiserver.api.validation.services import check_endpoints
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.checked import CheckedStrategy, Checks
from apiserver.registry.kinds.ip_warnings import warnings_for_ip
from apiserver.registry.strategy import Finisher

__all__ = ["EndpointsStrategy", "repack_subsets"]

_LISTS = ("addresses", "notReadyAddresses")
_Address = tuple[str, str]
_Port = tuple[str, int, str, str]


def _warnings(obj: Object, old: Object | None) -> list[str]:
    return [
        warning
        for index, subset in enumerate(obj.get("subsets") or ())
        for name in _LISTS
        for place, address in enumerate(subset.get(name) or ())
        for warning in warnings_for_ip(f"subsets[{index}].{name}[{place}].ip", address.get("ip", ""))
    ]


class EndpointsStrategy(CheckedStrategy):
    """The strategy of endpoints."""

    checks = Checks(check_endpoints, warnings=_warnings)

    async def begin_create(self, context: OperationContext, obj: Object) -> Finisher | None:
        """Repack what has been validated as it was given."""
        _canonicalize(obj)
        return None

    async def begin_update(self, context: OperationContext, obj: Object, old: Object) -> Finisher | None:
        """Likewise."""
        _canonicalize(obj)
        return None


def _canonicalize(endpoints: Object) -> None:
    subsets = repack_subsets(endpoints.get("subsets") or [])
    if subsets:
        endpoints["subsets"] = subsets
    else:
        endpoints.pop("subsets", None)


def repack_subsets(subsets: list[Object]) -> list[Object]:
    """Subsets that mean the same: ports that the same addresses serve are together (core/v1 `RepackSubsets`).

    [{a, b: 80}, {a, b: 443}] becomes [{a, b: 80, 443}]. An address is ready behind a port only if no subset says it is
    not. The order is by address and by port.
    """
    objects: dict[_Address | _Port, Object] = {}
    behind: dict[_Port | None, dict[_Address, bool]] = {}
    for port, address, ready, content in _pairs(subsets):
        identity = address.get("ip", ""), (address.get("targetRef") or {}).get("uid", "")
        objects.setdefault(identity, address)
        if port is not None:
            objects.setdefault(port, content)
        known = behind.setdefault(port, {})
        known[identity] = known.get(identity, True) and ready
    together: dict[tuple[tuple[_Address, bool], ...], list[_Port]] = {}
    for port, addresses in behind.items():
        ports = together.setdefault(tuple(sorted(addresses.items())), [])
        if port is not None:
            ports.append(port)
    packed = []
    for addresses_of, ports in sorted(together.items()):
        subset: Object = {}
        for name, wanted in zip(_LISTS, (True, False), strict=True):
            found = [objects[identity] for identity, ready in addresses_of if ready is wanted]
            if found:
                subset[name] = found
        if ports:
            subset["ports"] = [objects[port] for port in sorted(ports)]
        packed.append(subset)
    return packed


def _pairs(subsets: list[Object]) -> Iterator[tuple[_Port | None, Object, bool, Object]]:
    """Each port (None for a subset without any) with each address behind it."""
    for subset in subsets:
        ports: list[Object] = subset.get("ports") or [{}]
        for port in ports:
            key = None
            if port:
                key = port.get("name", ""), port.get("port", 0), port.get("protocol", ""), port.get("appProtocol") or ""
            for name in _LISTS:
                for address in subset.get(name) or ():
                    yield key, address, name == _LISTS[0], port
