"""Roles and bindings: beside their own rules, nobody may give away rights they do not have."""

from __future__ import annotations

from functools import partial

from apiserver.api.validation.rbac import check_binding, check_role
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.checked import CheckedStrategy, Checks

__all__ = ["ClusterRoleBindingStrategy", "ClusterRoleStrategy", "RoleBindingStrategy", "RoleStrategy"]


class _GuardedStrategy(CheckedStrategy):
    """A strategy that asks the guard of rights before anything else happens (`pkg/registry/rbac/*/policybased`)."""

    async def check_rights(self, context: OperationContext, obj: Object, old: Object | None) -> None:
        """Refuse to give away what the user does not have."""
        guard = self.shared.options.guard
        if guard is not None:
            namespace = context.namespace if self.resource.namespaced else ""
            await guard.check(context.user, self.resource.plural, namespace, obj, old)


class RoleStrategy(_GuardedStrategy):
    """A Role."""

    checks = Checks(lambda errors, obj, old: check_role(errors, obj, namespaced=True))


class ClusterRoleStrategy(_GuardedStrategy):
    """A ClusterRole."""

    checks = Checks(lambda errors, obj, old: check_role(errors, obj, namespaced=False))


class RoleBindingStrategy(_GuardedStrategy):
    """A RoleBinding."""

    checks = Checks(partial(check_binding, namespaced=True))


class ClusterRoleBindingStrategy(_GuardedStrategy):
    """A ClusterRoleBinding."""

    checks = Checks(partial(check_binding, namespaced=False))
