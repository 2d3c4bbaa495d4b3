"""JSON values as patches see them: copies, strict equality, and Go's words for types and values in error texts."""

from __future__ import annotations

from typing import Any

from apiserver.api.status import GenericServerError, StatusError

__all__ = ["copy_value", "go_json_type", "go_text", "go_type", "same", "unprocessable"]


def copy_value(value: Any) -> Any:
    """A deep copy of a JSON value."""
    if isinstance(value, dict):
        return {key: copy_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_value(item) for item in value]
    return value


def same(left: Any, right: Any) -> bool:
    """Deep equality in which neither `true` and `1` nor `1` and `1.0` are equal, as they differ as JSON texts."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def unprocessable() -> StatusError:
    """422 for a well-formed patch that does not apply (`NewGenericServerResponse`, which keeps the cause to itself)."""
    return GenericServerError(422, "Invalid", "the server rejected our request due to an error in our request")


def go_type(value: Any) -> str:
    """The Go type a JSON value is decoded into, e.g. `map[string]interface {}`."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int):
        return "int64"
    if isinstance(value, float):
        return "float64"
    if isinstance(value, list):
        return "[]interface {}"
    return "map[string]interface {}" if isinstance(value, dict) else "%!s(<nil>)"


def go_json_type(value: Any) -> str:
    """What Go's JSON decoder calls a value that does not fit: array, object, string, number or bool."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def go_text(value: Any) -> str:
    """A value as Go's `%v` prints it: `map[a:1 b:[x y]]`, `<nil>`, strings bare."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_text, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)
