"""Members that are killed: the leader under writes, a follower at every point of taking a snapshot."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter

import pytest

from tests.integration.kvstore_cluster.processes import Cluster

pytestmark = [pytest.mark.e2e]

DYING = "tests.integration.kvstore_cluster.dying"


async def test_the_leader_is_killed_under_writes(cluster: Cluster) -> None:
    await cluster.found()
    leader = await cluster.leader()
    through, other = (name for name in cluster.members if name != leader)
    start = (await cluster.put(through, b"log", b"first")).header.revision
    acknowledged: list[bytes] = []

    async def write(writer: int, count: int) -> None:
        for number in range(count):
            value = b"%d-%d" % (writer, number)
            await cluster.put(through, b"log", value)
            acknowledged.append(value)

    writers = [asyncio.create_task(write(writer, 60)) for writer in range(8)]
    while len(acknowledged) < 100:
        await cluster.put(through, b"other", b"")
    cluster.members[leader].kill()
    await asyncio.gather(*writers)  # none of them is refused
    history = [
        (await cluster.get(through, b"log", revision=revision)).kvs[0].value
        for revision in sorted(await revisions(cluster, through, b"log", start))
    ]
    assert Counter(history) == Counter([b"first", *acknowledged])
    await cluster.restart(leader)
    await cluster.agree()
    assert other in cluster.members


async def revisions(cluster: Cluster, name: str, key: bytes, start: int) -> set[int]:
    """The revisions at which a key was written."""
    newest = (await cluster.get(name, key)).kvs[0].mod_revision
    found = set()
    while newest >= start:
        found.add(newest)
        kv = (await cluster.get(name, key, revision=newest - 1)).kvs
        newest = kv[0].mod_revision if kv else 0
    return found


async def test_killed_while_taking_a_snapshot(cluster: Cluster) -> None:
    await cluster.found("--snapshot-count=20", "--snapshot-catchup-entries=5")
    leader = await cluster.leader()
    behind = cluster.members[next(name for name in cluster.members if name != leader)]
    behind.stop()
    for number in range(60):
        await cluster.put(leader, b"%d" % number, bytes(20_000))
    for point in ("receiving", "accepted", "noted", "replacing", "replaced"):
        behind.start(cluster.initial(), program=(sys.executable, "-m", DYING, point))
        assert await behind.ended() == -signal.SIGKILL
    mark = behind.mark()
    await cluster.restart(behind.name)
    assert (await cluster.get(behind.name, b"0", range_end=b"\0", count_only=True, serializable=True)).count == 60
    await cluster.agree()
    assert not any(line["msg"] == "applying snapshot" for line in behind.log[mark:])
    left = {path.name for path in (behind.directory / "member" / "snap").iterdir()}
    assert not any(name.endswith((".snap.db", ".part")) or name.startswith("sending") for name in left)
