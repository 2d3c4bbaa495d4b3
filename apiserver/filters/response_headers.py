"""Headers that every answer carries: `Audit-Id` and `Cache-Control`.

The audit ID is the client's (`Audit-ID` in the request) or a new one; answers may not be cached by anybody in between,
unless a handler says otherwise (k8s.io/apiserver `filters/audit_init.go`, `filters/cachecontrol.go`).
"""

from __future__ import annotations

from apiserver.request import Handler, Request, Response
from kvstore.environment import Randomness

__all__ = ["AuditIDs", "with_response_headers"]

_AUDIT_ID_LENGTH_MAX = 64
_CACHE_CONTROL = ("cache-control", "no-cache, private")


class AuditIDs:
    """IDs in the form of a UUID: random for the process in the first 80 bits, counted in the last 48.

    They need to be unique, not unpredictable, and one is made for every request.
    """

    def __init__(self, randomness: Randomness) -> None:
        self._prefix = randomness.uuid4()[:24]
        self._count = int.from_bytes(randomness.token_bytes(5), "big")

    def __call__(self) -> str:
        """The next ID."""
        self._count = (self._count + 1) & 0xFFFFFFFFFFFF
        return f"{self._prefix}{self._count:012x}"


def _has_cache_control(headers: list[tuple[str, str]]) -> bool:
    return any(name.lower() == "cache-control" for name, _ in headers)


def with_response_headers(handler: Handler, audit_ids: AuditIDs) -> Handler:
    """Set `request.audit_id`, and the headers of the answer."""

    async def filtered(request: Request) -> Response:
        audit_id = request.headers.get("audit-id")
        request.audit_id = audit_id[:_AUDIT_ID_LENGTH_MAX] if audit_id else audit_ids()
        response = await handler(request)
        headers = response.headers
        if not headers or not _has_cache_control(headers):
            headers.append(_CACHE_CONTROL)
        headers.append(("audit-id", request.audit_id))
        return response

    return filtered
