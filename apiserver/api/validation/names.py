"""What names, keys and numbers may look like, in the words of apimachinery `util/validation` and `validate/content`.

Each `…_problems` function returns what is wrong with a value, in order, and an empty list when nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from apiserver.api.label_format import label_key_problems, label_value_problems

__all__ = [
    "DNS_LABEL_BYTES_MAX",
    "DNS_SUBDOMAIN_BYTES_MAX",
    "NAME_RULES",
    "c_identifier_problems",
    "config_key_problems",
    "dns1035_label_problems",
    "dns_label_problems",
    "dns_subdomain_caseless_problems",
    "dns_subdomain_problems",
    "env_name_problems",
    "http_header_name_problems",
    "label_key_problems",
    "label_value_problems",
    "mask_trailing_dash",
    "path_segment_problems",
    "percent_problems",
    "port_name_problems",
    "port_number_problems",
    "range_problem",
    "regex_problem",
    "wildcard_subdomain_problems",
]

DNS_LABEL_BYTES_MAX: Final = 63
DNS_SUBDOMAIN_BYTES_MAX: Final = 253

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = f"{_LABEL}(\\.{_LABEL})*"
_DNS1035: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL_WITH_UNDERSCORE: Final = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_WITH_UNDERSCORE: Final = f"{_LABEL_WITH_UNDERSCORE}(\\.{_LABEL_WITH_UNDERSCORE})*"
_WILDCARD: Final = f"\\*\\.{_SUBDOMAIN}"
_C_IDENTIFIER: Final = "[A-Za-z_][A-Za-z0-9_]*"
_CONFIG_KEY: Final = "[-._a-zA-Z0-9]+"
_HTTP_HEADER: Final = "[-A-Za-z0-9]+"
_PERCENT: Final = "[0-9]+%"


def _matcher(pattern: str) -> Callable[[str], Any]:
    return re.compile(pattern).fullmatch


_is_label = _matcher(_LABEL)
_is_subdomain = _matcher(_SUBDOMAIN)
_is_subdomain_caseless = re.compile(_SUBDOMAIN, re.IGNORECASE).fullmatch
_is_dns1035 = _matcher(_DNS1035)
_is_subdomain_with_underscore = _matcher(_SUBDOMAIN_WITH_UNDERSCORE)
_is_wildcard = _matcher(_WILDCARD)
_is_c_identifier = _matcher(_C_IDENTIFIER)
_is_config_key = _matcher(_CONFIG_KEY)
_is_http_header = _matcher(_HTTP_HEADER)
_is_percent = _matcher(_PERCENT)
_is_port_charset = _matcher("[-a-z0-9]+")


def regex_problem(message: str, pattern: str, *examples: str) -> str:
    """The text for a value that does not match a pattern."""
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {listed}regex used for validation is '{pattern}')"


def range_problem(low: int, high: int) -> str:
    """The text for a number that must be between two others."""
    return f"must be between {low} and {high}, inclusive"


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


_LABEL_TEXT: Final = regex_problem(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-',"
    " and must start and end with an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_TEXT: Final = regex_problem(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.',"
    " and must start and end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_SUBDOMAIN_CASELESS_TEXT: Final = regex_problem(
    "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.',"
    " and must start and end with an alphanumeric character",
    _SUBDOMAIN,
    "Example.com",
)
_DNS1035_TEXT: Final = regex_problem(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character,"
    " and end with an alphanumeric character",
    _DNS1035,
    "my-name",
    "abc-123",
)
_SUBDOMAIN_WITH_UNDERSCORE_TEXT: Final = regex_problem(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.',"
    " and must start and end with an alphanumeric character",
    _SUBDOMAIN_WITH_UNDERSCORE,
    "example.com",
)
_WILDCARD_TEXT: Final = regex_problem(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of"
    " lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    _WILDCARD,
    "*.example.com",
)


def dns_label_problems(value: str) -> list[str]:
    """An RFC 1123 label, such as a namespace."""
    problems = [_too_long(DNS_LABEL_BYTES_MAX)] if len(value) > DNS_LABEL_BYTES_MAX else []
    if not _is_label(value):
        problems.append("must not contain dots" if _is_subdomain(value) else _LABEL_TEXT)
    return problems


def dns_subdomain_problems(value: str) -> list[str]:
    """An RFC 1123 subdomain: labels joined by dots; what most names are."""
    problems = [_too_long(DNS_SUBDOMAIN_BYTES_MAX)] if len(value) > DNS_SUBDOMAIN_BYTES_MAX else []
    if not _is_subdomain(value):
        problems.append(_SUBDOMAIN_TEXT)
    return problems


def dns_subdomain_caseless_problems(value: str) -> list[str]:
    """A subdomain whose letters may be capitals."""
    too_long = f"must be no more than {DNS_SUBDOMAIN_BYTES_MAX} bytes"
    problems = [too_long] if len(value) > DNS_SUBDOMAIN_BYTES_MAX else []
    if not _is_subdomain_caseless(value):
        problems.append(_SUBDOMAIN_CASELESS_TEXT)
    return problems


def dns_subdomain_with_underscore_problems(value: str) -> list[str]:
    """A subdomain with underscores, as in DNS search paths."""
    problems = [_too_long(DNS_SUBDOMAIN_BYTES_MAX)] if len(value) > DNS_SUBDOMAIN_BYTES_MAX else []
    if not _is_subdomain_with_underscore(value):
        problems.append(_SUBDOMAIN_WITH_UNDERSCORE_TEXT)
    return problems


def dns1035_label_problems(value: str) -> list[str]:
    """An RFC 1035 label: it starts with a letter."""
    problems = [_too_long(DNS_LABEL_BYTES_MAX)] if len(value) > DNS_LABEL_BYTES_MAX else []
    if not _is_dns1035(value):
        problems.append(_DNS1035_TEXT)
    return problems


def wildcard_subdomain_problems(value: str) -> list[str]:
    """A subdomain after `*.`."""
    problems = [_too_long(DNS_SUBDOMAIN_BYTES_MAX)] if len(value) > DNS_SUBDOMAIN_BYTES_MAX else []
    if not _is_wildcard(value):
        problems.append(_WILDCARD_TEXT)
    return problems


def c_identifier_problems(value: str) -> list[str]:
    """An identifier of the C language."""
    if _is_c_identifier(value):
        return []
    text = (
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric"
        " characters or '_'"
    )
    return [regex_problem(text, _C_IDENTIFIER, "my_name", "MY_NAME", "MyName")]


def env_name_problems(value: str) -> list[str]:
    """The name of an environment variable (KEP-4369: any printable ASCII but '=')."""
    problems = [] if value else ["environment variable name must be non-empty"]
    if not all(" " <= character <= "~" and character != "=" for character in value):
        problems.append(
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
        )
    return problems


def config_key_problems(value: str) -> list[str]:
    """A key of a ConfigMap or Secret."""
    problems = [_too_long(DNS_SUBDOMAIN_BYTES_MAX)] if len(value) > DNS_SUBDOMAIN_BYTES_MAX else []
    if not _is_config_key(value):
        text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        problems.append(regex_problem(text, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if value == ".":
        problems.append("must not be '.'")
    elif value == "..":
        problems.append("must not be '..'")
    elif value.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def port_name_problems(value: str) -> list[str]:
    """The name of a port (RFC 6335, in lower case)."""
    problems = [_too_long(15)] if len(value) > 15 else []
    if not _is_port_charset(value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= character <= "z" for character in value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value and (value[0] == "-" or value[-1] == "-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def port_number_problems(value: int) -> list[str]:
    """The number of a port."""
    return [] if 1 <= value <= 65535 else [range_problem(1, 65535)]


def percent_problems(value: str) -> list[str]:
    """A percentage as text."""
    if _is_percent(value):
        return []
    text = "a valid percent string must be a numeric string followed by an ending '%'"
    return [regex_problem(text, _PERCENT, "1%", "93%")]


def http_header_name_problems(value: str) -> list[str]:
    """The name of an HTTP header."""
    if _is_http_header(value):
        return []
    text = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [regex_problem(text, _HTTP_HEADER, "X-Header-Name")]


def path_segment_problems(value: str, prefix: bool = False) -> list[str]:
    """A name that can stand in a URL path."""
    if not prefix and value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{illegal}'" for illegal in "/%" if illegal in value]


def mask_trailing_dash(name: str) -> str:
    """A generateName as it counts for validation: a final dash is fine, since characters follow."""
    return name[:-2] + "a" if len(name) > 1 and name.endswith("-") else name


NameRule = Callable[[str, bool], list[str]]


def _of_generated(problems: Callable[[str], list[str]]) -> NameRule:
    return lambda name, prefix: problems(mask_trailing_dash(name) if prefix else name)


def _ip_name(name: str, prefix: bool) -> list[str]:
    try:
        address = ip_address(name)
    except ValueError:
        parts = name.split(".")
        stripped = ".".join(part.lstrip("0") or "0" for part in parts)
        if len(parts) == 4 and stripped != name and not _ip_name(stripped, prefix):
            return ["must not have leading 0s"]
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return ["must not be an IPv4-mapped IPv6 address"]
    return [] if str(address) == name else [f'must be in canonical form ("{address}")']


NAME_RULES: Final[dict[str, NameRule]] = {
    "any": lambda name, prefix: [],
    "config key": lambda name, prefix: config_key_problems(name),
    "dns1035": _of_generated(dns1035_label_problems),
    "ip": _ip_name,
    "label": _of_generated(dns_label_problems),
    "path": path_segment_problems,
    "subdomain": _of_generated(dns_subdomain_problems),
}
"""Rules for `metadata.name` by what `KindRules.name` says; the second argument is True for a generateName."""
