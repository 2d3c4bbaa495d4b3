"""The storage layer alone, without HTTP: what a request costs between the registry and the store.

    python hack/bench/storage.py [--raft] [--objects N] [--etcd http://127.0.0.1:2379]

CPU time of this process per operation, against the embedded store by default: without Raft and its disk unless
`--raft` is given. Every figure is the best of several rounds, because other work on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource as process_resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))

from apiserver.api.scheme import Resource, load_scheme
from apiserver.api.selectors import parse_field_selector, parse_label_selector
from apiserver.codec import Codec
from apiserver.storage import ListOptions, WatchOptions
from apiserver.storage.cacher import Cacher
from apiserver.storage.etcd3 import Etcd3Storage
from apiserver.storage.scheme_codec import SchemeCodec
from hack.bench.report import Row, print_rows
from kvstore.environment import real_environment

ROUNDS = 5
WATCHERS = 100


def pod(name: str, node: str) -> dict[str, Any]:
    """A pod of about 1.5 KiB as JSON."""
    container = {
        "name": "main",
        "image": "registry.example.com/team/application:v1.2.3",
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": f"VARIABLE_{n}", "value": "value"} for n in range(5)],
        "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}, "requests": {"cpu": "250m", "memory": "64Mi"}},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": "8f6ec1b2-7d2c-4a0b-9d4a-2f0f6a3f1a11",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {"app": "web", "pod-template-hash": "7d4b9c6f5", "shard": str(len(name) % 4)},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "web-7d4b9c6f5",
                    "uid": "0a0a0a0a-7d2c-4a0b-9d4a-2f0f6a3f1a11",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "containers": [container],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "serviceAccount": "default",
            "nodeName": node,
            "securityContext": {},
            "schedulerName": "default-scheduler",
        },
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    }


def config_map(name: str) -> dict[str, Any]:
    """A config map of 1 KiB."""
    metadata = {
        "name": name,
        "namespace": "default",
        "uid": "8f6ec1b2-7d2c-4a0b-9d4a-2f0f6a3f1a11",
        "creationTimestamp": "2026-01-02T03:04:05Z",
    }
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"value": "x" * 1024}}


@asynccontextmanager
async def store_client(arguments: argparse.Namespace, directory: str) -> Any:
    """A client of the store asked for."""
    if arguments.etcd:
        from kvstore.client.grpc import GrpcClient

        client = GrpcClient([arguments.etcd])
        yield client
        await client.close()
        return
    from kvstore.app import Options, start_member

    options: dict[str, Any] = {}
    if not arguments.raft:
        from tests.unit.kvstore.server.conftest import start_fake

        options["start_consensus"] = start_fake
    member = await start_member(Options(data_dir=directory), real_environment(), **options)
    yield member.client()
    await member.stop()


async def cpu_micros(work: Callable[[], Awaitable[int]]) -> float:
    """Best CPU time per operation; `work` returns how many it did."""
    best = float("inf")
    for _ in range(ROUNDS):
        gc.collect()
        before = time.process_time()
        count = await work()
        best = min(best, (time.process_time() - before) / count * 1e6)
    return best


class Bench:
    """One run over one store."""

    def __init__(self, storage: Etcd3Storage, cacher: Cacher, pods: Resource, maps: Resource) -> None:
        self.storage = storage
        self.cacher = cacher
        self.pods = pods
        self.maps = maps
        self.made = 0
        self.rows: list[Row] = []

    async def figure(self, name: str, work: Callable[[], Awaitable[int]], target: float | None, unit: str) -> None:
        """Measure and note one figure, in µs or ms of CPU time."""
        micros = await cpu_micros(work)
        value = micros / 1000 if unit == "ms" else micros
        self.rows.append(Row(name, value, unit, None if target is None else f"<= {target:g}"))

    async def create_one_by_one(self) -> int:
        """Creates, each after the one before."""
        for _ in range(300):
            self.made += 1
            name = f"m{self.made}"
            await self.cacher.create(self.maps, f"/registry/configmaps/default/{name}", config_map(name))
        return 300

    async def create_together(self) -> int:
        """Creates of 32 clients."""
        for _ in range(20):
            names = [f"m{self.made + n}" for n in range(1, 33)]
            self.made += 32
            await asyncio.gather(
                *(self.cacher.create(self.maps, f"/registry/configmaps/default/{n}", config_map(n)) for n in names)
            )
        return 640

    async def update(self) -> int:
        """Updates of one object."""

        def change(obj: dict[str, Any], revision: int) -> dict[str, Any]:
            obj["data"]["revision"] = str(revision)
            return obj

        for _ in range(300):
            await self.cacher.update(self.maps, "/registry/configmaps/default/m1", change)
        return 300

    async def get(self) -> int:
        """Reads of the most recent state."""
        for _ in range(5000):
            await self.cacher.get(self.maps, "/registry/configmaps/default/m1")
        return 5000

    async def get_json(self) -> int:
        """The same, with the bytes a client gets."""
        for _ in range(5000):
            (await self.cacher.get(self.maps, "/registry/configmaps/default/m1")).json(self.maps)
        return 5000

    async def list_pods(self) -> int:
        """A list and its bytes."""
        result = await self.cacher.list(self.pods, ListOptions(namespace="default"))
        b",".join([item.json(self.pods) for item in result.items])  # type: ignore[attr-defined]
        return 1

    async def list_by_label(self) -> int:
        """A list by label."""
        await self.cacher.list(self.pods, ListOptions(labels=parse_label_selector("shard=1")))
        return 1

    async def list_by_node(self) -> int:
        """A list by the indexed field."""
        await self.cacher.list(self.pods, ListOptions(fields=parse_field_selector("spec.nodeName=n7")))
        return 1

    async def fan_out(self) -> int:
        """One write to many watchers, until the last has its bytes."""
        revision = await self.cacher.current_revision()
        watchers = [
            await self.cacher.watch(self.maps, WatchOptions(resource_version=str(revision))) for _ in range(WATCHERS)
        ]

        async def read(watcher: Any, count: int) -> None:
            async for batch in watcher:
                for event in batch:
                    event.stored.json(self.maps)
                count -= len(batch)
                if count <= 0:
                    return

        readers = [asyncio.ensure_future(read(watcher, 20)) for watcher in watchers]
        await asyncio.sleep(0)
        for _ in range(20):
            self.made += 1
            name = f"m{self.made}"
            await self.cacher.create(self.maps, f"/registry/configmaps/default/{name}", config_map(name))
        await asyncio.gather(*readers)
        for watcher in watchers:
            watcher.stop()
        return 20


def memory_mib() -> float:
    """Resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * process_resource.getpagesize() / 2**20


async def measure(arguments: argparse.Namespace, directory: str) -> list[Row]:
    """All figures."""
    gc.freeze()
    scheme = load_scheme()
    pods, maps = scheme.resource("", "v1", "pods"), scheme.resource("", "v1", "configmaps")
    assert pods is not None
    assert maps is not None
    async with store_client(arguments, directory) as client:
        codec = SchemeCodec(Codec(scheme))
        storage = Etcd3Storage(client, codec, real_environment())
        cacher = Cacher(storage)
        bench = Bench(storage, cacher, pods, maps)
        await bench.figure("create, one by one", bench.create_one_by_one, 150, "µs")
        await bench.figure("create, 32 at a time", bench.create_together, 150, "µs")
        await bench.figure("update", bench.update, None, "µs")
        await bench.figure("get", bench.get, 5, "µs")
        await bench.figure("get with its bytes", bench.get_json, None, "µs")
        for n in range(arguments.objects):
            await cacher.create(pods, f"/registry/pods/default/pod-{n:06d}", pod(f"pod-{n:06d}", f"n{n % 100}"))
        count = f"{arguments.objects:,} pods"
        await bench.figure(f"list {count}, bytes joined, warm", bench.list_pods, 5 * arguments.objects / 1000, "ms")
        await bench.figure(f"list by label over {count}", bench.list_by_label, None, "ms")
        await bench.figure(f"list by node over {count}", bench.list_by_node, None, "ms")
        await bench.figure(f"one write to {WATCHERS} watchers", bench.fan_out, 20, "ms")
        await cacher.close()
        bench.rows += await cold(client, codec, pods, arguments.objects)
    return bench.rows


async def cold(client: Any, codec: SchemeCodec, pods: Resource, count: int) -> list[Row]:
    """A cache that starts on a full store."""
    before_mib = memory_mib()
    cacher = Cacher(Etcd3Storage(client, codec, real_environment()))
    before = time.process_time()
    await cacher.count(pods)
    loaded = time.process_time()
    result = await cacher.list(pods, ListOptions())
    size = sum(len(item.json(pods)) for item in result.items)
    listed = time.process_time()
    mib = memory_mib() - before_mib
    await cacher.close()
    return [
        Row(f"load {count:,} pods", (loaded - before) * 1000, "ms", None),
        Row(f"first list of them as JSON ({size / 2**20:.1f} MiB)", (listed - loaded) * 1000, "ms", None),
        Row("memory of both", mib, "MiB", None),
    ]


def run(options: Sequence[str] = ()) -> list[Row]:
    """All figures, with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raft", action="store_true", help="replicate through Raft and its log on disk")
    parser.add_argument("--etcd", default="", help="endpoint of an etcd to use instead of the embedded store")
    parser.add_argument("--objects", type=int, default=1000)
    arguments = parser.parse_args(options)
    with tempfile.TemporaryDirectory() as directory:
        return uvloop.run(measure(arguments, directory))


if __name__ == "__main__":
    print_rows(run(sys.argv[1:]))
