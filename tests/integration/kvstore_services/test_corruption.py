"""Three members, one of which comes back with other data than it had."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb
import pytest

from tests.integration.etcd_process import free_ports
from tests.integration.kvstore_services.conftest import SECONDS_MAX, Calls, MiniEtcd

pytestmark = pytest.mark.e2e


class Cluster:
    """Members by number."""

    def __init__(self, directory: Path) -> None:
        urls = [f"http://127.0.0.1:{port}" for port in free_ports(3)]
        initial = ",".join(f"m{number}={url}" for number, url in enumerate(urls))
        self.directories = [directory / f"m{number}" for number in range(3)]
        self.flags = [
            [
                f"--name=m{number}",
                f"--listen-peer-urls={url}",
                f"--initial-advertise-peer-urls={url}",
                f"--initial-cluster={initial}",
                "--corrupt-check-time=200ms",
            ]
            for number, url in enumerate(urls)
        ]
        with ThreadPoolExecutor(3) as pool:
            self.members = list(pool.map(self.start, range(3)))

    def start(self, number: int) -> MiniEtcd:
        return MiniEtcd(self.directories[number], *self.flags[number])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    for member in cluster.members:
        member.stop()


def flip(path: Path) -> None:
    """Change one bit of the newest value in a member's database."""
    env = lmdb.open(str(path), subdir=False, max_dbs=16)
    keys = env.open_db(b"key")
    with env.begin(write=True) as txn:
        cursor = txn.cursor(db=keys)
        assert cursor.last()
        key, stored = bytes(cursor.key()), bytearray(cursor.value())
        stored[-1] ^= 1
        txn.put(key, bytes(stored), db=keys)
    env.close()


async def test_a_member_with_other_data_is_found_out(cluster: Cluster) -> None:
    calls = [Calls(member.endpoint) for member in cluster.members]
    status = [await call("etcdserverpb.Maintenance/Status") for call in calls]
    follower = next(number for number in range(3) if status[number].header.member_id != status[number].leader)
    bad_id = status[follower].header.member_id
    asked = calls[(follower + 1) % 3]
    for number in range(20):
        await asked("etcdserverpb.KV/Put", key=b"k%d" % number, value=b"value")
    await calls[follower]("etcdserverpb.KV/Range", key=b"k19")
    cluster.members[follower].stop()
    flip(cluster.directories[follower] / "member" / "snap" / "db")
    cluster.members[follower] = cluster.start(follower)
    async with asyncio.timeout(SECONDS_MAX):
        while not (alarms := (await asked("etcdserverpb.Maintenance/Alarm")).alarms):
            await asyncio.sleep(0.05)
    assert [(alarm.memberID, alarm.alarm) for alarm in alarms] == [(bad_id, 2)]
    assert await asked.refusal("etcdserverpb.KV/Put", key=b"a") == ("DATA_LOSS", "etcdserver: corrupt cluster")
    for call in calls:
        await call.close()
