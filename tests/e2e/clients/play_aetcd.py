"""The usual calls of the asynchronous client `aetcd`; every answer that does not differ by nature is printed."""

import asyncio
import io
import sys

import aetcd

host, port = sys.argv[1].removeprefix("http://").split(":")


def show(name, value):
    print(f"{name}: {value!r}", flush=True)


def kv(found):
    if found is None:
        return None
    return found.key, found.value, found.create_revision, found.mod_revision, found.version


async def main():
    async with aetcd.Client(host=host, port=int(port), timeout=10) as client:
        show("put", (await client.put(b"a", b"1")).header.revision)
        show("put prev_kv", (await client.put(b"a", b"2", prev_kv=True)).prev_kv.value)
        await client.put(b"ab", b"\xff\0")
        show("get", kv(await client.get(b"a")))
        show("get nothing", kv(await client.get(b"nothing")))
        show("get_prefix", [kv(found) for found in await client.get_prefix(b"a", sort_order="descend")])
        show("get_range", [kv(found) for found in await client.get_range(b"a", b"b")])
        show("get_all", [kv(found) for found in await client.get_all()])
        show("replace", await client.replace(b"a", b"2", b"3"))
        show("replace", await client.replace(b"a", b"2", b"4"))
        show("delete", kv((await client.delete(b"ab", prev_kv=True)).prev_kv))
        show("delete nothing", await client.delete(b"ab"))
        t = client.transactions
        done, _ = await client.transaction(
            compare=[t.value(b"a") == b"3", t.version(b"a") > 0],
            success=[t.put(b"a", b"5"), t.get(b"a"), t.delete(b"b")],
            failure=[t.put(b"a", b"6")],
        )
        show("txn", done)
        show("delete_prefix", (await client.delete_prefix(b"a")).deleted)

        lease = await client.lease(600)
        await client.put(b"leased", b"1", lease=lease)
        show("lease", (lease.ttl, await lease.granted_ttl(), await lease.keys()))
        await lease.refresh()
        await lease.revoke()
        show("revoked", kv(await client.get(b"leased")))
        async with client.lock(b"lock", ttl=600) as lock:
            show("lock", await lock.is_acquired())
            show("second", await client.lock(b"lock", ttl=600).acquire(timeout=0.1))

        watch = await client.watch(b"w", start_revision=1)
        await client.put(b"w", b"1")
        await client.delete(b"w")
        seen = []
        async for event in watch:
            seen.append((event.kind, event.kv.key, event.kv.value, event.kv.mod_revision))
            if len(seen) == 2:
                break
        await watch.cancel()
        show("watch", seen)
        watch = await client.watch_prefix(b"w/", start_revision=1)
        for number in range(3):
            await client.put(b"w/%d" % number, b"x")
        seen = []
        async for event in watch:
            seen.append((event.kind, event.kv.key, event.kv.mod_revision))
            if len(seen) == 3:
                break
        await watch.cancel()
        show("watch_prefix", seen)

        current = (await client.put(b"a", b"last")).header.revision
        await client.compact(current, physical=True)
        try:
            await client.compact(current)
        except Exception as error:
            show("compact again", (type(error).__name__, str(error)))
        try:
            await client.put(b"", b"")
        except Exception as error:
            show("empty key", (type(error).__name__, str(error)))
        show("members", [member.name async for member in client.members()])
        status = await client.status()
        show("status", (status.db_size > 0, status.leader.name, status.raft_term))
        show("alarms", [alarm async for alarm in client.list_alarms()])
        await client.defragment()
        saved = io.BytesIO()
        await client.snapshot(saved)
        show("snapshot", len(saved.getvalue()) > 0)


asyncio.run(main())
