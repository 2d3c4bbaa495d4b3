"""What several volume sources are made of: keys to paths, file modes, owners."""

from __future__ import annotations

from typing import Final

from apiserver.api.field_errors import field_invalid, required
from apiserver.api.validation.common import Errors, Obj, check_local_path
from apiserver.api.validation.names import range_problem

__all__ = ["ID_MAX", "check_file_mode", "check_id", "check_key_to_path", "check_user"]

ID_MAX: Final = 2**31 - 1


def check_id(errors: Errors, path: str, value: int | None) -> None:
    """A user's or group's number; None passes."""
    if value is not None and not 0 <= value <= ID_MAX:
        errors.append(field_invalid(path, value, range_problem(0, ID_MAX)))


def check_user(errors: Errors, path: str, value: int | None) -> None:
    """The owner of a file."""
    check_id(errors, path, value)


def check_file_mode(errors: Errors, path: str, mode: int | None) -> None:
    """The permissions of a file; None passes."""
    if mode is not None and not 0 <= mode <= 0o777:
        text = "must be a number between 0 and 0777 (octal), both inclusive"
        errors.append(field_invalid(path, mode, text))


def check_key_to_path(errors: Errors, path: str, item: Obj) -> None:
    """A key of a ConfigMap or Secret and the file it becomes."""
    if not item.get("key"):
        errors.append(required(f"{path}.key"))
    if not item.get("path"):
        errors.append(required(f"{path}.path"))
    check_local_path(errors, f"{path}.path", item.get("path", ""))
    check_file_mode(errors, f"{path}.mode", item.get("mode"))
    check_user(errors, f"{path}.user", item.get("user"))
