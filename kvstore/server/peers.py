"""What members ask each other beside the log, and how they reach each other.

The log needs nothing of this. It is for what only the leader knows (when leases run out, how far a learner has come),
for what each member knows only of itself (the hash of its data), and for a member that joins and must learn who the
others are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

from kvstore.environment import Clock
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server import catalogue

if TYPE_CHECKING:
    from raft.runtime.peer_tls import PeerTLS

__all__ = [
    "HASH_KV",
    "LEASE_RENEW",
    "LEASE_TIME_TO_LIVE",
    "MEMBERS",
    "MEMBER_PROMOTE",
    "METHODS",
    "LeaderCalls",
    "PeerHandler",
    "PeerHandlers",
    "PeerSettings",
]

SERVICE: Final = "etcdpeer.Member"
MEMBERS: Final = f"/{SERVICE}/Members"
"""Who belongs to the cluster; the one question that a stranger may ask, because it is how a member joins."""
LEASE_RENEW: Final = f"/{SERVICE}/LeaseRenew"
LEASE_TIME_TO_LIVE: Final = f"/{SERVICE}/LeaseTimeToLive"
MEMBER_PROMOTE: Final = f"/{SERVICE}/MemberPromote"
HASH_KV: Final = f"/{SERVICE}/HashKV"

METHODS: Final[Mapping[str, type[Message]]] = {
    MEMBERS: pb.MemberListRequest,
    LEASE_RENEW: pb.LeaseKeepAliveRequest,
    LEASE_TIME_TO_LIVE: pb.LeaseTimeToLiveRequest,
    MEMBER_PROMOTE: pb.MemberPromoteRequest,
    HASH_KV: pb.HashKVRequest,
}
"""What is asked with which message. Answers are etcd's messages for the same question."""

RETRY_SECONDS: Final = 0.05
"""How long to wait for a leader, or for a new one, before asking again."""

PeerHandler = Callable[[Any], Awaitable[Message]]
PeerHandlers = Mapping[str, PeerHandler]
"""The answering side: method to an async function of the request; raises `EtcdError` to refuse."""


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """How this member and its peers reach each other.

    Attributes:
        listen_urls: `--listen-peer-urls`.
        tls: the certificates (`--peer-…`); None when all URLs are in the clear.
        handlers: what this member answers.
        is_removed: whether a member has left for good, and is to be told so.
        advertise_urls: where others reach this member.
        on_removed: called when a peer says that this member has left for good.
    """

    listen_urls: tuple[str, ...]
    tls: PeerTLS | None = None
    handlers: PeerHandlers = field(default_factory=dict)
    is_removed: Callable[[int], bool] = lambda member_id: False
    advertise_urls: tuple[str, ...] = ()
    on_removed: Callable[[], None] = lambda: None


class LeaderView(Protocol):
    """Who can tell who leads; `Consensus` can."""

    @property
    def leader_id(self) -> int:
        """The member that leads; 0 when none is known."""

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""


class CallPeer(Protocol):
    """One question to one member; see `Consensus.call_peer`."""

    async def __call__(self, member_id: int, method: str, request: bytes, timeout_seconds: float) -> bytes:
        """Ask."""


_Answer = TypeVar("_Answer", bound=Message)


class LeaderCalls:
    """Questions to whoever leads; they wait for a leader, and follow it when it changes."""

    def __init__(self, consensus: LeaderView, call_peer: CallPeer, clock: Clock, timeout_seconds: float) -> None:
        self._consensus = consensus
        self._call_peer = call_peer
        self._clock = clock
        self._timeout_seconds = timeout_seconds

    async def ask(
        self,
        method: str,
        request: Message,
        answer: type[_Answer],
        here: Callable[[], Awaitable[_Answer]],
    ) -> _Answer:
        """The leader's answer; `here` gives it when this member leads, and raises NOT_LEADER when it no longer does.

        Raises:
            EtcdError: the leader's refusal, or TIMED_OUT when none answered in time.
        """
        deadline = self._clock.monotonic() + self._timeout_seconds
        while True:
            leader_id = self._consensus.leader_id
            try:
                if self._consensus.is_leader:
                    return await here()
                if leader_id:
                    left = max(0.01, deadline - self._clock.monotonic())
                    return answer.FromString(
                        await self._call_peer(leader_id, method, request.SerializeToString(), left)
                    )
            except DecodeError as error:
                raise EtcdError(
                    StatusCode.INTERNAL, f"etcdserver: the leader's answer is unreadable: {error}"
                ) from None
            except EtcdError as error:
                lost = error.code in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED)
                if not lost and error.message != catalogue.NOT_LEADER.text:
                    raise
            if self._clock.monotonic() + RETRY_SECONDS >= deadline:
                raise catalogue.TIMED_OUT.error()
            await self._clock.sleep(RETRY_SECONDS)
