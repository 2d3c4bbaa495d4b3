"""A snapshot as the beginning of a cluster of three: every member restores it, and they find each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kvstore.client.grpc import GrpcClient
from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.etcd_process import EtcdProcess, free_ports
from tests.integration.kvstore_snapshot.conftest import etcdctl, look, restore_ours, save, write_history
from tests.integration.mini_etcd_process import MiniEtcdProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NAMES = ("m1", "m2", "m3")


@pytest.mark.parametrize("kind", [MiniEtcdProcess, EtcdProcess])
async def test_three_members_from_one_snapshot(tmp_path: Path, kind: type[EtcdProcess]) -> None:
    with kind.start(tmp_path / "one") as one:
        await write_history(one)
        seen = await look(one.endpoint)
        snapshot = save(one, tmp_path / "saved.db")
    urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(NAMES, free_ports(3), strict=True)}
    cluster = f"--initial-cluster={','.join(f'{name}={url}' for name, url in urls.items())}"
    for name in NAMES:
        flags = [f"--name={name}", f"--initial-advertise-peer-urls={urls[name]}", cluster]
        restore_ours(snapshot, tmp_path / name, *flags)

    def start(name: str) -> MiniEtcdProcess:
        flags = [
            f"--name={name}",
            f"--listen-peer-urls={urls[name]}",
            f"--initial-advertise-peer-urls={urls[name]}",
            cluster,
        ]
        return MiniEtcdProcess.start(tmp_path / name, flags=flags)

    members = await asyncio.gather(*(asyncio.to_thread(start, name) for name in NAMES))
    try:
        for member in members:
            assert await look(member.endpoint) == seen
        assert len(etcdctl(members[0].endpoint, "member", "list").splitlines()) == 3
        client = GrpcClient([members[1].endpoint])
        put = await client.put(pb.PutRequest(key=b"new", value=b"1"))
        await client.close()
        assert put.header.revision == seen.revision + 1
        for member in members:
            assert etcdctl(member.endpoint, "get", "new", "--print-value-only") == "1\n"
    finally:
        for member in members:
            member.stop()
