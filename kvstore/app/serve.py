"""A member with its ports open: what `mini-etcd` runs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import ssl
from collections.abc import Awaitable, Callable, Iterator

from kvstore.app.member import Member, StartError, start_member
from kvstore.app.settings import Settings
from kvstore.app.status import MemberStatus
from kvstore.environment import Environment
from kvstore.front import Front, FrontLimits, HealthService, build_front, server_context
from kvstore.server.version import SERVER_VERSION

__all__ = ["serve"]

STOP_GRACE_SECONDS = 2.0
"""How long requests under way may take to finish when the server stops."""

logger = logging.getLogger(__name__)


async def serve(settings: Settings, environment: Environment) -> None:
    """Serve until SIGINT or SIGTERM, or until the member fails.

    Raises:
        StartError: it cannot start, or the log can no longer be written; the message says why in one line.
    """
    with _stop_signals() as told:  # before anyone can know that we run
        await _serve(settings, environment, told)
    logger.info("closed etcd server", extra={"fields": {"name": settings.options.name}})


async def _serve(settings: Settings, environment: Environment, told: asyncio.Future[None]) -> None:
    member = await start_member(settings.options, environment)
    fronts: list[Front] = []
    try:
        await _open_ports(settings, member, environment, fronts)
        gc.collect()
        gc.freeze()  # what start-up made stays; the collector need not look at it again
        await asyncio.wait([told, member.failed], return_when=asyncio.FIRST_COMPLETED)
        if member.failed.done():
            raise StartError(f"the member has failed: {member.failed.exception()}")
    finally:
        # The ports first, so that nobody is told «server stopped» who could still be answered.
        await asyncio.gather(*(front.close(STOP_GRACE_SECONDS) for front in fronts))
        await member.stop()


async def _open_ports(settings: Settings, member: Member, environment: Environment, fronts: list[Front]) -> None:
    status = MemberStatus(member)
    health = HealthService()
    if member.options.feature("StopGRPCServiceOnDefrag"):
        member.services().maintenance.on_defragment = lambda active: health.set_serving(not active)
    tls = _tls_context(settings)
    front = build_front(
        member.services().by_name(),
        member=status,
        gateway=settings.gateway,
        limits=settings.limits,
        clock=environment.clock,
        observer=status.calls,
        access=settings.access,
        health=health,
    )
    status.calls.expect(front.methods)
    fronts.append(front)
    listen: Callable[..., Awaitable[list[str]]] = front.listen
    for url in await _listening(listen, (*settings.listen_client_urls, *settings.listen_client_http_urls), tls):
        secure = url.startswith(("https", "unixs"))
        logger.info(
            f"serving client traffic {'securely' if secure else 'insecurely'}", extra={"fields": {"address": url}}
        )
    if settings.listen_metrics_urls:
        metrics = build_front({}, member=status, gateway=False, limits=FrontLimits(), clock=environment.clock)
        fronts.append(metrics)
        await _listening(metrics.listen, settings.listen_metrics_urls, tls)
    identity = member.identity
    logger.info(
        "published local member to cluster through raft",
        extra={
            "fields": {
                "local-member-id": f"{identity.member_id:x}",
                "cluster-id": f"{identity.cluster_id:x}",
                "server-version": SERVER_VERSION,
            }
        },
    )
    logger.info("ready to serve client requests")


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls is None:
        return None
    try:
        return server_context(settings.tls)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise StartError(f"cannot use the TLS certificate {settings.tls.cert}: {error}") from error


async def _listening(
    listen: Callable[..., Awaitable[list[str]]], urls: tuple[str, ...], tls: ssl.SSLContext | None
) -> list[str]:
    try:
        return await listen(urls, tls)
    except (OSError, ValueError) as error:
        raise StartError(f"cannot listen on {', '.join(urls)}: {error}") from error


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Future[None]]:
    """A future that is done once SIGINT or SIGTERM has come."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[None] = loop.create_future()

    def stop(number: signal.Signals) -> None:
        logger.info("received signal; shutting down", extra={"fields": {"signal": number.name}})
        if not told.done():
            told.set_result(None)

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield told
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
