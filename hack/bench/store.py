"""The store without a network: writes and reads in process, restart and memory with 100,000 keys."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from hack.bench.report import Row, print_rows
from kvstore.app import Member, Options, start_member
from kvstore.client import Client
from kvstore.environment import real_environment
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["run"]

VALUE = bytes(range(256))
MANY_KEYS = 100_000
ROUNDS = 3


def run() -> Iterable[Row]:
    """Every figure of this section."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as directory:
        rows = asyncio.run(_operations(f"{directory}/operations"))
        yield from rows
        yield from _many_keys(f"{directory}/many")


async def _operations(path: str) -> list[Row]:
    member = await start_member(Options(data_dir=path), real_environment())
    client = member.client()
    rows: list[Row] = []
    for clients, count, target in ((1, 300, None), (64, 150, ">= 10000"), (256, 60, None)):
        rate, cpu_us = await _measure(client, _put, clients, count)
        rows.append(Row(f"put 256 B, {clients} clients, fsync", rate, "/s", target))
        if clients == 64:
            rows.append(Row("put 256 B, 64 clients: CPU", cpu_us, "µs", "<= 60"))
    for name, operation, target in (("create", _create, "<= 60"), ("update", _update, "<= 60")):
        rate, cpu_us = await _measure(client, operation, 64, 100)
        rows.append(Row(f"txn: {name}, 64 clients, fsync", rate, "/s"))
        rows.append(Row(f"txn: {name}, 64 clients: CPU", cpu_us, "µs", target))
    rate, _ = await _measure(client, _get, 64, 300)
    rows.append(Row("linearizable get, 64 clients", rate, "/s", ">= 20000"))
    rows.append(Row("range of 1,000 keys of 256 B", await _range_ms(client), "ms", "<= 10"))
    rows.append(Row("one write to 100 watchers, all delivered", await _fan_out_ms(client), "ms", "<= 20"))
    await member.stop()
    return rows


Operation = Callable[[Client, int, int], Awaitable[object]]


async def _measure(client: Client, operation: Operation, clients: int, count: int) -> tuple[float, float]:
    """Operations a second, and CPU of this process in µs each, at the best of a few rounds: the machine is shared."""

    async def work(number: int, offset: int) -> None:
        for step in range(count):
            await operation(client, number, offset + step)

    best = (0.0, float("inf"))
    for round_number in range(ROUNDS):
        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work(number, round_number * count) for number in range(clients)))
        total = clients * count
        rate = total / (time.perf_counter() - started)
        best = (max(best[0], rate), min(best[1], (time.process_time() - cpu) / total * 1e6))
    return best


def _key(number: int, step: int) -> bytes:
    return b"/registry/configmaps/bench-%d/object-%d" % (number, step)


async def _put(client: Client, number: int, step: int) -> object:
    return await client.put(pb.PutRequest(key=_key(number, step % 50), value=VALUE))


async def _get(client: Client, number: int, step: int) -> object:
    return await client.range(pb.RangeRequest(key=_key(number, step % 50)))


async def _create(client: Client, number: int, step: int) -> object:
    return await client.txn(_txn(b"/created" + _key(number, step), 0))


async def _update(client: Client, number: int, step: int) -> object:
    # Greater than 0: the guess of a client whose cache is right, without the cache.
    return await client.txn(_txn(b"/created" + _key(number, step), 0, pb.Compare.GREATER))


def _txn(key: bytes, revision: int, result: pb.Compare.CompareResult = pb.Compare.EQUAL) -> pb.TxnRequest:
    request = pb.TxnRequest()
    compare = request.compare.add()
    compare.key = key
    compare.target = pb.Compare.MOD
    compare.result = result
    compare.mod_revision = revision
    put = request.success.add().request_put
    put.key = key
    put.value = VALUE
    request.failure.add().request_range.key = key
    return request


async def _range_ms(client: Client) -> float:
    for step in range(1000):
        await client.put(pb.PutRequest(key=b"/range/%04d" % step, value=VALUE))
    request = pb.RangeRequest(key=b"/range/", range_end=b"/range0")
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        assert len((await client.range(request)).kvs) == 1000
        best = min(best, time.perf_counter() - started)
    return best * 1000


async def _fan_out_ms(client: Client) -> float:
    streams = []
    for _ in range(100):
        stream = client.watch()
        create = pb.WatchCreateRequest(key=b"/watched/", range_end=b"/watched0", prev_kv=True)
        await stream.send(pb.WatchRequest(create_request=create))
        await anext(aiter(stream))
        streams.append(stream)
    best = float("inf")
    for step in range(5):
        waiting = asyncio.gather(*(anext(aiter(stream)) for stream in streams))
        await asyncio.sleep(0)
        started = time.perf_counter()
        await client.put(pb.PutRequest(key=b"/watched/%d" % step, value=VALUE))
        await waiting
        best = min(best, time.perf_counter() - started)
    for stream in streams:
        await stream.close()
    return best * 1000


def _many_keys(path: str) -> Iterator[Row]:
    """Fill a store, then look at it from fresh processes."""
    asyncio.run(_fill(path))
    command = [sys.executable, __file__, "--restart", path]
    restarts = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(2)]
    seconds, put_cost, memory_mib, empty_mib = (min(float(run[column]) for run in restarts) for column in range(4))
    yield Row("restart with 100,000 keys to ready", seconds, "s", "<= 3")
    yield Row("put with 100,000 keys, 64 clients", put_cost, "/s")
    yield Row("resident memory with 100,000 keys", memory_mib, "MiB", "<= 200")
    yield Row("of that before the store was opened", empty_mib, "MiB")


async def _fill(path: str) -> None:
    member = await start_member(Options(data_dir=path), real_environment())
    client = member.client()

    async def fill(number: int) -> None:
        for step in range(MANY_KEYS // 100):
            await client.put(pb.PutRequest(key=_key(number, step), value=VALUE))

    await asyncio.gather(*(fill(number) for number in range(100)))
    await member.stop()


async def _restart(path: str) -> None:
    empty = _resident_mib()
    started = time.perf_counter()
    member: Member = await start_member(Options(data_dir=path), real_environment())
    seconds = time.perf_counter() - started
    memory = _resident_mib()
    assert member.core.store.index.count(b"\0", b"\0", member.core.store.revision) >= MANY_KEYS
    rate, _ = await _measure(member.client(), _put, 64, 50)
    print(seconds, rate, memory, empty)
    await member.stop()


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--restart"]:
        asyncio.run(_restart(sys.argv[2]))
    else:
        print_rows(run())
