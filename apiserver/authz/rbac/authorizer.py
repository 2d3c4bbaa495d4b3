"""The RBAC authorizer (`plugin/pkg/auth/authorizer/rbac`)."""

from __future__ import annotations

from collections.abc import Sequence

from apiserver.authz.interface import Attributes, Decision, NonResourceRule, ResourceRule
from apiserver.authz.rbac.index import RoleIndex, Table, subjects_of
from apiserver.authz.rbac.rules import ALL, Rule
from apiserver.request import UserInfo

__all__ = ["RBACAuthorizer"]


class RBACAuthorizer:
    """Allows what a role bound to the user, or to one of their groups, allows; never denies."""

    def __init__(self, index: RoleIndex) -> None:
        self._index = index

    async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """See `Authorizer.authorize`."""
        return self.decide(attributes)

    def decide(self, attributes: Attributes) -> tuple[Decision, str]:
        """The decision, from memory."""
        tables = self._tables(attributes)
        verb = attributes.verb
        if attributes.is_resource_request:
            keys = _keys(attributes)
            name = attributes.name
            for table in tables:
                source = table.find_resource(keys, verb, name)
                if source is not None:
                    return Decision.ALLOW, f"RBAC: allowed by {source}"
        else:
            for table in tables:
                source = table.find_path(attributes.path, verb)
                if source is not None:
                    return Decision.ALLOW, f"RBAC: allowed by {source}"
        problems = dict.fromkeys(problem for table in tables for problem in table.problems)
        return Decision.NO_OPINION, f"RBAC: {_aggregate(list(problems))}" if problems else ""

    def _tables(self, attributes: Attributes) -> list[Table]:
        table_of = self._index.table
        subjects = subjects_of(attributes.user)
        tables = [table_of("", subject) for subject in subjects]
        if attributes.namespace:
            tables += [table_of(attributes.namespace, subject) for subject in subjects]
        return [table for table in tables if table is not None]

    async def rules_for(
        self, user: UserInfo, namespace: str
    ) -> tuple[Sequence[ResourceRule], Sequence[NonResourceRule], bool, str]:
        """See `RuleResolver.rules_for`."""
        rules, problems = self._index.rules_for(user, namespace)
        resources = [_resource_rule(rule) for rule in rules if rule.get("resources")]
        paths = [
            NonResourceRule(tuple(rule["verbs"]), tuple(rule["nonResourceURLs"]))
            for rule in rules
            if rule.get("nonResourceURLs")
        ]
        return resources, paths, False, _aggregate(list(dict.fromkeys(problems)))


def _keys(attributes: Attributes) -> list[tuple[str, str]]:
    """Under which entries of a table the resource of a request may stand."""
    group, resource, subresource = attributes.api_group, attributes.resource, attributes.subresource
    if not subresource:
        return [(group, resource), (group, ALL), (ALL, resource), (ALL, ALL)]
    whole, any_resource = f"{resource}/{subresource}", f"{ALL}/{subresource}"
    return [(a, b) for a in (group, ALL) for b in (whole, ALL, any_resource)]


def _resource_rule(rule: Rule) -> ResourceRule:
    return ResourceRule(
        tuple(rule["verbs"]),
        tuple(rule.get("apiGroups") or ()),
        tuple(rule["resources"]),
        tuple(rule.get("resourceNames") or ()),
    )


def _aggregate(problems: list[str]) -> str:
    """As apimachinery prints several errors."""
    return problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]" if problems else ""
