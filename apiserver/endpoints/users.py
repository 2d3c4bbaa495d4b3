"""Users in answers."""

from __future__ import annotations

from typing import Any

from apiserver.request import UserInfo

__all__ = ["user_dict"]


def user_dict(user: UserInfo) -> dict[str, Any]:
    """A user as `authentication.k8s.io/v1 UserInfo`; empty members are left out."""
    info: dict[str, Any] = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra}
    return info
