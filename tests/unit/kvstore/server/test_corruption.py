"""Members that disagree about the data are found out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kvstore.app import Member, Options, start_member
from kvstore.apply import Member as ClusterMember
from kvstore.apply import MembershipChange, MembershipChangeKind
from kvstore.environment import real_environment
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server import catalogue
from kvstore.server.corruption import CorruptionChecker, CorruptionError, CorruptionMonitor, PeerHash
from kvstore.server.hashes import KEPT_MAX, Hashes
from kvstore.server.metrics import Histogram
from kvstore.server.peer_hashes import AskedPeerHashes
from tests.unit.kvstore.server.conftest import start_fake


class Context:
    trusted = False

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}
        self.peer_certificate = None


class Replica:
    """A member with its hashes; fed with the same requests as the others."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.id = member.identity.member_id
        self.hashes = Hashes(member.core.store, member.core.environment.clock.monotonic, Histogram(0.01, 2, 15))
        self.peers: list[Replica] = []
        self.checker = CorruptionChecker(self.id, member.core.store, self.hashes, self, member.core.proposer)
        self.silent = False

    async def at(self, revision: int) -> list[PeerHash]:
        """The peers' answers, as `PeerHashes` has them."""
        return [await peer.answer(revision) for peer in self.peers]

    async def answer(self, revision: int) -> PeerHash:
        if self.silent:
            return PeerHash(self.id, error=catalogue.TIMED_OUT.error())
        try:
            computed = await self.hashes.at(revision)
        except Exception as error:
            return PeerHash(self.id, error=catalogue.to_etcd_error(error))  # type: ignore[arg-type]
        response = pb.HashKVResponse(
            hash=computed.value, compact_revision=computed.compact_revision, hash_revision=computed.revision
        )
        response.header.revision = self.member.core.store.revision
        return PeerHash(self.id, response)

    async def put(self, key: bytes, value: bytes) -> None:
        await self.member.client().put(pb.PutRequest(key=key, value=value))

    async def compact(self, revision: int) -> None:
        request = pb.CompactionRequest(revision=revision, physical=True)
        await self.member.services().kv.compact(request, Context())
        await self.hashes.keep()

    async def flip(self, key: bytes) -> None:
        """Change one bit of the key's value behind the store's back, in the database file."""
        core: Any = self.member.core
        await core.backend.flush()
        record = core.store.index.newest(key)
        with core.backend._env.begin(write=True) as txn:
            cursor = txn.cursor(db=core.backend._keys)
            assert cursor.set_range(record.main.to_bytes(8, "big"))
            stored = bytearray(cursor.value())
            stored[-1] ^= 1
            txn.put(bytes(cursor.key()), bytes(stored), db=core.backend._keys)
        core.backend._reopen_read()

    def alarms(self) -> list[tuple[int, int]]:
        return [(alarm.memberID, alarm.alarm) for alarm in self.member.core.alarms.get()]


@pytest.fixture
async def replicas(tmp_path: Path) -> AsyncIterator[list[Replica]]:
    """Three members; the first is the leader, whose peers the others are."""
    made = []
    for number in range(3):
        name = f"m{number}"
        options = Options(name=name, data_dir=str(tmp_path / name), initial_cluster_token=name)
        made.append(Replica(await start_member(options, real_environment(), start_consensus=start_fake)))
        made[-1].id = number + 1
    made[0].checker = CorruptionChecker(
        1, made[0].member.core.store, made[0].hashes, made[0], made[0].member.core.proposer
    )
    made[0].peers = made[1:]
    for replica in made:
        for number in range(20):
            await replica.put(b"key-%d" % (number % 7), b"value-%d" % number)
    yield made
    for replica in made:
        await replica.member.stop()


def messages(caplog: Any) -> list[str]:
    return [record.message for record in caplog.records]


async def test_equal_members_pass_every_check(replicas: list[Replica], caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    leader = replicas[0]
    await leader.checker.initial()
    await leader.checker.periodic()
    for replica in replicas:
        await replica.compact(12)
    await leader.checker.compact()
    assert leader.alarms() == []
    assert "initial corruption checking passed; no corruption" in messages(caplog)
    assert "finished peer corruption check" in messages(caplog)
    assert "successfully checked hash on whole cluster" in messages(caplog)
    assert "finished compaction hash check" in messages(caplog)
    caplog.clear()
    await leader.checker.compact()  # there is nothing new
    assert messages(caplog) == ["starting compact hash check", "finished compaction hash check"]


async def test_initial_check_refuses_to_start_on_other_data(replicas: list[Replica]) -> None:
    await replicas[2].flip(b"key-3")
    with pytest.raises(CorruptionError, match="1 found data inconsistency with peers"):
        await replicas[0].checker.initial()
    assert replicas[0].alarms() == [], "it does not start, and says nothing to the others"


async def test_initial_check_lets_pass_what_cannot_be_compared(replicas: list[Replica], caplog: Any) -> None:
    leader, slow, ahead = replicas
    await ahead.compact(21)
    await ahead.flip(b"key-3")
    await leader.put(b"more", b"x")
    await leader.checker.initial()
    assert "found different compact revision values from remote peer" not in messages(caplog)
    assert messages(caplog).count("cannot fetch hash from slow remote peer") == 2
    caplog.clear()
    for replica in (slow, ahead):
        await replica.put(b"more", b"x")
    slow.silent = True
    await leader.checker.initial()
    assert messages(caplog) == [
        "failed hash kv request",
        "found different compact revision values from remote peer",
    ]


async def test_periodic_check_names_the_follower(replicas: list[Replica]) -> None:
    leader = replicas[0]
    await replicas[1].flip(b"key-3")
    await replicas[2].flip(b"key-4")
    await leader.checker.periodic()
    assert leader.alarms() == [(2, pb.CORRUPT)], "one alarm a round"


async def test_periodic_check_sees_followers_from_the_future(replicas: list[Replica]) -> None:
    leader = replicas[0]
    await replicas[2].put(b"forged", b"x")
    await leader.checker.periodic()
    assert leader.alarms() == [(3, pb.CORRUPT)]


async def test_periodic_check_sees_compactions_from_the_future(replicas: list[Replica]) -> None:
    leader = replicas[0]
    await replicas[1].compact(10)
    await leader.checker.periodic()
    assert leader.alarms() == [(2, pb.CORRUPT)]


async def test_compact_check_accuses_the_minority(replicas: list[Replica]) -> None:
    leader = replicas[0]
    await replicas[2].flip(b"key-3")
    for replica in replicas:
        await replica.compact(21)
    await leader.checker.compact()
    assert leader.alarms() == [(3, pb.CORRUPT)]
    with pytest.raises(EtcdError, match="corrupt cluster"):
        await leader.put(b"a", b"b")


async def test_compact_check_accuses_the_leader_itself(replicas: list[Replica]) -> None:
    leader = replicas[0]
    await leader.flip(b"key-3")
    for replica in replicas:
        await replica.compact(21)
    await leader.checker.compact()
    assert leader.alarms() == [(1, pb.CORRUPT)]


async def test_compact_check_without_a_majority_accuses_all(replicas: list[Replica]) -> None:
    leader = replicas[0]
    await replicas[1].flip(b"key-3")
    await replicas[2].flip(b"key-4")
    for replica in replicas:
        await replica.compact(21)
    await leader.checker.compact()
    assert leader.alarms() == [(0, pb.CORRUPT)]


async def test_compact_check_goes_back_to_what_all_members_know(replicas: list[Replica], caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    leader, other, lagging = replicas
    for revision in (10, 15):
        for replica in (leader, other):
            await replica.compact(revision)
    await lagging.compact(10)
    await leader.checker.compact()
    assert leader.alarms() == []
    assert "skipped revision in compaction hash check; was not able to check all peers" in messages(caplog)
    checked = [record.fields for record in caplog.records if record.message == "finished compaction hash check"]
    assert checked == [{"number-of-hashes-checked": 2}]
    await lagging.compact(15)
    await leader.checker.compact()  # 15 is still open
    assert messages(caplog).count("successfully checked hash on whole cluster") == 2


async def test_only_the_newest_hashes_are_kept(replicas: list[Replica]) -> None:
    leader = replicas[0]
    for revision in range(2, 2 + KEPT_MAX + 3):
        await leader.compact(revision)
    assert [kept.revision for kept in leader.hashes.kept] == list(range(KEPT_MAX + 4, 4, -1))
    kept = leader.hashes.kept[-1]
    assert await leader.hashes.at(kept.revision) == kept, "though that revision has been compacted away"


async def test_checks_run_by_the_clock_where_the_member_leads(replicas: list[Replica]) -> None:
    leader = replicas[0]
    await replicas[1].flip(b"key-3")
    asked: asyncio.Queue[int] = asyncio.Queue()
    leads = False

    def is_leader() -> bool:
        asked.put_nowait(0)
        return leads

    monitor = CorruptionMonitor(leader.checker, is_leader, real_environment().clock, 0.001, 0.0)
    monitor.start()
    await asked.get()
    await asked.get()
    assert leader.alarms() == []
    leads = True
    while not leader.alarms():
        await asked.get()
    await monitor.stop()
    assert leader.alarms() == [(2, pb.CORRUPT)]


async def test_every_other_member_is_asked(replicas: list[Replica]) -> None:
    membership = replicas[0].member.core.membership
    own = membership.members()[0].member_id
    for member_id in (2, 3):
        added = ClusterMember(member_id, peer_urls=(f"http://127.0.0.1:{member_id}",))
        membership.carry_out(MembershipChange(MembershipChangeKind.ADD, added))

    async def ask(member_id: int, request: pb.HashKVRequest) -> pb.HashKVResponse:
        if member_id == 3:
            raise catalogue.COMPACTED.error()
        return pb.HashKVResponse(hash=member_id, hash_revision=request.revision)

    answers = {answer.member_id: answer for answer in await AskedPeerHashes(membership, own, ask).at(9)}
    assert set(answers) == {2, 3}
    assert answers[2].response == pb.HashKVResponse(hash=2, hash_revision=9)
    assert answers[3].response is None
    assert answers[3].error is not None
    assert answers[3].error.message == catalogue.COMPACTED.text
