"""What a member answers besides gRPC: health, version, metrics (etcd's `etcdhttp` paths and texts)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, Protocol
from urllib.parse import parse_qs

import orjson

from kvstore.front.routes import ANY_METHOD, NOSNIFF, HttpRequest, HttpResponse, Router

__all__ = ["Check", "MemberStatus", "add_endpoints"]

Check = Callable[[], Awaitable[str]]
"""A health check: what is wrong, in a few words, or nothing ("")."""

JSON = "application/json"

logger = logging.getLogger(__name__)


class MemberStatus(Protocol):
    """What the endpoints ask of a member."""

    def versions(self) -> Mapping[str, str]:
        """`etcdserver`, `etcdcluster` ("not_decided" before the first decision) and `storage`."""

    async def health(self, excluded_alarms: frozenset[str], serializable: bool) -> str:
        """For `/health`: the reason in etcd's words (`ALARM NOSPACE`, `RAFT NO LEADER`, …), or "" when healthy."""

    def checks(self, kind: Literal["livez", "readyz"]) -> Mapping[str, Check]:
        """The named checks of `/livez` or `/readyz`, in the order they are listed."""

    def checked(self, kind: Literal["livez", "readyz"], name: str, ok: bool) -> None:
        """One of these checks was made."""

    def metrics(self) -> tuple[bytes, str]:
        """The metrics and their content type."""

    def debug_vars(self) -> Mapping[str, object]:
        """JSON-able values for `/debug/vars`, `raft.status` among them."""


def add_endpoints(router: Router, member: MemberStatus) -> None:
    """Add `/health`, `/livez`, `/readyz` with a sub-path for each check, `/version`, `/metrics` and `/debug/vars`."""

    async def health(request: HttpRequest) -> HttpResponse:
        query = parse_qs(request.query)
        reason = await member.health(frozenset(query.get("exclude", ())), query.get("serializable", [""])[0] == "true")
        body = orjson.dumps({"health": "false" if reason else "true", "reason": reason})
        if reason:
            fields = {"output": body.decode(), "status-code": 503}
            logger.warning("/health error", extra={"fields": fields})
            return HttpResponse(503, body + b"\n", headers=NOSNIFF)
        return HttpResponse(200, body)

    async def version(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, orjson.dumps(dict(member.versions())), JSON)

    async def metrics(request: HttpRequest) -> HttpResponse:
        body, content_type = member.metrics()
        return HttpResponse(200, body, content_type)

    async def debug_vars(request: HttpRequest) -> HttpResponse:
        rows = (f"{orjson.dumps(name).decode()}: {orjson.dumps(v).decode()}" for name, v in member.debug_vars().items())
        return HttpResponse(200, "{{\n{}\n}}\n".format(",\n".join(rows)).encode(), f"{JSON}; charset=utf-8")

    router.add("GET", "/health", health)
    router.add("GET", "/version", version)
    router.add(ANY_METHOD, "/metrics", metrics)
    router.add(ANY_METHOD, "/debug/vars", debug_vars)
    kinds: tuple[Literal["livez", "readyz"], ...] = ("livez", "readyz")
    for kind in kinds:
        _add_checks(router, kind, member)


def _add_checks(router: Router, kind: Literal["livez", "readyz"], member: MemberStatus) -> None:
    checks = member.checks(kind)

    async def all_of_them(request: HttpRequest) -> HttpResponse:
        excluded = set(filter(None, parse_qs(request.query).get("exclude", ())))
        if unknown := sorted(excluded - set(checks)):
            fields = {"missing-health-checks": ",".join(f'"{name}"' for name in unknown)}
            logger.warning("some health checks cannot be excluded", extra={"fields": fields})
        chosen = {name: check for name, check in checks.items() if name not in excluded}
        return await _run_checks(request, kind, chosen, member)

    router.add("GET", f"/{kind}", all_of_them)
    for name, check in checks.items():
        router.add("GET", f"/{kind}/{name}", _one_check(kind, name, check, member))


def _one_check(
    kind: Literal["livez", "readyz"], name: str, check: Check, member: MemberStatus
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    async def one_of_them(request: HttpRequest) -> HttpResponse:
        return await _run_checks(request, kind, {name: check}, member)

    return one_of_them


async def _run_checks(
    request: HttpRequest, kind: Literal["livez", "readyz"], checks: Mapping[str, Check], member: MemberStatus
) -> HttpResponse:
    """A failure names every check, a success only when it is asked to (`?verbose`)."""
    lines: list[str] = []
    failed = False
    for name, check in checks.items():
        reason = await check()
        member.checked(kind, name, not reason)
        failed = failed or bool(reason)
        lines.append(f"[-]{name} failed: {reason}\n" if reason else f"[+]{name} ok\n")
    if failed:
        fields = {"path": request.path, "reason": "".join(lines), "status-code": 503}
        logger.error("Health check error", extra={"fields": fields})
        return HttpResponse(503, f"{''.join(lines)}\n".encode(), headers=NOSNIFF)
    verbose = "verbose" in parse_qs(request.query, keep_blank_values=True)
    return HttpResponse(200, "".join([*lines, "ok\n"]).encode() if verbose else b"ok\n", headers=NOSNIFF)
