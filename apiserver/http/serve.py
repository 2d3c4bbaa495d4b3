"""The HTTP server: one uvicorn server, started and stopped by its owner."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl

import uvicorn

from apiserver.http.asgi import ASGIApplication
from apiserver.http.protocol import APIProtocol
from apiserver.request import Handler
from kvstore.environment import Clock, TimerHandle

__all__ = ["HTTPServer"]

_LOG = logging.getLogger("apiserver.http")
SWEEP_SECONDS = 5.0
"""How often waiting connections are looked at."""
BACKLOG_CONNECTIONS = 1024


class HTTPServer:
    """Serves a handler on one address until it is stopped. Signals are the caller's business.

    Args:
        handler: answers every request.
        clock: for timeouts and the Date header.
        ssl_context: server side, with `verify_mode` CERT_OPTIONAL and the client CAs loaded where client certificates
            are wanted; None serves plain HTTP. ALPN is set to `http/1.1`.
        port: 0 lets the system choose; see `port`.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        clock: Clock,
        ssl_context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 6443,
    ) -> None:
        self._application = ASGIApplication(handler, clock)
        self._clock = clock
        self._ssl_context = ssl_context
        self._host = host
        self._port = port
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._sweep: TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, once started."""
        return self._port

    async def start(self) -> None:
        """Listen and serve; returns when connections are accepted.

        Raises:
            OSError: the address cannot be bound.
        """
        if self._ssl_context is not None:
            self._ssl_context.set_alpn_protocols(["http/1.1"])
        self._socket = self._bind()
        self._port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self._application,
            http=APIProtocol,
            ws="none",
            loop="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=BACKLOG_CONNECTIONS,
        )
        config.load()
        config.ssl = self._ssl_context
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        server.lifespan.state["clock"] = self._clock
        await server.startup(sockets=[self._socket])
        self._server = server
        self._arm_sweep()

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        return listener

    def _arm_sweep(self) -> None:
        self._sweep = self._clock.call_later(SWEEP_SECONDS, self._expire_connections)

    def _expire_connections(self) -> None:
        assert self._server is not None
        now = self._clock.monotonic()
        for connection in list(self._server.server_state.connections):
            assert isinstance(connection, APIProtocol)
            connection.expire(now)
        self._arm_sweep()

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Stop accepting, end watches, let running requests finish for `grace_seconds`, then close. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        if self._sweep is not None:
            self._sweep.cancel()
        for listener in server.servers:
            listener.close()
        for connection in list(server.server_state.connections):
            connection.shutdown()
        self._application.end_streams()
        tasks = set(server.server_state.tasks)
        if tasks:
            _, running = await asyncio.wait(tasks, timeout=grace_seconds)
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running)
        await asyncio.sleep(0)  # let the last answers reach their transports
        for connection in list(server.server_state.connections):
            connection.transport.close()
        await self._closed(server)

    async def _closed(self, server: uvicorn.Server) -> None:
        """Wait a moment for TLS connections to say goodbye, then drop them."""
        for _ in range(20):
            if not server.server_state.connections:
                return
            await asyncio.sleep(0.01)
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
