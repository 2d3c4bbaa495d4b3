"""Authorizers that need to know nothing else (k8s.io/apiserver `authorization/authorizerfactory`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from apiserver.authz.interface import Attributes, Decision, NonResourceRule, ResourceRule
from apiserver.request import UserInfo

__all__ = ["SYSTEM_MASTERS", "AlwaysAllow", "AlwaysDeny", "PrivilegedGroups"]

SYSTEM_MASTERS = "system:masters"


class AlwaysAllow:
    """Everybody may do everything."""

    async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """See `Authorizer.authorize`."""
        return Decision.ALLOW, ""

    async def rules_for(
        self, user: UserInfo, namespace: str
    ) -> tuple[Sequence[ResourceRule], Sequence[NonResourceRule], bool, str]:
        """See `RuleResolver.rules_for`."""
        return [ResourceRule(("*",), ("*",), ("*",))], [NonResourceRule(("*",), ("*",))], False, ""


class AlwaysDeny:
    """Nobody may do anything."""

    async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """See `Authorizer.authorize`."""
        return Decision.NO_OPINION, "Everything is forbidden."

    async def rules_for(
        self, user: UserInfo, namespace: str
    ) -> tuple[Sequence[ResourceRule], Sequence[NonResourceRule], bool, str]:
        """See `RuleResolver.rules_for`."""
        return [], [], False, ""


class PrivilegedGroups:
    """Members of these groups may do everything, whatever other authorizers say; the first of a union."""

    def __init__(self, groups: Iterable[str] = (SYSTEM_MASTERS,)) -> None:
        self._groups = tuple(groups)

    async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """See `Authorizer.authorize`."""
        for group in self._groups:
            if group in attributes.user.groups:
                return Decision.ALLOW, ""
        return Decision.NO_OPINION, ""
