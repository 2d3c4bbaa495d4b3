"""What authorizers did, in numbers (k8s.io/apiserver `authorization/metrics`, `endpoints/filters/metrics.go`,
`plugin/pkg/authorizer/webhook/metrics`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from apiserver.authz.interface import Attributes, Authorizer, Decision, EvaluationError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["ATTEMPTS", "AuthorizationCounts", "CountedAuthorizer"]

DECISIONS: Final = "apiserver_authorization_decisions"
EVALUATIONS: Final = "apiserver_authorization_webhook_evaluations"
FAIL_OPEN: Final = "apiserver_authorization_webhook_evaluations_fail_open"
CONDITION_ERRORS: Final = "apiserver_authorization_match_condition_evaluation_errors"
EXCLUSIONS: Final = "apiserver_authorization_match_condition_exclusions"
ATTEMPTS: Final = "authorization_attempts"

_FAMILIES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    DECISIONS: (
        "Total number of terminal decisions made by an authorizer split by authorizer type, name, and decision.",
        ("type", "name", "decision"),
    ),
    EVALUATIONS: ("Round-trips to authorization webhooks.", ("name", "result")),
    FAIL_OPEN: ("NoOpinion results due to webhook timeout or error.", ("name", "result")),
    CONDITION_ERRORS: (
        "Total number of errors when an authorization webhook encounters a match condition error split by authorizer "
        "type and name.",
        ("type", "name"),
    ),
    EXCLUSIONS: (
        "Total number of exclusions when an authorization webhook is skipped because match conditions exclude it.",
        ("type", "name"),
    ),
    ATTEMPTS: (
        "Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' "
        "or 'error'.",
        ("result",),
    ),
}


class AuthorizationCounts:
    """The counters of one server."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[tuple[str, ...]]] = {family: Counter() for family in _FAMILIES}

    def count(self, family: str, *labels: str) -> None:
        """One more in a family."""
        self._counts[family][labels] += 1

    def attempt(self, result: str) -> None:
        """Told by the filter: allowed, denied, no-opinion or error."""
        self.count(ATTEMPTS, result)

    def families(self) -> Iterator[Metric]:
        """The metric families, for `/metrics`."""
        from prometheus_client.core import CounterMetricFamily  # not everybody asks

        for name, (text, labels) in _FAMILIES.items():
            family = CounterMetricFamily(name, text, labels=labels)
            for values, count in sorted(self._counts[name].items()):
                family.add_metric(values, count)
            yield family


class CountedAuthorizer:
    """Counts what one authorizer decides; that it has no opinion is no decision."""

    def __init__(self, authorizer: Authorizer, kind: str, name: str, counts: AuthorizationCounts) -> None:
        self._authorizer = authorizer
        self._labels = (kind, name)
        self._count = counts.count

    async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """See `Authorizer.authorize`."""
        try:
            decision, reason = await self._authorizer.authorize(attributes)
        except EvaluationError as error:
            if error.decision is Decision.DENY:
                self._count(DECISIONS, *self._labels, "denied")
            raise
        if decision is not Decision.NO_OPINION:
            self._count(DECISIONS, *self._labels, "allowed" if decision is Decision.ALLOW else "denied")
        return decision, reason
