"""`/healthz`, `/livez`, `/readyz` and one path for each check, with the texts of k8s.io/apiserver `server/healthz`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from apiserver.request import Handler, Request, Response

__all__ = ["HealthCheck", "health_handlers"]

_LOG = logging.getLogger("apiserver.health")
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One check.

    Attributes:
        name: as in `/readyz/<name>`; may contain slashes (`poststarthook/start-service-ip-repair`).
        check: None when all is well, else what is wrong (for the log only, the path being open to all).
        group: a second name under which `?exclude=` finds it; empty for none.
    """

    name: str
    check: Callable[[], Awaitable[str | None]]
    group: str = ""


def health_handlers(
    path: str, checks: Sequence[HealthCheck], observe: Callable[[str, str, bool], None] | None = None
) -> dict[str, Handler]:
    """Path to handler: `path` itself for all checks together, and each check below it.

    Args:
        path: `/healthz`, `/livez` or `/readyz`.
        observe: told (check, `readyz` or the like, healthy?) of each run, see `Metrics.observe_health`.
    """
    handlers: dict[str, Handler] = {path: _all_checks(path.strip("/"), tuple(checks), observe)}
    for check in checks:
        handlers[f"{path}/{check.name}"] = _one_check(check)
    return handlers


def _all_checks(
    name: str, checks: tuple[HealthCheck, ...], observe: Callable[[str, str, bool], None] | None
) -> Handler:
    async def handler(request: Request) -> Response:
        excluded = set(request.query.get("exclude", ()))
        unknown = set(excluded)
        lines: list[str] = []
        failed: list[str] = []
        for check in checks:
            if check.name in excluded:
                unknown.discard(check.name)
                lines.append(f"[+]{check.name} excluded: ok\n")
            elif check.group and check.group in excluded:
                unknown.discard(check.group)
                lines.append(f"[+]{check.name} excluded with {check.group}: ok\n")
            else:
                problem = await _run(check)
                if observe is not None:
                    observe(check.name, name, problem is None)
                if problem is None:
                    lines.append(f"[+]{check.name} ok\n")
                else:
                    lines.append(f"[-]{check.name} failed: reason withheld\n")
                    failed.append(f"[-]{check.name} failed: {problem}")
        if unknown:
            names = ",".join(f'"{item}"' for item in sorted(unknown))
            lines.append(f"warn: some health checks cannot be excluded: no matches for {names}\n")
        if failed:
            _LOG.info("%s check failed: %s", name, "; ".join(failed))
            return _text(500, f"{''.join(lines)}{name} check failed\n")
        if "verbose" not in request.query:
            return _text(200, "ok")
        return _text(200, f"{''.join(lines)}{name} check passed\n")

    return handler


def _one_check(check: HealthCheck) -> Handler:
    async def handler(request: Request) -> Response:
        problem = await _run(check)
        if problem is not None:
            return _text(500, f"internal server error: {problem}\n")
        return _text(200, "ok")

    return handler


async def _run(check: HealthCheck) -> str | None:
    try:
        return await check.check()
    except Exception as error:  # a check that cannot be carried out has failed
        return str(error) or type(error).__name__


def _text(status: int, text: str) -> Response:
    return Response(status, text.encode(), _TEXT, [("x-content-type-options", "nosniff")])
