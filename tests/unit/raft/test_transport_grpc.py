"""Members joined by real connections on the loopback interface."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from collections.abc import AsyncIterator, Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from raft.core import ConfState, Entry, Message, MessageType, Snapshot
from raft.environment import real_environment
from raft.runtime.transport_grpc import GrpcTransport, PeerTLS

WAIT_SECONDS = 20
CLUSTER = 0xC1


class Inbox:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.unreachable: list[int] = []
        self.snapshots: list[tuple[int, bool]] = []
        self._changed = asyncio.Event()

    def receive(self, message: Message) -> None:
        self.messages.append(message)
        self._changed.set()

    def report_unreachable(self, member_id: int) -> None:
        self.unreachable.append(member_id)
        self._changed.set()

    def report_snapshot(self, member_id: int, *, ok: bool) -> None:
        self.snapshots.append((member_id, ok))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Bodies:
    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.received: list[tuple[int, bytes]] = []

    async def read(self, snapshot: Snapshot) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece

    async def write(self, snapshot: Snapshot, chunks: AsyncIterator[bytes]) -> None:
        self.received.append((snapshot.index, b"".join([chunk async for chunk in chunks])))


def make(member_id: int, *, cluster_id: int = CLUSTER, port: int = 0, **options: object) -> GrpcTransport:
    return GrpcTransport(
        real_environment(),
        member_id=member_id,
        cluster_id=cluster_id,
        listen_address=f"127.0.0.1:{port}",
        **options,  # type: ignore[arg-type]
    )


def heartbeat(sender: int, to: int, term: int = 1) -> Message:
    return Message(type=MessageType.HEARTBEAT, sender=sender, to=to, term=term)


def append(sender: int, to: int, *data: bytes) -> Message:
    entries = tuple(Entry(index, 1, item) for index, item in enumerate(data, start=1))
    return Message(type=MessageType.APP, sender=sender, to=to, term=1, entries=entries)


async def joined(first: GrpcTransport, second: GrpcTransport) -> tuple[Inbox, Inbox]:
    inboxes = Inbox(), Inbox()
    await first.start(inboxes[0])
    await second.start(inboxes[1])
    await first.add_peer(2, f"127.0.0.1:{second.port}")
    await second.add_peer(1, f"127.0.0.1:{first.port}")
    return inboxes


async def test_messages_arrive_both_ways_and_in_order_within_a_lane() -> None:
    first, second = make(1), make(2)
    inbox1, inbox2 = await joined(first, second)
    sent = [append(1, 2, b"%d" % number) for number in range(50)]
    first.send(sent)
    first.send([heartbeat(1, 2)])
    second.send([Message(type=MessageType.HEARTBEAT_RESP, sender=2, to=1, term=1, context=b"x")])
    await inbox2.until(lambda: len(inbox2.messages) == 51)
    await inbox1.until(lambda: len(inbox1.messages) == 1)
    assert [message for message in inbox2.messages if message.type is MessageType.APP] == sent
    assert inbox1.messages[0].context == b"x"
    await first.stop()
    await second.stop()


async def test_a_large_append_arrives_whole() -> None:
    first, second = make(1), make(2)
    _, inbox2 = await joined(first, second)
    message = append(1, 2, bytes(7_000_000), b"small")
    first.send([message])
    await inbox2.until(lambda: bool(inbox2.messages))
    assert inbox2.messages == [message]
    await first.stop()
    await second.stop()


async def test_snapshots_are_streamed_with_their_bodies_and_reported() -> None:
    sending, receiving = Bodies([b"a" * 2_500_000, b"b"]), Bodies([])
    first, second = make(1, bodies=sending), make(2, bodies=receiving)
    inbox1, inbox2 = await joined(first, second)
    snapshot = Snapshot(7, 2, ConfState((1, 2)), b"data" * 500_000)
    message = Message(type=MessageType.SNAP, sender=1, to=2, term=3, snapshot=snapshot)
    first.send([message])
    await inbox2.until(lambda: bool(inbox2.messages))
    assert inbox2.messages == [message]
    assert receiving.received == [(7, b"a" * 2_500_000 + b"b")]
    await inbox1.until(lambda: inbox1.snapshots == [(2, True)])
    await second.stop()
    first.send([message])
    await inbox1.until(lambda: inbox1.snapshots == [(2, True), (2, False)])
    first.send([Message(type=MessageType.SNAP, sender=1, to=9, term=3, snapshot=snapshot)])
    assert inbox1.snapshots[-1] == (9, False)
    await first.stop()


async def test_another_cluster_is_turned_away() -> None:
    first, second = make(1), make(2, cluster_id=0xBAD)
    inbox1, inbox2 = await joined(first, second)
    first.send([heartbeat(1, 2)])
    await inbox1.until(lambda: inbox1.unreachable == [2])
    assert second.rejected >= 1
    assert not inbox2.messages
    await first.stop()
    await second.stop()


async def test_messages_for_somebody_else_are_dropped() -> None:
    first, second = make(1), make(2)
    _, inbox2 = await joined(first, second)
    await first.add_peer(3, f"127.0.0.1:{second.port}")  # an outdated address
    first.send([heartbeat(1, 3), heartbeat(1, 2)])
    await inbox2.until(lambda: bool(inbox2.messages))
    assert inbox2.messages == [heartbeat(1, 2)]
    await first.stop()
    await second.stop()


async def test_a_peer_that_comes_back_is_found_again() -> None:
    first, second = make(1), make(2)
    inbox1, inbox2 = await joined(first, second)
    first.send([heartbeat(1, 2)])
    await inbox2.until(lambda: bool(inbox2.messages))
    port = second.port
    await second.stop()
    async with asyncio.timeout(WAIT_SECONDS):
        while not inbox1.unreachable:
            first.send([heartbeat(1, 2, term=2)])
            await asyncio.sleep(0.01)
    again = make(2, port=port)
    inbox = Inbox()
    await again.start(inbox)
    async with asyncio.timeout(WAIT_SECONDS):
        while not inbox.messages:
            first.send([heartbeat(1, 2, term=3)])
            await asyncio.sleep(0.01)
    assert inbox.messages[0].term in (2, 3)
    await first.remove_peer(2)
    await first.stop()
    await again.stop()


async def test_a_port_in_use_is_an_error() -> None:
    first = make(1)
    await first.start(Inbox())
    with pytest.raises(OSError, match="cannot be listened"):
        await make(2, port=first.port).start(Inbox())
    await first.stop()


# TLS


def certificates() -> tuple[bytes, Callable[[], tuple[bytes, bytes]]]:
    """An authority's certificate, and a function that makes member certificates under it."""
    now = datetime.datetime.now(datetime.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peers")])

    def build(subject: x509.Name, key: ec.EllipticCurvePrivateKey, is_authority: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
        )
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def member() -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = build(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "member")]), key, False)
        return certificate, key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    return build(name, authority_key, True), member


async def test_tls_joins_members_of_one_authority_only() -> None:
    authority, member = certificates()
    _, stranger = certificates()
    first, second = (make(number, tls=PeerTLS(*member(), authority)) for number in (1, 2))
    _, inbox2 = await joined(first, second)
    first.send([heartbeat(1, 2)])
    await inbox2.until(lambda: inbox2.messages == [heartbeat(1, 2)])

    outsider = make(3, tls=PeerTLS(*stranger(), authority))
    inbox3 = Inbox()
    await outsider.start(inbox3)
    await outsider.add_peer(2, f"127.0.0.1:{second.port}")
    outsider.send([heartbeat(3, 2)])
    await inbox3.until(lambda: inbox3.unreachable == [2])
    assert inbox2.messages == [heartbeat(1, 2)]
    for transport in (first, second, outsider):
        await transport.stop()
