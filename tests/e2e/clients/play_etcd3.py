"""The usual calls of the client `etcd3`; every answer that does not differ by nature is printed."""

import io
import itertools
import sys

import etcd3

host, port = sys.argv[1].removeprefix("http://").split(":")
client = etcd3.client(host=host, port=int(port), timeout=10)


def show(name, value):
    print(f"{name}: {value!r}", flush=True)


def kv(found):
    value, metadata = found
    if metadata is None:
        return value, None
    return value, metadata.key, metadata.create_revision, metadata.mod_revision, metadata.version


def event(e):
    return type(e).__name__, e.key, e.value, e.mod_revision


def revision(response):
    return response.header.revision


show("put", revision(client.put("a", "1")))
show("put prev_kv", client.put("a", "2", prev_kv=True).prev_kv.value)
show("put", revision(client.put("ab", b"\xff\0")))
show("put_if_not_exists", client.put_if_not_exists("a", "x"))
show("put_if_not_exists", client.put_if_not_exists("new", "x"))
show("get", kv(client.get("a")))
show("get nothing", kv(client.get("nothing")))
show("get_prefix", [kv(found) for found in client.get_prefix("a", sort_order="descend", sort_target="key")])
show("get_range", [kv(found) for found in client.get_range("a", "ab")])
show("get_all", [kv(found) for found in client.get_all()])
show("get_prefix keys_only", [kv(found) for found in client.get_prefix("a", keys_only=True)])
show("count", client.get_prefix_response("a").count)
show("replace", client.replace("a", "2", "3"))
show("replace", client.replace("a", "2", "4"))
show("delete", client.delete("new"))
show("delete nothing", client.delete("new"))
show("delete prev_kv", [kv.value for kv in client.delete("ab", prev_kv=True, return_response=True).prev_kvs])
show("txn", client.transaction(
    compare=[client.transactions.value("a") == "3", client.transactions.version("a") > 0],
    success=[client.transactions.put("a", "5"), client.transactions.get("a"), client.transactions.delete("b")],
    failure=[client.transactions.put("a", "6")],
)[0])  # fmt: skip
show("txn", client.transaction(
    compare=[client.transactions.mod("a") == 1, client.transactions.create("a") < 100],
    success=[],
    failure=[client.transactions.put("b", "7")],
)[0])  # fmt: skip
show("delete_prefix", client.delete_prefix("b").deleted)

lease = client.lease(600)
show("lease", (lease.granted_ttl, lease.remaining_ttl > 590))
client.put("leased", "1", lease=lease)
show("lease keys", lease.keys)
show("refresh", [response.TTL for response in lease.refresh()])
lease.revoke()
show("revoked", kv(client.get("leased")))

with client.lock("lock", ttl=600) as lock:
    show("lock", (lock.is_acquired(), [metadata.key for _, metadata in client.get_prefix("/locks/")]))
    show("second", client.lock("lock", ttl=600).acquire(timeout=0.1))
show("unlocked", list(client.get_prefix("/locks/")))

events, cancel = client.watch("w", start_revision=1)
client.put("w", "1")
client.put("w", "2")
client.delete("w")
show("watch", [event(e) for e in itertools.islice(events, 3)])
cancel()
events, cancel = client.watch_prefix("w/", start_revision=1, prev_kv=True)
for number in range(3):
    client.put(f"w/{number}", str(number))
show("watch_prefix", [event(e) for e in itertools.islice(events, 3)])
cancel()
called = []
identity = client.add_watch_callback("w/0", lambda response: called.extend(response.events), start_revision=1)
show("watch_once", event(client.watch_once("w/0", timeout=10, start_revision=1)))
client.cancel_watch(identity)

current = revision(client.put("a", "last"))
client.compact(current, physical=True)
try:
    client.compact(current)
except Exception as error:
    show("compact again", (type(error).__name__, str(error)))
try:
    client.compact(99999)
except Exception as error:
    show("compact the future", (type(error).__name__, str(error)))
try:
    next(client.watch("a", start_revision=1)[0])
except Exception as error:
    show("watch what is gone", (type(error).__name__, error.compacted_revision))
try:
    client.put("", "")
except Exception as error:
    show("empty key", (type(error).__name__, str(error)))

show("members", [(member.name, len(member.peer_urls), len(member.client_urls)) for member in client.members])
status = client.status()
show("status", (status.db_size > 0, status.leader.name, status.raft_term))
show("hash", client.hash() > 0)
show("alarms", list(client.list_alarms()))
show("defragment", client.defragment())
saved = io.BytesIO()
client.snapshot(saved)
show("snapshot", len(saved.getvalue()) > 0)
show("get", kv(client.get("a")))
client.close()
