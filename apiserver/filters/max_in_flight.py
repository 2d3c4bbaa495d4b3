"""A bound on requests being served at the same time (k8s.io/apiserver `server/filters/maxinflight.go`)."""

from __future__ import annotations

from collections.abc import Callable

from apiserver.authz.fixed import SYSTEM_MASTERS
from apiserver.filters.request_info import is_long_running
from apiserver.request import Handler, Request, Response

__all__ = ["MAX_MUTATING_IN_FLIGHT", "MAX_READS_IN_FLIGHT", "with_max_in_flight"]

MAX_READS_IN_FLIGHT = 400
MAX_MUTATING_IN_FLIGHT = 200
_READ_VERBS = frozenset({"get", "list", "watch"})


def with_max_in_flight(
    handler: Handler,
    reads_max: int = MAX_READS_IN_FLIGHT,
    mutating_max: int = MAX_MUTATING_IN_FLIGHT,
    observe: Callable[[bool, int], None] | None = None,
) -> Handler:
    """Answer 429 beyond the bounds; 0 means no bound.

    `system:masters` always pass. `observe` is told (mutating?, how many now) whenever a count grows.
    """
    in_flight = [0, 0]
    limits = [reads_max, mutating_max]

    async def filtered(request: Request) -> Response:
        info = request.info
        if is_long_running(info):
            return await handler(request)
        mutating = info.verb not in _READ_VERBS
        limit = limits[mutating]
        if limit and in_flight[mutating] >= limit and SYSTEM_MASTERS not in request.user.groups:
            return _too_many_requests()
        in_flight[mutating] = now = in_flight[mutating] + 1
        if observe is not None:
            observe(mutating, now)
        try:
            return await handler(request)
        finally:
            in_flight[mutating] -= 1

    return filtered


def _too_many_requests() -> Response:
    headers = [("retry-after", "1"), ("x-content-type-options", "nosniff")]
    return Response(429, b"Too many requests, please try again later.\n", "text/plain; charset=utf-8", headers)
