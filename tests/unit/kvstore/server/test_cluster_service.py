"""Changes of membership: what is refused, in which words, and what is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kvstore.app import Member
from kvstore.apply import Member as ClusterMember
from kvstore.apply import MembershipChange, MembershipChangeKind
from kvstore.client.in_process import LocalContext
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.peers import MEMBER_PROMOTE
from tests.unit.kvstore.server.conftest import FakeConsensus, StartMember

LOCAL = LocalContext()
OTHER, THIRD, LEARNER = 0xB, 0xC, 0x1E
NOT_ENOUGH = ("UNKNOWN", "etcdserver: re-configuration failed due to not enough started members")
UNHEALTHY = ("UNAVAILABLE", "etcdserver: unhealthy cluster")
BAD_URLS = ("INVALID_ARGUMENT", "etcdserver: given member URLs are invalid")
NOT_FOUND = ("NOT_FOUND", "etcdserver: member not found")
URL_EXISTS = ("FAILED_PRECONDITION", "etcdserver: Peer URLs already exists")
NOT_READY = ("FAILED_PRECONDITION", "etcdserver: can only promote a learner member which is in sync with leader")
NOT_LEARNER = ("FAILED_PRECONDITION", "etcdserver: can only promote a learner member")
TOO_MANY_LEARNERS = ("FAILED_PRECONDITION", "etcdserver: too many learner members in cluster")
OK = ("OK", "")


class Changes:
    """The service of one member, and what consensus says of the others."""

    def __init__(self, member: Member) -> None:
        self.core = member.core
        self.service = member.services().cluster
        consensus: Any = member.core.consensus
        self.consensus: FakeConsensus = consensus

    def have(self, member_id: int, *, started: bool = True, is_learner: bool = False) -> None:
        """Let the cluster have another member already."""
        name = f"m{member_id:x}" if started else ""
        other = ClusterMember(member_id, name, (f"http://m{member_id:x}:2380",), is_learner=is_learner)
        self.core.membership.carry_out(MembershipChange(MembershipChangeKind.ADD, other))

    async def add(self, *urls: str, learner: bool = False) -> tuple[str, str]:
        return await outcome(self.service.member_add(pb.MemberAddRequest(peerURLs=urls, isLearner=learner), LOCAL))

    async def remove(self, member_id: int) -> tuple[str, str]:
        return await outcome(self.service.member_remove(pb.MemberRemoveRequest(ID=member_id), LOCAL))

    async def update(self, member_id: int, *urls: str) -> tuple[str, str]:
        return await outcome(self.service.member_update(pb.MemberUpdateRequest(ID=member_id, peerURLs=urls), LOCAL))

    async def promote(self, member_id: int) -> tuple[str, str]:
        return await outcome(self.service.member_promote(pb.MemberPromoteRequest(ID=member_id), LOCAL))

    def ids(self) -> set[int]:
        return {member.member_id for member in self.core.membership.members()}


async def outcome(call: Any) -> tuple[str, str]:
    try:
        await call
    except EtcdError as error:
        return error.code.name, error.message
    return OK


@pytest.fixture
async def changes(member: Member) -> AsyncIterator[Changes]:
    """A member that is alone so far."""
    changes = Changes(member)
    yield changes
    changes.consensus.connected.clear()  # nobody is there to take over


@pytest.fixture
async def three(changes: Changes) -> Changes:
    """One of three that have started and are connected."""
    for other in (OTHER, THIRD):
        changes.have(other)
        changes.consensus.connected[other] = 6.0
    return changes


async def test_from_one_to_two_is_always_allowed(changes: Changes) -> None:
    response = await changes.service.member_add(pb.MemberAddRequest(peerURLs=["http://b:2", "http://a:1"]), LOCAL)
    assert list(response.member.peerURLs) == ["http://a:1", "http://b:2"]
    assert (response.member.name, list(response.member.clientURLs), response.member.isLearner) == ("", [], False)
    assert response.header.revision == 0
    assert [member.ID for member in response.members] == sorted(changes.ids())
    # The newcomer has not started: nobody may come after it, or go.
    assert await changes.add("http://c:1") == NOT_ENOUGH
    assert await changes.remove(changes.core.headers.member_id) == NOT_ENOUGH
    assert await changes.remove(response.member.ID) == OK


@pytest.mark.parametrize(("seconds", "expected"), [(None, UNHEALTHY), (4.9, UNHEALTHY), (5.0, OK)])
async def test_additions_want_a_quorum_of_the_larger_cluster(
    three: Changes, seconds: float | None, expected: tuple[str, str]
) -> None:
    three.consensus.connected.pop(THIRD)
    if seconds is not None:
        three.consensus.connected[THIRD] = seconds
    assert await three.add("http://d:1") == expected
    assert await three.add("http://e:1", learner=True) == expected


async def test_learners_need_not_wait_for_others_to_start(three: Changes) -> None:
    three.have(0xD, started=False)
    three.have(0xE, started=False)
    three.consensus.connected |= {0xD: 9.0, 0xE: 9.0}
    assert await three.add("http://f:1") == NOT_ENOUGH  # three of six have started
    assert await three.add("http://f:1", learner=True) == OK


@pytest.mark.parametrize("who", ["dead", "connected", "itself"])
async def test_removals_leave_a_quorum(three: Changes, who: str) -> None:
    own = three.core.headers.member_id
    three.consensus.connected.pop(THIRD)
    if who == "dead":
        assert await three.remove(THIRD) == OK
        assert three.ids() == {own, OTHER}
    elif who == "connected":
        assert await three.remove(OTHER) == UNHEALTHY
        three.consensus.connected[THIRD] = 5.0
        assert await three.remove(OTHER) == OK
    else:
        assert await three.remove(own) == UNHEALTHY
        three.consensus.connected[THIRD] = 5.0
        assert await three.remove(own) == OK


async def test_removals_count_who_has_started(three: Changes) -> None:
    three.have(0xD, started=False)
    three.have(0xE, started=False)
    assert await three.remove(OTHER) == NOT_ENOUGH  # two of four
    assert await three.remove(0xD) == OK


async def test_without_the_strict_check(start: StartMember) -> None:
    changes = Changes(await start(strict_reconfig_check=False))
    assert [await changes.add(f"http://{name}:1") for name in "abc"] == [OK] * 3
    assert len(changes.ids()) == 4
    assert await changes.remove(changes.core.headers.member_id) == OK


async def test_learners_come_and_go_freely(three: Changes) -> None:
    assert await three.add("http://l:1", learner=True) == OK
    (learner,) = (member for member in three.core.membership.members() if member.is_learner)
    assert await three.add("http://k:1", learner=True) == TOO_MANY_LEARNERS
    three.consensus.connected.clear()
    assert await three.remove(learner.member_id) == OK
    assert await three.remove(learner.member_id) == NOT_FOUND


@pytest.mark.parametrize(
    "urls",
    [
        (),
        ("",),
        ("127.0.0.1:1",),
        ("http://127.0.0.1",),
        ("http://:1",),
        ("ftp://a:1",),
        ("http://a:1/path",),
        ("http://a:99999",),
        ("http://[::1:1",),
        ("http://a:1", "b:1"),
    ],
)
async def test_urls_that_are_none(changes: Changes, urls: tuple[str, ...]) -> None:
    assert await changes.add(*urls) == BAD_URLS
    assert await changes.update(changes.core.headers.member_id, *urls) == BAD_URLS


async def test_urls_are_given_once(three: Changes) -> None:
    assert await three.add("http://x:1", "http://mb:2380") == URL_EXISTS
    assert await three.update(OTHER, "http://mc:2380") == URL_EXISTS
    assert await three.update(OTHER, "http://mb:2380", "http://x:1") == OK
    changed = three.core.membership.get(OTHER)
    assert changed is not None
    assert changed.peer_urls == ("http://mb:2380", "http://x:1")
    assert changed.name == "mb"
    assert await three.update(0xF, "http://y:1") == NOT_FOUND


async def test_promotion(three: Changes) -> None:
    three.have(LEARNER, is_learner=True)
    own_match = three.consensus.commit_index = 100
    metrics = three.core.metrics
    assert await three.promote(LEARNER) == NOT_FOUND  # the leader has not heard of it yet
    three.consensus.progress = {LEARNER: 89, OTHER: own_match}
    assert await three.promote(LEARNER) == NOT_READY
    assert await three.promote(LEARNER) == NOT_READY
    assert await three.promote(OTHER) == NOT_LEARNER
    three.consensus.progress[LEARNER] = 95
    assert await three.promote(LEARNER) == OK
    assert not three.core.membership.get(LEARNER).is_learner  # type: ignore[union-attr]
    assert await three.promote(LEARNER) == NOT_LEARNER
    assert metrics.promote_successes == 1
    assert metrics.promote_failures == {(NOT_FOUND[1],): 1, (NOT_READY[1],): 2, (NOT_LEARNER[1],): 2}


async def test_promotion_leaves_a_quorum_of_started_members(three: Changes) -> None:
    three.have(LEARNER, is_learner=True)
    three.consensus.progress = {LEARNER: 100}
    for member_id in (0xD, 0xE, 0xF):
        three.have(member_id, started=False)
    assert await three.promote(LEARNER) == OK  # itself it counts as started: four of seven
    assert await three.promote(LEARNER) == NOT_LEARNER


async def test_followers_ask_the_leader_to_promote(three: Changes, monkeypatch: pytest.MonkeyPatch) -> None:
    three.have(LEARNER, is_learner=True)
    three.consensus.is_leader = False
    monkeypatch.setattr(FakeConsensus, "leader_id", OTHER)
    answer = pb.MemberPromoteResponse(members=[pb.Member(ID=LEARNER)])
    three.consensus.peer_answers[MEMBER_PROMOTE] = answer.SerializeToString()
    response = await three.service.member_promote(pb.MemberPromoteRequest(ID=LEARNER), LOCAL)
    assert [member.ID for member in response.members] == [LEARNER]
    with pytest.raises(EtcdError, match="not leader"):  # who is asked by a member does not ask on
        await three.service.promote_here(pb.MemberPromoteRequest(ID=LEARNER))
