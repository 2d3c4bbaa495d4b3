"""A lean gRPC load generator: N connections to an etcd v3 endpoint, a few unary calls at a time on each.

It spends some 15 µs a call, so that on two cores the server and not the client is measured. Run it as a process of its
own; it prints one JSON object: calls, seconds, rate, and latency percentiles in milliseconds.

    python hack/bench/h2load.py --target 127.0.0.1:2379 --call put --connections 64 --seconds 3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).parents[2]))

from hpack import Encoder

from kvstore.etcdpb import rpc_pb2 as pb

try:
    import uvloop
except ImportError:  # the plain loop measures too, only slower
    uvloop = None

FRAME = struct.Struct(">HBBBL")
SETTINGS = bytes.fromhex("00000c 04 00 00000000 0002 00000000 0004 7fffffff")  # no push; windows as wide as they get
WINDOW = bytes.fromhex("000004 08 00 00000000 7fff0000")
SETTINGS_ACK = bytes.fromhex("000000 04 01 00000000")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS + WINDOW
DATA, HEADERS, RST_STREAM, PING, GOAWAY = 0, 1, 3, 6, 7
END_STREAM, END_HEADERS = 1, 4


def update_txn(key: bytes, value: bytes) -> pb.TxnRequest:
    """Kubernetes' update: put if the key is as it was read, else read it. The comparison holds for any key there is."""
    compare = pb.Compare(key=key, target=pb.Compare.MOD, result=pb.Compare.GREATER, mod_revision=0)
    put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))
    read = pb.RequestOp(request_range=pb.RangeRequest(key=key))
    return pb.TxnRequest(compare=[compare], success=[put], failure=[read])


CALLS: dict[str, tuple[str, Callable[[int, bytes], bytes]]] = {
    "put": (
        "/etcdserverpb.KV/Put",
        lambda number, value: pb.PutRequest(key=b"bench/%08d" % number, value=value).SerializeToString(),
    ),
    "get": (
        "/etcdserverpb.KV/Range",
        lambda number, value: pb.RangeRequest(key=b"bench/%08d" % number).SerializeToString(),
    ),
    "get-serializable": (
        "/etcdserverpb.KV/Range",
        lambda number, value: pb.RangeRequest(key=b"bench/%08d" % number, serializable=True).SerializeToString(),
    ),
    "txn": (
        "/etcdserverpb.KV/Txn",
        lambda number, value: update_txn(b"bench/%08d" % number, value).SerializeToString(),
    ),
    "status": ("/etcdserverpb.Maintenance/Status", lambda number, value: b""),
}


class Load:
    """One run: what to call, how long, and what came of it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.path, make = CALLS[arguments.call]
        value = bytes(arguments.value_bytes)
        keys = arguments.keys
        # Serialized beforehand: the client's own work is not what is measured.
        self.messages = [make(number, value) for number in range(keys)]
        self.numbers = count()
        self.authority = arguments.target
        self.deadlines = arguments.deadlines
        self.streams = arguments.streams
        self.stop_at = float("inf")
        self.calls_left = arguments.calls or sys.maxsize
        self.latencies: list[float] = []
        self.open = arguments.connections
        self.error = ""
        self.finished = asyncio.Event()

    @property
    def wants_more(self) -> bool:
        """Whether another call is to be made."""
        return self.calls_left > 0 and time.perf_counter() < self.stop_at

    def message(self) -> bytes:
        """The next request."""
        self.calls_left -= 1
        return self.messages[next(self.numbers) % len(self.messages)]

    def fail(self, error: str) -> None:
        """The server did not do as asked: the run means nothing."""
        self.error = self.error or error
        self.finished.set()


class Connection(asyncio.Protocol):
    """Makes the next call as soon as one is answered."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.encoder = Encoder()
        self.fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", load.path),
            (":authority", load.authority),
            ("content-type", "application/grpc"),
            ("user-agent", "grpc-lean/1"),
            ("te", "trailers"),
        ]
        self.first_block = self.encoder.encode(self.fields)
        self.block = self.encoder.encode(self.fields)  # from now on it is always this
        self.stream_id = -1
        self.started: dict[int, float] = {}
        self.answered: set[int] = set()
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop has its own
        self.transport.write(PREFACE + b"".join(self.call() for _ in range(self.load.streams)))

    def call(self) -> bytes:
        """The frames of one more call."""
        self.stream_id += 2
        block = self.block if self.stream_id > 1 else self.first_block
        if self.load.deadlines:  # a literal that no table keeps: every block differs
            value = b"%dm" % (self.stream_id % 5000 + 1000)
            block += b"\x00\x0cgrpc-timeout" + bytes((len(value),)) + value
        message = self.load.message()
        size = len(message) + 5
        self.started[self.stream_id] = time.perf_counter()
        return b"".join(
            (
                FRAME.pack(0, len(block), HEADERS, END_HEADERS, self.stream_id),
                block,
                FRAME.pack(size >> 8, size & 0xFF, DATA, END_STREAM, self.stream_id),
                b"\x00",
                len(message).to_bytes(4, "big"),
                message,
            )
        )

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.buffer:
            data = self.buffer + data
        position, end = 0, len(data)
        out: list[bytes] = []
        while end - position >= 9:
            high, low, kind, flags, stream_id = FRAME.unpack_from(data, position)
            after = position + 9 + (high << 8 | low)
            if after > end:
                break
            if kind == DATA:
                self.answered.add(stream_id)
            elif kind == HEADERS and flags & END_STREAM:
                if not self.over(stream_id):
                    break
                if self.load.wants_more:
                    out.append(self.call())
            elif kind == PING and not flags & 1:
                out.append(b"\x00\x00\x08\x06\x01" + data[position + 5 : after])
            elif kind == 4 and not flags & 1:
                out.append(SETTINGS_ACK)
            elif kind in (RST_STREAM, GOAWAY):
                self.load.fail(f"frame of type {kind}: {data[position + 9 : after]!r}")
            position = after
        self.buffer = data[position:]
        assert self.transport is not None
        if out:
            self.transport.write(b"".join(out))
        if not self.started:
            self.transport.close()

    def over(self, stream_id: int) -> bool:
        """One call has ended; refusals come without a message."""
        self.load.latencies.append(time.perf_counter() - self.started.pop(stream_id))
        if stream_id in self.answered:
            self.answered.remove(stream_id)
            return True
        self.load.fail("a call was refused")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self.started:
            self.load.fail(f"the connection was lost: {exc}")
        self.load.open -= 1
        if self.load.open == 0:
            self.load.finished.set()


async def run(arguments: argparse.Namespace) -> dict[str, float]:
    """Run the load and sum it up."""
    load = Load(arguments)
    loop = asyncio.get_running_loop()
    host, _, port = arguments.target.rpartition(":")
    started = time.perf_counter()
    load.stop_at = started + arguments.seconds
    await asyncio.gather(
        *(loop.create_connection(lambda: Connection(load), host, int(port)) for _ in range(arguments.connections))
    )
    await load.finished.wait()
    seconds = time.perf_counter() - started
    if load.error:
        raise SystemExit(load.error)
    ordered = sorted(load.latencies)
    return {
        "calls": len(ordered),
        "seconds": seconds,
        "rate": len(ordered) / seconds,
        "p50_ms": ordered[len(ordered) // 2] * 1000,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
    }


def main() -> None:
    """Command line: see `--help`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="127.0.0.1:2379", help="host:port, without TLS")
    parser.add_argument("--call", choices=sorted(CALLS), default="put")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--streams", type=int, default=1, help="calls at a time on each connection")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--calls", type=int, default=0, help="stop after so many, if that comes first")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--value-bytes", type=int, default=256)
    parser.add_argument("--deadlines", action="store_true", help="send a deadline, another with each call")
    arguments = parser.parse_args()
    json.dump((uvloop.run if uvloop else asyncio.run)(run(arguments)), sys.stdout)
    print()


if __name__ == "__main__":
    main()
