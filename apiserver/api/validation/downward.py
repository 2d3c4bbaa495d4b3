"""References of the downward API: to a pod's fields and to a container's resources."""

from __future__ import annotations

from typing import Final

from apiserver.api.field_errors import field_invalid, not_supported, required
from apiserver.api.validation.common import Errors, Obj, check_label_key, parse_quantity

__all__ = ["FIELDS_OF_ENV", "FIELDS_OF_VOLUMES", "check_field_reference", "check_resource_reference"]

FIELDS_OF_ENV: Final = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
FIELDS_OF_VOLUMES: Final = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_KNOWN_FIELDS: Final = frozenset(
    {*FIELDS_OF_ENV, *FIELDS_OF_VOLUMES, "spec.restartPolicy", "spec.schedulerName", "status.phase"}
)
_RESOURCES: Final = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE_PAGES: Final = ("limits.hugepages-", "requests.hugepages-")
_CPU_DIVISORS: Final = frozenset({"1m", "1"})
_BYTE_DIVISORS: Final = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_BYTE_DIVISORS_TEXT: Final = f"only divisor's values {', '.join(_BYTE_DIVISORS)} are supported"


def check_field_reference(errors: Errors, path: str, reference: Obj, fields: tuple[str, ...]) -> None:
    """An ObjectFieldSelector, which may name one of `fields`, or a label or annotation in brackets."""
    for member in ("apiVersion", "fieldPath"):
        if not reference.get(member):
            errors.append(required(f"{path}.{member}"))
            return
    wanted = reference["fieldPath"]
    problem = _conversion_problem(reference["apiVersion"], wanted)
    if problem:
        errors.append(field_invalid(f"{path}.fieldPath", wanted, f"error converting fieldPath: {problem}"))
        return
    name, subscript = _split_subscript(wanted)
    if subscript is not None:
        check_label_key(errors, path, subscript.lower() if name == "metadata.annotations" else subscript)
        return
    if wanted == "spec.host":
        wanted = "spec.nodeName"
    if wanted not in fields:
        errors.append(not_supported(f"{path}.fieldPath", wanted, fields))


def _conversion_problem(version: str, wanted: str) -> str:
    if version != "v1":
        return f"unsupported pod version: {version}"
    name, subscript = _split_subscript(wanted)
    if subscript is not None:
        if name in ("metadata.annotations", "metadata.labels"):
            return ""
        return f"field label does not support subscript: {wanted}"
    if wanted in _KNOWN_FIELDS or wanted == "spec.host":
        return ""
    return f"field label not supported: {wanted}"


def _split_subscript(wanted: str) -> tuple[str, str | None]:
    """`metadata.labels['a']` as ("metadata.labels", "a"); without subscript the second is None."""
    if not wanted.endswith("']"):
        return wanted, None
    name, bracket, subscript = wanted[:-2].partition("['")
    return (name, subscript) if bracket and name else (wanted, None)


def check_resource_reference(errors: Errors, path: str, reference: Obj, *, in_volume: bool) -> None:
    """A ResourceFieldSelector; in a volume it must say of which container."""
    resource = reference.get("resource", "")
    if in_volume and not reference.get("containerName"):
        errors.append(required(f"{path}.containerName"))
    elif not resource:
        errors.append(required(f"{path}.resource"))
    elif resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES):
        errors.append(not_supported(f"{path}.resource", resource, _RESOURCES))
    divisor = reference.get("divisor", "0")
    if divisor and parse_quantity(divisor).sign() != 0:
        _check_divisor(errors, f"{path}.divisor", resource, divisor)


def _check_divisor(errors: Errors, path: str, resource: str, divisor: str) -> None:
    kind = resource.partition(".")[2]
    if kind == "cpu":
        if divisor not in _CPU_DIVISORS:
            text = "only divisor's values 1m and 1 are supported with the cpu resource"
            errors.append(field_invalid(path, resource, text))
        return
    names = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}
    name = names.get(kind, "hugepages" if kind.startswith("hugepages-") else "")
    if name and divisor not in _BYTE_DIVISORS:
        errors.append(field_invalid(path, resource, f"{_BYTE_DIVISORS_TEXT} with the {name} resource"))
