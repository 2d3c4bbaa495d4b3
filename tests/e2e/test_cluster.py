"""Several API servers on one store, with real processes: what clients see when members come and go."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.http_client import HTTPConnection
from tests.e2e.server_process import BIN, Kubectl, ServerProcess
from tests.integration.etcd_process import binary, free_ports
from tests.integration.mini_etcd_process import MiniEtcdProcess

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
CLIENT_SECONDS_MAX = 10.0
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@dataclass
class Cluster:
    """Three API servers, each with a member of the store in it."""

    servers: list[ServerProcess]
    ports: list[int]
    endpoints: list[str]
    home: Path

    @classmethod
    def make(cls, directory: Path, peer_scheme: str = "http", *flags: str) -> Cluster:
        free = free_ports(9)
        ports, clients, peers = free[:3], free[3:6], free[6:]
        peer_urls = [f"{peer_scheme}://127.0.0.1:{port}" for port in peers]
        initial = ",".join(f"m{i}={url}" for i, url in enumerate(peer_urls))
        servers = [
            ServerProcess(
                directory / f"m{i}",
                f"--name=m{i}",
                f"--cert-dir={directory / 'pki'}",
                f"--advertise-address=127.0.0.{i + 1}",
                f"--initial-cluster={initial}",
                f"--listen-peer-urls={peer_urls[i]}",
                f"--initial-advertise-peer-urls={peer_urls[i]}",
                f"--listen-client-urls=http://127.0.0.1:{clients[i]}",
                f"--advertise-client-urls=http://127.0.0.1:{clients[i]}",
                *flags,
            )
            for i in range(3)
        ]
        return cls(servers, ports, [f"http://127.0.0.1:{port}" for port in clients], directory)

    def start(self, *places: int) -> None:
        """Start them at once, for they wait for each other."""
        with ThreadPoolExecutor() as pool:
            for started in [pool.submit(self.servers[i].start, self.ports[i]) for i in places]:
                started.result()

    def kubectl(self, place: int) -> Kubectl:
        return Kubectl(self.servers[place].kubeconfig, self.home)

    def etcdctl(self, *arguments: str) -> Any:
        command = [str(binary("etcdctl")), f"--endpoints={','.join(self.endpoints)}", "-w", "json", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return json.loads(done.stdout)

    def leader(self) -> int:
        """Who leads, by place; asked until everybody says the same."""
        while True:
            found = [each["Status"] for each in self.etcdctl("endpoint", "status")]
            ids = [status["header"]["member_id"] for status in found]
            leaders = {status["leader"] for status in found if "leader" in status}
            if len(ids) == 3 and len(leaders) == 1 and leaders <= set(ids):
                return ids.index(leaders.pop())

    def hashes(self) -> set[int]:
        """The members' hashes of their data at one revision."""
        revision = min(each["Status"]["header"]["revision"] for each in self.etcdctl("endpoint", "status"))
        found = self.etcdctl("endpoint", "hashkv", f"--rev={revision}")
        assert len(found) == 3
        return {each["HashKV"]["hash"] for each in found}

    def stop(self) -> None:
        running = [server for server in self.servers if server.process is not None and server.process.poll() is None]
        with ThreadPoolExecutor() as pool:
            assert all(code == 0 for code in pool.map(ServerProcess.stop, running))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster.make(tmp_path_factory.mktemp("cluster"))
    made.start(0, 1, 2)
    yield made
    made.stop()


def configmap(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"from": name}}


async def create(connection: HTTPConnection, name: str) -> tuple[int, Any]:
    async with asyncio.timeout(CLIENT_SECONDS_MAX):
        return await connection.request("POST", CONFIGMAPS, configmap(name))


async def names(connection: HTTPConnection, prefix: str) -> list[str]:
    """Names of config maps, by a consistent read."""
    async with asyncio.timeout(CLIENT_SECONDS_MAX):
        status, listed = await connection.request("GET", CONFIGMAPS)
    assert status == 200, listed
    found = (item["metadata"]["name"] for item in listed["items"])
    return sorted(name for name in found if name.startswith(prefix))


@contextlib.asynccontextmanager
async def watching(server: ServerProcess, prefix: str, wanted: int) -> AsyncIterator[asyncio.Task[list[str]]]:
    """A task that ends when a watch has shown so many new config maps; begun when the block is entered."""
    kubeconfig = server.kubeconfig
    async with await HTTPConnection.open(kubeconfig) as first, await HTTPConnection.open(kubeconfig) as second:
        _, listed = await first.request("GET", CONFIGMAPS)
        version = listed["metadata"]["resourceVersion"]

        async def read() -> list[str]:
            seen = []
            async for event in second.stream(f"{CONFIGMAPS}?watch=1&resourceVersion={version}"):
                name = event["object"]["metadata"]["name"]
                if name.startswith(prefix):
                    assert event["type"] == "ADDED", event
                    seen.append(name)
                if len(seen) == wanted:
                    break
            return seen

        task = asyncio.create_task(read())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])


async def write_until(connection: HTTPConnection, prefix: str, count: int, reached: dict[int, asyncio.Event]) -> None:
    """Create one config map after the other; none may fail. Sets the events of the numbers that are reached."""
    for number in range(count):
        status, answer = await create(connection, f"{prefix}{number:03}")
        assert status == 201, answer
        if number in reached:
            reached[number].set()


def test_what_one_server_takes_the_others_have(cluster: Cluster) -> None:
    created = cluster.kubectl(0).json("create", "configmap", "shared", "--from-literal=color=blue")
    for place in (1, 2):
        assert cluster.kubectl(place).json("get", "configmap", "shared") == created
    authorities = {client_authority(server.kubeconfig) for server in cluster.servers}
    assert len(authorities) == 1


def client_authority(kubeconfig: Path) -> str:
    """The CA that a kubeconfig trusts."""
    found: str = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["certificate-authority-data"]
    return found


def test_the_kubernetes_service_leads_to_every_server(cluster: Cluster) -> None:
    everybody = [f"127.0.0.{i + 1}" for i in range(3)]
    for place in range(3):
        found = cluster.kubectl(place).json("get", "endpointslice", "kubernetes")
        assert sorted(address for each in found["endpoints"] for address in each["addresses"]) == everybody
        found = cluster.kubectl(place).json("get", "endpoints", "kubernetes")
        assert sorted(each["ip"] for each in found["subsets"][0]["addresses"]) == everybody


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_the_leader_goes_while_others_write(cluster: Cluster, how: str) -> None:
    leading = cluster.leader()
    writer, reader = (place for place in range(3) if place != leading)
    count, prefix = 60, f"through-{how}-"
    third = asyncio.Event()
    async with (
        watching(cluster.servers[reader], prefix, count) as watched,
        await HTTPConnection.open(cluster.servers[writer].kubeconfig) as connection,
    ):
        writing = asyncio.create_task(write_until(connection, prefix, count, {count // 3: third}))
        await asyncio.wait([writing, asyncio.ensure_future(third.wait())], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(getattr(cluster.servers[leading], how))
        await writing
        everything = [f"{prefix}{number:03}" for number in range(count)]
        assert await asyncio.wait_for(watched, CLIENT_SECONDS_MAX) == everything
        assert await names(connection, prefix) == everything
    await asyncio.to_thread(cluster.kubectl(reader), "--request-timeout=10s", "create", "configmap", f"{prefix}kubectl")
    await asyncio.to_thread(cluster.start, leading)
    async with await HTTPConnection.open(cluster.servers[leading].kubeconfig) as back:
        assert await names(back, prefix) == [*everything, f"{prefix}kubectl"]
    assert len(await asyncio.to_thread(cluster.hashes)) == 1


async def test_a_server_without_a_quorum_says_so_and_recovers(cluster: Cluster) -> None:
    alone, *others = (cluster.leader() + step for step in range(3))
    alone, others = alone % 3, [place % 3 for place in others]
    server, prefix = cluster.servers[alone], "quorum-"
    async with (
        watching(server, prefix, 1) as watched,
        await HTTPConnection.open(server.kubeconfig) as connection,
    ):
        for place in others:
            await asyncio.to_thread(cluster.servers[place].kill)
        unready = (await connection.call("GET", "/readyz")).body.decode()
        assert "[-]etcd failed" in unready
        status, refused = await create(connection, f"{prefix}refused")
        assert (status, refused["kind"]) in ((500, "Status"), (504, "Status"))
        assert "etcdserver: request timed out" in refused["message"]
        await asyncio.to_thread(cluster.start, *others)
        assert (await connection.call("GET", "/readyz")).status == 200
        status, answer = await create(connection, f"{prefix}after")
        assert status == 201, answer
        seen = await asyncio.wait_for(watched, CLIENT_SECONDS_MAX)
        # A write that timed out is in the log of the one that took it, and may still have happened.
        assert seen in ([f"{prefix}after"], [f"{prefix}refused"])


def test_a_member_is_served_to_other_servers_over_tls(tmp_path: Path) -> None:
    url = f"https://127.0.0.1:{free_ports(1)[0]}"
    first = ServerProcess(
        tmp_path / "first", f"--listen-client-urls={url}", f"--advertise-client-urls={url}", "--auto-tls"
    ).start()
    ca = first.data_dir / "fixtures" / "client" / "cert.pem"
    second = ServerProcess(tmp_path / "second", f"--etcd-servers={url}", f"--etcd-cafile={ca}").start()
    try:
        created = Kubectl(first.kubeconfig, tmp_path).json("create", "configmap", "shared")
        assert Kubectl(second.kubeconfig, tmp_path).json("get", "configmap", "shared") == created
        command = [str(binary("etcdctl")), f"--endpoints={url}", f"--cacert={ca}", "get", "--prefix", "--keys-only"]
        found = subprocess.run([*command, "/registry/configmaps/"], capture_output=True, text=True, check=True)
        assert "/registry/configmaps/default/shared" in found.stdout.split()
    finally:
        assert [second.stop(), first.stop()] == [0, 0]


def test_members_find_each_other_over_tls(tmp_path: Path) -> None:
    cluster = Cluster.make(tmp_path, "https", "--peer-auto-tls")
    try:
        cluster.start(0, 1, 2)
        created = cluster.kubectl(0).json("create", "configmap", "secret-ways")
        assert cluster.kubectl(2).json("get", "configmap", "secret-ways") == created
    finally:
        cluster.stop()


def test_a_server_that_waits_for_its_cluster_says_so_and_can_be_stopped(tmp_path: Path) -> None:
    peers = [f"http://127.0.0.1:{port}" for port in free_ports(3)]
    command = [
        str(BIN / "mini-apiserver"),
        f"--data-dir={tmp_path / 'm0'}",
        "--secure-port=0",
        "--name=m0",
        f"--initial-cluster={','.join(f'm{i}={url}' for i, url in enumerate(peers))}",
        f"--listen-peer-urls={peers[0]}",
        f"--initial-advertise-peer-urls={peers[0]}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stdout is not None
    try:
        assert any("waits for the other members of its cluster" in line for line in process.stderr)
        process.terminate()
        said, complained = process.communicate(timeout=20)
        assert "Traceback" not in complained
        assert (process.returncode, said) == (0, "")
    finally:
        process.kill()
        process.communicate()


class Members:
    """Three members of the store, each a `mini-etcd` of its own."""

    def __init__(self, directory: Path) -> None:
        free = free_ports(6)
        self.directory = directory
        self.ports, self.peers = free[:3], [f"http://127.0.0.1:{port}" for port in free[3:]]
        self.running: dict[int, MiniEtcdProcess] = {}

    @property
    def endpoints(self) -> str:
        return ",".join(f"http://127.0.0.1:{port}" for port in self.ports)

    def start(self, *places: int) -> None:
        initial = ",".join(f"m{place}={url}" for place, url in enumerate(self.peers))

        def start(place: int) -> MiniEtcdProcess:
            directory = self.directory / f"member{place}"
            directory.mkdir(exist_ok=True)
            flags = [
                f"--name=m{place}",
                f"--initial-cluster={initial}",
                f"--listen-peer-urls={self.peers[place]}",
                f"--initial-advertise-peer-urls={self.peers[place]}",
            ]
            return MiniEtcdProcess.start(directory, port=self.ports[place], flags=flags)

        with ThreadPoolExecutor() as pool:
            self.running.update(zip(places, pool.map(start, places), strict=True))

    def kill(self, place: int) -> None:
        process = self.running.pop(place).process
        process.kill()
        process.wait()

    def stop(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(MiniEtcdProcess.stop, self.running.values()))


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Members]:
    made = Members(tmp_path)
    try:
        made.start(0, 1, 2)
        yield made
    finally:
        made.stop()


@pytest.fixture
def servers(members: Members, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    made = [
        ServerProcess(tmp_path / f"api{i}", f"--etcd-servers={members.endpoints}", f"--cert-dir={tmp_path / 'pki'}")
        for i in range(2)
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(ServerProcess.start, made))
    yield made
    assert [server.stop() for server in made] == [0, 0]


class Counter:
    """Writes one number after the other into a config map until told to finish; none may fail."""

    def __init__(self, connection: HTTPConnection, name: str) -> None:
        self.connection = connection
        self.path = f"{CONFIGMAPS}/{name}"
        self.number = 0
        self.finished = False
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        while not self.finished:
            await self.write(self.number + 1)
            async with self._changed:
                self.number += 1
                self._changed.notify_all()
        await self.write(0)

    async def write(self, number: int) -> None:
        patch = json.dumps({"data": {"count": str(number)}}).encode()
        async with asyncio.timeout(CLIENT_SECONDS_MAX):
            status, answer = await self.connection.request("PATCH", self.path, patch, "application/merge-patch+json")
        assert status == 200, answer

    async def more(self, count: int) -> None:
        """Return when so many more were written."""
        wanted = self.number + count
        async with self._changed:
            await self._changed.wait_for(lambda: self.number >= wanted)


async def numbers_seen(connection: HTTPConnection, name: str, version: str) -> list[int]:
    """What a watch shows of such a config map, up to the 0 at the end."""
    seen: list[int] = []
    query = f"watch=1&resourceVersion={version}&fieldSelector=metadata.name={name}"
    async for event in connection.stream(f"{CONFIGMAPS}?{query}"):
        assert event["type"] == "MODIFIED", event
        seen.append(int(event["object"]["data"]["count"]))
        if seen[-1] == 0:
            break
    return seen


async def test_one_member_after_the_other_is_killed(members: Members, servers: list[ServerProcess]) -> None:
    writer, reader, stream = [await HTTPConnection.open(servers[i].kubeconfig) for i in (0, 1, 1)]
    async with writer, reader, stream:
        status, made = await create(writer, "counter")
        assert status == 201, made
        counter = Counter(writer, "counter")
        async with asyncio.TaskGroup() as group:  # whoever fails ends everything
            watched = group.create_task(numbers_seen(stream, "counter", made["metadata"]["resourceVersion"]))
            group.create_task(counter.run())
            for place in range(3):
                await counter.more(20)
                await asyncio.to_thread(members.kill, place)
                before = counter.number
                async with asyncio.timeout(CLIENT_SECONDS_MAX):
                    status, found = await reader.request("GET", f"{CONFIGMAPS}/counter")
                assert status == 200, found
                assert int(found["data"]["count"]) >= before
                await counter.more(20)
                await asyncio.to_thread(members.start, place)
            counter.finished = True
        assert watched.result() == [*range(1, counter.number + 1), 0]


def free_base_port() -> int:
    """The first of a run of ports of which nobody listens on those that a cluster of three takes."""
    while True:
        base = free_ports(1)[0]
        with contextlib.suppress(OSError, OverflowError), contextlib.ExitStack() as held:
            for offset in (0, 1, 10, 11, 20, 21, 64, 65, 66):
                held.enter_context(socket.create_server(("127.0.0.1", base + offset)))
            return base


@pytest.mark.parametrize("servers", [1, 3])
def test_a_cluster_with_one_command(tmp_path: Path, servers: int) -> None:
    data = tmp_path / "data"
    command = [sys.executable, str(ROOT / "hack" / "local_up.py"), f"--data-dir={data}", f"--api-servers={servers}"]
    process = subprocess.Popen(
        [*command, f"--base-port={free_base_port()}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line.strip())
            if line.startswith("Ctrl-C"):
                break
        assert said[-1] == "Ctrl-C stops everything.", said
        pids = {word[0]: int(word[word.index("pid") + 1]) for line in said if "pid" in (word := line.split())}
        assert set(pids) == ({"m1", "m2", "m3", "api1"} if servers == 1 else {"m1", "m2", "m3"})
        kubeconfig = data / ("api1" if servers == 1 else "m2") / "admin.kubeconfig"
        kubectl = Kubectl(kubeconfig, tmp_path)
        assert "namespace/default" in kubectl("get", "namespaces", "-o", "name")
        (killing,) = (line.split() for line in said if line.startswith("kill -9"))
        leader = next(name for name, pid in pids.items() if pid == int(killing[2]))
        signal_process(int(killing[2]))
        assert f"{leader} (pid {killing[2]}) was ended by SIGKILL" in process.stdout.readline()
        server = "api1" if servers == 1 else "m2" if leader == "m1" else "m1"
        Kubectl(data / server / "admin.kubeconfig", tmp_path)("create", "configmap", "still-here")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
        assert "Stopping" in rest
        assert process.returncode == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())
    finally:
        process.kill()
        process.wait()


def signal_process(pid: int) -> None:
    """SIGKILL, to a process that a command said it has started."""
    subprocess.run(["kill", "-9", str(pid)], check=True)
