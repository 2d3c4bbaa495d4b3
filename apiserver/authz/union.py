"""Several authorizers as one: the first with an opinion decides (k8s.io/apiserver `authorization/union`)."""

from __future__ import annotations

from collections.abc import Sequence

from apiserver.authz.interface import (
    Attributes,
    Authorizer,
    Decision,
    EvaluationError,
    NonResourceRule,
    ResourceRule,
    RuleResolver,
)
from apiserver.request import UserInfo

__all__ = ["UnionAuthorizer"]


class UnionAuthorizer:
    """Asks in order; when nobody has an opinion the reasons are joined.

    Args:
        authorizers: in the order of `--authorization-mode`, privileged groups first.
        resolvers: those of them that can list rules.
    """

    def __init__(self, authorizers: Sequence[Authorizer], resolvers: Sequence[RuleResolver] = ()) -> None:
        self._authorizers = tuple(authorizers)
        self._resolvers = tuple(resolvers)

    async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """See `Authorizer.authorize`."""
        reasons, failures = [], []
        for authorizer in self._authorizers:
            try:
                decision, reason = await authorizer.authorize(attributes)
            except EvaluationError as error:
                if error.decision is not Decision.NO_OPINION:
                    raise
                failures.append(str(error))
                continue
            if decision is not Decision.NO_OPINION:
                return decision, reason
            if reason:
                reasons.append(reason)
        if failures:
            raise EvaluationError(
                Decision.NO_OPINION, failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]"
            )
        return Decision.NO_OPINION, "\n".join(reasons)

    async def rules_for(
        self, user: UserInfo, namespace: str
    ) -> tuple[Sequence[ResourceRule], Sequence[NonResourceRule], bool, str]:
        """See `RuleResolver.rules_for`; the list is incomplete as soon as one part is."""
        resource_rules: list[ResourceRule] = []
        other_rules: list[NonResourceRule] = []
        incomplete, errors = False, []
        for resolver in self._resolvers:
            resources, others, part_incomplete, error = await resolver.rules_for(user, namespace)
            resource_rules.extend(resources)
            other_rules.extend(others)
            incomplete = incomplete or part_incomplete
            if error:
                errors.append(error)
        joined = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]" if errors else ""
        return resource_rules, other_rules, incomplete, joined
