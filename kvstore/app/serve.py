"""A member with its ports open: what `mini-etcd` runs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

from kvstore.app.auto_tls import with_generated_certificates
from kvstore.app.member import Member
from kvstore.app.settings import Settings
from kvstore.app.starting import StartError, start_member
from kvstore.app.status import MemberStatus
from kvstore.environment import Environment
from kvstore.front import Front, FrontLimits, HealthService, build_front, report_rejected, server_context
from kvstore.server.bootstrap import RemovedError
from kvstore.server.version import SERVER_VERSION

__all__ = ["Ports", "serve"]

STOP_GRACE_SECONDS = 2.0
"""How long requests under way may take to finish when the server stops."""

logger = logging.getLogger(__name__)


async def serve(settings: Settings, environment: Environment) -> None:
    """Serve until SIGINT or SIGTERM, or until the member fails.

    Raises:
        StartError: it cannot start, or the log can no longer be written; the message says why in one line.
    """
    asyncio.get_running_loop().set_exception_handler(_on_loop_error)
    with _stop_signals() as told:  # before anyone can know that we run
        await _serve(settings, environment, told)
    _log("closed etcd server", name=settings.options.name, **{"data-dir": settings.options.data_path})


async def _serve(settings: Settings, environment: Environment, told: asyncio.Future[None]) -> None:
    options = settings.options
    if not options.data_dir:
        fields = {"data-dir": options.data_path}
        logger.warning("'data-dir' was empty; using default", extra={"fields": fields})
    _warn_of_open_directory(options.data_path)
    try:
        settings = with_generated_certificates(settings, environment)
    except (OSError, ValueError) as error:
        raise StartError(f"cannot generate a certificate: {error}") from error
    options = settings.options
    try:
        member = await start_member(options, environment)
    except RemovedError as error:
        _report_removal(error)
        return
    ports = Ports(member, environment)
    try:
        if not await _joined(member, told):
            return
        await ports.open(settings)
        gc.collect()
        gc.freeze()  # what start-up made stays; the collector need not look at it again
        await asyncio.wait([told, member.failed], return_when=asyncio.FIRST_COMPLETED)
        _check_failed(member)
        _log("closing etcd server", name=options.name, **{"data-dir": options.data_path})
        await member.hand_over()  # while the ports are open: what waits there goes to the next leader
    finally:
        # The ports first, so that nobody is told «server stopped» who could still be answered.
        await ports.close()
        await member.stop()


async def _joined(member: Member, told: asyncio.Future[None]) -> bool:
    """Wait until the member has found the others and a leader; False when it was told to stop meanwhile."""
    joining = asyncio.get_running_loop().create_task(member.join())
    try:
        await asyncio.wait([joining, told, member.failed], return_when=asyncio.FIRST_COMPLETED)
    finally:
        joining.cancel()
        await asyncio.wait([joining])
    _check_failed(member)
    return not told.done()


def _check_failed(member: Member) -> None:
    """Raise StartError when the member has failed; one that was removed from its cluster has only come to its end."""
    if not member.failed.done():
        return
    error = member.failed.exception()
    if isinstance(error, RemovedError):
        _report_removal(error)
    else:
        raise StartError(f"the member has failed: {error}")


def _report_removal(error: RemovedError) -> None:
    """In etcd's two lines. The exit status is 0, so that nobody starts the member again and again."""
    logger.warning("server error", extra={"fields": {"error": str(error)}})
    logger.warning("data-dir used by this member must be removed")


def _warn_of_open_directory(path: str) -> None:
    """A directory that somebody else made may be open to everybody; we make ours private."""
    with contextlib.suppress(OSError):  # it is not there yet, or will be complained of when it is used
        mode = os.stat(path).st_mode
        if mode & 0o077:
            message = "check file permission: the data directory can be read by others; its mode should be 0700"
            logger.warning(message, extra={"fields": {"dir": path, "mode": f"{mode & 0o777:04o}"}})


class Ports:
    """The fronts of a member: one for clients, or one each for gRPC and for HTTP; and one for metrics.

    Also an API server opens them for the member it embeds.
    """

    def __init__(self, member: Member, environment: Environment) -> None:
        self._member = member
        self._environment = environment
        self._status = MemberStatus(member)
        self._health = HealthService()
        self._fronts: list[Front] = []
        if member.options.feature("StopGRPCServiceOnDefrag"):
            member.services().maintenance.on_defragment = lambda active: self._health.set_serving(not active)

    async def open(self, settings: Settings) -> None:
        """Listen everywhere, and say so.

        Raises:
            StartError: an address is not to be had, or a certificate cannot be used.
        """
        tls = _tls_context(settings)
        apart = bool(settings.listen_client_http_urls)
        await self._listen(self._client_front(settings, http=not apart), settings.listen_client_urls, settings, tls)
        if apart:
            front = self._client_front(settings, grpc=False)
            await self._listen(front, settings.listen_client_http_urls, settings, tls)
        if settings.listen_metrics_urls:
            metrics = build_front(
                {}, member=self._status, gateway=False, limits=FrontLimits(), clock=self._environment.clock
            )
            await self._listen(metrics, settings.listen_metrics_urls, settings, tls)
        self._announce(settings)

    async def close(self) -> None:
        """Close them all."""
        await asyncio.gather(*(front.close(STOP_GRACE_SECONDS) for front in self._fronts))

    def _client_front(self, settings: Settings, *, grpc: bool = True, http: bool = True) -> Front:
        front = build_front(
            self._member.services().by_name(self._member.core),
            grpc=grpc,
            health=self._health,
            member=self._status if http else None,
            gateway=settings.gateway and http,
            limits=settings.limits,
            clock=self._environment.clock,
            observer=self._status.calls,
            access=settings.access,
        )
        self._status.calls.expect(front.methods)
        return front

    async def _listen(self, front: Front, urls: Sequence[str], settings: Settings, tls: ssl.SSLContext | None) -> None:
        self._fronts.append(front)
        try:
            bound = await front.listen(urls, tls, settings.sockets)
        except (OSError, ValueError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            raise StartError(f"{reason}; stop what uses it, or listen elsewhere than {', '.join(urls)}") from error
        for url in bound:
            how = "securely" if url.startswith(("https", "unixs")) else "insecurely"
            _log(f"serving client traffic {how}", address=url)

    def _announce(self, settings: Settings) -> None:
        """What launchers wait for: the third line, or of 3.4 the two before it."""
        identity = self._member.identity
        _log(
            "published local member to cluster through raft",
            **{
                "local-member-id": f"{identity.member_id:x}",
                "cluster-id": f"{identity.cluster_id:x}",
                "server-version": SERVER_VERSION,
            },
        )
        _log(
            "enabled capabilities for version",
            **{"cluster-version": ".".join((self._status.versions()["etcdcluster"] or "").split(".")[:2])},
        )
        _log("ready to serve client requests")
        _log(
            "now serving peer/client/metrics",
            **{
                "local-member-id": f"{identity.member_id:x}",
                "initial-advertise-peer-urls": settings.options.initial_advertise_peer_urls,
                "listen-peer-urls": settings.options.listen_peer_urls,
                "advertise-client-urls": settings.options.advertise_client_urls,
                "listen-client-urls": settings.listen_client_urls,
                "listen-metrics-urls": settings.listen_metrics_urls,
            },
        )


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS for those ports that want it; files that no port uses are not looked at, as etcd does."""
    urls = (*settings.listen_client_urls, *settings.listen_client_http_urls, *settings.listen_metrics_urls)
    if settings.tls is None or not any(url.startswith(("https:", "unixs:")) for url in urls):
        return None
    try:
        return server_context(settings.tls)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        tls = settings.tls
        files = ", ".join(path for path in (tls.cert, tls.key, tls.ca, tls.crl) if path)
        raise StartError(f"cannot use the TLS files {files}: {error}") from error


def _log(message: str, **fields: Any) -> None:
    logger.info(message, extra={"fields": fields}, stacklevel=2)


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A client whose TLS handshake fails is its own problem, not an error of ours."""
    error = context.get("exception")
    if isinstance(error, ssl.SSLError | ConnectionError | TimeoutError):
        transport = context.get("transport")
        report_rejected(transport.get_extra_info("peername") if transport is not None else None, error)
    else:
        loop.default_exception_handler(context)


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Future[None]]:
    """A future that is done once SIGINT or SIGTERM has come."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[None] = loop.create_future()

    def stop(number: signal.Signals) -> None:
        _log("received signal; shutting down", signal=number.name)
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
