"""Members joined by gRPC: streams of messages, one call per snapshot, TLS with certificates on both sides.

Every call carries the cluster's id and the sender's; a member of another cluster is turned away, and so are messages
meant for somebody else. Nothing here is reliable, and nothing has to be (`Transport`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import grpc
import grpc.aio

from raft.core import Message, MessageType
from raft.environment import Environment
from raft.runtime.peer_link import (
    CLUSTER_KEY,
    MESSAGES_METHOD,
    SENDER_KEY,
    SNAPSHOT_METHOD,
    LinkContext,
    PeerLink,
    SnapshotBodies,
)
from raft.runtime.transport import Receiver
from raft.wire import WireError, message_from_pb
from raft.wire import peer_pb2 as pb

__all__ = ["GrpcTransport", "PeerTLS"]

RECEIVE_BYTES_MAX: Final = 128 << 20
"""The largest envelope taken: a batch of proposals may be one message."""
STOP_GRACE_SECONDS: Final = 0.1

_CHANNEL_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for every lane
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
)
_SERVER_OPTIONS: Final = (
    ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a way to share it
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)


@dataclass(frozen=True, slots=True)
class PeerTLS:
    """PEM texts: our certificate chain and key, and the authority that signs every peer's."""

    certificate: bytes
    key: bytes
    authority: bytes


class GrpcTransport:
    """A `Transport` over the network.

    Attributes:
        port: the port it listens on, known after `start`.
        rejected: calls that were turned away since the start.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        member_id: int,
        cluster_id: int,
        listen_address: str | None,
        peers: dict[int, str] | None = None,
        tls: PeerTLS | None = None,
        bodies: SnapshotBodies | None = None,
    ) -> None:
        """Nothing happens before `start`.

        Args:
            environment: the clock and the chance that reconnecting needs.
            member_id: this member.
            cluster_id: the cluster's; both sides must agree.
            listen_address: `host:port`, port 0 for any; None when the handlers run in a server of somebody else's
                (`generic_handler`).
            peers: member id to `host:port`; also `add_peer`.
            tls: without it everything is in the clear.
            bodies: what goes along with snapshots.
        """
        self._environment = environment
        self._member_id = member_id
        self._cluster_id = cluster_id
        self._listen_address = listen_address
        self._addresses = dict(peers or {})
        self._tls = tls
        self._bodies = bodies
        self._links: dict[int, PeerLink] = {}
        self._context: LinkContext | None = None
        self._server: grpc.aio.Server | None = None
        self.port = 0
        self.rejected = 0

    # Transport

    async def start(self, receiver: Receiver) -> None:
        """See `Transport.start`.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._context = LinkContext(
            self._environment,
            receiver,
            ((CLUSTER_KEY, f"{self._cluster_id:x}"), (SENDER_KEY, f"{self._member_id:x}")),
            self._open_channel,
            self._bodies,
        )
        if self._listen_address is not None:
            await self._listen(self._listen_address)
        for peer_id, address in self._addresses.items():
            self._link(peer_id, address)

    async def _listen(self, address: str) -> None:
        server = grpc.aio.server(options=_SERVER_OPTIONS)
        server.add_generic_rpc_handlers((self.generic_handler(),))
        try:
            if self._tls is None:
                self.port = server.add_insecure_port(address)
            else:
                credentials = grpc.ssl_server_credentials(
                    [(self._tls.key, self._tls.certificate)],
                    root_certificates=self._tls.authority,
                    require_client_auth=True,
                )
                self.port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"peers cannot be listened for on {address}: {error}") from error
        await server.start()
        self._server = server

    def send(self, messages: Sequence[Message]) -> None:
        """See `Transport.send`."""
        for message in messages:
            link = self._links.get(message.to)
            if link is not None:
                link.send(message)
            elif self._context is not None and message.type is MessageType.SNAP:
                self._context.receiver.report_snapshot(message.to, ok=False)

    async def stop(self) -> None:
        """See `Transport.stop`."""
        links, self._links = self._links, {}
        for link in links.values():
            await link.stop()
        if self._server is not None:
            await self._server.stop(STOP_GRACE_SECONDS)
            self._server = None
        self._context = None

    # Members

    async def add_peer(self, peer_id: int, address: str) -> None:
        """Send to a member, or send to it elsewhere from now on."""
        self._addresses[peer_id] = address
        known = self._links.get(peer_id)
        if self._context is None or (known is not None and known.address == address):
            return
        if known is not None:
            del self._links[peer_id]
            await known.stop()
        self._link(peer_id, address)

    async def remove_peer(self, peer_id: int) -> None:
        """Send nothing more to a member."""
        self._addresses.pop(peer_id, None)
        link = self._links.pop(peer_id, None)
        if link is not None:
            await link.stop()

    def _link(self, peer_id: int, address: str) -> None:
        if peer_id != self._member_id:
            assert self._context is not None
            self._links[peer_id] = PeerLink(self._context, peer_id, address)

    def _open_channel(self, address: str) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        credentials = grpc.ssl_channel_credentials(self._tls.authority, self._tls.key, self._tls.certificate)
        return grpc.aio.secure_channel(address, credentials, options=_CHANNEL_OPTIONS)

    # The receiving half

    def generic_handler(self) -> grpc.GenericRpcHandler:
        """The peer service, to be added to a gRPC server."""
        handlers: dict[str, Any] = {
            MESSAGES_METHOD: grpc.stream_unary_rpc_method_handler(self._take_messages),
            SNAPSHOT_METHOD: grpc.stream_unary_rpc_method_handler(self._take_snapshot),
        }
        return _Handlers(handlers)

    async def _accept(self, context: grpc.aio.ServicerContext[Any, Any]) -> Receiver:
        metadata = dict(context.invocation_metadata() or ())
        cluster = metadata.get(CLUSTER_KEY)
        if self._context is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the member is not running")
        if cluster != f"{self._cluster_id:x}":
            self.rejected += 1
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"cluster {cluster!s} meets cluster {self._cluster_id:x}"
            )
        assert self._context is not None
        await context.send_initial_metadata(())
        return self._context.receiver

    async def _take_messages(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> bytes:
        receiver = await self._accept(context)
        async for data in requests:
            try:
                messages = [message_from_pb(message) for message in pb.Envelope.FromString(data).messages]
            except (WireError, ValueError) as error:
                self.rejected += 1
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            for message in messages:
                if message.to == self._member_id:
                    receiver.receive(message)
                else:
                    self.rejected += 1
        return b""

    async def _take_snapshot(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> bytes:
        receiver = await self._accept(context)
        chunks = aiter(requests)
        try:
            message = message_from_pb(pb.SnapshotChunk.FromString(await anext(chunks)).message)
        except (WireError, ValueError, StopAsyncIteration) as error:
            self.rejected += 1
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        if message.snapshot is None or message.to != self._member_id:
            self.rejected += 1
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a snapshot for this member")
        assert message.snapshot is not None
        data = bytearray()
        first_body = b""
        async for content in chunks:
            chunk = pb.SnapshotChunk.FromString(content)
            if chunk.HasField("body"):
                first_body = chunk.body
                break
            data += chunk.data
        snapshot = replace(message.snapshot, data=bytes(data))
        if self._bodies is not None:
            await self._bodies.write(snapshot, _bodies_of(first_body, chunks))
        receiver.receive(replace(message, snapshot=snapshot))
        return b""


async def _bodies_of(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for content in chunks:
        yield pb.SnapshotChunk.FromString(content).body


class _Handlers(grpc.GenericRpcHandler):
    """Methods by name; bytes in, bytes out."""

    def __init__(self, handlers: dict[str, Any]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)
