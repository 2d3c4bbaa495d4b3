"""Environment variables of containers (core `ValidateEnv`, `ValidateEnvFrom`)."""

from __future__ import annotations

from typing import Final

from apiserver.api.field_errors import field_invalid, required
from apiserver.api.validation.common import Errors, Obj, check_name, check_no_backsteps
from apiserver.api.validation.downward import FIELDS_OF_ENV, check_field_reference, check_resource_reference
from apiserver.api.validation.names import (
    config_key_problems,
    dns_label_problems,
    dns_subdomain_problems,
    env_name_problems,
    mask_trailing_dash,
)

__all__ = ["check_env", "check_env_from"]

_ONE_OF: Final = (
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
)
_MORE_THAN_ONE: Final = "may not have more than one field specified at a time"


def check_env(errors: Errors, path: str, variables: list[Obj]) -> None:
    """The variables of a container."""
    for index, variable in enumerate(variables):
        name = variable.get("name")
        if not name:
            errors.append(required(f"{path}[{index}].name"))
        else:
            for problem in env_name_problems(name):
                errors.append(field_invalid(f"{path}[{index}].name", name, problem))
        if variable.get("valueFrom") is not None:
            _check_source(errors, f"{path}[{index}].valueFrom", variable)


def _check_source(errors: Errors, path: str, variable: Obj) -> None:
    source = variable["valueFrom"]
    given = [member for member, value in source.items() if value is not None]
    for member in given:
        at, reference = f"{path}.{member}", source[member]
        if member == "fieldRef":
            check_field_reference(errors, at, reference, FIELDS_OF_ENV)
        elif member == "resourceFieldRef":
            check_resource_reference(errors, at, reference, in_volume=False)
        elif member == "fileKeyRef":
            _check_file_key(errors, at, reference)
        else:
            _check_key(errors, at, reference)
    if not given:
        errors.append(field_invalid(path, "", _ONE_OF))
    elif variable.get("value"):
        errors.append(field_invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        errors.append(field_invalid(path, "", _MORE_THAN_ONE))


def _check_key(errors: Errors, path: str, reference: Obj) -> None:
    check_name(errors, f"{path}.name", reference.get("name", ""), dns_subdomain_problems)
    if not reference.get("key"):
        errors.append(required(f"{path}.key"))
    else:
        check_name(errors, f"{path}.key", reference["key"], config_key_problems)


def _check_file_key(errors: Errors, path: str, reference: Obj) -> None:
    if not reference.get("key"):
        errors.append(required(f"{path}.key"))
    else:
        check_name(errors, f"{path}.key", reference["key"], env_name_problems)
    if not reference.get("volumeName"):
        errors.append(required(f"{path}.volumeName"))
    else:
        check_name(errors, f"{path}.volumeName", reference["volumeName"], dns_label_problems)
    if not reference.get("path"):
        errors.append(required(f"{path}.path"))
    else:
        check_no_backsteps(errors, f"{path}.path", reference["path"])


def check_env_from(errors: Errors, path: str, sources: list[Obj]) -> None:
    """ConfigMaps and Secrets whose keys all become variables."""
    for index, source in enumerate(sources):
        at = f"{path}[{index}]"
        if source.get("prefix"):
            check_name(errors, f"{at}.prefix", source["prefix"], env_name_problems)
        given = [member for member in ("configMapRef", "secretRef") if source.get(member) is not None]
        for member in given:
            name = source[member].get("name", "")
            if not name:
                errors.append(required(f"{at}.{member}.name"))
            else:
                for problem in dns_subdomain_problems(mask_trailing_dash(name)):
                    errors.append(field_invalid(f"{at}.{member}.name", name, problem))
        if not given:
            errors.append(field_invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            errors.append(field_invalid(path, "", _MORE_THAN_ONE))
