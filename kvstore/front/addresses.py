"""Where to listen: etcd's kind of URLs, made into sockets the way Go does it.

A name stands for one address, and for one of IPv4 if it has any; `0.0.0.0` and `[::]` both mean every address of
both families. A socket file that was left behind by a server that is gone makes room for the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Address", "SocketOptions", "bind", "parse_url"]

BACKLOG = 1024

_WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104  that is what they are for


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """`--socket-reuse-port` and `--socket-reuse-address`, for every listener; Go sets the second one anyway."""

    reuse_port: bool = False
    reuse_address: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """`host` and `port`, or the `path` of a socket file."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, secure: bool) -> str:
        """How to reach it."""
        if self.path:
            return f"{'unixs' if secure else 'unix'}://{self.path}"
        return f"{'https' if secure else 'http'}://{self}"


def parse_url(url: str) -> tuple[bool, Address]:
    """Whether with TLS, and where. A unix URL's host is part of its path: `unix://localhost:1` is a file of that name.

    Raises:
        ValueError: the URL is none to listen on.
    """
    parts = urlsplit(url)
    if parts.scheme in ("unix", "unixs"):
        path = parts.netloc + parts.path
        if not path:
            raise ValueError(f"{url}: a unix URL needs a path")
        return parts.scheme == "unixs", Address(path=path)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{url}: URL scheme must be http, https, unix, or unixs")
    if parts.port is None or parts.path not in ("", "/"):
        raise ValueError(f"{url}: URL must be scheme://host:port without a path")
    return parts.scheme == "https", Address(parts.hostname or "", parts.port)


async def bind(address: Address, options: SocketOptions) -> tuple[socket.socket, Address]:
    """A listening socket, and its address with the port the system chose where 0 was asked for.

    Raises:
        OSError: the address is not to be had; the message says which, as Go does.
    """
    try:
        if address.path:
            return _bind_file(address.path), address
        listening = await _bind_tcp(address, options)
    except OSError as error:
        network = "unix" if address.path else "tcp"
        reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
        raise OSError(error.errno, f"listen {network} {address}: bind: {reason}") from error
    host, port = listening.getsockname()[:2]
    return listening, Address(address.host if address.host in _WILDCARDS else host, port)


async def _bind_tcp(address: Address, options: SocketOptions) -> socket.socket:
    family, where = await _resolve(address)
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if options.reuse_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address.host not in _WILDCARDS)
        listening.bind(where)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


async def _resolve(address: Address) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    if address.host in _WILDCARDS:
        if socket.has_dualstack_ipv6():
            return socket.AF_INET6, ("::", address.port)
        return socket.AF_INET, ("0.0.0.0", address.port)  # noqa: S104
    found = await asyncio.get_running_loop().getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, _, _, _, where = min(found, key=lambda info: info[0] != socket.AF_INET)  # the first of IPv4, or else of all
    return family, where


def _bind_file(path: str) -> socket.socket:
    _make_room(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(path)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _make_room(path: str) -> None:
    """Remove a socket file behind which there is nobody."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
