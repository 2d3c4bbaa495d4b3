"""The kinds with rules of their own, and the table that says which class is whose strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apiserver.registry.kinds.options import DEFAULT_NODE_PORTS, DEFAULT_SERVICE_CIDR, KindOptions, ObjectWriter
from apiserver.registry.kinds.rules import KindRules, rules_of

if TYPE_CHECKING:
    from apiserver.api.scheme import Resource, Scheme
    from apiserver.registry.strategy import Strategy

__all__ = [
    "DEFAULT_NODE_PORTS",
    "DEFAULT_SERVICE_CIDR",
    "KindOptions",
    "KindRules",
    "ObjectWriter",
    "Strategies",
    "rules_of",
    "strategy_for",
]


class Strategies:
    """The strategies of one server, made on first use and kept; they share compiled tables and allocators."""

    def __init__(self, scheme: Scheme, options: KindOptions | None = None) -> None:
        from apiserver.registry.strategy import Shared

        self._shared = Shared(scheme, options or KindOptions())
        self._strategies: dict[tuple[str, str, str], Strategy] = {}

    def of(self, resource: Resource) -> Strategy:
        """The strategy of a resource in its version."""
        from apiserver.registry.kinds.table import STRATEGIES
        from apiserver.registry.strategy import Strategy

        identity = (resource.group, resource.version, resource.plural)
        strategy = self._strategies.get(identity)
        if strategy is None:
            made = STRATEGIES.get((resource.group, resource.plural), Strategy)
            strategy = self._strategies[identity] = made(resource, self._shared)
        return strategy


def strategy_for(resource: Resource, scheme: Scheme, options: KindOptions | None = None) -> Strategy:
    """The strategy of one resource, for those who need a single one; a server keeps a `Strategies`."""
    return Strategies(scheme, options).of(resource)
