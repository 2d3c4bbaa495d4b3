"""Which host names and addresses a certificate is good for: those of members and those of clients alike.

Free of gRPC, which takes a while to load.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from cryptography import x509

__all__ = ["alternative_names", "matches_host", "matches_name"]


def alternative_names(certificate: x509.Certificate) -> tuple[list[str], list[Any]]:
    """Host names, and addresses as `ipaddress` has them, that a certificate lists; none of either without a list."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    return names.get_values_for_type(x509.DNSName), names.get_values_for_type(x509.IPAddress)


def matches_host(certificate: x509.Certificate, host: str) -> bool:
    """Whether the certificate is good for a host name or an address (RFC 6125; the common name does not count)."""
    names, addresses = alternative_names(certificate)
    try:
        return ipaddress.ip_address(host.strip("[]")) in addresses
    except ValueError:
        return any(matches_name(name, host) for name in names)


def matches_name(pattern: str, host: str) -> bool:
    """Whether a name in a certificate, perhaps with `*` for its first label, is that of `host`."""
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return pattern == host
