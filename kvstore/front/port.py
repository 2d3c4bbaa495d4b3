"""The first bytes of a connection decide what it speaks (one port for gRPC and HTTP/1.1, as etcd's)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol, cast

from kvstore.environment import Clock, TimerHandle
from kvstore.front.frames import CLIENT_PREFACE
from kvstore.front.tls import refusal_of, report_rejected

__all__ = ["PortProtocol", "Session", "Sessions"]


class Session(Protocol):
    """A connection, as whoever stops the server sees it."""

    def drain(self) -> None:
        """Finish what is under way, then close."""

    def abort(self) -> None:
        """Close now."""


class Sessions:
    """The open connections of a server."""

    def __init__(self) -> None:
        self._open: dict[Session, None] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._open))

    def add(self, session: Session) -> None:
        """One more."""
        self._open[session] = None
        self._empty.clear()

    def discard(self, session: Session) -> None:
        """One fewer."""
        self._open.pop(session, None)
        if not self._open:
            self._empty.set()

    async def wait_empty(self, seconds: float) -> None:
        """Wait until there is none, but only so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()


class PortProtocol(asyncio.Protocol):
    """Waits for the first bytes, then hands the transport to the protocol that speaks that language.

    Args:
        http1, http2: make the protocols.
        clock, first_bytes_seconds: how long a silent client is waited for.
        sessions: where the connection is kept while it has not said what it is.
    """

    def __init__(
        self,
        http1: Callable[[], asyncio.Protocol],
        http2: Callable[[], asyncio.Protocol],
        clock: Clock,
        first_bytes_seconds: float,
        sessions: Sessions,
    ) -> None:
        self._http1 = http1
        self._http2 = http2
        self._sessions = sessions
        self._clock = clock
        self._first_bytes_seconds = first_bytes_seconds
        self._timer: TimerHandle | None = None
        self._first = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)
        self._sessions.add(self)  # not before: a failed TLS handshake makes a protocol that never hears of anything
        self._timer = self._clock.call_later(self._first_bytes_seconds, self.abort)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and (refusal := refusal_of(tls)):
            report_rejected(transport.get_extra_info("peername"), refusal)
            self.abort()
            self._leave()
        elif tls is not None and tls.selected_alpn_protocol() == "h2":
            self._become(self._http2())

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._transport is None:  # turned away: what it said before it knew is not heard
            return
        self._first += data
        if self._first.startswith(CLIENT_PREFACE):
            self._become(self._http2())
        elif not CLIENT_PREFACE.startswith(self._first):
            self._become(self._http1())

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._leave()

    def drain(self) -> None:
        """See `Session.drain`: nothing is under way yet."""
        self.abort()

    def abort(self) -> None:
        """See `Session.abort`."""
        if self._transport is not None:
            self._transport.abort()

    def _become(self, protocol: asyncio.Protocol) -> None:
        transport = self._transport
        assert transport is not None
        self._leave()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._first:
            protocol.data_received(self._first)

    def _leave(self) -> None:
        self._transport = None
        self._sessions.discard(self)
        if self._timer is not None:
            self._timer.cancel()
