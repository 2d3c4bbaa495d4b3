"""Warnings about addresses and networks that are not in canonical form (KEP-4858)."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_interface

__all__ = ["warnings_for_cidr", "warnings_for_ip"]


def warnings_for_ip(path: str, value: str) -> list[str]:
    """Of an address; what is none has been refused before."""
    try:
        address = ip_address(value)
    except ValueError:
        plain = _without_leading_zeros(value)
        return [f'{path}: non-standard IP address "{value}" is invalid: use "{plain}"'] if plain else []
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return [f'{path}: non-standard IP address "{value}" is invalid: use "{address.ipv4_mapped}"']
        if str(address) != value:
            return [f'{path}: IPv6 address "{value}" should be in RFC 5952 canonical format ("{address}")']
    return []


def warnings_for_cidr(path: str, value: str) -> list[str]:
    """Of a network; what is none has been refused before."""
    try:
        interface = ip_interface(value)
    except ValueError:
        address, _, length = value.partition("/")
        plain = _without_leading_zeros(address)
        if not plain or not length.isdecimal():
            return []
        network = ip_interface(f"{plain}/{int(length)}").network
        return [f'{path}: non-standard CIDR value "{value}" is invalid: use "{network}"']
    network = interface.network
    if interface.ip != network.network_address:
        single = f"{interface.ip}/{interface.max_prefixlen}"
        return [f'{path}: CIDR value "{value}" is ambiguous in this context (should be "{network}" or "{single}"?)']
    if interface.version == 6 and str(network) != value:
        return [f'{path}: IPv6 CIDR value "{value}" should be in RFC 5952 canonical format ("{network}")']
    return []


def _without_leading_zeros(value: str) -> str:
    """An IPv4 address as old servers read it, octets like 010 being decimal; empty when it is none."""
    parts = value.split(".")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        return ""
    return ".".join(str(int(part)) for part in parts)
