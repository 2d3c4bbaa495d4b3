"""What service accounts are called as users (k8s.io/apiserver `authentication/serviceaccount/util.go`)."""

from __future__ import annotations

import re

__all__ = ["group_names", "split_username", "username"]

_PREFIX = "system:serviceaccount:"
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_USERNAME = re.compile(rf"{_PREFIX}(?P<namespace>{_LABEL}):(?P<name>{_LABEL}(?:\.{_LABEL})*)")
_NAMESPACE_LENGTH_MAX, _NAME_LENGTH_MAX = 63, 253


def username(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"{_PREFIX}{namespace}:{name}"


def split_username(user: str) -> tuple[str, str] | None:
    """Namespace and name of the service account with this user name; None for other users."""
    match = _USERNAME.fullmatch(user)
    if match is None:
        return None
    namespace, name = match["namespace"], match["name"]
    if len(namespace) > _NAMESPACE_LENGTH_MAX or len(name) > _NAME_LENGTH_MAX:
        return None
    return namespace, name


def group_names(namespace: str) -> tuple[str, str]:
    """The groups of every service account in a namespace."""
    return "system:serviceaccounts", f"system:serviceaccounts:{namespace}"
