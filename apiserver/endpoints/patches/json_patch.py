"""JSON Patch (RFC 6902, with JSON Pointer from RFC 6901).

Where the RFC and Kubernetes' patch library part ways, the library is followed, because clients are tested against it:
array indices may be negative and count from the end, `replace` and `test` take a missing object member for null, and
an absent `value` is null. A patch that cannot be applied is 422, one that is no patch 400, one with too many
operations 413 (k8s.io/apiserver `endpoints/handlers/patch.go`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from apiserver.api.status import bad_request, request_entity_too_large
from apiserver.endpoints.patches.values import copy_value, go_json_type, same, unprocessable

__all__ = ["JSON_PATCH", "MAXIMUM_COPY_BYTES", "MAXIMUM_OPERATIONS", "apply_json_patch", "decode_json_patch"]

JSON_PATCH = "application/json-patch+json"
MAXIMUM_OPERATIONS = 10_000
MAXIMUM_COPY_BYTES = 3 * 1024 * 1024

_MEMBERS = ("op", "path", "from", "value")


class _DoesNotApplyError(Exception):
    """An operation that the document refuses; the text is for the reader of a traceback only."""


def decode_json_patch(patch: Any, *, strict: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Check that a parsed body is a list of operations.

    Args:
        patch: the parsed body.
        strict: whether fieldValidation is Strict or Warn; only then are unknown members looked for.

    Returns:
        The operations and the strict decoding errors, in kube-apiserver's words.

    Raises:
        StatusError: 400 when it is not a list of objects with string members, 413 beyond `MAXIMUM_OPERATIONS`.
    """
    if not isinstance(patch, list):
        target = "[]handlers.jsonPatchOp" if strict else "jsonpatch.Patch"
        raise bad_request(_undecodable(go_json_type(patch), "", target, strict=strict))
    errors = []
    for index, operation in enumerate(patch):
        if not isinstance(operation, dict):
            target = "handlers.jsonPatchOp" if strict else "jsonpatch.Operation"
            raise bad_request(_undecodable(go_json_type(operation), "", target, strict=strict))
        if not strict:
            continue
        for member, value in operation.items():
            if member not in _MEMBERS:
                errors.append(f'json patch unknown field "[{index}].{member}"')
            elif member != "value" and value is not None and not isinstance(value, str):
                field = f"jsonPatchOp.{member}"
                raise bad_request(_undecodable(go_json_type(value), field, "string", strict=True))
    if len(patch) > MAXIMUM_OPERATIONS:
        raise request_entity_too_large(
            f"The allowed maximum operations in a JSON patch is {MAXIMUM_OPERATIONS}, got {len(patch)}"
        )
    return patch, errors


def _undecodable(found: str, field: str, target: str, *, strict: bool) -> str:
    where = f"struct field {field} of type {target}" if field else f"value of type {target}"
    text = f"json: cannot unmarshal {found} into Go {where}"
    return f"error decoding patch: {text}" if strict else text


def apply_json_patch(document: Any, operations: list[dict[str, Any]]) -> Any:
    """Apply the operations in order, all or none.

    Raises:
        StatusError: 422 when an operation is unknown, does not apply, or a test fails.
    """
    root = [document]
    copied_bytes = 0
    try:
        for operation in operations:
            kind = operation.get("op")
            if kind == "copy":
                copied_bytes += _copy(root, operation)
                if copied_bytes > MAXIMUM_COPY_BYTES:
                    raise _DoesNotApplyError(f"copies add up to {copied_bytes} bytes")
                continue
            apply = _OPERATIONS.get(kind) if isinstance(kind, str) else None
            if apply is None:
                raise _DoesNotApplyError(f"unexpected kind: {kind}")
            apply(root, operation)
    except _DoesNotApplyError as error:
        raise unprocessable() from error
    return root[0]


def _pointer(operation: dict[str, Any], member: str) -> str:
    pointer = operation.get(member)
    if not isinstance(pointer, str):
        raise _DoesNotApplyError(f"operation without {member}")
    return pointer


def _unescape(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")


def _container(root: list[Any], pointer: str) -> tuple[Any, str]:
    """The object or array that holds what the pointer names, and the last reference token."""
    tokens = pointer.split("/")
    if len(tokens) < 2:
        raise _DoesNotApplyError(f"no path: {pointer!r}")
    node = root[0]
    for token in tokens[1:-1]:
        node = _get(node, _unescape(token))
        if not isinstance(node, (dict, list)):
            raise _DoesNotApplyError(f"missing path: {pointer!r}")
    if not isinstance(node, (dict, list)):
        raise _DoesNotApplyError("the document is no container")
    return node, _unescape(tokens[-1])


def _index(token: str, length: int) -> int:
    """An array index below `length`; negative ones count from the end."""
    digits = token[1:] if token[:1] in ("-", "+") else token
    if not (digits.isascii() and digits.isdigit()):
        raise _DoesNotApplyError(f"not an index: {token!r}")
    index = int(token) if len(token) < 20 else length
    if not -length <= index < length:
        raise _DoesNotApplyError(f"invalid index: {token}")
    return index + length if index < 0 else index


def _get(node: Any, token: str) -> Any:
    if isinstance(node, dict):
        return node.get(token)
    return node[_index(token, len(node))]


def _insert(node: Any, token: str, value: Any) -> None:
    if isinstance(node, dict):
        node[token] = value
    elif token == "-":  # noqa: S105 - a reference token, not a secret
        node.append(value)
    else:
        node.insert(_index(token, len(node) + 1), value)


def _delete(node: Any, token: str) -> None:
    if isinstance(node, list):
        del node[_index(token, len(node))]
    elif token in node:
        del node[token]
    else:
        raise _DoesNotApplyError(f"nonexistent key: {token}")


def _add(root: list[Any], operation: dict[str, Any]) -> None:
    node, token = _container(root, _pointer(operation, "path"))
    _insert(node, token, copy_value(operation.get("value")))


def _remove(root: list[Any], operation: dict[str, Any]) -> None:
    _delete(*_container(root, _pointer(operation, "path")))


def _replace(root: list[Any], operation: dict[str, Any]) -> None:
    path = _pointer(operation, "path")
    value = copy_value(operation.get("value"))
    if path == "":
        if not isinstance(value, (dict, list)):
            raise _DoesNotApplyError("the whole document can only be replaced by an object or array")
        root[0] = value
        return
    node, token = _container(root, path)
    if isinstance(node, list):
        node[_index(token, len(node))] = value
    else:
        node[token] = value


def _move(root: list[Any], operation: dict[str, Any]) -> None:
    node, token = _container(root, _pointer(operation, "from"))
    value = _get(node, token)
    _delete(node, token)
    node, token = _container(root, _pointer(operation, "path"))
    _insert(node, token, value)


def _copy(root: list[Any], operation: dict[str, Any]) -> int:
    """Copy a value; returns its size as JSON in bytes, of which a patch may add only so many."""
    node, token = _container(root, _pointer(operation, "from"))
    value = _get(node, token)
    node, token = _container(root, _pointer(operation, "path"))
    _insert(node, token, copy_value(value))
    return 0 if value is None else len(orjson.dumps(value))


def _test(root: list[Any], operation: dict[str, Any]) -> None:
    path = _pointer(operation, "path")
    actual = root[0] if path == "" else _get(*_container(root, path))
    if not same(actual, operation.get("value")):
        raise _DoesNotApplyError(f"testing value {path} failed")


_OPERATIONS: dict[str, Callable[[list[Any], dict[str, Any]], None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "test": _test,
}
