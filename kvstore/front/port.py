"""The first bytes of a connection decide what it speaks (one port for gRPC and HTTP/1.1, as etcd's)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from kvstore.environment import Clock
from kvstore.front.frames import CLIENT_PREFACE

__all__ = ["PortProtocol", "Session"]


class Session(Protocol):
    """A connection, as whoever stops the server sees it."""

    def drain(self) -> None:
        """Finish what is under way, then close."""

    def abort(self) -> None:
        """Close now."""


class PortProtocol(asyncio.Protocol):
    """Waits for the first bytes, then hands the transport to the protocol that speaks that language.

    Args:
        http1, http2: make the protocols.
        clock, first_bytes_seconds: how long a silent client is waited for.
        lost: called when the connection ends before it said anything.
    """

    def __init__(
        self,
        http1: Callable[[], asyncio.Protocol],
        http2: Callable[[], asyncio.Protocol],
        clock: Clock,
        first_bytes_seconds: float,
        lost: Callable[[], None],
    ) -> None:
        self._http1 = http1
        self._http2 = http2
        self._lost = lost
        self._first = b""
        self._transport: asyncio.Transport | None = None
        self._timer = clock.call_later(first_bytes_seconds, self.abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            self._become(self._http2())

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._first += data
        if self._first.startswith(CLIENT_PREFACE):
            self._become(self._http2())
        elif not CLIENT_PREFACE.startswith(self._first):
            self._become(self._http1())

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        self._timer.cancel()
        self._lost()

    def drain(self) -> None:
        """See `Session.drain`: nothing is under way yet."""
        self.abort()

    def abort(self) -> None:
        """See `Session.abort`."""
        if self._transport is not None:
            self._transport.close()

    def _become(self, protocol: asyncio.Protocol) -> None:
        self._timer.cancel()
        transport, self._transport = self._transport, None
        assert transport is not None
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._first:
            protocol.data_received(self._first)
