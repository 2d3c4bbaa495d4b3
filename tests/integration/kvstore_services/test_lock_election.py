"""Locks and elections, by gRPC, by the gateway and by etcdctl; each test runs against a real etcd as well."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import urllib.error
import urllib.request
from typing import Any

import pytest

from kvstore.etcdpb import election_pb2
from tests.integration.kvstore_services.conftest import SECONDS_MAX, Calls

pytestmark = pytest.mark.e2e

LOCK, UNLOCK = "v3lockpb.Lock/Lock", "v3lockpb.Lock/Unlock"
CAMPAIGN, LEADER = "v3electionpb.Election/Campaign", "v3electionpb.Election/Leader"
PROCLAIM, RESIGN = "v3electionpb.Election/Proclaim", "v3electionpb.Election/Resign"
OBSERVE = "v3electionpb.Election/Observe"
RANGE = "etcdserverpb.KV/Range"


async def lease(calls: Calls, ttl: int = 60) -> int:
    return int((await calls("etcdserverpb.Lease/LeaseGrant", TTL=ttl)).ID)


async def keys(calls: Calls, prefix: bytes) -> list[bytes]:
    found = await calls(RANGE, key=prefix, range_end=prefix[:-1] + bytes((prefix[-1] + 1,)))
    return [kv.key for kv in found.kvs]


async def until_keys(calls: Calls, prefix: bytes, count: int) -> list[bytes]:
    """Wait until so many keys are there: the only way to know that a call waits."""
    async with asyncio.timeout(SECONDS_MAX):
        while len(found := await keys(calls, prefix)) != count:
            await asyncio.sleep(0.01)
    return found


# --- locks


async def test_a_lock_is_a_key_named_after_its_lease(calls: Calls) -> None:
    own = await lease(calls)
    held = await calls(LOCK, name=b"one", lease=own)
    assert held.key == b"one/%x" % own
    assert held.header.revision > 1
    assert held.header.member_id
    assert held.header.raft_term
    again = await calls(LOCK, name=b"one", lease=own)
    assert again.key == held.key
    assert again.header.revision == held.header.revision
    released = await calls(UNLOCK, key=held.key)
    assert released.header.revision == held.header.revision + 1
    assert await keys(calls, b"one/") == []


async def test_without_a_lease_the_lock_gets_one_of_a_minute(calls: Calls) -> None:
    held = await calls(LOCK, name=b"minute")
    own = int(held.key.removeprefix(b"minute/"), 16)
    left = await calls("etcdserverpb.Lease/LeaseTimeToLive", ID=own, keys=True)
    assert left.grantedTTL == 60
    assert list(left.keys) == [held.key]


async def test_the_second_waits_for_the_first(calls: Calls) -> None:
    first, second, third = [await lease(calls) for _ in range(3)]
    held = await calls(LOCK, name=b"queue", lease=first)
    waiting = asyncio.ensure_future(calls(LOCK, name=b"queue", lease=second))
    await until_keys(calls, b"queue/", 2)
    last = asyncio.ensure_future(calls(LOCK, name=b"queue", lease=third))
    await until_keys(calls, b"queue/", 3)
    assert not waiting.done()
    released = await calls(UNLOCK, key=held.key)
    next_held = await waiting
    assert next_held.key == b"queue/%x" % second
    assert next_held.header.revision >= released.header.revision
    assert not last.done()
    await calls(UNLOCK, key=next_held.key)
    assert (await last).key == b"queue/%x" % third


async def test_a_waiter_that_cancels_leaves_no_key(calls: Calls) -> None:
    await calls(LOCK, name=b"cancel")
    waiting = calls(LOCK, name=b"cancel")
    reader = asyncio.ensure_future(waiting)
    await until_keys(calls, b"cancel/", 2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await until_keys(calls, b"cancel/", 1)


async def test_a_waiter_that_loses_its_lease_is_told(calls: Calls) -> None:
    held = await calls(LOCK, name=b"lost")
    own = await lease(calls)
    waiting = asyncio.ensure_future(calls.refusal(LOCK, name=b"lost", lease=own))
    await until_keys(calls, b"lost/", 2)
    await calls("etcdserverpb.Lease/LeaseRevoke", ID=own)
    await calls(UNLOCK, key=held.key)
    assert await waiting == ("UNKNOWN", "mutex: session is expired")


async def test_a_lease_that_is_not_there_locks_nothing(calls: Calls) -> None:
    assert await calls.refusal(LOCK, name=b"none", lease=77) == ("UNKNOWN", "etcdserver: requested lease not found")
    assert await calls.refusal(UNLOCK) == ("UNKNOWN", "etcdserver: key is not provided")


# --- elections


async def test_campaign_proclaim_resign(calls: Calls) -> None:
    own = await lease(calls)
    won = await calls(CAMPAIGN, name=b"vote", lease=own, value=b"me")
    assert won.leader == election_pb2.LeaderKey(name=b"vote", key=b"vote/%x" % own, rev=won.header.revision, lease=own)
    leads = await calls(LEADER, name=b"vote")
    assert (leads.kv.key, leads.kv.value, leads.kv.lease) == (won.leader.key, b"me", own)
    said = await calls(PROCLAIM, leader=won.leader, value=b"still me")
    assert said.header.revision == won.header.revision + 1
    again = await calls(CAMPAIGN, name=b"vote", lease=own, value=b"me again")
    assert again.leader == won.leader
    assert (await calls(LEADER, name=b"vote")).kv.value == b"me again"
    resigned = await calls(RESIGN, leader=won.leader)
    assert resigned.header.revision == again.header.revision + 2
    assert await calls.refusal(LEADER, name=b"vote") == ("UNKNOWN", "election: no leader")
    assert await calls.refusal(PROCLAIM, leader=won.leader, value=b"x") == ("UNKNOWN", "election: not leader")
    assert (await calls(RESIGN, leader=won.leader)).header.revision == resigned.header.revision


async def test_elections_refuse_what_makes_no_sense(calls: Calls) -> None:
    missing = ("UNKNOWN", '"leader" field must be provided')
    assert await calls.refusal(PROCLAIM, value=b"x") == missing
    assert await calls.refusal(RESIGN) == missing
    unknown_lease = ("UNKNOWN", "etcdserver: requested lease not found")
    assert await calls.refusal(CAMPAIGN, name=b"nonsense", lease=78) == unknown_lease
    empty = election_pb2.LeaderKey(lease=await lease(calls))
    assert await calls.refusal(PROCLAIM, leader=empty) == ("UNKNOWN", "etcdserver: key is not provided")


async def test_the_next_candidate_leads_when_the_first_loses_its_lease(calls: Calls) -> None:
    first, second = await lease(calls), await lease(calls)
    await calls(CAMPAIGN, name=b"loss", lease=first, value=b"a")
    waiting = asyncio.ensure_future(calls(CAMPAIGN, name=b"loss", lease=second, value=b"b"))
    await until_keys(calls, b"loss/", 2)
    await calls("etcdserverpb.Lease/LeaseRevoke", ID=first)
    won = await waiting
    assert won.leader.key == b"loss/%x" % second
    assert won.header.revision == won.leader.rev


async def test_a_candidate_that_cancels_leaves_no_key(calls: Calls) -> None:
    await calls(CAMPAIGN, name=b"giveup", value=b"a")
    waiting = calls(CAMPAIGN, name=b"giveup", value=b"b")
    reader = asyncio.ensure_future(waiting)
    await until_keys(calls, b"giveup/", 2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await until_keys(calls, b"giveup/", 1)


async def test_observers_hear_of_every_leader(calls: Calls) -> None:
    first, second = await lease(calls), await lease(calls)
    stream = calls(OBSERVE, name=b"seen")
    waiting = asyncio.ensure_future(stream.read())
    one = await calls(CAMPAIGN, name=b"seen", lease=first, value=b"a")
    seen = await waiting
    assert (seen.kv.value, seen.header.revision) == (b"a", one.header.revision)
    said = await calls(PROCLAIM, leader=one.leader, value=b"a2")
    seen = await stream.read()
    assert (seen.kv.value, seen.header.revision) == (b"a2", said.header.revision)
    other = asyncio.ensure_future(calls(CAMPAIGN, name=b"seen", lease=second, value=b"b"))
    await until_keys(calls, b"seen/", 2)
    await calls(RESIGN, leader=one.leader)
    seen = await stream.read()
    assert (seen.kv.value, seen.kv.key) == (b"b", (await other).leader.key)
    stream.cancel()


# --- the gateway


def post(endpoint: str, path: str, **fields: Any) -> Any:
    data = json.dumps({name: _base64(value) for name, value in fields.items()}).encode()
    request = urllib.request.Request(endpoint + path, data, method="POST")
    with urllib.request.urlopen(request, timeout=SECONDS_MAX) as response:
        return json.loads(response.readline())


def _base64(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def test_by_gateway(endpoint: str) -> None:
    held = post(endpoint, "/v3/lock/lock", name=b"web")
    assert base64.b64decode(held["key"]).startswith(b"web/")
    assert held["header"]["revision"]
    assert set(post(endpoint, "/v3/lock/unlock", key=base64.b64decode(held["key"]))) == {"header"}
    won = post(endpoint, "/v3/election/campaign", name=b"webvote", value=b"v")
    assert set(won["leader"]) == {"name", "key", "rev", "lease"}
    assert post(endpoint, "/v3/election/leader", name=b"webvote")["kv"]["value"] == _base64(b"v")
    assert post(endpoint, "/v3/election/observe", name=b"webvote")["result"]["kv"]["value"] == _base64(b"v")
    assert set(post(endpoint, "/v3/election/proclaim", leader=won["leader"], value=b"w")) == {"header"}
    assert set(post(endpoint, "/v3/election/resign", leader=won["leader"])) == {"header"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(endpoint, "/v3/election/leader", name=b"webvote")
    body = json.loads(refused.value.read())
    assert (refused.value.code, body["code"], body["message"]) == (500, 2, "election: no leader")


# --- etcdctl


def test_etcdctl_lock_runs_a_command_and_unlocks(etcdctl: list[str]) -> None:
    ran = subprocess.run(
        [*etcdctl, "lock", "ctl", "--", "echo", "inside"], capture_output=True, text=True, timeout=SECONDS_MAX
    )
    assert (ran.stdout, ran.returncode) == ("inside\n", 0), ran.stderr
    left = subprocess.run([*etcdctl, "get", "--prefix", "ctl/"], capture_output=True, text=True, timeout=SECONDS_MAX)
    assert left.stdout == ""


def test_etcdctl_elect_and_listen(etcdctl: list[str]) -> None:
    elected = subprocess.Popen([*etcdctl, "elect", "ctlvote", "proposal"], stdout=subprocess.PIPE, text=True)
    try:
        assert elected.stdout is not None
        key, value = elected.stdout.readline(), elected.stdout.readline()
        assert key.startswith("ctlvote/")
        assert value == "proposal\n"
        listener = subprocess.Popen([*etcdctl, "elect", "-l", "ctlvote"], stdout=subprocess.PIPE, text=True)
        try:
            assert listener.stdout is not None
            assert (listener.stdout.readline(), listener.stdout.readline()) == (key, value)
        finally:
            listener.terminate()
            listener.communicate(timeout=SECONDS_MAX)
    finally:
        elected.terminate()
        elected.communicate(timeout=SECONDS_MAX)
