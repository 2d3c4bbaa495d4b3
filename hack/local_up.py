"""A cluster on this machine with one command: members of the store and API servers on them.

    python hack/local_up.py                    three members, one API server
    python hack/local_up.py --api-servers 3    three servers that are both: each embeds a member

Everything is on loopback. Waits until all of it answers, says what is where and how to look at it, and stops
everything in order on Ctrl-C. Data and logs stay in the data directory, and the next start goes on from there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shlex
import shutil
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

READY = {"kvstore": b"ready to serve client requests", "apiserver": b"is ready at"}
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 15.0
LOOK_SECONDS = 0.05
MARKER = "made by local_up"


class Failure(Exception):
    """Why it does not work, in one line."""


@dataclass
class Program:
    """One process of the cluster; what it prints goes to `log`."""

    name: str
    module: str
    flags: list[str]
    url: str
    log: Path
    process: asyncio.subprocess.Process | None = None

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", self.module, *self.flags]

    async def start(self) -> None:
        """Returns when it answers; raises Failure when it ends instead."""
        self.log.touch()
        begin = self.log.stat().st_size
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is for us, who stop everything in order.
            self.process = await asyncio.create_subprocess_exec(
                *self.command, stdout=log, stderr=log, start_new_session=True
            )
        give_up = time.monotonic() + START_SECONDS_MAX
        while READY[self.module] not in self.log.read_bytes()[begin:]:
            if self.process.returncode is not None or time.monotonic() > give_up:
                last = self.log.read_text(errors="replace")[-2000:].strip().splitlines() or ["it said nothing"]
                raise Failure(f"{self.name} did not start: {last[-1]}\nits log: {self.log}")
            await asyncio.sleep(LOOK_SECONDS)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def stop(self) -> None:
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await self.process.wait()
        except TimeoutError:
            say(f"{self.name} does not stop by itself within {STOP_SECONDS_MAX:g} s: killed")
            self.process.kill()
            await self.process.wait()


@dataclass
class Plan:
    """Who is to run where."""

    members: list[Program]
    servers: list[Program]
    endpoints: list[str]
    kubeconfig: Path

    @property
    def programs(self) -> list[Program]:
        return self.members + self.servers


def say(text: str = "") -> None:
    print(text, flush=True)


def plan(arguments: argparse.Namespace, data: Path) -> Plan:
    """The members' ports are base, base + 1 (peers), base + 10, …; API servers are at base + 64."""
    base, count = arguments.base_port, arguments.members
    clients = [f"http://127.0.0.1:{base + 10 * i}" for i in range(count)]
    peers = [f"http://127.0.0.1:{base + 10 * i + 1}" for i in range(count)]
    cluster = ",".join(f"m{i + 1}={url}" for i, url in enumerate(peers))
    member_flags = [
        [
            f"--name=m{i + 1}",
            f"--data-dir={data / f'm{i + 1}'}",
            f"--initial-cluster={cluster}",
            f"--listen-peer-urls={peers[i]}",
            f"--initial-advertise-peer-urls={peers[i]}",
            f"--listen-client-urls={clients[i]}",
            f"--advertise-client-urls={clients[i]}",
        ]
        for i in range(count)
    ]
    places = server_places(arguments.api_servers, base + 64)
    server_flags = [
        [
            f"--cert-dir={data / 'pki'}",
            f"--bind-address={address}",
            f"--advertise-address={address}",
            f"--secure-port={port}",
        ]
        for address, port in places
    ]
    urls = [f"https://{address}:{port}" for address, port in places]
    if arguments.api_servers == count and count > 1:
        servers = [
            Program(f"m{i + 1}", "apiserver", member_flags[i] + server_flags[i], urls[i], data / f"m{i + 1}.log")
            for i in range(count)
        ]
        return Plan([], servers, clients, data / "m1" / "admin.kubeconfig")
    members = [
        Program(f"m{i + 1}", "kvstore", member_flags[i], clients[i], data / f"m{i + 1}.log") for i in range(count)
    ]
    etcd = f"--etcd-servers={','.join(clients)}"
    servers = [
        Program(
            f"api{i + 1}",
            "apiserver",
            [f"--data-dir={data / f'api{i + 1}'}", etcd, *server_flags[i]],
            urls[i],
            data / f"api{i + 1}.log",
        )
        for i in range(arguments.api_servers)
    ]
    return Plan(members, servers, clients, data / "api1" / "admin.kubeconfig")


def server_places(count: int, port: int) -> list[tuple[str, int]]:
    """One address of loopback for each API server, as they would have; where there is only one, ports of their own."""
    with contextlib.suppress(OSError):
        for i in range(count):
            with socket.socket() as probe:
                probe.bind((f"127.0.0.{i + 1}", 0))
        return [(f"127.0.0.{i + 1}", port) for i in range(count)]
    return [("127.0.0.1", port + i) for i in range(count)]


async def start_all(programs: Sequence[Program]) -> None:
    """Start them together, as members wait for each other; tells of each when it is ready."""
    started = time.monotonic()

    async def start(program: Program) -> None:
        await program.start()
        say(f"  {program.name:5} ready after {time.monotonic() - started:.1f} s")

    try:
        async with asyncio.TaskGroup() as group:
            for program in programs:
                group.create_task(start(program))
    except* Failure as failures:
        raise failures.exceptions[0] from None


LEADER_SECONDS_MAX = 20.0
"""How long the members may take to agree on one: on a busy machine an election may have to be repeated."""


def leader(endpoints: Sequence[str]) -> int:
    """Which of them leads, by place; -1 when nobody has said so for some time."""
    deadline = time.monotonic() + LEADER_SECONDS_MAX
    while (place := _leader_now(endpoints)) < 0 and time.monotonic() < deadline:
        time.sleep(0.2)
    return place


def _leader_now(endpoints: Sequence[str]) -> int:
    for place, endpoint in enumerate(endpoints):
        request = urllib.request.Request(f"{endpoint}/v3/maintenance/status", b"{}")
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(request, timeout=5) as answer:
            status = json.load(answer)
            if status.get("leader") == status["header"]["member_id"]:
                return place
    return -1


def explain(cluster: Plan) -> None:
    leading = leader(cluster.endpoints)
    holders = cluster.members or cluster.servers
    say("\nWhat is where:")
    for program in cluster.programs:
        note = "  leads" if program in holders and holders.index(program) == leading else ""
        say(f"  {program.name:5} {program.url:26} pid {program.pid:<8} {program.log}{note}")
    say("\nLook at it (copy the lines into another terminal):")
    tools = Path(sys.executable).parent
    say(f"  export PATH={shlex.quote(str(tools))}:$PATH KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}")
    say(f"  export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={','.join(cluster.endpoints)}")
    say("  kubectl get namespaces")
    say("  kubectl get endpointslices kubernetes")
    say("  etcdctl endpoint status -w table")
    say("  etcdctl get /registry --prefix --keys-only")
    if len(holders) > 1 and leading >= 0:
        say("\nKill the leader and watch the others go on:")
        others = cluster.kubeconfig
        if holders[leading].name == others.parent.name:
            others = others.parent.parent / f"m{2 if leading == 0 else 1}" / others.name
        say(f"  kubectl --kubeconfig {shlex.quote(str(others))} get configmaps -A --watch &")
        say(f"  kill -9 {holders[leading].pid}")
        say(f"  kubectl --kubeconfig {shlex.quote(str(others))} create configmap still-here")
    say("\nCtrl-C stops everything.")


async def watch(program: Program) -> None:
    """Report the end of a process that nobody asked to end."""
    assert program.process is not None
    code = await program.process.wait()
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    say(f"{program.name} (pid {program.pid}) {how}; its log: {program.log}; to start it again:")
    say(f"  {shlex.join(program.command)}")


async def run(arguments: argparse.Namespace) -> None:
    data = Path(arguments.data_dir).resolve()
    prepare(data, arguments.clean)
    cluster = plan(arguments, data)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    watching: list[asyncio.Task[None]] = []
    try:
        say(f"Starting {' '.join(program.name for program in cluster.programs)} in {data}")
        starting = asyncio.ensure_future(start_in_order(cluster))
        waiting = asyncio.ensure_future(told.wait())
        await asyncio.wait([starting, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
            return
        await starting
        watching += [asyncio.ensure_future(watch(program)) for program in cluster.programs]
        await asyncio.to_thread(explain, cluster)
        await waiting
    finally:
        for task in watching:
            task.cancel()
        for group in (cluster.servers, cluster.members):
            running = [program for program in group if program.running]
            if running:
                say(f"Stopping {' '.join(program.name for program in running)}")
            await asyncio.gather(*(program.stop() for program in running))


async def start_in_order(cluster: Plan) -> None:
    await start_all(cluster.members)
    await start_all(cluster.servers)


def prepare(data: Path, clean: bool) -> None:
    """Make the directory, or empty it first; one that is not ours is left alone."""
    marker = data / ".local_up"
    if clean and data.exists():
        if any(data.iterdir()) and not marker.exists():
            raise Failure(f"--clean would remove {data}, which is not one that this command has made")
        shutil.rmtree(data)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    marker.write_text(f"{MARKER}\n")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--members", type=int, choices=(1, 3, 5), default=3, help="members of the store (default 3)")
    parser.add_argument(
        "--api-servers", type=int, default=1, metavar="N", help="API servers; as many as members: each embeds one"
    )
    parser.add_argument("--data-dir", default="./mini-cluster.data", metavar="DIR", help="data, certificates and logs")
    parser.add_argument("--base-port", type=int, default=16379, metavar="PORT", help="first port (default 16379)")
    parser.add_argument("--clean", action="store_true", help="begin with an empty data directory")
    arguments = parser.parse_args()
    if not 1 <= arguments.api_servers <= 9:
        parser.error("--api-servers must be between 1 and 9")
    if not 1 <= arguments.base_port <= 65535 - 80:
        parser.error("--base-port must leave room for 80 ports")
    try:
        asyncio.run(run(arguments))
    except (Failure, OSError) as error:
        print(f"local_up: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
