"""The usual calls of the client `etcd3gw`, which speaks to the JSON gateway; every answer that does not differ by
nature is printed."""

import itertools
import sys
import threading

from etcd3gw.client import Etcd3Client
from etcd3gw.exceptions import Etcd3Exception
from etcd3gw.utils import _encode

host, port = sys.argv[1].removeprefix("http://").split(":")
client = Etcd3Client(host=host, port=int(port), api_path="/v3/", timeout=10)


def show(name, value):
    print(f"{name}: {value!r}", flush=True)


def kv(found):
    value, metadata = found
    return value, {name: metadata[name] for name in sorted(metadata)}


show("put", client.put("a", "1"))
show("put", client.put("ab", "2"))
show("create", client.create("a", "x"))
show("create", client.create("new", "x"))
show("get", client.get("a"))
show("get nothing", client.get("nothing"))
show("get metadata", [kv(found) for found in client.get("a", metadata=True)])
show("get_prefix", [kv(found) for found in client.get_prefix("a", sort_order="descend", sort_target="key")])
show("get_all", [kv(found) for found in client.get_all()])
show("replace", client.replace("a", "1", "3"))
show("replace", client.replace("a", "1", "4"))
show("delete", client.delete("new"))
show("delete nothing", client.delete("new"))
answer = client.transaction(
    {
        "compare": [{"key": _encode("a"), "result": "EQUAL", "target": "VALUE", "value": _encode("3")}],
        "success": [
            {"request_put": {"key": _encode("a"), "value": _encode("5")}},
            {"request_range": {"key": _encode("a")}},
            {"request_delete_range": {"key": _encode("b")}},
        ],
        "failure": [{"request_range": {"key": _encode("a")}}],
    }
)
show("txn", (answer["succeeded"], answer["responses"]))
show("delete_prefix", client.delete_prefix("a"))

lease = client.lease(600)
client.put("leased", "1", lease=lease)
show("lease", (lease.ttl() > 590, lease.keys(), lease.refresh()))
show("revoke", lease.revoke())
show("revoked", client.get("leased"))
with client.lock("lock", ttl=600) as lock:
    show("lock", (lock.is_acquired(), client.lock("lock", ttl=600).acquire()))

events, cancel = client.watch("w", start_revision=1)
client.put("w", "1")
client.put("w", "2")
client.delete("w")
show("watch", list(itertools.islice(events, 3)))
cancel()
events, cancel = client.watch_prefix("w/", start_revision=1)
for number in range(3):
    client.put(f"w/{number}", str(number))
show("watch_prefix", list(itertools.islice(events, 3)))
cancel()

for name, path, request in (
    ("future", "/kv/range", {"key": _encode("a"), "revision": "9999"}),
    ("empty key", "/kv/put", {"value": _encode("x")}),
    ("no lease", "/kv/put", {"key": _encode("a"), "lease": "7"}),
    ("nonsense", "/kv/put", {"key": "***"}),
    ("compact", "/kv/compaction", {"revision": 5}),
    ("compact again", "/kv/compaction", {"revision": 5}),
):
    try:
        answer = client.post(client.get_url(path), json=request)
        show(name, sorted(answer))
    except Etcd3Exception as error:
        show(name, (type(error).__name__, str(error)))

show("members", [(member["name"], sorted(member)) for member in client.members()])
show("status", {"version", "dbSize", "leader", "raftTerm"} <= set(client.status()))
show("threads", threading.active_count() >= 1)
