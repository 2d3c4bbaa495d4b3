"""Who a member finds itself to be, for every disk, every set of flags and every answer of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from kvstore.apply import Member
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.bootstrap import AskUrl, BootstrapError, ClusterFlags, RemovedError, begin, parse_cluster
from kvstore.server.identity import Identity, derive_identity, member_id_of
from kvstore.server.peers import MEMBERS

URLS = {"a": ["http://a:1"], "b": ["http://b:1", "http://b:2"], "c": ["http://c:1"]}
TOKEN = "token"
FLAGS = ClusterFlags("a", URLS, TOKEN, existing=False, advertise_peer_urls=("http://a:1",))
JOINING = replace(FLAGS, existing=True)
IDS = {name: member_id_of(urls, TOKEN) for name, urls in URLS.items()}
CLUSTER_ID = derive_identity(URLS, "a", TOKEN).cluster_id
ADDED = 0xADDED


def answering(answers: Mapping[str, bytes | None]) -> tuple[AskUrl, list[str]]:
    """Peers with their answers; None for those who refuse. Also who was asked."""
    asked: list[str] = []

    async def ask(url: str, method: str, request: bytes, timeout_seconds: float) -> bytes:
        assert method == MEMBERS
        assert pb.MemberListRequest.FromString(request) == pb.MemberListRequest()
        assert timeout_seconds > 0
        asked.append(url)
        answer = answers.get(url)
        if answer is None:
            raise EtcdError(StatusCode.UNAVAILABLE, f"{url} does not answer")
        return answer

    return ask, asked


def cluster(*members: pb.Member, cluster_id: int = CLUSTER_ID) -> bytes:
    answer = pb.MemberListResponse(members=members)
    answer.header.cluster_id = cluster_id
    return answer.SerializeToString()


def member(name: str, *, started: bool = True, member_id: int = 0) -> pb.Member:
    client_urls = [f"http://{name}:2"] if started else []
    return pb.Member(
        ID=member_id or IDS[name], name=name if started else "", peerURLs=URLS[name], clientURLs=client_urls
    )


FOUNDERS = [member(name, started=False) for name in URLS]


async def test_a_founder_nobody_knows() -> None:
    ask, asked = answering({})
    beginning = await begin(FLAGS, None, (), ask)
    assert beginning.identity == derive_identity(URLS, "a", TOKEN) == Identity(IDS["a"], CLUSTER_ID)
    assert {founder.member_id: founder.name for founder in beginning.founders} == {IDS[name]: name for name in URLS}
    assert beginning.known == beginning.founders
    assert asked == ["http://b:1", "http://b:2", "http://c:1"]


async def test_a_founder_alone_asks_nobody() -> None:
    ask, asked = answering({})
    flags = ClusterFlags("a", {"a": ["http://a:1"]}, TOKEN, existing=False, advertise_peer_urls=("http://a:1",))
    assert len((await begin(flags, None, (), ask)).founders) == 1
    assert not asked


async def test_a_founder_among_others_that_have_begun() -> None:
    """They know it from the same flags, but it has never told anybody about itself."""
    ask, _ = answering({"http://c:1": cluster(member("b"), member("c"), member("a", started=False))})
    assert len((await begin(FLAGS, None, (), ask)).founders) == 3


async def test_founders_have_the_same_ids_whatever_the_order_of_the_flags() -> None:
    ask, _ = answering({})
    shuffled = replace(FLAGS, initial_cluster={name: URLS[name][::-1] for name in reversed(URLS)})
    assert (await begin(shuffled, None, (), ask)).identity == (await begin(FLAGS, None, (), ask)).identity
    other = await begin(replace(FLAGS, token="other"), None, (), ask)
    assert other.identity.cluster_id != CLUSTER_ID


@pytest.mark.parametrize("flags", [FLAGS, JOINING])
async def test_who_lost_its_disk_is_refused(flags: ClusterFlags) -> None:
    ask, _ = answering({"http://b:2": cluster(*map(member, URLS))})
    with pytest.raises(BootstrapError, match=f"member {IDS['a']:x} has already been bootstrapped"):
        await begin(flags, None, (), ask)


async def test_joining() -> None:
    newcomer = member("a", started=False, member_id=ADDED)
    ask, asked = answering({"http://b:2": cluster(newcomer, member("b"), member("c"), cluster_id=7)})
    beginning = await begin(JOINING, None, (), ask)
    assert beginning.identity == Identity(ADDED, 7)
    assert not beginning.founders
    assert {known.member_id for known in beginning.known} == {ADDED, IDS["b"], IDS["c"]}
    assert asked == ["http://b:1", "http://b:2"]  # the first answer is enough


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({}, "could not retrieve cluster information from the given URLs"),
        ({"http://b:1": b"\xff"}, "could not retrieve cluster information from the given URLs"),
        ({"http://b:1": cluster()}, "could not retrieve cluster information from the given URLs"),
        ({"http://b:1": cluster(*FOUNDERS[:2])}, "member count is unequal"),
        (
            {"http://b:1": cluster(*FOUNDERS[:2], pb.Member(ID=9, peerURLs=["http://d:1"]))},
            "unmatched member while checking PeerURLs: .* c=http://c:1",
        ),
        (
            {"http://b:1": cluster(FOUNDERS[0], FOUNDERS[2], pb.Member(ID=9, peerURLs=["http://b:1"]))},
            "unmatched member while checking PeerURLs",
        ),
    ],
)
async def test_who_cannot_join(answers: Mapping[str, bytes], reason: str) -> None:
    with pytest.raises(BootstrapError, match=reason):
        await begin(JOINING, None, (), answering(answers)[0])


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (replace(FLAGS, name="z"), "couldn't find local name 'z' in the initial cluster configuration"),
        (replace(FLAGS, advertise_peer_urls=("http://x:1",)), "missing from --initial-advertise-peer-urls"),
        (replace(FLAGS, advertise_peer_urls=("http://a:1", "http://x:1")), "missing from --initial-cluster"),
        (replace(FLAGS, initial_cluster={**URLS, "d": ["http://b:1"]}), "has duplicate url"),
    ],
)
async def test_flags_that_make_no_cluster(flags: ClusterFlags, reason: str) -> None:
    for state in (flags, replace(flags, existing=True)):
        ask, asked = answering({})
        with pytest.raises(BootstrapError, match=reason):
            await begin(state, None, (), ask)
        assert not asked


def test_malformed_cluster() -> None:
    for text in ("a", "a=", "a=http://"):
        with pytest.raises(BootstrapError):
            parse_cluster(text)


# A member that has a log

OWN = Identity(IDS["a"], CLUSTER_ID)


async def test_a_restart_needs_no_flags() -> None:
    members = [Member(IDS["a"], "a", ("http://a:9",)), Member(5, "x", ("http://x:1",))]
    nonsense = ClusterFlags("z", {"q": ["http://q:1"]}, "other", existing=True, advertise_peer_urls=())
    ask, asked = answering({})
    beginning = await begin(nonsense, OWN.encode(), members, ask)
    assert (beginning.identity, beginning.founders, beginning.known) == (OWN, (), tuple(members))
    assert not asked


async def test_a_founder_that_was_stopped_before_it_heard_of_the_others() -> None:
    ask, asked = answering({})
    beginning = await begin(FLAGS, OWN.encode(), (), ask)
    assert (beginning.identity, beginning.founders) == (OWN, ())
    assert {known.member_id for known in beginning.known} == set(IDS.values())
    assert not asked


async def test_a_newcomer_that_was_stopped_before_it_heard_of_the_others() -> None:
    newcomer = member("a", started=False, member_id=ADDED)
    own = Identity(ADDED, 7)
    ask, _ = answering({"http://b:2": cluster(newcomer, member("b"), member("c"), cluster_id=7)})
    beginning = await begin(JOINING, own.encode(), (), ask)
    assert beginning.identity == own
    assert {known.member_id for known in beginning.known} == {ADDED, IDS["b"], IDS["c"]}
    with pytest.raises(BootstrapError, match="could not retrieve cluster information"):
        await begin(JOINING, own.encode(), (), answering({})[0])
    crossed, _ = answering({"http://b:2": cluster(newcomer, member("b"), member("c"), cluster_id=8)})
    with pytest.raises(BootstrapError, match="cluster 7, and the members at the peer URLs are of cluster 8"):
        await begin(JOINING, own.encode(), (), crossed)


async def test_the_log_of_another_member() -> None:
    members = [Member(1, "x", ("http://x:1",)), Member(2, "y", ("http://y:1",))]
    with pytest.raises(BootstrapError, match="the two do not belong together"):
        await begin(FLAGS, OWN.encode(), members, answering({})[0])
    for metadata in (b"", b"\x08", b"\xff\xff"):
        with pytest.raises(BootstrapError):
            await begin(FLAGS, metadata, members, answering({})[0])


async def test_a_member_that_knows_of_its_removal() -> None:
    with pytest.raises(RemovedError, match="the member has been permanently removed from the cluster"):
        await begin(FLAGS, OWN.encode(), [Member(2, "y", ("http://y:1",))], answering({})[0], {IDS["a"]}.__contains__)
