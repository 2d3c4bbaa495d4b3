"""Watch fan-out over gRPC: the time from sending a write until the last of N watchers has its event.

Watchers are spread over a few connections, each with one watch stream, as Go clients do it. The client reads frames
and counts messages, nothing more, so that on two cores the server and not the client is measured. A process of its own;
it prints one JSON object: median and slowest in milliseconds.

    python hack/bench/watch_load.py --target 127.0.0.1:2379 --watchers 1000 --writes 30
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).parents[2]))

from hpack import Encoder

from hack.bench.h2load import DATA, END_HEADERS, FRAME, HEADERS, PING, PREFACE, SETTINGS_ACK, uvloop
from kvstore.etcdpb import rpc_pb2 as pb

CONNECTIONS_MAX = 10
WINDOW_BYTES = 1 << 20  # returned to the server once so much has come
GOAWAY, RST_STREAM, SETTINGS = 7, 3, 4
SECONDS_MAX = 60.0


class Stream(asyncio.Protocol):
    """One connection with one call; `count` messages have come. `more` is called after each read that had any."""

    def __init__(self, path: str, target: str, more: asyncio.Event) -> None:
        fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", target),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
        self._block = Encoder().encode(fields)
        self._more = more
        self._buffer = b""
        self._message_left = 0  # of the message whose beginning has come
        self._prefix = b""
        self._uncredited = 0
        self.count = 0
        self.error = ""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(PREFACE + FRAME.pack(0, len(self._block), HEADERS, END_HEADERS, 1) + self._block)

    def send(self, message: bytes) -> None:
        """Send one message."""
        assert self.transport is not None
        framed = b"\0" + len(message).to_bytes(4, "big") + message
        self.transport.write(FRAME.pack(len(framed) >> 8, len(framed) & 0xFF, DATA, 0, 1) + framed)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        data = self._buffer + data
        position, end, before = 0, len(data), self.count
        assert self.transport is not None
        while end - position >= 9:
            high, low, kind, flags, _ = FRAME.unpack_from(data, position)
            after = position + 9 + (high << 8 | low)
            if after > end:
                break
            if kind == DATA:
                self._count(data, position + 9, after)
            elif kind == SETTINGS and not flags & 1:
                self.transport.write(SETTINGS_ACK)
            elif kind == PING and not flags & 1:
                self.transport.write(b"\x00\x00\x08\x06\x01" + data[position + 5 : after])
            elif kind in (RST_STREAM, GOAWAY) or (kind == HEADERS and flags & 1):
                self.error = f"the stream ended: {data[position:after]!r}"
                self._more.set()
            position = after
        self._buffer = data[position:]
        if self.count != before:
            self._more.set()

    def _count(self, data: bytes, start: int, end: int) -> None:
        self._uncredited += end - start
        if self._uncredited >= WINDOW_BYTES:
            assert self.transport is not None
            update = self._uncredited.to_bytes(4, "big")
            self.transport.write(FRAME.pack(0, 4, 8, 0, 0) + update + FRAME.pack(0, 4, 8, 0, 1) + update)
            self._uncredited = 0
        while start < end:
            if self._message_left:
                step = min(self._message_left, end - start)
                self._message_left -= step
                start += step
            else:
                step = min(5 - len(self._prefix), end - start)
                self._prefix += data[start : start + step]
                start += step
                if len(self._prefix) < 5:
                    return
                self._message_left = int.from_bytes(self._prefix[1:], "big")
                self._prefix = b""
            if not self._message_left and not self._prefix:
                self.count += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.error = self.error or f"the connection was lost: {exc}"
        self._more.set()


async def run(arguments: argparse.Namespace) -> dict[str, float]:
    """Create the watchers, write, and sum up."""
    loop = asyncio.get_running_loop()
    host, _, port = arguments.target.rpartition(":")
    more, answered = asyncio.Event(), asyncio.Event()

    async def connect(path: str, event: asyncio.Event) -> Stream:
        _, stream = await loop.create_connection(lambda: Stream(path, arguments.target, event), host, int(port))
        return stream

    connections = min(CONNECTIONS_MAX, arguments.watchers)
    streams = [await connect("/etcdserverpb.Watch/Watch", more) for _ in range(connections)]
    create = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"fan-out/", range_end=b"fan-out0"))
    for number in range(arguments.watchers):
        streams[number % connections].send(create.SerializeToString())

    async def received(count: int) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while sum(stream.count for stream in streams) < count:
                more.clear()
                await more.wait()
                if error := next((stream.error for stream in streams if stream.error), ""):
                    raise SystemExit(error)

    await received(arguments.watchers)
    put = pb.PutRequest(key=b"fan-out/a", value=bytes(arguments.value_bytes)).SerializeToString()
    times = []
    for number in range(arguments.writes):
        writer = await connect("/etcdserverpb.KV/Put", answered)
        started = time.perf_counter()
        writer.send(put)
        writer.transport.write(FRAME.pack(0, 0, DATA, 1, 1))  # type: ignore[union-attr]  # connected
        await received(arguments.watchers * (number + 2))
        times.append(time.perf_counter() - started)
        writer.transport.close()  # type: ignore[union-attr]
    times.sort()
    return {"median_ms": times[len(times) // 2] * 1000, "max_ms": times[-1] * 1000}


def main() -> None:
    """Command line: see `--help`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="127.0.0.1:2379", help="host:port, without TLS")
    parser.add_argument("--watchers", type=int, default=100)
    parser.add_argument("--writes", type=int, default=30)
    parser.add_argument("--value-bytes", type=int, default=256)
    arguments = parser.parse_args()
    json.dump((uvloop.run if uvloop else asyncio.run)(run(arguments)), sys.stdout)
    print()


if __name__ == "__main__":
    main()
