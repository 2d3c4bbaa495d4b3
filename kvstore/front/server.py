"""Listening, and stopping."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Sequence

from kvstore.environment import Clock
from kvstore.front.addresses import BACKLOG, Address, SocketOptions, bind, parse_url
from kvstore.front.http1 import Http1Protocol
from kvstore.front.http2 import Http2Protocol
from kvstore.front.limits import FrontLimits
from kvstore.front.port import PortProtocol, Sessions
from kvstore.front.routes import Router
from kvstore.front.service import CallObserver, MethodTable

__all__ = ["Front"]

CLOSE_SECONDS = 1.0  # for closed connections to be gone; a TLS peer may take its time to say goodbye
_TLS_HANDSHAKE_BYTE = b"\x16"  # the record type every TLS connection begins with (RFC 8446 section 5.1)


class Front:
    """One server: its methods, its routes, and the ports it listens on.

    Args:
        methods: gRPC methods by path.
        router: everything that is not gRPC.
        limits: of every connection.
        clock: for deadlines and timeouts.
        observer: told of every gRPC call.
    """

    def __init__(
        self,
        methods: MethodTable,
        router: Router,
        limits: FrontLimits,
        clock: Clock,
        observer: CallObserver | None = None,
    ) -> None:
        self.methods = methods
        self.router = router
        self.limits = limits
        self._clock = clock
        self._observer = observer
        self._servers: list[asyncio.AbstractServer] = []
        self._mixed: list[_MixedListener] = []
        self._socket_files: list[str] = []
        self._sessions = Sessions()

    async def listen(
        self, urls: Sequence[str], tls: ssl.SSLContext | None = None, options: SocketOptions | None = None
    ) -> list[str]:
        """Listen on etcd's kind of URLs: `http`, `https`, `unix`, `unixs`; one address may be named in both schemes.

        Returns the URLs with the ports the system chose where 0 was asked for. Raises ValueError for an URL that is
        none of these or wants TLS without a context, and OSError when an address is not to be had.
        """
        schemes: dict[Address, set[bool]] = {}
        for url in urls:
            secure, address = parse_url(url)
            if secure and tls is None:
                raise ValueError(f"{url}: TLS key and certificate must be provided for this URL")
            schemes.setdefault(address, set()).add(secure)
        bound: list[str] = []
        for address, secures in schemes.items():
            listening, where = await bind(address, options or SocketOptions())
            if where.path:
                self._socket_files.append(where.path)
            await self._serve(listening, tls if True in secures else None, mixed=len(secures) == 2)
            bound.extend(where.url(secure) for secure in sorted(secures))
        return bound

    async def close(self, grace_seconds: float = 5.0) -> None:
        """Stop listening and end streams, let other requests finish for so long, then close every connection.

        Clients of streams are told UNAVAILABLE, "etcdserver: server stopped": they go elsewhere or come back.
        """
        for server in self._servers:
            server.close()
        for listener in self._mixed:
            listener.close()
        for path in self._socket_files:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        for session in self._sessions:
            session.drain()
        await self._sessions.wait_empty(grace_seconds)
        for session in self._sessions:
            session.abort()
        await self._sessions.wait_empty(CLOSE_SECONDS)

    @property
    def connection_count(self) -> int:
        """Open connections."""
        return len(self._sessions)

    def session(self) -> asyncio.Protocol:
        """The protocol of a new connection."""

        def http1() -> asyncio.Protocol:
            protocol = Http1Protocol(
                self.router, self.limits, self._clock, lost=lambda: self._sessions.discard(protocol)
            )
            self._sessions.add(protocol)
            return protocol

        def http2() -> asyncio.Protocol:
            protocol = Http2Protocol(
                self.methods,
                self.router,
                self.limits,
                self._clock,
                self._observer,
                lost=lambda: self._sessions.discard(protocol),
            )
            self._sessions.add(protocol)
            return protocol

        return PortProtocol(http1, http2, self._clock, self.limits.first_bytes_seconds, self._sessions)

    async def _serve(self, listening: socket.socket, context: ssl.SSLContext | None, mixed: bool) -> None:
        if mixed:
            self._mixed.append(_MixedListener(listening, context, self.session))
            return
        loop = asyncio.get_running_loop()
        listen = loop.create_unix_server if listening.family == socket.AF_UNIX else loop.create_server
        self._servers.append(await listen(self.session, sock=listening, ssl=context, backlog=BACKLOG))


class _MixedListener:
    """A port that takes TLS and plain connections: the first byte, looked at and left in place, tells."""

    def __init__(
        self, listening: socket.socket, context: ssl.SSLContext | None, session: Callable[[], asyncio.Protocol]
    ) -> None:
        self._listening = listening
        self._context = context
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Stop listening; connections that have said nothing yet are closed."""
        self._accepting.cancel()
        for task in self._waiting:
            task.cancel()
        self._listening.close()

    async def _accept(self) -> None:
        while True:
            connection, _ = await self._loop.sock_accept(self._listening)
            task = self._loop.create_task(self._begin(connection))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        readable = self._loop.create_future()

        def look() -> None:
            self._loop.remove_reader(connection)
            readable.set_result(None)

        self._loop.add_reader(connection, look)
        try:
            await readable
        except asyncio.CancelledError:
            self._loop.remove_reader(connection)
            connection.close()
            raise
        try:
            secure = connection.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE_BYTE
            await self._loop.connect_accepted_socket(self._session, connection, ssl=self._context if secure else None)
        except OSError:  # gone already, or no TLS after all
            connection.close()
