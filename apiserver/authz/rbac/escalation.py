"""Nobody gives away rights they do not have (`pkg/registry/rbac`: `escalation_check.go`, `*/policybased`).

Who writes a role must hold all of its rules, or be allowed to `escalate`; who writes a binding must hold all rules of
the role, or be allowed to `bind` it. Members of system:masters may do both.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from apiserver.api.status import StatusError, forbidden, not_found
from apiserver.authz.fixed import SYSTEM_MASTERS
from apiserver.authz.interface import Attributes, Authorizer, Decision, EvaluationError
from apiserver.authz.rbac.index import GROUP, RoleIndex
from apiserver.authz.rbac.rules import FULL_AUTHORITY, Rule, compact, covers, describe
from apiserver.request import UserInfo

__all__ = ["EscalationGuard"]

Object = dict[str, Any]

_COLLECTED_FIELDS: Final = ("ownerReferences", "finalizers", "managedFields")


class EscalationGuard:
    """Checks writes of the four RBAC resources (`registry.kinds.RightsGuard`).

    Args:
        index: the rights people have.
        authorizer: says who may `escalate` and `bind`.
        role: the most recent state of a role, by its resource, namespace and name; None when there is none.
    """

    def __init__(
        self, index: RoleIndex, authorizer: Authorizer, role: Callable[[str, str, str], Awaitable[Object | None]]
    ) -> None:
        self._index = index
        self._authorizer = authorizer
        self._role = role

    async def check(self, user: UserInfo, resource: str, namespace: str, obj: Object, old: Object | None) -> None:
        """Refuse a write that would give somebody more than the user has.

        Args:
            namespace: of the request, "" for cluster-scoped resources.
            old: the present object (without content when an update is to create it), or None on creation.

        Raises:
            StatusError: Forbidden, or NotFound when the role of a binding is not there.
        """
        if SYSTEM_MASTERS in user.groups or (old is not None and _only_bookkeeping(obj, old)):
            return
        if resource in ("roles", "clusterroles"):
            await self._check_role(user, resource, namespace, obj, old)
        else:
            await self._check_binding(user, resource, namespace, obj)

    async def _check_role(self, user: UserInfo, resource: str, namespace: str, obj: Object, old: Object | None) -> None:
        name = obj["metadata"].get("name", "")
        # The name of a new object is not part of its request, so names in a rule do not let anybody escalate there.
        known = name if old is not None else ""
        asked = Attributes(user, "escalate", True, GROUP, "*", namespace, resource, name=known)
        if await self._allowed(asked):
            return
        self._confirm(user, resource, namespace, name, obj.get("rules") or ())
        if obj.get("aggregationRule") is not None or (old or {}).get("aggregationRule") is not None:
            held, _ = self._index.rules_for(user, namespace)
            if covers(held, FULL_AUTHORITY):
                raise forbidden(GROUP, resource, name, "must have cluster-admin privileges to use an aggregationRule")

    async def _check_binding(self, user: UserInfo, resource: str, namespace: str, obj: Object) -> None:
        reference = obj.get("roleRef") or {}
        kind, role = reference.get("kind", ""), reference.get("name", "")
        plural = {"ClusterRole": "clusterroles", "Role": "roles"}.get(kind)
        if plural is None:
            raise StatusError(500, "", f'unsupported role reference kind: "{kind}"')
        group = reference.get("apiGroup", "")
        if await self._allowed(Attributes(user, "bind", True, group, "*", namespace, plural, name=role)):
            return
        found = await self._role(plural, namespace if kind == "Role" else "", role)
        if found is None:
            raise not_found(GROUP, plural, role)
        self._confirm(user, resource, namespace, obj["metadata"].get("name", ""), found.get("rules") or ())

    def _confirm(self, user: UserInfo, resource: str, namespace: str, name: str, rules: Iterable[Rule]) -> None:
        held, problems = self._index.rules_for(user, namespace)
        missing = covers(held, rules)
        if not missing:
            return
        listed = "\n".join(sorted({describe(rule) for rule in compact(missing)}))
        text = (
            f"user {json.dumps(user.name, ensure_ascii=False)} (groups={_quoted(user.groups)}) is attempting to grant "
            f"RBAC permissions not currently held:\n{listed}"
        )
        if problems:
            text += f"; resolution errors: [{' '.join(dict.fromkeys(problems))}]"
        raise forbidden(GROUP, resource, name, text)

    async def _allowed(self, attributes: Attributes) -> bool:
        try:
            decision, _ = await self._authorizer.authorize(attributes)
        except EvaluationError:  # the rights that are known may do
            return False
        return decision is Decision.ALLOW


def _only_bookkeeping(obj: Object, old: Object) -> bool:
    """Whether an update changes only what garbage collection needs to change."""
    return _without_bookkeeping(obj) == _without_bookkeeping(old)


def _without_bookkeeping(obj: Object) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _COLLECTED_FIELDS}
    return {**obj, "metadata": metadata}


def _quoted(words: Sequence[str]) -> str:
    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in words) + "]"
