"""kill -9 at any moment: what was acknowledged is there afterwards, and no revision is given out twice."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.http_client import Disconnected, HTTPConnection
from tests.e2e.server_process import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROUNDS = 50
WRITERS = 8
BASE = "/api/v1/namespaces/default/configmaps"


@dataclass
class History:
    """What the clients know: acknowledged state and revisions, and what was under way when the server died."""

    acknowledged: dict[str, tuple[str, int]] = field(default_factory=dict)  # name -> (value, revision)
    uncertain: dict[str, str] = field(default_factory=dict)  # name -> the value that may have been written
    revisions: set[int] = field(default_factory=set)

    def acknowledge(self, name: str, value: str, revision: int) -> None:
        assert revision not in self.revisions, f"revision {revision} was given out twice"
        self.revisions.add(revision)
        self.acknowledged[name] = (value, revision)


async def write_until_death(history: History, kubeconfig: Path, writer: int, round_number: int) -> None:
    """Create an object and change it, again and again, until the connection breaks."""
    try:
        connection = await HTTPConnection.open(kubeconfig)
    except OSError:
        return
    async with connection:
        for count in itertools.count():
            name, value = f"r{round_number}-w{writer}-{count // 3}", str(count)
            body = {"metadata": {"name": name}, "data": {"value": value}}
            method, path, expected = ("POST", BASE, 201) if count % 3 == 0 else ("PUT", f"{BASE}/{name}", 200)
            history.uncertain[name] = value
            try:
                status, answer = await connection.request(method, path, body)
            except Disconnected:
                return
            assert status == expected, answer
            del history.uncertain[name]
            history.acknowledge(name, value, int(answer["metadata"]["resourceVersion"]))


async def one_round(server: ServerProcess, history: History, round_number: int, chance: random.Random) -> int:
    """Write, kill, start again, compare. Returns how many writes were acknowledged."""
    before = len(history.revisions)
    writers = [
        asyncio.create_task(write_until_death(history, server.kubeconfig, number, round_number))
        for number in range(WRITERS)
    ]
    # The moment of death is the point of the test; nothing is waited for.
    await asyncio.sleep(chance.uniform(0.03, 0.4))
    server.kill()
    await asyncio.gather(*writers)
    await asyncio.to_thread(server.start)
    await check(server, history)
    return len(history.revisions) - before


async def check(server: ServerProcess, history: History) -> None:
    async with await HTTPConnection.open(server.kubeconfig) as connection:
        status, listed = await connection.request("GET", BASE)
    assert status == 200
    found = {
        item["metadata"]["name"]: (item["data"]["value"], int(item["metadata"]["resourceVersion"]))
        for item in listed["items"]
        if item["metadata"]["name"] != "kube-root-ca.crt"  # the server's own
    }
    for name, (value, revision) in history.acknowledged.items():
        assert name in found, f"{name} was acknowledged at {revision} and is gone"
        if found[name] != (value, revision):
            assert found[name][0] == history.uncertain.get(name), f"{name}: {found[name]}, acknowledged {value}"
            assert found[name][1] > revision
    settle(history, found)
    assert int(listed["metadata"]["resourceVersion"]) >= max(history.revisions)


def settle(history: History, found: dict[str, tuple[str, int]]) -> None:
    """Writes without an answer happened or did not; from now on that is known."""
    for name, value in history.uncertain.items():
        if name in found and found[name][0] == value and found[name][1] not in history.revisions:
            history.acknowledge(name, *found[name])
    history.uncertain.clear()


async def watch_everything_since(server: ServerProcess, revision: int, until: int) -> list[int]:
    seen = []
    path = f"{BASE}?watch=true&resourceVersion={revision}"
    async with (
        await HTTPConnection.open(server.kubeconfig) as connection,
        contextlib.aclosing(connection.stream(path)) as events,
    ):
        async for event in events:
            seen.append(int(event["object"]["metadata"]["resourceVersion"]))
            if seen[-1] >= until:
                break
    return seen


@pytest.mark.timeout(400)
async def test_nothing_acknowledged_is_lost(tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    history = History()
    server = ServerProcess(tmp_path / "data").start()
    try:
        counts = [await one_round(server, history, number, chance) for number in range(ROUNDS)]
        last = max(history.revisions)
        start = sorted(history.revisions)[-min(500, len(history.revisions))]
        expected = [revision for revision in sorted(history.revisions) if revision > start]
        seen = await watch_everything_since(server, start, last)
        assert [revision for revision in seen if revision in history.revisions] == expected
        assert seen == sorted(set(seen))
    finally:
        server.kill()
    record_property("acknowledged_writes", sum(counts))
    print(f"{ROUNDS} kills, {sum(counts)} acknowledged writes, none lost")
    assert sum(counts) > ROUNDS
