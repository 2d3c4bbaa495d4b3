"""ConfigMaps and Secrets (core `ValidateConfigMap`, `ValidateSecret`)."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Final

from apiserver.api.field_errors import field_forbidden, field_invalid, required, too_long
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_name
from apiserver.api.validation.names import config_key_problems
from apiserver.api.validation.objectmeta import IMMUTABLE

__all__ = ["check_config_map", "check_secret"]

DATA_BYTES_MAX: Final = 1024 * 1024
_FROZEN: Final = "field is immutable when `immutable` is set"
_REDACTED: Final = "<secret contents redacted>"
# Keys that a secret of a type must have.
_REQUIRED_KEYS: Final = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_SERVICE_ACCOUNT_NAME: Final = "kubernetes.io/service-account.name"


def _base64_bytes(text: str) -> int:
    """How many bytes a padded base64 text stands for."""
    return len(text) // 4 * 3 - text[-2:].count("=") if text else 0


def check_config_map(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A ConfigMap, new or changed."""
    data, binary = obj.get("data") or EMPTY, obj.get("binaryData") or EMPTY
    if old is not None and old.get("immutable"):
        _check_frozen(errors, obj, old, ("data", "binaryData"))
    total = 0
    for key, value in data.items():
        check_name(errors, f"data[{key}]", key, config_key_problems)
        if key in binary:
            errors.append(field_invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        total += len(value) if value.isascii() else len(value.encode())
    for key, value in binary.items():
        check_name(errors, f"binaryData[{key}]", key, config_key_problems)
        total += _base64_bytes(value or "")
    if total > DATA_BYTES_MAX:
        errors.append(too_long("[]", DATA_BYTES_MAX))  # kube-apiserver's path of the object as a whole


def _check_frozen(errors: Errors, obj: Obj, old: Obj, members: tuple[str, ...]) -> None:
    if not obj.get("immutable"):
        errors.append(field_forbidden("immutable", _FROZEN))
    for member in members:
        if (obj.get(member) or EMPTY) != (old.get(member) or EMPTY):
            errors.append(field_forbidden(member, _FROZEN))


def check_secret(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A Secret, new or changed."""
    if old is not None:
        if obj.get("type", "") != old.get("type", ""):
            errors.append(field_invalid("type", obj.get("type", ""), IMMUTABLE))
        if old.get("immutable"):
            _check_frozen(errors, obj, old, ("data",))
    data = obj.get("data") or EMPTY
    total = 0
    for key, value in data.items():
        check_name(errors, f"data[{key}]", key, config_key_problems)
        total += _base64_bytes(value or "")
    if total > DATA_BYTES_MAX:
        errors.append(too_long("data", DATA_BYTES_MAX))
    _check_secret_type(errors, obj, data)


def _check_secret_type(errors: Errors, obj: Obj, data: Obj) -> None:
    kind = obj.get("type", "")
    for key in _REQUIRED_KEYS.get(kind, ()):
        if key not in data:
            errors.append(required(f"data[{key}]"))
        elif kind != "kubernetes.io/tls":
            _check_json(errors, f"data[{key}]", data[key])
    if kind == "kubernetes.io/service-account-token":
        if not (obj["metadata"].get("annotations") or EMPTY).get(_SERVICE_ACCOUNT_NAME):
            errors.append(required(f"metadata.annotations[{_SERVICE_ACCOUNT_NAME}]"))
    elif kind == "kubernetes.io/basic-auth":
        if "username" not in data and "password" not in data:
            errors += [required("data[username]"), required("data[password]")]
    elif kind == "kubernetes.io/ssh-auth" and not data.get("ssh-privatekey"):
        errors.append(required("data[ssh-privatekey]"))


def _check_json(errors: Errors, path: str, value: str) -> None:
    try:
        content = json.loads(b64decode(value or ""))
    except ValueError:
        raw = b64decode(value or "")
        text = "unexpected end of JSON input" if not raw.strip() else _invalid_character(raw)
        errors.append(field_invalid(path, _REDACTED, text))
        return
    if content is not None and not isinstance(content, dict):
        kind = {str: "string", list: "array", bool: "bool"}.get(type(content), "number")
        text = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        errors.append(field_invalid(path, _REDACTED, text))


def _invalid_character(raw: bytes) -> str:
    first = raw.strip()[:1].decode("latin-1")
    if first in '{["':
        return "unexpected end of JSON input"
    return f"invalid character '{first}' looking for beginning of value"
