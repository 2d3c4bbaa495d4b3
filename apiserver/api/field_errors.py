"""Field errors: what is wrong where, in the words of apimachinery `util/validation/field/errors.go`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "FieldError",
    "duplicate",
    "field_forbidden",
    "field_invalid",
    "field_not_found",
    "not_supported",
    "required",
    "too_long",
    "too_many",
    "type_invalid",
]

_TEXTS = {
    "FieldValueRequired": "Required value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueNotFound": "Not found",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "FieldValueTypeInvalid": "Invalid value",
    "InternalError": "Internal error",
}
_WITHOUT_VALUE = {"FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong", "InternalError"}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One problem with one field.

    Attributes:
        reason: a metav1.CauseType, e.g. "FieldValueInvalid".
        field: the path, e.g. `spec.containers[0].image`; `<nil>` stands for the whole object.
    """

    reason: str
    field: str
    value: Any = None
    detail: str = ""

    def body(self) -> str:
        """The text without the path: the message of the Status cause."""
        text = _TEXTS[self.reason]
        if self.reason not in _WITHOUT_VALUE:
            text = f"{text}: {_go_value(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.field}: {self.body()}"


def _go_value(value: Any) -> str:
    """A value as Go prints it in these errors: strings quoted, objects as JSON, nil as null."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (int, float)):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def required(field: str, detail: str = "") -> FieldError:
    """The field must be given."""
    return FieldError("FieldValueRequired", field, None, detail)


def field_invalid(field: str, value: Any, detail: str) -> FieldError:
    """The value does not satisfy a rule."""
    return FieldError("FieldValueInvalid", field, value, detail)


def type_invalid(field: str, value: Any, detail: str) -> FieldError:
    """The value has the wrong type."""
    return FieldError("FieldValueTypeInvalid", field, value, detail)


def not_supported(field: str, value: Any, valid: Sequence[str]) -> FieldError:
    """The value is not one of a closed set; the set is listed sorted as kube-apiserver lists it."""
    listed = ", ".join(json.dumps(item) for item in valid)
    return FieldError("FieldValueNotSupported", field, value, f"supported values: {listed}" if valid else "")


def duplicate(field: str, value: Any) -> FieldError:
    """The value stands twice in a list that is a set."""
    return FieldError("FieldValueDuplicate", field, value)


def field_forbidden(field: str, detail: str) -> FieldError:
    """The field may not be given here."""
    return FieldError("FieldValueForbidden", field, None, detail)


def field_not_found(field: str, value: Any, detail: str = "") -> FieldError:
    """The value names something that does not exist."""
    return FieldError("FieldValueNotFound", field, value, detail)


def too_long(field: str, limit_bytes: int) -> FieldError:
    """The value is longer than the limit."""
    unit = "byte" if limit_bytes == 1 else "bytes"
    return FieldError("FieldValueTooLong", field, None, f"may not be more than {limit_bytes} {unit}")


def too_many(field: str, actual: int, limit: int) -> FieldError:
    """The list has more items than the limit."""
    unit = "item" if limit == 1 else "items"
    return FieldError("FieldValueTooMany", field, actual, f"must have at most {limit} {unit}")
