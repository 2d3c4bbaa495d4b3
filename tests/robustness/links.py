"""The network between members, in our hands: each peer URL belongs to a proxy, which knows who is calling.

All members dial the same URL of a peer, so who has dialled is looked up: the kernel lists the sockets of every process.
A cut link keeps its bytes, as a network does whose packets are lost: they are sent on when it is joined again, or the
connections are reset, as one likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["Link", "Proxy", "supported"]

CHUNK_BYTES = 64 << 10
_ESTABLISHED = "01"
# gRPC speaks IPv4 through sockets of IPv6.
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def supported() -> bool:
    """Whether the kernel tells whose a socket is."""
    return all(table.exists() for table in _TABLES)


class Link:
    """One direction between two members.

    Attributes:
        delay_seconds: how long each piece is held up.
    """

    def __init__(self) -> None:
        self._joined = asyncio.Event()
        self._joined.set()
        self.delay_seconds = 0.0

    def cut(self) -> None:
        """Let nothing pass."""
        self._joined.clear()

    def join(self) -> None:
        """Let everything pass that waits."""
        self._joined.set()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy one direction of a connection until it ends."""
        while chunk := await reader.read(CHUNK_BYTES):
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            await self._joined.wait()
            writer.write(chunk)
            await writer.drain()


class Proxy:
    """Listens where a member's peer URL points, and dials the member itself.

    Args:
        target_port: where the member listens.
        callers: who may call: process ids with names.
        link: the link from one to the other, by name; None is the member that listens.
    """

    def __init__(
        self, target_port: int, callers: Callable[[], Mapping[int, str]], link: Callable[[str | None, str | None], Link]
    ) -> None:
        self._target_port = target_port
        self._callers = callers
        self._link = link
        self._server: asyncio.Server
        self._connections: dict[asyncio.Task[None], str] = {}

    async def listen(self) -> int:
        """Begin; returns the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """End, and every connection with it."""
        self._server.close()
        self.reset()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def reset(self, caller: str | None = None) -> None:
        """Break every connection of a caller, or of all."""
        for task, name in self._connections.items():
            if caller in (None, name):
                task.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, port = writer.get_extra_info("peername")
        own_port: int = writer.get_extra_info("sockname")[1]
        name = _owner(port, own_port, self._callers())
        if name is None:  # it has gone already
            writer.transport.abort()
            return
        there, back = self._link(name, None), self._link(None, name)
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer, there, back))
        self._connections[task] = name
        task.add_done_callback(lambda done: self._connections.pop(done, None))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: Link, back: Link) -> None:
        onward: asyncio.StreamWriter | None = None
        pumps: list[asyncio.Task[None]] = []
        try:
            with contextlib.suppress(OSError):
                answers, onward = await asyncio.open_connection("127.0.0.1", self._target_port)
                pumps = [
                    asyncio.ensure_future(there.pass_on(reader, onward)),
                    asyncio.ensure_future(back.pass_on(answers, writer)),
                ]
                # A connection of gRPC ends as a whole.
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # reset
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, onward):
                if end is not None:
                    end.transport.abort()
            await asyncio.gather(*pumps, return_exceptions=True)


def _owner(local_port: int, remote_port: int, processes: Mapping[int, str]) -> str | None:
    """Which of the processes holds the end `local_port` of a connection on loopback to `remote_port`."""
    inode = None
    for table in _TABLES:
        for line in table.read_text().splitlines()[1:]:
            _, local, remote, state, *rest = line.split()
            if state == _ESTABLISHED and _port(local) == local_port and _port(remote) == remote_port:
                inode = rest[5]
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    return next((name for pid, name in processes.items() if _holds(Path(f"/proc/{pid}/fd"), wanted)), None)


def _holds(directory: Path, wanted: str) -> bool:
    with contextlib.suppress(OSError):  # it has ended
        for name in sorted(os.listdir(directory), key=int, reverse=True):  # the newest are at the end
            with contextlib.suppress(OSError):
                if os.readlink(directory / name) == wanted:
                    return True
    return False


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
