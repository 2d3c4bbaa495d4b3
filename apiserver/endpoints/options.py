"""Query parameters and DeleteOptions: reading and refusing them (apimachinery `meta/v1/validation`)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from apiserver.api.field_errors import FieldError, field_forbidden, field_invalid, not_supported, too_long
from apiserver.api.status import bad_request, invalid
from apiserver.request import Request

__all__ = [
    "WriteOptions",
    "delete_options_from_query",
    "int_parameter",
    "optional_bool_parameter",
    "validate_delete_options",
    "write_options",
]

FIELD_MANAGER_BYTES_MAX: Final = 128
_FIELD_VALIDATIONS: Final = ("", "Ignore", "Strict", "Warn")
_PROPAGATION_POLICIES: Final = ("Foreground", "Background", "Orphan")
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """CreateOptions, UpdateOptions or PatchOptions.

    Attributes:
        field_validation: "Ignore", "Warn" or "Strict".
    """

    kind: str
    dry_run: bool = False
    field_manager: str = ""
    field_validation: str = "Warn"

    @property
    def strict(self) -> bool:
        """Whether unknown and duplicate fields are to be looked for at all."""
        return self.field_validation != "Ignore"

    def to_dict(self, kind: str = "") -> dict[str, Any]:
        """As admission sees them; `kind` is that of the operation, which for a patch that updates is UpdateOptions."""
        options: dict[str, Any] = {"kind": kind or self.kind, "apiVersion": "meta.k8s.io/v1"}
        if self.dry_run:
            options["dryRun"] = ["All"]
        if self.field_manager:
            options["fieldManager"] = self.field_manager
        options["fieldValidation"] = self.field_validation
        return options


_DEFAULTS: Final = {kind: WriteOptions(kind) for kind in ("CreateOptions", "UpdateOptions", "PatchOptions")}


def write_options(request: Request, kind: str) -> WriteOptions:
    """The options of a create, update or patch.

    Raises:
        StatusError: 422 for values that do not exist.
    """
    query = request.query
    if not query:
        return _DEFAULTS[kind]
    dry_run = query.get("dryRun", [])
    manager = request.parameter("fieldManager")
    validation = request.parameter("fieldValidation")
    errors: list[FieldError] = []
    if kind == "PatchOptions" and "force" in query:
        errors.append(field_forbidden("force", "may not be specified for non-apply patch"))
    errors += _field_manager_errors(manager)
    errors += _dry_run_errors(dry_run)
    if validation not in _FIELD_VALIDATIONS:
        errors.append(not_supported("fieldValidation", validation, _FIELD_VALIDATIONS))
    if errors:
        raise invalid("meta.k8s.io", kind, "", errors)
    return WriteOptions(kind, bool(dry_run), manager, validation or "Warn")


def _field_manager_errors(manager: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if len(manager.encode()) > FIELD_MANAGER_BYTES_MAX:
        errors.append(too_long("fieldManager", FIELD_MANAGER_BYTES_MAX))
    position = 0
    for char in manager:
        if not char.isprintable():
            text = f"invalid character U+{ord(char):04X} (at position {position})"
            errors.append(field_invalid("fieldManager", manager, text))
        position += len(char.encode())
    return errors


def _dry_run_errors(values: list[str]) -> list[FieldError]:
    if all(value == "All" for value in values):
        return []
    return [not_supported("dryRun", values, ["All"])]


def delete_options_from_query(request: Request) -> dict[str, Any]:
    """DeleteOptions of a request without body; raises 400 for values of the wrong type."""
    options: dict[str, Any] = {}
    grace = int_parameter(request, "gracePeriodSeconds")
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    for name in ("orphanDependents", "ignoreStoreReadErrorWithClusterBreakingPotential"):
        value = optional_bool_parameter(request, name)
        if value is not None:
            options[name] = value
    if "propagationPolicy" in request.query:
        options["propagationPolicy"] = request.parameter("propagationPolicy")
    if "dryRun" in request.query:
        options["dryRun"] = request.query["dryRun"]
    return options


def validate_delete_options(options: dict[str, Any]) -> None:
    """Refuse what contradicts itself or does not exist: 422."""
    errors: list[FieldError] = []
    policy = options.get("propagationPolicy")
    if policy is not None and options.get("orphanDependents") is not None:
        text = "orphanDependents and deletionPropagation cannot be both set"
        errors.append(field_invalid("propagationPolicy", policy, text))
    if policy is not None and policy not in _PROPAGATION_POLICIES:
        errors.append(not_supported("propagationPolicy", policy, (*_PROPAGATION_POLICIES, "nil")))
    errors += _dry_run_errors(options.get("dryRun") or [])
    if errors:
        raise invalid("meta.k8s.io", "DeleteOptions", "", errors)


def int_parameter(request: Request, name: str) -> int | None:
    """A parameter as a 64 bit integer, None when it is not given; raises 400."""
    text = request.parameter(name)
    if not text:
        return None
    if not _INTEGER.fullmatch(text):
        raise bad_request(f"strconv.ParseInt: parsing {json.dumps(text, ensure_ascii=False)}: invalid syntax")
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def optional_bool_parameter(request: Request, name: str) -> bool | None:
    """A parameter as a boolean, None when it is not given: anything but `false` and `0` is true."""
    values = request.query.get(name)
    if not values:
        return None
    return values[0].lower() not in ("false", "0")
