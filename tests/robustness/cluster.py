"""Members as processes of their own, the network between them in our hands."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, Signals

from kvstore.client.grpc import GrpcClient
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.etcd_process import MINI_ETCD, READY_LINE, free_ports
from tests.robustness.links import Link, Proxy

__all__ = ["Cluster", "Member"]

ROOT = Path(__file__).parents[2]
_LEADER_LINE = re.compile(rb'"msg":"leader changed".*"leader-id":"([0-9a-f]+)","term":(\d+)')


class Member:
    """One member and what it was started with; its data outlive its process."""

    def __init__(self, name: str, directory: Path, flags: Sequence[str]) -> None:
        self.name = name
        self.directory = directory
        self.client_port, self.peer_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.client_port}"
        self.flags = flags
        self.peer_url = ""
        self.initial: Sequence[str] = ()
        self.process: asyncio.subprocess.Process | None = None
        self.ready = asyncio.Event()
        self.leaders: set[tuple[int, int]] = set()
        self.paused = False
        self._log_task: asyncio.Task[None] | None = None
        self._client: GrpcClient | None = None

    @property
    def client(self) -> GrpcClient:
        """A client of this member alone."""
        if self._client is None:
            self._client = GrpcClient([self.url], timeout_seconds=2.0)
        return self._client

    @property
    def log_path(self) -> Path:
        """All that its processes have written."""
        return self.directory.with_suffix(".log")

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.process is not None and self.process.returncode is None

    async def launch(self) -> None:
        """Start the process."""
        self.ready.clear()
        self.process = await asyncio.create_subprocess_exec(
            *MINI_ETCD,
            f"--name={self.name}",
            f"--data-dir={self.directory}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls=http://127.0.0.1:{self.peer_port}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            *self.initial,
            *self.flags,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
            limit=1 << 20,
        )
        self._log_task = asyncio.get_running_loop().create_task(self._read_log(self.process))

    async def wait_ready(self) -> None:
        """Wait until it serves clients. Raises RuntimeError with its last words when it ends instead."""
        assert self.process is not None
        ready, ended = asyncio.ensure_future(self.ready.wait()), asyncio.ensure_future(self.process.wait())
        try:
            await asyncio.wait([ready, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            ended.cancel()
        if not self.ready.is_set():
            raise RuntimeError(f"{self.name} has ended:\n" + self.last_words())

    def last_words(self) -> str:
        """The end of the log."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-20:])

    def signal(self, number: Signals) -> None:
        """Send a signal, if there is anyone to take it."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
        self.paused = self.running and (number is SIGSTOP or (self.paused and number is not SIGCONT))

    async def end(self, number: Signals) -> None:
        """Send a signal and wait for the end."""
        self.signal(number)
        if self.process is not None:
            await self.process.wait()
        if self._log_task is not None:
            await self._log_task

    async def close(self) -> None:
        """End it, and let go of everything."""
        await self.end(SIGKILL)
        if self._client is not None:
            await self._client.close()

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        with self.log_path.open("ab") as file:
            async for line in process.stderr:
                file.write(line)
                file.flush()
                if READY_LINE in line:
                    self.ready.set()
                elif found := _LEADER_LINE.search(line):
                    self.leaders.add((int(found[2]), int(found[1], 16)))


class Cluster:
    """Members, and a link for each pair and direction. Use as an asynchronous context manager.

    Args:
        directory: for the data and the logs.
        flags: for every member.
    """

    def __init__(self, directory: Path, flags: Sequence[str] = ()) -> None:
        self._directory = directory
        self._flags = flags
        self.members: list[Member] = []
        self._proxies: dict[str, Proxy] = {}
        self._links: dict[tuple[str, str], Link] = {}

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(member.close() for member in self.members))
        await asyncio.gather(*(proxy.close() for proxy in self._proxies.values()))

    async def start(self, size: int) -> Cluster:
        """Found a cluster of `size` members and wait until all serve."""
        members = [await self.prepare() for _ in range(size)]
        initial = ",".join(f"{member.name}={member.peer_url}" for member in members)
        for member in members:
            member.initial = (f"--initial-cluster={initial}",)
            await member.launch()
        await asyncio.gather(*(member.wait_ready() for member in members))
        return self

    async def prepare(self) -> Member:
        """One more member, with a proxy before it; not started."""
        name = f"m{len(self.members)}"
        member = Member(name, self._directory / name, self._flags)
        proxy = Proxy(
            member.peer_port, self._processes, lambda source, target: self._link(source or name, target or name)
        )
        member.peer_url = f"http://127.0.0.1:{await proxy.listen()}"
        self._proxies[name] = proxy
        self.members.append(member)
        return member

    def _processes(self) -> dict[int, str]:
        return {member.process.pid: member.name for member in self.members if member.process is not None}

    def _link(self, source: str, target: str) -> Link:
        return self._links.setdefault((source, target), Link())

    def link(self, source: Member, target: Member) -> Link:
        """What goes from one to the other."""
        return self._link(source.name, target.name)

    def heal(self, *, reset: bool) -> None:
        """Join all links and let all processes run; what waited on the way arrives, or is lost with its connection."""
        for member in self.members:
            if member.paused:
                member.signal(SIGCONT)
        if reset:
            self.reset()
        for link in self._links.values():
            link.delay_seconds = 0.0
            link.join()

    def reset(self) -> None:
        """Break all connections between members."""
        for proxy in self._proxies.values():
            proxy.reset()

    def others(self, member: Member) -> list[Member]:
        """All members but one."""
        return [other for other in self.members if other is not member]

    async def leader(self) -> Member:
        """Whom the members take for their leader; waits until there is one."""
        while True:
            statuses = await asyncio.gather(*(status_of(member) for member in self.members))
            known = [(status.raftTerm, status.leader) for status in statuses if status is not None and status.leader]
            term, leader = max(known, default=(0, 0))
            for member, status in zip(self.members, statuses, strict=True):
                if status is not None and status.header.member_id == leader and status.raftTerm == term:
                    return member
            await asyncio.sleep(0.05)

    @property
    def terms(self) -> set[tuple[int, int]]:
        """Every term in which somebody was seen to lead, with the leader."""
        return {seen for member in self.members for seen in member.leaders if seen[1]}


async def status_of(member: Member) -> pb.StatusResponse | None:
    """What a member says of itself; None if it does not answer."""
    if not member.running or member.paused:
        return None
    try:
        return await member.client.status()
    except EtcdError:
        return None


def endpoints(members: Iterable[Member]) -> list[str]:
    """Their client URLs."""
    return [member.url for member in members]
