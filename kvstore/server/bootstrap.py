"""Who a member is when it starts, and whom it knows (etcd `server/etcdserver/bootstrap.go`).

Three ways: it goes on from its log; it founds a cluster together with others that have the same flags; or it joins a
cluster that has added it. A member that has lost its disk is none of these: its log has promised things to the others
that nobody remembers, so it must come back under a new id.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from kvstore.apply import Member
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.identity import Identity, check_founding, derive_identity, member_id_of, parse_initial_cluster
from kvstore.server.peers import MEMBERS

__all__ = [
    "AskUrl",
    "Beginning",
    "BootstrapError",
    "ClusterFlags",
    "RemovedError",
    "begin",
    "parse_cluster",
]

FOUNDING_TIMEOUT_SECONDS = 1.0
"""How long a founder asks the others whether they know it already."""

JOINING_TIMEOUT_SECONDS = 10.0
"""How long a joining member asks one URL who the others are."""

_NOBODY_ANSWERS = "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"

logger = logging.getLogger(__name__)

AskUrl = Callable[[str, str, bytes, float], Awaitable[bytes]]
"""(peer URL, method, request, timeout in seconds) -> answer; raises `EtcdError` when there is none."""


class BootstrapError(Exception):
    """The member cannot be who the flags say; the message says why."""


class RemovedError(Exception):
    """The member was removed from its cluster, and has come to its end."""

    def __init__(self) -> None:
        super().__init__("the member has been permanently removed from the cluster")


@dataclass(frozen=True, slots=True)
class ClusterFlags:
    """What the flags say about the cluster.

    Attributes:
        initial_cluster: peer URLs by name (`--initial-cluster`).
        existing: `--initial-cluster-state=existing`.
    """

    name: str
    initial_cluster: Mapping[str, list[str]]
    token: str
    existing: bool
    advertise_peer_urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Beginning:
    """Who this member is.

    Attributes:
        founders: everyone who founds the cluster now; nobody when there is one already.
        known: the members to connect to at first.
    """

    identity: Identity
    founders: tuple[Member, ...] = ()
    known: tuple[Member, ...] = ()


async def begin(
    flags: ClusterFlags,
    metadata: bytes | None,
    members: Iterable[Member],
    ask: AskUrl,
    was_removed: Callable[[int], bool] = lambda member_id: False,
) -> Beginning:
    """Find out who this member is.

    Args:
        metadata: of the log, if there is one.
        members: the members as the database has them.
        ask: for members that are not alone.
        was_removed: whether the database has it that a member was removed.

    Raises:
        BootstrapError: it cannot be.
        RemovedError: it was removed from its cluster.
    """
    if metadata is not None:
        return await _go_on(flags, _decode(metadata), tuple(members), ask, was_removed)
    _check_urls(flags)
    return await (_join(flags, ask) if flags.existing else _found(flags, ask))


async def _go_on(
    flags: ClusterFlags,
    identity: Identity,
    members: tuple[Member, ...],
    ask: AskUrl,
    was_removed: Callable[[int], bool],
) -> Beginning:
    if was_removed(identity.member_id):
        raise RemovedError
    known = members or _founders(flags.initial_cluster, flags.token)
    if identity.member_id in {member.member_id for member in known}:
        return Beginning(identity, known=known)
    if members:
        raise BootstrapError(
            f"the log is that of member {identity.member_id:x}, whom the database beside it does not know: the two do "
            "not belong together"
        )
    # It has joined, and was stopped before it heard anything of the others.
    answer = await _ask_others(flags, ask, JOINING_TIMEOUT_SECONDS)
    if answer is None:
        raise BootstrapError(_NOBODY_ANSWERS)
    if answer.header.cluster_id != identity.cluster_id:
        raise BootstrapError(
            f"the log is that of a member of cluster {identity.cluster_id:x}, and the members at the peer URLs are of "
            f"cluster {answer.header.cluster_id:x}"
        )
    return Beginning(identity, known=_members_of(answer))


def parse_cluster(text: str) -> dict[str, list[str]]:
    """`--initial-cluster`.

    Raises:
        BootstrapError: it makes no sense.
    """
    try:
        return parse_initial_cluster(text)
    except ValueError as error:
        raise BootstrapError(str(error)) from None


def _decode(metadata: bytes) -> Identity:
    try:
        return Identity.decode(metadata)
    except ValueError as error:
        raise BootstrapError(str(error)) from None


def _check_urls(flags: ClusterFlags) -> None:
    if flags.name not in flags.initial_cluster:
        raise BootstrapError(f"couldn't find local name {flags.name!r} in the initial cluster configuration")
    try:
        check_founding(flags.initial_cluster, flags.name, flags.advertise_peer_urls)
    except ValueError as error:
        raise BootstrapError(str(error)) from None


def _founders(cluster: Mapping[str, list[str]], token: str) -> tuple[Member, ...]:
    members = (Member(member_id_of(urls, token), name, tuple(sorted(urls))) for name, urls in cluster.items())
    return tuple(sorted(members, key=lambda member: member.member_id))


async def _found(flags: ClusterFlags, ask: AskUrl) -> Beginning:
    founders = _founders(flags.initial_cluster, flags.token)
    identity = derive_identity(flags.initial_cluster, flags.name, flags.token)
    answer = await _ask_others(flags, ask, FOUNDING_TIMEOUT_SECONDS)
    if answer is not None and _was_started(answer, identity.member_id):
        raise BootstrapError(
            f"member {identity.member_id:x} has already been bootstrapped: the cluster knows it and its data directory "
            "is gone. Remove it from the cluster, add it again, and start it with --initial-cluster-state=existing"
        )
    return Beginning(identity, founders, founders)


async def _join(flags: ClusterFlags, ask: AskUrl) -> Beginning:
    answer = await _ask_others(flags, ask, JOINING_TIMEOUT_SECONDS)
    if answer is None:
        raise BootstrapError(_NOBODY_ANSWERS)
    if len(answer.members) != len(flags.initial_cluster):
        raise BootstrapError(
            f"error validating peerURLs: member count is unequal: the cluster has {len(answer.members)} members, "
            f"--initial-cluster has {len(flags.initial_cluster)}"
        )
    known = _members_of(answer)
    by_urls = {frozenset(member.peer_urls): member for member in known}
    for name, urls in flags.initial_cluster.items():
        if frozenset(urls) not in by_urls:
            raise BootstrapError(
                f"error validating peerURLs: unmatched member while checking PeerURLs: the cluster has no member with "
                f"{name}={','.join(urls)}"
            )
    own = by_urls[frozenset(flags.initial_cluster[flags.name])]
    if own.started:
        raise BootstrapError(
            f"member {own.member_id:x} has already been bootstrapped: the cluster knows it and its data directory is "
            "gone. Remove it from the cluster and add it again"
        )
    return Beginning(Identity(own.member_id, answer.header.cluster_id), known=known)


def _members_of(answer: pb.MemberListResponse) -> tuple[Member, ...]:
    return tuple(
        Member(member.ID, member.name, tuple(member.peerURLs), tuple(member.clientURLs), member.isLearner)
        for member in answer.members
    )


def _was_started(answer: pb.MemberListResponse, member_id: int) -> bool:
    return any(member_id == member.ID and member.clientURLs for member in answer.members)


async def _ask_others(flags: ClusterFlags, ask: AskUrl, timeout_seconds: float) -> pb.MemberListResponse | None:
    """The first answer of another member of the initial cluster; None when nobody gives one."""
    urls = sorted(url for name, its_urls in flags.initial_cluster.items() if name != flags.name for url in its_urls)
    for url in urls:
        try:
            answer = await ask(url, MEMBERS, pb.MemberListRequest().SerializeToString(), timeout_seconds)
            found = pb.MemberListResponse.FromString(answer)
        except EtcdError as error:
            logger.info("no cluster information from peer", extra={"fields": {"address": url, "error": error.message}})
            continue
        except DecodeError:
            logger.warning("unreadable cluster information from peer", extra={"fields": {"address": url}})
            continue
        if found.members:
            return found
    return None
