"""Several members as processes: `mini-etcd`, or a real etcd to hold them against, and their logs as they come."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from kvstore.front import service_descriptors
from tests.integration.etcd_process import MINI_ETCD, free_ports

ROOT = Path(__file__).parents[3]
SECONDS_MAX = 30.0
READY = "ready to serve client requests"
TIMING = ("--heartbeat-interval=50", "--election-timeout=500")
"""Patient enough for a machine that does other things too."""

LogLine = dict[str, Any]


class MemberProcess:
    """One member, which may be started again and again with the same directory and URLs.

    Attributes:
        log: every line since the first start.
    """

    def __init__(self, directory: Path, name: str, flags: Sequence[str] = (), scheme: str = "http") -> None:
        client_port, peer_port = free_ports(2)
        self.name = name
        self.directory = directory / name
        self.client_url = f"http://127.0.0.1:{client_port}"
        self.peer_url = f"{scheme}://127.0.0.1:{peer_port}"
        self.flags = [*TIMING, *flags]
        self.log: list[LogLine] = []
        self._changed = threading.Condition()
        self._reader: threading.Thread | None = None
        self.process: subprocess.Popen[str] | None = None

    def start(self, cluster: str, state: str = "new", *flags: str, program: Sequence[str] = MINI_ETCD) -> None:
        """Start it; it is not ready when this returns."""
        command = [
            *program,
            f"--name={self.name}",
            f"--data-dir={self.directory}",
            f"--listen-client-urls={self.client_url}",
            f"--advertise-client-urls={self.client_url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={cluster}",
            f"--initial-cluster-state={state}",
            *self.flags,
            *flags,
        ]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        self._reader = threading.Thread(target=self._read_log, args=(self.process,), daemon=True)
        self._reader.start()

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                with self._changed:
                    self.log.append(json.loads(line) if line.startswith("{") else {"msg": line})
                    self._changed.notify_all()
        process.wait()
        with self._changed:
            self._changed.notify_all()

    def mark(self) -> int:
        """How long the log is now, for `logged`."""
        return len(self.log)

    async def logged(self, message: str, since: int = 0, having: str = "") -> LogLine:
        """The first line after a mark whose message begins so, and has something in it; it may be to come."""
        found: list[LogLine] = []

        def look() -> bool:
            lines = self.log[since:]
            found[:] = [line for line in lines if line["msg"].startswith(message) and having in line["msg"]]
            return bool(found) or not self.is_running

        def wait() -> None:
            with self._changed:
                self._changed.wait_for(look, SECONDS_MAX)

        await asyncio.to_thread(wait)
        assert found, "\n".join(json.dumps(line) for line in self.log[since:][-30:])
        return found[0]

    async def ready(self, since: int = 0) -> None:
        """Return when it serves clients."""
        await self.logged(READY, since)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it in order; returns the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        if self.is_running:
            self.process.send_signal(number)
        return self._ended()

    def _ended(self) -> int:
        assert self.process is not None
        assert self._reader is not None
        self._reader.join(SECONDS_MAX)
        return self.process.wait(SECONDS_MAX)

    async def ended(self) -> int:
        """The exit status, when it ends by itself."""
        return await asyncio.to_thread(self._ended)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)


class Calls:
    """Any RPC of one member, by name."""

    def __init__(self, endpoint: str) -> None:
        self._channel = grpc.aio.insecure_channel(endpoint.removeprefix("http://"))

    def stub(self, path: str) -> Any:
        """The callable of `Service/Method`."""
        service, _, name = path.partition("/")
        method = service_descriptors()[service].methods_by_name[name]
        kind = ("stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary")
        return getattr(self._channel, "_".join(kind))(
            f"/{path}",
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )

    def __call__(self, path: str, **fields: Any) -> Any:
        """The call, to be awaited or, for a stream of responses, iterated."""
        service, _, name = path.partition("/")
        request: type[Message] = GetMessageClass(service_descriptors()[service].methods_by_name[name].input_type)
        return self.stub(path)(request(**fields), timeout=SECONDS_MAX, wait_for_ready=True)

    async def refusal(self, path: str, **fields: Any) -> tuple[str, str]:
        """Code and text a call is refused with; OK when it is not."""
        try:
            await self(path, **fields)
        except grpc.aio.AioRpcError as error:
            return error.code().name, error.details() or ""
        return "OK", ""

    async def close(self) -> None:
        await self._channel.close()


class Cluster:
    """Members by name, and calls to each.

    Attributes:
        program: what the members run.
    """

    def __init__(self, directory: Path, program: Sequence[str] = MINI_ETCD, scheme: str = "http") -> None:
        self.directory = directory
        self.program = program
        self.scheme = scheme
        self.members: dict[str, MemberProcess] = {}
        self._calls: dict[str, Calls] = {}

    def add(self, name: str, *flags: str) -> MemberProcess:
        """A member that is not started yet."""
        self.members[name] = MemberProcess(self.directory, name, flags, self.scheme)
        return self.members[name]

    def initial(self, *names: str) -> str:
        """`--initial-cluster` of some members, or of all."""
        return ",".join(f"{name}={self.members[name].peer_url}" for name in names or self.members)

    async def found(self, *flags: str, names: Sequence[str] = ("m1", "m2", "m3")) -> None:
        """Start new members as a cluster, and wait until they serve."""
        for name in names:
            self.add(name, *flags)
        for name in names:
            self.start(name, names=names)
        for name in names:
            await self.members[name].ready()

    def start(self, name: str, state: str = "new", *flags: str, names: Sequence[str] = ()) -> int:
        """Start one member; returns the mark in its log."""
        member = self.members[name]
        since = member.mark()
        member.start(self.initial(*names), state, *flags, program=self.program)
        return since

    async def restart(self, name: str, *flags: str) -> None:
        """Start a member that has stopped, and wait until it serves."""
        await self.members[name].ready(self.start(name, "new", *flags))

    def calls(self, name: str) -> Calls:
        """Calls to one member."""
        if name not in self._calls:
            self._calls[name] = Calls(self.members[name].client_url)
        return self._calls[name]

    async def status(self, name: str) -> Any:
        return await self.calls(name)("etcdserverpb.Maintenance/Status")

    async def leader(self, *, among: Sequence[str] = ()) -> str:
        """Who leads, as soon as some member that runs knows."""
        names = {(await self.status(name)).header.member_id: name for name in among or self._running()}
        for _ in range(1000):
            for name in names.values():
                leader = (await self.status(name)).leader
                if leader in names:
                    return names[leader]
            await self.put(next(iter(names.values())), b"leader?", b"")  # waits for one
        raise AssertionError("there is no leader")

    def _running(self) -> list[str]:
        return [name for name, member in self.members.items() if member.is_running]

    async def member_id(self, name: str) -> int:
        return (await self.status(name)).header.member_id

    async def put(self, name: str, key: bytes, value: bytes, **fields: Any) -> Any:
        return await self.calls(name)("etcdserverpb.KV/Put", key=key, value=value, **fields)

    async def get(self, name: str, key: bytes, **fields: Any) -> Any:
        return await self.calls(name)("etcdserverpb.KV/Range", key=key, **fields)

    async def members_of(self, name: str) -> Mapping[int, Any]:
        """The members as one knows them, by id."""
        answer = await self.calls(name)("etcdserverpb.Cluster/MemberList", linearizable=True)
        return {member.ID: member for member in answer.members}

    async def agree(self, *names: str) -> int:
        """Wait until all have the same, and return the hash of it."""
        names = names or tuple(self._running())
        for name in names:
            await self.get(name, b"agree?")  # what was acknowledged is there now
        answers = [await self.calls(name)("etcdserverpb.Maintenance/HashKV") for name in names]
        assert len({(answer.hash, answer.header.revision, answer.compact_revision) for answer in answers}) == 1, answers
        return int(answers[0].hash)

    async def close(self) -> None:
        for calls in self._calls.values():
            await calls.close()
        for member in self.members.values():
            member.kill()


MakeCluster = Callable[..., Cluster]
__all__ = ["Calls", "Cluster", "LogLine", "MakeCluster", "MemberProcess"]
