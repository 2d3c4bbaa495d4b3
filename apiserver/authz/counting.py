"""What authorizers decided, in numbers (k8s.io/apiserver `authorization/metrics`, `endpoints/filters/metrics.go`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric

from apiserver.authz.interface import Attributes, Authorizer, Decision, EvaluationError

__all__ = ["AuthorizationCounts", "CountedAuthorizer"]

_DECISIONS = {Decision.ALLOW: "allowed", Decision.DENY: "denied"}


class AuthorizationCounts:
    """The counters of one server.

    Attributes:
        decisions: by type and name of the authorizer, and its decision.
        attempts: of the union, by result.
    """

    def __init__(self) -> None:
        self.decisions: Counter[tuple[str, str, str]] = Counter()
        self.attempts: Counter[str] = Counter()

    def observe(self, result: str) -> None:
        """Told by the filter: allowed, denied, no-opinion or error."""
        self.attempts[result] += 1

    def families(self) -> Iterator[Metric]:
        """The metric families, for `/metrics`."""
        decisions = CounterMetricFamily(
            "apiserver_authorization_decisions",
            "Total number of terminal decisions made by an authorizer split by authorizer type, name, and decision.",
            labels=["type", "name", "decision"],
        )
        for labels, count in sorted(self.decisions.items()):
            decisions.add_metric(labels, count)
        yield decisions
        attempts = CounterMetricFamily(
            "authorization_attempts",
            "Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', "
            "'no-opinion' or 'error'.",
            labels=["result"],
        )
        for result, count in sorted(self.attempts.items()):
            attempts.add_metric([result], count)
        yield attempts


class CountedAuthorizer:
    """Counts what one authorizer decides; that it has no opinion is no decision."""

    def __init__(self, authorizer: Authorizer, kind: str, name: str, counts: AuthorizationCounts) -> None:
        self._authorizer = authorizer
        self._labels = {decision: (kind, name, word) for decision, word in _DECISIONS.items()}
        self._counts = counts.decisions

    async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """See `Authorizer.authorize`."""
        try:
            decision, reason = await self._authorizer.authorize(attributes)
        except EvaluationError as error:
            if error.decision is Decision.DENY:
                self._counts[self._labels[Decision.DENY]] += 1
            raise
        if decision is not Decision.NO_OPINION:
            self._counts[self._labels[decision]] += 1
        return decision, reason
