"""Small checks that rules of all kinds are made of. Each appends to `errors` what is wrong with a value at a path."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from apiserver.api.field_errors import FieldError, field_invalid, not_supported, required
from apiserver.api.quantity import Quantity, QuantityError
from apiserver.api.validation.names import (
    label_key_problems,
    label_value_problems,
    percent_problems,
    port_name_problems,
    range_problem,
)

__all__ = [
    "EMPTY",
    "Errors",
    "Obj",
    "check_cidr",
    "check_integer_or_percent",
    "check_ip",
    "check_label_key",
    "check_labels",
    "check_local_path",
    "check_name",
    "check_no_backsteps",
    "check_nonnegative",
    "check_one_of",
    "check_port",
    "check_port_or_name",
    "check_positive",
    "check_relative_path",
    "in_order",
    "is_percent",
    "parse_quantity",
]

Errors = list[FieldError]
Obj = dict[str, Any]
EMPTY: Final[Obj] = {}

NEGATIVE: Final = "must be greater than or equal to 0"
NOT_POSITIVE: Final = "must be greater than zero"


def in_order(strings: dict[str, str] | None) -> dict[str, str] | None:
    """A map as Go prints it: by its keys."""
    return strings and dict(sorted(strings.items()))


def check_name(
    errors: Errors, path: str, value: str, problems: Callable[[str], list[str]], *, shown: Any = None
) -> None:
    """A value that must satisfy a `…_problems` function of `names`."""
    for problem in problems(value):
        errors.append(field_invalid(path, value if shown is None else shown, problem))


def check_one_of(
    errors: Errors, path: str, value: Any, supported: Iterable[str], *, may_be_empty: bool = False
) -> None:
    """A value of a closed set; supported values are shown in the order given."""
    if not value:
        if not may_be_empty:
            errors.append(required(path))
    elif value not in supported:
        errors.append(not_supported(path, value, list(supported)))


def check_nonnegative(errors: Errors, path: str, value: int | None) -> None:
    """A number that is not negative; None passes."""
    if value is not None and value < 0:
        errors.append(field_invalid(path, value, NEGATIVE))


def check_positive(errors: Errors, path: str, value: int | None) -> None:
    """A number above zero; None passes."""
    if value is not None and value <= 0:
        errors.append(field_invalid(path, value, NOT_POSITIVE))


def check_port(errors: Errors, path: str, value: int) -> None:
    """The number of a port."""
    if not 1 <= value <= 65535:
        errors.append(field_invalid(path, value, range_problem(1, 65535)))


def check_port_or_name(errors: Errors, path: str, value: Any) -> None:
    """An IntOrString that is a port's number or name."""
    if isinstance(value, str):
        check_name(errors, path, value, port_name_problems)
    else:
        check_port(errors, path, value or 0)


def check_label_key(errors: Errors, path: str, value: str) -> None:
    """A label key or another qualified name."""
    for problem in _label_key_problems(value):
        errors.append(field_invalid(path, value, problem))


@lru_cache(maxsize=4096)
def _label_key_problems(key: str) -> tuple[str, ...]:
    """The same few keys come again and again."""
    return tuple(label_key_problems(key))


def check_labels(errors: Errors, path: str, labels: dict[str, str] | None) -> None:
    """Keys and values of labels, or of a selector by equality."""
    for key, value in (labels or EMPTY).items():
        check_label_key(errors, path, key)
        for problem in label_value_problems(value):
            errors.append(field_invalid(path, value, problem))


def check_no_backsteps(errors: Errors, path: str, value: str) -> None:
    """A path without `..` elements."""
    if ".." in value and ".." in value.split("/"):
        errors.append(field_invalid(path, value, "must not contain '..'"))


def check_relative_path(errors: Errors, path: str, value: str) -> None:
    """A path that stays below where it starts."""
    if value.startswith("/"):
        errors.append(field_invalid(path, value, "must be a relative path"))
    check_no_backsteps(errors, path, value)


def check_local_path(errors: Errors, path: str, value: str) -> None:
    """A relative path whose first element is not reserved for the volume's own use."""
    check_relative_path(errors, path, value)
    if value.startswith("..") and not value.startswith("../"):
        errors.append(field_invalid(path, value, "must not start with '..'"))


@lru_cache(maxsize=4096)
def parse_quantity(text: str) -> Quantity:
    """A quantity; one that cannot be read, which decoding has refused before, counts as zero."""
    try:
        return Quantity.parse(text)
    except QuantityError:
        return Quantity(0)


def check_ip(errors: Errors, path: str, value: str, old_values: Collection[str] = ()) -> None:
    """An IP address (KEP-4858: no leading zeros, no IPv4 in IPv6); one that was there before passes."""
    if value in old_values:
        return
    address = _parse_ip(value)
    if address is None:
        if _parse_ip(_without_leading_zeros(value)) is not None:
            errors.append(field_invalid(path, value, "must not have leading 0s"))
        else:
            text = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            errors.append(field_invalid(path, value, text))
    elif isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        errors.append(field_invalid(path, value, "must not be an IPv4-mapped IPv6 address"))


def _parse_ip(value: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(value)
    except ValueError:
        return None
    return None if "%" in value else address


def _without_leading_zeros(value: str) -> str:
    parts = value.split(".")
    return ".".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts) if len(parts) == 4 else value


def check_cidr(errors: Errors, path: str, value: str, old_values: Collection[str] = ()) -> None:
    """A network in CIDR form; one that was there before passes."""
    if value in old_values:
        return
    if "/" not in value:
        errors.append(field_invalid(path, value, _CIDR_TEXT))
        return
    try:
        network = ip_network(value)
    except ValueError:
        _explain_cidr(errors, path, value)
        return
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        errors.append(field_invalid(path, value, "must not have an IPv4-mapped IPv6 address"))


_CIDR_TEXT: Final = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def _explain_cidr(errors: Errors, path: str, value: str) -> None:
    address, _, length = value.partition("/")
    try:
        ip_network(value, strict=False)
    except ValueError:
        try:
            ip_network(f"{_without_leading_zeros(address)}/{length.lstrip('0') or '0'}", strict=False)
        except ValueError:
            errors.append(field_invalid(path, value, _CIDR_TEXT))
        else:
            errors.append(field_invalid(path, value, "must not have leading 0s in IP or prefix length"))
    else:
        errors.append(field_invalid(path, value, "must not have bits set beyond the prefix length"))


def is_percent(value: Any) -> bool:
    """Whether an IntOrString is a percentage."""
    return isinstance(value, str) and value.endswith("%") and value[:-1].isascii() and value[:-1].isdigit()


def check_integer_or_percent(errors: Errors, path: str, value: Any) -> None:
    """An IntOrString that is a number not below zero or a percentage."""
    if isinstance(value, str):
        check_name(errors, path, value, percent_problems)
    else:
        check_nonnegative(errors, path, value)
