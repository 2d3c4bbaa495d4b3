"""The formats that `+k8s:format` names (apimachinery `api/validate/strfmt.go`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from apiserver.api.field_errors import FieldError, field_invalid, too_long
from apiserver.api.validation.names import (
    c_identifier_problems,
    dns_label_problems,
    dns_subdomain_caseless_problems,
    dns_subdomain_problems,
    label_key_problems,
    label_value_problems,
    path_segment_problems,
)

__all__ = ["FORMATS"]

FormatCheck = Callable[[list[FieldError], str, str], None]

_POOL_NAME_BYTES_MAX: Final = 253
_DEVICE_NAME_BYTES_MAX: Final = 32
_DEVICE_PREFIX_BYTES_MAX: Final = 63
_is_uuid = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def _by(problems: Callable[[str], list[str]]) -> FormatCheck:
    def check(errors: list[FieldError], path: str, value: str) -> None:
        for problem in problems(value):
            errors.append(field_invalid(path, value, problem))

    return check


def _prefixed_label_key(value: str) -> list[str]:
    problems = label_key_problems(value)
    if not problems and "/" not in value:
        return ["must include a prefix (e.g. 'example.com/key')"]
    return problems


def _uuid(value: str) -> list[str]:
    return [] if _is_uuid(value) else ["must be a lowercase UUID in 8-4-4-4-12 format"]


def _pool_name(errors: list[FieldError], path: str, value: str) -> None:
    if len(value) > _POOL_NAME_BYTES_MAX:
        errors.append(too_long(path, _POOL_NAME_BYTES_MAX))
    for index, part in enumerate(value.split("/")):
        if not part:
            errors.append(field_invalid(path, value, f"segment {index}: must not be empty"))
            continue
        for problem in dns_subdomain_problems(part):
            errors.append(field_invalid(path, part, f"segment {index}: {problem}"))


def _extended_resource_name(errors: list[FieldError], path: str, value: str) -> None:
    if "/" not in value:
        text = "a name must be a domain-prefixed path, such as 'example.com/my-prop'"
        errors.append(field_invalid(path, value, text))
    elif "kubernetes.io/" in value:
        errors.append(field_invalid(path, value, 'must not have "kubernetes.io/" domain'))
    if value.startswith("requests."):
        errors.append(field_invalid(path, value, 'must not have "requests." prefix'))
    for problem in label_key_problems(f"requests.{value}"):
        errors.append(field_invalid(path, value, problem))


def _c_identifier(errors: list[FieldError], path: str, value: str) -> None:
    if len(value) > _DEVICE_NAME_BYTES_MAX:
        errors.append(too_long(path, _DEVICE_NAME_BYTES_MAX))
    for problem in c_identifier_problems(value):
        errors.append(field_invalid(path, value, problem))


def _fully_qualified_name(errors: list[FieldError], path: str, value: str) -> None:
    parts = value.split("/")
    if len(parts) == 1:
        _c_identifier(errors, path, value)
        text = "a fully qualified name must be a domain and a name separated by a slash"
        errors.append(field_invalid(path, value, text))
    elif len(parts) == 2:
        prefix, name = parts
        if not prefix:
            errors.append(field_invalid(path, "", "prefix must not be empty"))
        else:
            if len(prefix) > _DEVICE_PREFIX_BYTES_MAX:
                errors.append(too_long(path, _DEVICE_PREFIX_BYTES_MAX))
            for problem in dns_subdomain_problems(prefix):
                errors.append(field_invalid(path, prefix, f"prefix: {problem}"))
        if not name:
            errors.append(field_invalid(path, "", "name must not be empty"))
        else:
            _c_identifier(errors, path, name)


FORMATS: Final[dict[str, FormatCheck]] = {
    "k8s-extended-resource-name": _extended_resource_name,
    "k8s-label-key": _by(label_key_problems),
    "k8s-label-value": _by(label_value_problems),
    "k8s-long-name": _by(dns_subdomain_problems),
    "k8s-long-name-caseless": _by(dns_subdomain_caseless_problems),
    "k8s-path-segment-name": _by(path_segment_problems),
    "k8s-prefixed-label-key": _by(_prefixed_label_key),
    "k8s-resource-fully-qualified-name": _fully_qualified_name,
    "k8s-resource-pool-name": _pool_name,
    "k8s-short-name": _by(dns_label_problems),
    "k8s-uuid": _by(_uuid),
}
