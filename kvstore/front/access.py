"""Who may ask over HTTP: browsers of other origins, and under which names (`--cors`, `--host-whitelist` of etcd)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kvstore.front.routes import HttpHandler, HttpRequest, HttpResponse

__all__ = ["AccessControl"]

ANYONE = frozenset(("*",))

_UNRECOGNIZED_HOST = (
    "The Host header names {host!r}, which this member does not go by: it may be a DNS rebinding attack.\n"
    "Use https, or add the name to --host-whitelist.\n"
)


@dataclass(frozen=True, slots=True)
class AccessControl:
    """What is checked before any HTTP handler runs; gRPC is not concerned.

    Attributes:
        origins: `--cors`: origins whose scripts may read answers; "*" for all, which is etcd's default.
        hosts: `--host-whitelist`: names a plain request may be addressed to, against DNS rebinding; "*" or none at
            all for any. Requests over TLS are not checked: the certificate has done it.
    """

    origins: frozenset[str] = ANYONE
    hosts: frozenset[str] = ANYONE

    async def handle(self, request: HttpRequest, handler: HttpHandler) -> HttpResponse:
        """Answer with `handler`, if the request may be answered at all."""
        host = _without_port(request.headers.get("host", ""))
        if not request.secure and self.hosts and "*" not in self.hosts and host not in self.hosts:
            return HttpResponse(421, _UNRECOGNIZED_HOST.format(host=host).encode())
        headers = self._cors_headers(request)
        if request.method == "OPTIONS":
            return HttpResponse(200, b"", headers=headers)
        response = await handler(request)
        return replace(response, headers={**headers, **response.headers})

    def _cors_headers(self, request: HttpRequest) -> Mapping[str, str]:
        origin = "*" if "*" in self.origins else request.headers.get("origin", "")
        if origin not in self.origins:
            return {}
        return {
            "Access-Control-Allow-Headers": "accept, content-type, authorization",
            "Access-Control-Allow-Methods": "POST, GET, OPTIONS, PUT, DELETE",
            "Access-Control-Allow-Origin": origin,
        }


def _without_port(host: str) -> str:
    """`example.com:2379` and `[::1]:2379` without their ports."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
