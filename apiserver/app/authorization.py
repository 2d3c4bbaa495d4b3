"""The authorizers of a server, put together from its flags."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from apiserver.app.options import Options
from apiserver.authz import (
    AlwaysAllow,
    AlwaysDeny,
    Authorizer,
    PrivilegedGroups,
    RuleResolver,
    UnionAuthorizer,
)
from apiserver.authz.following import Follower
from apiserver.authz.rbac import GROUP, EscalationGuard, RBACAuthorizer, RoleIndex
from apiserver.registry.stores import StoreReader
from kvstore.environment import Environment

__all__ = ["Authorization"]

_RBAC_RESOURCES: Final = tuple(
    (GROUP, plural) for plural in ("clusterroles", "roles", "clusterrolebindings", "rolebindings")
)


class Authorization:
    """What decides, and what keeps it informed.

    Attributes:
        authorizer: the union of all modes, in their order, behind the privileged groups.
        guard: keeps people from giving away rights they do not have.
    """

    def __init__(self, options: Options, environment: Environment, reader: StoreReader) -> None:
        self._environment = environment
        self._reader = reader
        self._followers: list[Follower] = []
        index = RoleIndex()
        modes = options.authorization_mode
        if "RBAC" in modes or "AlwaysAllow" not in modes:  # else everybody may escalate, and nobody's rights matter
            self._followers.append(Follower(reader.follow, environment.clock, _RBAC_RESOURCES, index))
        authorizers: list[Authorizer] = [PrivilegedGroups()]
        resolvers: list[RuleResolver] = []
        for mode in modes:
            made = self._make(mode, index)
            authorizers.append(made)
            resolvers.append(made)
        self.authorizer = UnionAuthorizer(authorizers, resolvers)

        async def role(plural: str, namespace: str, name: str) -> dict[str, object] | None:
            return await reader.get_live(GROUP, plural, namespace, name)

        self.guard = EscalationGuard(index, self.authorizer, role)

    def _make(self, mode: str, index: RoleIndex) -> AlwaysAllow | AlwaysDeny | RBACAuthorizer:
        match mode:
            case "AlwaysAllow":
                return AlwaysAllow()
            case "AlwaysDeny":
                return AlwaysDeny()
            case "RBAC":
                return RBACAuthorizer(index)
            case _:
                raise AssertionError(f"options let {mode} through")

    async def start(self, run: Callable[[Awaitable[None], str], None]) -> None:
        """Begin to follow what decisions depend on; returns when all that is there is known.

        Args:
            run: runs something beside the requests until the server stops.
        """
        for follower in self._followers:
            run(follower.run(), "authorization-follower")
        for follower in self._followers:
            await follower.ready()
