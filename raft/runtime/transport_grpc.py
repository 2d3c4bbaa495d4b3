"""Members joined by gRPC: streams of messages, snapshots beside them, other calls on the same port.

    peer_link      sending: a lane, with a connection of its own, for each kind of traffic to each peer
    peer_snapshot  snapshots with their bodies, both sides, and how they go on after a broken stream
    peer_client    calls to other members' added handlers
    peer_guard     who may call here: the right cluster, no removed member, a certificate that will do
    peer_channel  peer_tls  peer_url  peer_stats    what these need

Every call carries the cluster's id and the sender's. Nothing here is reliable, and nothing has to be (`Transport`).
A stream of messages is read one envelope at a time, so a peer is taken no faster than its messages are handled; what is
no envelope, or is meant for somebody else, ends it. Of two streams from one lane the newer one stays. A member that was
away for long does not know those that joined meanwhile; they say where they are when they connect, and are answered.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from raft.core import Message, MessageType
from raft.environment import Environment
from raft.errors import PeerPortError
from raft.runtime.peer_channel import (
    ACCEPTED,
    LANE_KEY,
    MESSAGE_BYTES_MAX,
    MESSAGES_METHOD,
    PING_METHOD,
    SNAPSHOT_METHOD,
    TO_KEY,
    URLS_KEY,
    Connector,
    call_metadata,
)
from raft.runtime.peer_client import PeerClient
from raft.runtime.peer_guard import GuardedHandlers, MethodHandlers, PeerGuard, Streams, sender_of
from raft.runtime.peer_link import LinkContext, PeerLink
from raft.runtime.peer_snapshot import FileBody, SnapshotBodies, SnapshotBody, SnapshotReceiver
from raft.runtime.peer_stats import PeerStats, TransportStats
from raft.runtime.peer_tls import CertificateCheck, CredentialFiles, PeerTLS
from raft.runtime.peer_url import PeerURL
from raft.runtime.transport import Receiver
from raft.wire import WireError, message_from_pb
from raft.wire import peer_pb2 as pb

__all__ = [
    "FileBody",
    "GrpcTransport",
    "PeerClient",
    "PeerStats",
    "PeerTLS",
    "SnapshotBodies",
    "SnapshotBody",
    "TransportStats",
    "sender_of",
]

STOP_GRACE_SECONDS: Final = 0.1
ENVELOPE_MESSAGES_MAX: Final = 1024
PEERS_MAX: Final = 64
PEER_URLS_MAX: Final = 16
"""Of a member that introduces itself."""
CALLS_MAX: Final = 1024
"""Calls that are answered at once, of all kinds; more are refused."""

_SERVER_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a way to share it
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.max_concurrent_streams", 256),
)

Context = grpc.aio.ServicerContext[Any, Any]


class GrpcTransport:
    """A `Transport` over the network.

    Attributes:
        urls: where it listens, with the ports that the system has chosen in place of 0; known after `start`.
        stats: what has gone to and come from each peer.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        member_id: int,
        cluster_id: int,
        listen_urls: Sequence[str],
        peers: Mapping[int, Sequence[str]] | None = None,
        tls: PeerTLS | None = None,
        bodies: SnapshotBodies | None = None,
        handlers: Sequence[grpc.GenericRpcHandler] = (),
        open_methods: Collection[str] = (),
        is_removed: Callable[[int], bool] = lambda member_id: False,
        advertise_urls: Sequence[str] = (),
        on_removed: Callable[[], None] = lambda: None,
        on_round_trip: Callable[[int, float], None] | None = None,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
    ) -> None:
        """Nothing happens before `start`.

        Args:
            environment: the clock, the chance that reconnecting needs, and the disk.
            member_id: this member.
            cluster_id: the cluster's; both sides must agree.
            listen_urls: peer URLs (`peer_url`), port 0 for any.
            peers: member id to peer URLs; also `add_peer`.
            tls: what https and unixs need to listen, and to show and check certificates.
            bodies: what goes along with snapshots; all members have it or none.
            handlers: further services on the same port, behind the same checks; their methods are coroutines or
                asynchronous generators.
            open_methods: methods of theirs that also answer callers who do not know the cluster's id yet.
            is_removed: whether a member has left the cluster for good, and is to be told so.
            advertise_urls: where others reach this member, for those that do not know it yet.
            on_removed: called when a peer says that this member has left the cluster for good.
            on_round_trip: called with a member's id and seconds for every ping that it answers.
            message_bytes_max: the largest message that is taken.

        Raises:
            ValueError: a URL that is none, or that needs `tls`.
        """
        self._environment = environment
        self._member_id = member_id
        self._listen_urls = tuple(map(PeerURL.parse, listen_urls))
        for url in self._listen_urls:
            if url.is_secure and tls is None:
                raise ValueError(f"cannot listen on TLS for {url.text}: a certificate and its key are missing")
        self._peers = {peer_id: _parse_urls(urls) for peer_id, urls in (peers or {}).items()}
        self._tls = tls
        self._bodies = bodies
        self._on_round_trip = on_round_trip
        self._on_removed = on_removed
        self._own_urls = ",".join(advertise_urls)
        self._message_bytes_max = message_bytes_max
        self._metadata = call_metadata(cluster_id, member_id)
        self._links: dict[int, PeerLink] = {}
        self._link_context: LinkContext | None = None
        self._server: grpc.aio.Server | None = None
        self._streams = Streams()
        self._changing = asyncio.Lock()  # of the peers, one change after the other
        self._snapshots: SnapshotReceiver | None = None
        self._client = PeerClient(environment, cluster_id=cluster_id, member_id=member_id, tls=tls)
        self.urls: tuple[str, ...] = ()
        self.stats = TransportStats()
        self._guard = PeerGuard(
            cluster_id,
            certificates=None if tls is None else CertificateCheck(environment.files, tls),
            is_removed=is_removed,
            open_methods=open_methods,
            stats=self.stats,
        )
        self._handlers = GuardedHandlers(self._guard, (self._own_methods(), *handlers))

    # Transport

    async def start(self, receiver: Receiver) -> None:
        """See `Transport.start`.

        Raises:
            PeerPortError: an address cannot be listened on.
            OSError: a file cannot be read.
            ValueError: a certificate file that cannot be used.
        """
        self._link_context = LinkContext(
            self._environment,
            receiver,
            self._metadata,
            Connector(self._environment.files, self._tls),
            self._bodies,
            self.stats,
            self._on_round_trip,
            self._on_removed,
            self._own_urls,
        )
        self._snapshots = SnapshotReceiver(
            self._environment,
            self._member_id,
            receiver=receiver,
            bodies=self._bodies,
            guard=self._guard,
            streams=self._streams,
            stats=self.stats,
        )
        self._snapshots.start()
        await self._listen()
        peers, self._peers = self._peers, {}
        for peer_id, urls in peers.items():
            await self._set_peer(peer_id, urls)

    async def _listen(self) -> None:
        for url in self._listen_urls:
            _check_free(url)
        limit = ("grpc.max_receive_message_length", self._message_bytes_max)
        server = grpc.aio.server(options=(*_SERVER_OPTIONS, limit), maximum_concurrent_rpcs=CALLS_MAX)
        server.add_generic_rpc_handlers((self._handlers,))
        bound = []
        for url in self._listen_urls:
            try:
                if url.is_secure:
                    assert self._tls is not None
                    credentials = CredentialFiles(self._environment.files, self._tls).server()
                    port = server.add_secure_port(url.target, credentials)
                else:
                    port = server.add_insecure_port(url.target)
            except RuntimeError as error:
                await server.start()  # only a server that was started lets go of its other ports
                await server.stop(None)
                raise PeerPortError(f"cannot listen for peers on {url.text}") from error
            bound.append(url.with_port(port))
        await server.start()
        self._server = server
        self.urls = tuple(bound)

    def send(self, messages: Sequence[Message]) -> None:
        """See `Transport.send`."""
        for message in messages:
            link = self._links.get(message.to)
            if link is not None:
                link.send(message)
            elif self._link_context is not None and message.type is MessageType.SNAP:
                self._link_context.receiver.report_snapshot(message.to, ok=False)

    async def stop(self) -> None:
        """See `Transport.stop`."""
        async with self._changing:
            self._link_context = None
            self._peers |= {peer_id: link.urls for peer_id, link in self._links.items()}
            links, self._links = self._links, {}
            await asyncio.gather(*(link.stop() for link in links.values()))
            await self._client.stop()
        if self._server is not None:
            await self._server.stop(STOP_GRACE_SECONDS)
            self._server = None
        if self._snapshots is not None:
            self._snapshots.stop()
            self._snapshots = None

    # Members

    async def add_peer(self, peer_id: int, urls: Sequence[str]) -> None:
        """Send to a member, or send to it elsewhere from now on; raises ValueError for what is no peer URL."""
        parsed = _parse_urls(urls)
        async with self._changing:
            await self._set_peer(peer_id, parsed)

    async def _set_peer(self, peer_id: int, urls: tuple[PeerURL, ...]) -> None:
        if self._link_context is None:
            self._peers[peer_id] = urls
            return
        known = self._links.get(peer_id)
        if peer_id == self._member_id or (known is not None and known.urls == urls):
            return
        await self._client.set_peer(peer_id, urls)
        if known is not None:
            del self._links[peer_id]
            await known.stop()
        self.stats.peers.setdefault(peer_id, PeerStats()).connected_since = None
        self._links[peer_id] = PeerLink(self._link_context, peer_id, urls)

    async def remove_peer(self, peer_id: int) -> None:
        """Send nothing more to a member, and take nothing more from it before it has come through the guard again."""
        async with self._changing:
            self._peers.pop(peer_id, None)
            link = self._links.pop(peer_id, None)
            if link is not None:
                await link.stop()
                await self._client.set_peer(peer_id, ())
            self.stats.peers.pop(peer_id, None)
            self._streams.end([(peer_id, is_appends) for is_appends in (False, True)])

    def peer_ids(self) -> set[int]:
        """Those that are sent to now."""
        return set(self._links) | set(self._peers)

    async def _meet(self, peer_id: int, urls: str) -> None:
        """Answer a member that we have not heard of: the log will tell who it is, but must reach us first."""
        if peer_id in (0, self._member_id) or peer_id in self._links or len(self._links) >= PEERS_MAX:
            return
        try:
            parsed = _parse_urls(urls.split(",")[:PEER_URLS_MAX])
        except ValueError:
            return
        async with self._changing:
            if self._link_context is not None and peer_id not in self._links:
                await self._set_peer(peer_id, parsed)

    def connected_since(self, peer_id: int) -> float | None:
        """Since when, on the monotonic clock, a peer has been connected without a break; None when it is not."""
        return self.stats.of(peer_id).connected_since

    async def call(self, to: int | str, method: str, request: bytes, timeout_seconds: float) -> bytes:
        """Call a handler of another member's; see `PeerClient.call`."""
        return await self._client.call(to, method, request, timeout_seconds)

    # The receiving half

    def _own_methods(self) -> MethodHandlers:
        return MethodHandlers(
            {
                MESSAGES_METHOD: grpc.stream_unary_rpc_method_handler(self._take_messages),
                SNAPSHOT_METHOD: grpc.stream_stream_rpc_method_handler(self._take_snapshot),
                PING_METHOD: grpc.unary_unary_rpc_method_handler(self._answer_ping),
            }
        )

    async def _answer_ping(self, request: bytes, context: Context) -> bytes:
        return b""

    async def _take_snapshot(self, requests: AsyncIterator[bytes], context: Context) -> None:
        if self._snapshots is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the member is not running")
        await self._snapshots.take(requests, context)

    async def _take_messages(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        if self._link_context is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the member is not running")
        receiver, sender = self._link_context.receiver, sender_of(context)
        metadata = dict(context.invocation_metadata() or ())
        if metadata.get(TO_KEY) != f"{self._member_id:x}":
            reason = f"this is member {self._member_id:x}"
            await self._guard.reject(context, grpc.StatusCode.FAILED_PRECONDITION, reason)
        is_appends = metadata.get(LANE_KEY) == "appends"
        await self._meet(sender, str(metadata.get(URLS_KEY, "")))

        async def work() -> bytes:
            await context.send_initial_metadata(ACCEPTED)
            async for data in requests:
                try:
                    messages = self._decode(data)
                except (WireError, DecodeError, ValueError) as error:
                    self.stats.of(sender).receive_failures += 1
                    await self._guard.reject(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
                peer = self.stats.of(sender)
                peer.received_bytes += len(data)
                peer.received_messages += len(messages)
                for message in messages:
                    receiver.receive(message)
            return b""

        return await self._streams.run((sender, is_appends), context, work)

    def _decode(self, data: bytes) -> list[Message]:
        """The messages in an envelope; raises WireError, DecodeError or ValueError for what may not be in one."""
        envelope = pb.Envelope.FromString(data)
        if len(envelope.messages) > ENVELOPE_MESSAGES_MAX:
            raise WireError("too many messages in one envelope")
        messages = [message_from_pb(message) for message in envelope.messages]
        for message in messages:
            if message.to != self._member_id:
                raise WireError(f"a message for member {message.to:x} has come to {self._member_id:x}")
            if message.type is MessageType.SNAP:
                raise WireError("a snapshot among messages")
            is_append = message.type is MessageType.APP and bool(message.entries)
            if is_append and message.entries[-1].index != message.index + len(message.entries):
                raise WireError("entries are missing from an append")
        return messages


def _check_free(url: PeerURL) -> None:
    """Raise PeerPortError, with the system's reason, when a port cannot be listened on: gRPC gives none."""
    host, _, port = url.target.rpartition(":")
    if url.socket_host is not None or port == "0":
        return
    host = host.strip("[]")
    try:
        socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0].lower()
        raise PeerPortError(f"cannot listen for peers on {url.text}: {reason}") from error


def _parse_urls(urls: Sequence[str]) -> tuple[PeerURL, ...]:
    if isinstance(urls, str) or not urls:
        raise ValueError("a member has one peer URL or more")
    return tuple(map(PeerURL.parse, urls))
