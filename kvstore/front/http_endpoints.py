"""What a member answers besides gRPC: health, version, metrics (etcd's `etcdhttp` paths and texts)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, Protocol
from urllib.parse import parse_qs

import orjson

from kvstore.front.routes import HttpRequest, HttpResponse, Router

__all__ = ["Check", "MemberStatus", "add_endpoints"]

Check = Callable[[], Awaitable[str]]
"""A health check: what is wrong, in a few words, or nothing ("")."""

JSON = "application/json"


class MemberStatus(Protocol):
    """What the endpoints ask of a member."""

    def versions(self) -> Mapping[str, str]:
        """`etcdserver`, `etcdcluster` ("not_decided" before the first decision) and `storage`."""

    async def health(self, excluded_alarms: frozenset[str], serializable: bool) -> str:
        """For `/health`: the reason in etcd's words (`ALARM NOSPACE`, `RAFT NO LEADER`, …), or "" when healthy."""

    def checks(self, kind: Literal["livez", "readyz"]) -> Mapping[str, Check]:
        """The named checks of `/livez` or `/readyz`, in the order they are listed."""

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
        return HttpResponse(503, body + b"\n") if reason else HttpResponse(200, body)

    async def version(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, orjson.dumps(dict(member.versions())), JSON)

    async def metrics(request: HttpRequest) -> HttpResponse:
        body, content_type = member.metrics()
        return HttpResponse(200, body, content_type)

    async def debug_vars(request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, orjson.dumps(dict(member.debug_vars())), f"{JSON}; charset=utf-8")

    router.add("GET", "/health", health)
    router.add("GET", "/version", version)
    router.add("GET", "/metrics", metrics)
    router.add("GET", "/debug/vars", debug_vars)
    kinds: tuple[Literal["livez", "readyz"], ...] = ("livez", "readyz")
    for kind in kinds:
        _add_checks(router, kind, member.checks(kind))


def _add_checks(router: Router, kind: str, checks: Mapping[str, Check]) -> None:
    async def all_of_them(request: HttpRequest) -> HttpResponse:
        query = parse_qs(request.query, keep_blank_values=True)
        return await _run_checks(kind, checks, query.get("exclude", []), "verbose" in query)

    router.add("GET", f"/{kind}", all_of_them)
    for name, check in checks.items():
        router.add("GET", f"/{kind}/{name}", _one_check(kind, name, check))


def _one_check(kind: str, name: str, check: Check) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    async def one_of_them(request: HttpRequest) -> HttpResponse:
        query = parse_qs(request.query, keep_blank_values=True)
        return await _run_checks(f"{kind}/{name}", {name: check}, [], "verbose" in query)

    return one_of_them


async def _run_checks(title: str, checks: Mapping[str, Check], excluded: list[str], verbose: bool) -> HttpResponse:
    lines: list[str] = []
    failed = False
    for name, check in checks.items():
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok\n")
            continue
        reason = await check()
        failed = failed or bool(reason)
        lines.append(f"[-]{name} failed: {reason}\n" if reason else f"[+]{name} ok\n")
    unknown = [name for name in excluded if name and name not in checks]
    if unknown:
        lines.append(f"warn: some health checks cannot be excluded: no matches for {', '.join(map(repr, unknown))}\n")
    if failed:
        return HttpResponse(503, f"{''.join(lines)}{title} check failed\n".encode())
    return HttpResponse(200, "".join([*lines, "ok\n"]).encode() if verbose else b"ok\n")
