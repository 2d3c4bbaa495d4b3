"""A TLS server that does nothing: it answers whatever comes with the same 1 KiB.

What the event loop, TLS and the kernel leave to be had on this machine. Figures of the real server are read beside
this one's, taken in the same run with the same load.
"""

from __future__ import annotations

import asyncio
import ssl
import sys

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1200\r\n\r\n" + b"x" * 1200


class Empty(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER)  # type: ignore[attr-defined]


async def main(pki: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{pki}/apiserver.crt", f"{pki}/apiserver.key")
    server = await asyncio.get_running_loop().create_server(Empty, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
