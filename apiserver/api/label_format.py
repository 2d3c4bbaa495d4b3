"""What label keys and values may look like, in the words of apimachinery `api/validate/content`."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["label_key_problems", "label_value_problems"]

KEY_BYTES_MAX: Final = 63
VALUE_BYTES_MAX: Final = 63
PREFIX_BYTES_MAX: Final = 253

_KEY_FORMAT: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE_FORMAT: Final = f"({_KEY_FORMAT})?"
_DNS_LABEL_FORMAT: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN_FORMAT: Final = f"{_DNS_LABEL_FORMAT}(\\.{_DNS_LABEL_FORMAT})*"

_KEY: Final = re.compile(_KEY_FORMAT)
_VALUE: Final = re.compile(_VALUE_FORMAT)
_DNS_SUBDOMAIN: Final = re.compile(_DNS_SUBDOMAIN_FORMAT)

_KEY_TEXT: Final = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
    f" (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_KEY_FORMAT}')"
)
_PREFIX_HINT: Final = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
_VALUE_TEXT: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    " end with an alphanumeric character"
    f" (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_VALUE_FORMAT}')"
)
_DNS_SUBDOMAIN_TEXT: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    " end with an alphanumeric character"
    f" (e.g. 'example.com', regex used for validation is '{_DNS_SUBDOMAIN_FORMAT}')"
)


def label_key_problems(key: str) -> list[str]:
    """What is wrong with a label key: an optional DNS subdomain and a slash, then a name. Empty when nothing is."""
    parts = key.split("/")
    if len(parts) > 2:
        return [f"a valid label key {_KEY_TEXT}{_PREFIX_HINT}"]
    problems = _prefix_problems(parts[0]) if len(parts) == 2 else []
    name = parts[-1]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name.encode()) > KEY_BYTES_MAX:
        problems.append(f"name part must be no more than {KEY_BYTES_MAX} bytes")
    if not _KEY.fullmatch(name):
        problems.append(f"name part {_KEY_TEXT}")
    return problems


def label_value_problems(value: str) -> list[str]:
    """What is wrong with a label value; empty when nothing is."""
    problems = []
    if len(value.encode()) > VALUE_BYTES_MAX:
        problems.append(f"must be no more than {VALUE_BYTES_MAX} bytes")
    if not _VALUE.fullmatch(value):
        problems.append(_VALUE_TEXT)
    return problems


def _prefix_problems(prefix: str) -> list[str]:
    if not prefix:
        return ["prefix part must be non-empty"]
    problems = []
    if len(prefix.encode()) > PREFIX_BYTES_MAX:
        problems.append(f"prefix part must be no more than {PREFIX_BYTES_MAX} bytes")
    if not _DNS_SUBDOMAIN.fullmatch(prefix):
        problems.append(f"prefix part {_DNS_SUBDOMAIN_TEXT}")
    return problems
