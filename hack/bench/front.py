"""The store's front alone: calls that do nothing, against the same calls on a `grpc.aio` server.

Server and load generator (`h2load.py`) are processes of their own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from hack.bench.report import Row, print_rows
from kvstore.etcdpb import rpc_pb2 as pb

HERE = Path(__file__).parent
SECONDS = 3.0


class EmptyKV:
    """Answers every Range with the same small response."""

    async def range(self, request: pb.RangeRequest, context: object) -> pb.RangeResponse:
        """See the class."""
        header = pb.ResponseHeader(cluster_id=1 << 60, member_id=1 << 61, revision=1, raft_term=2)
        return pb.RangeResponse(header=header, count=1)


async def serve_front() -> None:
    """Serve `EmptyKV` on our front until stdin closes; the first line printed is the port."""
    from kvstore.front import build_front

    front = build_front({"etcdserverpb.KV": EmptyKV()})
    (url,) = await front.listen(["http://127.0.0.1:0"])
    print(url.rpartition(":")[2], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await front.close(0.1)


async def serve_grpc_aio() -> None:
    """The same on `grpc.aio`."""
    import grpc.aio

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # no types in grpcio
        def service(self, details: object) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(
                EmptyKV().range,
                request_deserializer=pb.RangeRequest.FromString,
                response_serializer=pb.RangeResponse.SerializeToString,
            )

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


def measure(kind: str, flags: Sequence[str] = ()) -> float:
    """Calls a second of one run against a server of its own."""
    command = [sys.executable, str(HERE / "front.py"), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        target = f"127.0.0.1:{int(server.stdout.readline())}"
        load = [sys.executable, str(HERE / "h2load.py"), "--target", target, "--call", "get"]
        done = subprocess.run([*load, f"--seconds={SECONDS}", *flags], capture_output=True, text=True, check=False)
        server.stdin.close()
        server.wait()
    if done.returncode:
        raise SystemExit(done.stderr)
    rate: float = json.loads(done.stdout)["rate"]
    return rate


def run() -> list[Row]:
    """All figures of this module."""
    ours = max(measure("front") for _ in range(2))
    theirs = max(measure("grpc-aio") for _ in range(2))
    return [
        Row("empty unary call, 64 connections", ours, "/s", ">= 15000"),
        Row("  with a new deadline each time", measure("front", ["--deadlines"]), "/s", None),
        Row("  one connection, 64 streams", measure("front", ["--connections=1", "--streams=64"]), "/s", None),
        Row("  the same calls on grpc.aio", theirs, "/s", None),
        Row("  ratio to grpc.aio", ours / theirs, "x", ">= 2"),
    ]


def main() -> None:
    """Measure, or (started by ourselves) serve."""
    servers = {"front": serve_front, "grpc-aio": serve_grpc_aio}
    if sys.argv[1:]:
        try:
            import uvloop
        except ImportError:
            asyncio.run(servers[sys.argv[1]]())
        else:
            (uvloop.run if sys.argv[1] == "front" else asyncio.run)(servers[sys.argv[1]]())
    else:
        print_rows(run())


if __name__ == "__main__":
    main()
