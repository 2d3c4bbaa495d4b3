"""The whole server, over TLS with fsync on: start, memory, create, get, list, watch.

The load comes from processes of their own (`http_load.py`), so on two cores the server has one to itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from hack.bench.report import Row, print_rows
from tests.e2e.http_client import HTTPConnection
from tests.e2e.server_process import BIN, ServerProcess

HERE = Path(__file__).parent
NAMESPACE = "/api/v1/namespaces/default"
ROUNDS = 3
VALUE = "x" * 900  # with its metadata an object of about 1 KiB
POD: dict[str, Any] = {
    "metadata": {"name": "p-{n}", "labels": {"app": "bench"}},
    "spec": {
        "containers": [
            {
                "name": "main",
                "image": "nginx:1.27",
                "ports": [{"containerPort": 80}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            }
        ]
    },
}


def load(server: ServerProcess, path: str, **more: Any) -> dict[str, float]:
    """One run of the load generator against the server."""
    return run_load(server.kubeconfig, path, **more)


def run_load(kubeconfig: Path, path: str, *, method: str = "GET", body: Any = None, **more: float) -> dict[str, float]:
    """One run of the load generator."""
    command = [sys.executable, str(HERE / "http_load.py"), f"--kubeconfig={kubeconfig}", f"--path={path}"]
    command += [f"--method={method}"]
    if body is not None:
        command += [f"--body={json.dumps(body)}"]
    command += [f"--{name}={value}" for name, value in more.items()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def resident_mib(pid: int) -> float:
    """Resident memory, as the kernel counts it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def cold_start(data_dir: Path) -> float:
    """From the command to the end of the first successful `kubectl get ns`, with existing data; best of five."""
    times = []
    for _ in range(5):
        server = ServerProcess(data_dir)
        started = time.perf_counter()
        server.start()
        environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
        subprocess.run([str(BIN / "kubectl"), "get", "ns"], env=environment, capture_output=True, check=True)
        times.append(time.perf_counter() - started)
        server.stop()
    return sorted(times)[len(times) // 2]


async def fan_out(server: ServerProcess, watchers: int, events: int) -> tuple[float, float]:
    """Median and maximum seconds from sending a write until the last of `watchers` has its event."""
    path = f"{NAMESPACE}/configmaps"
    async with contextlib.AsyncExitStack() as connections:

        async def connect() -> HTTPConnection:
            return await connections.enter_async_context(await HTTPConnection.open(server.kubeconfig))

        writer = await connect()
        await writer.request("POST", path, {"metadata": {"name": "fan-out"}})
        query = "watch=true&fieldSelector=metadata.name%3Dfan-out"
        streams = [(await connect()).stream(f"{path}?{query}") for _ in range(watchers)]
        for stream in streams:
            connections.push_async_callback(stream.aclose)
        await asyncio.gather(*(anext(stream) for stream in streams))
        times = []
        for number in range(events):
            received = [asyncio.ensure_future(anext(stream)) for stream in streams]
            started = time.perf_counter()
            body = {"metadata": {"name": "fan-out"}, "data": {"n": str(number)}}
            status, _ = await writer.request("PUT", f"{path}/fan-out", body)
            assert status == 200
            await asyncio.gather(*received)
            times.append(time.perf_counter() - started)
    times.sort()
    return times[len(times) // 2], times[-1]


@contextlib.contextmanager
def empty_server(server: ServerProcess, folder: Path) -> Iterator[Path]:
    """The kubeconfig of a server that does nothing, behind the same TLS."""
    command = [sys.executable, str(HERE / "empty_server.py"), str(server.data_dir / "pki")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as empty:
        assert empty.stdout is not None
        port = empty.stdout.readline().strip()
        config = json.loads(server.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        kubeconfig = folder / "empty.kubeconfig"
        kubeconfig.write_text(json.dumps(config))
        yield kubeconfig
        empty.kill()


def run() -> list[Row]:
    """All figures of this module."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder, "data")
        server = ServerProcess(data_dir).start()
        first = server.start_seconds
        server.stop()
        rows.append(Row("first start (makes keys and certificates) to ready", first, "s", None))
        rows.append(Row("cold start to first kubectl get ns", cold_start(data_dir), "s", "<= 1.0"))
        server.start()
        assert server.process is not None
        rows.append(Row("resident memory, idle", resident_mib(server.process.pid), "MiB", "<= 120"))
        with empty_server(server, Path(folder)) as empty:
            rows += rates(server, empty)
        rows += traffic(server)
        server.stop()
        server.start()
        rows.append(Row("restart with 10,000 objects to ready", server.start_seconds, "s", "<= 3"))
        server.stop()
    return rows


def rates(server: ServerProcess, empty: Path) -> list[Row]:
    """Create and get at 32 connections, in turn with a server that does nothing; the best of each."""
    path = f"{NAMESPACE}/configmaps"
    created, got, nothing = [], [], []
    for turn in range(ROUNDS):
        configmap = {"metadata": {"name": f"c{turn}-{{n}}"}, "data": {"value": VALUE}}
        created.append(load(server, path, method="POST", body=configmap, requests=4000))
        got.append(load(server, f"{path}/c{turn}-1", requests=20000))
        nothing.append(run_load(empty, "/", requests=20000))
    create, get, none = (max(runs, key=lambda run: run["rate"]) for runs in (created, got, nothing))
    return [
        Row("create ConfigMap 1 KiB, 32 connections", create["rate"], "/s", ">= 3000"),
        Row("  p99", create["p99_ms"], "ms"),
        Row("get ConfigMap 1 KiB, 32 connections", get["rate"], "/s", ">= 12000"),
        Row("  p99", get["p99_ms"], "ms"),
        Row("the same from a TLS server that does nothing", none["rate"], "/s"),
    ]


def traffic(server: ServerProcess) -> list[Row]:
    """List and watch against a running server."""
    rows = []
    load(server, f"{NAMESPACE}/pods", method="POST", body=POD, requests=1000)
    load(server, f"{NAMESPACE}/pods", connections=1, requests=3)
    listed = load(server, f"{NAMESPACE}/pods", connections=1, requests=50)
    rows.append(Row("list 1,000 pods as JSON, p50", listed["p50_ms"], "ms", "<= 10"))
    median, slowest = asyncio.run(fan_out(server, 100, 50))
    rows.append(Row("watch: one write to 100 watchers, median", median * 1000, "ms", "<= 20"))
    rows.append(Row("  slowest of 50", slowest * 1000, "ms", "<= 100"))
    assert server.process is not None
    rows.append(Row("resident memory with 10,000 objects", resident_mib(server.process.pid), "MiB", None))
    return rows


if __name__ == "__main__":
    print_rows(run())
