"""A member that says what it has, then writes until it is killed, and says what was acknowledged.

    python writer.py <data directory> <round>

Lines on standard output, each written in one piece:

    ready <revision> <compact revision>
    event <revision> <key> <value or ->         one per change that can still be watched, in order
    have <key> <value> <mod revision>           one per key
    begin
    ack <revision> <key> <value or ->           one per acknowledged write; `-` deletes
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from kvstore.app import Options, start_member
from kvstore.client import Client
from kvstore.environment import real_environment
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb

WRITERS = 8
KEYS = 40
KEPT_REVISIONS = 150


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def main(path: str, round_number: int) -> None:
    member = await start_member(
        Options(data_dir=path, snapshot_count=100, snapshot_catchup_entries=20, compaction_sleep_interval_seconds=0),
        real_environment(),
    )
    member.core.store._check()
    client = member.client()
    revision = await client.current_revision()
    compacted = max(1, member.core.store.compact_revision)
    say("ready", revision, compacted)
    await say_history(client, compacted, revision)
    everything = await client.range(pb.RangeRequest(key=b"\0", range_end=b"\0"))
    for kv in everything.kvs:
        say("have", kv.key.decode(), kv.value.decode(), kv.mod_revision)
    say("begin")
    if round_number % 3 == 2 and revision - KEPT_REVISIONS > compacted:
        await client.compact(pb.CompactionRequest(revision=revision - KEPT_REVISIONS))
    await asyncio.gather(*(write(client, round_number, number) for number in range(WRITERS)))


async def say_history(client: Client, start: int, newest: int) -> None:
    """Every change from a revision on, as a watcher sees it."""
    stream = client.watch()
    create = pb.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=start)
    await stream.send(pb.WatchRequest(create_request=create))
    await stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
    async for response in stream:
        for event in response.events:
            value = "-" if event.type == kv_pb2.Event.DELETE else event.kv.value.decode()
            say("event", event.kv.mod_revision, event.kv.key.decode(), value)
        if response.watch_id == -1:
            assert response.header.revision == newest
            break
    await stream.close()


async def write(client: Client, round_number: int, number: int) -> None:
    step = 0
    while True:
        step += 1
        key = f"k{(step * 7 + number) % KEYS}"
        value = f"{round_number}.{number}.{step}"
        if step % 10 == 0:
            deleted = await client.delete_range(pb.DeleteRangeRequest(key=key.encode()))
            if deleted.deleted:
                say("ack", deleted.header.revision, key, "-")
        else:
            put = await client.put(pb.PutRequest(key=key.encode(), value=value.encode()))
            say("ack", put.header.revision, key, value)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
