"""A lean HTTP/1.1 load generator: N keep-alive TLS connections, one request at a time on each.

It spends a few microseconds a request, so that on two cores the server and not the client is measured. Run it as a
process of its own; it prints one JSON object: requests, seconds, rate, and latency percentiles in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.e2e.http_client import client_context

try:
    import uvloop
except ImportError:  # the plain loop measures too, only slower
    uvloop = None  # type: ignore[assignment]

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the last answer is whole."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.buffer = bytearray()
        self.need = -1
        self.sent = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's TLS transports do not say so themselves

    def next(self) -> None:
        request = self.load.next_request()
        assert self.transport is not None
        if request is None:
            self.transport.close()
            return
        self.sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.need < 0:
            head = self.buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            length = _LENGTH.search(self.buffer, 0, head)
            if length is None:
                self.load.fail(f"no Content-Length in {bytes(self.buffer[:200])!r}")
                return
            self.need = head + 4 + int(length[1])
        if len(self.buffer) < self.need:
            return
        if self.buffer[9:10] != b"2":
            self.load.fail(bytes(self.buffer[:600]).decode(errors="replace"))
            return
        self.load.done(time.perf_counter() - self.sent)
        del self.buffer[: self.need]
        self.need = -1
        self.next()

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.closed()


class Load:
    """One run: what to send, how long, and what came of it."""

    def __init__(self, make: Callable[[int], bytes], connections: int, seconds: float, requests: int) -> None:
        self.make = make
        self.open = connections
        self.seconds = seconds
        self.limit = requests
        self.started = 0.0
        self.count = 0
        self.latencies: list[float] = []
        self.error = ""
        self.finished = asyncio.Event()

    def next_request(self) -> bytes | None:
        if self.error or (self.limit and self.count >= self.limit):
            return None
        if not self.limit and time.perf_counter() - self.started >= self.seconds:
            return None
        self.count += 1
        return self.make(self.count)

    def done(self, latency: float) -> None:
        self.latencies.append(latency)

    def fail(self, error: str) -> None:
        self.error = error
        self.finished.set()

    def closed(self) -> None:
        self.open -= 1
        if self.open == 0:
            self.finished.set()

    async def run(self, host: str, port: int, context: ssl.SSLContext) -> dict[str, float]:
        loop = asyncio.get_running_loop()
        opened = await asyncio.gather(
            *(
                loop.create_connection(lambda: Connection(self), host, port, ssl=context, server_hostname=host)
                for _ in range(self.open)
            )
        )
        self.started = time.perf_counter()  # handshakes are not what is measured
        for _, connection in opened:
            connection.next()
        await self.finished.wait()
        seconds = time.perf_counter() - self.started
        if self.error:
            raise SystemExit(f"the server refused: {self.error}")
        ordered = sorted(self.latencies)

        def percentile(share: float) -> float:
            return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000

        return {
            "requests": len(ordered),
            "seconds": seconds,
            "rate": len(ordered) / seconds,
            "p50_ms": percentile(0.5),
            "p99_ms": percentile(0.99),
        }


def request_maker(method: str, path: str, body: str, host: str) -> Callable[[int], bytes]:
    """Requests of which `{n}` in path and body is the running number."""

    def make(number: int) -> bytes:
        text = body.replace("{n}", str(number)).encode()
        head = f"{method} {path.replace('{n}', str(number))} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        return head.encode() + b"\r\n" + text

    if "{n}" in path + body:
        return make
    fixed = make(0)
    return lambda _number: fixed


def main() -> None:
    """Command line: see `--help`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--method", default="GET")
    parser.add_argument("--path", required=True, help="{n} is the running number")
    parser.add_argument("--body", default="", help="{n} is the running number; @FILE reads it from a file")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--requests", type=int, default=0, help="stop after so many instead")
    arguments = parser.parse_args()
    body = Path(arguments.body[1:]).read_text() if arguments.body.startswith("@") else arguments.body
    host, port, context = client_context(arguments.kubeconfig)
    make = request_maker(arguments.method, arguments.path, body, f"{host}:{port}")

    async def run() -> dict[str, float]:
        load = Load(make, arguments.connections, arguments.seconds, arguments.requests)
        return await load.run(host, port, context)

    runner = uvloop.run if uvloop else asyncio.run
    json.dump(runner(run()), sys.stdout)
    print()


if __name__ == "__main__":
    main()
