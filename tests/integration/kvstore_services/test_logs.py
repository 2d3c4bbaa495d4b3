"""Lines of the log that launchers and operators look for."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.integration.kvstore_services.conftest import Calls, MiniEtcd

pytestmark = pytest.mark.e2e


async def test_slow_requests_are_logged_without_what_they_carry(start_mini: Callable[..., MiniEtcd]) -> None:
    mini = start_mini("--warning-unary-request-duration=0s", "--warning-apply-duration=0s")
    calls = Calls(mini.endpoint)
    await calls("etcdserverpb.KV/Put", key=b"name", value=b"s3cret")
    await calls("etcdserverpb.KV/Range", key=b"name")
    put = {"request_put": {"key": b"name", "value": b"s3cret"}}
    await calls("etcdserverpb.KV/Txn", success=[put])
    read = {"request_range": {"key": b"name"}}
    await calls("etcdserverpb.KV/Txn", success=[read])
    await calls("etcdserverpb.Auth/UserAdd", name="u", password="s3cret")
    await calls.close()
    mini.stop()
    stats = {line["response type"]: line for line in mini.logged("request stats")}
    put_stats = stats["/etcdserverpb.KV/Put"]
    assert put_stats["level"] == "warn"
    assert (put_stats["request count"], put_stats["response count"]) == (1, 0)
    assert put_stats["request content"] == 'key: "name" value: "6 bytes"'
    assert put_stats["remote"].startswith("127.0.0.1:")
    assert stats["/etcdserverpb.KV/Range"]["response count"] == 1
    assert stats["/etcdserverpb.Auth/UserAdd"]["request size"] == -1
    slow = mini.logged("apply request took too long")
    assert {line["prefix"] for line in slow} == {"", "read-only range ", "read-only txn "}
    assert any('put { key: "name" value: "6 bytes" }' in line["request"] for line in slow)
    assert all(line["expected-duration"] == "0s" for line in slow)
    assert "s3cret" not in json.dumps(mini.log)


async def test_quick_requests_are_not_logged(start_mini: Callable[..., MiniEtcd]) -> None:
    mini = start_mini("--warning-unary-request-duration=1h", "--warning-apply-duration=1h")
    calls = Calls(mini.endpoint)
    await calls("etcdserverpb.KV/Put", key=b"name", value=b"value")
    await calls.refusal("etcdserverpb.KV/Put", key=b"name", lease=7)
    await calls.close()
    mini.stop()
    assert mini.logged("request stats") == []
    assert mini.logged("apply request took too long") == []
    (failed,) = mini.logged("failed to apply request")
    assert "lease: 7" in failed["request"]


async def test_at_level_debug_every_call_is_logged(start_mini: Callable[..., MiniEtcd]) -> None:
    mini = start_mini("--log-level=debug", "--warning-unary-request-duration=1h")
    calls = Calls(mini.endpoint)
    await calls("etcdserverpb.KV/Put", key=b"name", value=b"value")
    await calls.close()
    mini.stop()
    (stats,) = mini.logged("request stats")
    assert stats["level"] == "debug"


async def test_a_compaction_says_what_it_did(start_mini: Callable[..., MiniEtcd]) -> None:
    mini = start_mini("--compaction-batch-limit=2", "--compaction-sleep-interval=1ms")
    calls = Calls(mini.endpoint)
    for number in range(12):
        await calls("etcdserverpb.KV/Put", key=b"%d" % (number % 6), value=b"x")
    await calls("etcdserverpb.KV/Compact", revision=13, physical=True)
    done = mini.wait_for_log("finished scheduled compaction")
    assert (done["compact-revision"], done["number-of-keys-compacted"]) == (13, 6)
    await calls.close()


async def test_corruption_checks_run_when_they_are_asked_for(start_mini: Callable[..., MiniEtcd]) -> None:
    gates = "--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true"
    mini = start_mini(gates, "--corrupt-check-time=20ms", "--compact-hash-check-time=20ms")
    for message in (
        "initial corruption checking passed; no corruption",
        "enabled corruption checking",
        "finished peer corruption check",
        "finished compaction hash check",
    ):
        assert mini.wait_for_log(message)["level"] == "info"
    calls = Calls(mini.endpoint)
    await calls("etcdserverpb.KV/Put", key=b"a", value=b"b")
    await calls("etcdserverpb.KV/Compact", revision=2, physical=True)
    kept = mini.wait_for_log("finished scheduled compaction")["hash"]
    assert (await calls("etcdserverpb.Maintenance/HashKV", revision=2)).hash == kept
    assert not (await calls("etcdserverpb.Maintenance/Alarm")).alarms
    await calls.close()
