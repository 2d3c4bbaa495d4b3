"""Between members: the seam, a transport for members without peers, and one within a process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from raft.core import Message, MessageType

__all__ = ["LocalNetwork", "NullTransport", "Receiver", "Transport"]


class Receiver(Protocol):
    """Where a transport delivers; the driver is one. All methods are called on the event loop and return at once."""

    def receive(self, message: Message) -> None:
        """A message from a peer."""

    def report_unreachable(self, member_id: int) -> None:
        """A message to the member could not be sent."""

    def report_snapshot(self, member_id: int, *, ok: bool) -> None:
        """A snapshot has reached the member whole, or has not.

        Owed for every snapshot that was to be sent, but for those whose place a newer one to the same member has taken.
        """


class Transport(Protocol):
    """Carries messages to peers. It may drop, delay, duplicate and reorder them; Raft makes up for all of that.

    Only a proposal (PROP) must not be delivered twice: it would be appended twice.
    """

    def send(self, messages: Sequence[Message]) -> None:
        """Send to the members that the messages name. Never blocks; what cannot be sent or queued is dropped."""

    async def start(self, receiver: Receiver) -> None:
        """Begin to deliver to `receiver`."""

    async def stop(self) -> None:
        """Stop delivering and let go of connections."""


class NullTransport:
    """For a cluster of one: there is nobody to talk to."""

    def send(self, messages: Sequence[Message]) -> None:
        """See `Transport.send`."""

    async def start(self, receiver: Receiver) -> None:
        """See `Transport.start`."""

    async def stop(self) -> None:
        """See `Transport.stop`."""


class LocalNetwork:
    """Joins members in one process; messages arrive in a later turn of the event loop.

    Attributes:
        cut: pairs (from, to) between which nothing passes.
    """

    def __init__(self) -> None:
        self._receivers: dict[int, Receiver] = {}
        self.cut: set[tuple[int, int]] = set()

    def transport(self, member_id: int) -> _LocalTransport:
        """The transport for one member."""
        return _LocalTransport(self, member_id)

    def isolate(self, member_id: int) -> None:
        """Cut the member off from everybody."""
        for other in self._receivers:
            self.cut |= {(member_id, other), (other, member_id)}

    def heal(self) -> None:
        """Remove every cut."""
        self.cut.clear()

    def join(self, member_id: int, receiver: Receiver) -> None:
        """Let a member receive."""
        self._receivers[member_id] = receiver

    def leave(self, member_id: int) -> None:
        """The member receives nothing more."""
        self._receivers.pop(member_id, None)

    def deliver(self, message: Message) -> None:
        """Bring a message to its receiver, or report to its sender."""
        is_cut = (message.sender, message.to) in self.cut
        receiver = None if is_cut else self._receivers.get(message.to)
        if receiver is not None:
            receiver.receive(message)
        sender = self._receivers.get(message.sender)
        if sender is None:
            return
        if message.type is MessageType.SNAP:
            sender.report_snapshot(message.to, ok=receiver is not None)
        elif receiver is None:
            sender.report_unreachable(message.to)


class _LocalTransport:
    def __init__(self, network: LocalNetwork, member_id: int) -> None:
        self._network = network
        self._member_id = member_id

    def send(self, messages: Sequence[Message]) -> None:
        loop = asyncio.get_running_loop()
        for message in messages:
            loop.call_soon(self._network.deliver, message)

    async def start(self, receiver: Receiver) -> None:
        self._network.join(self._member_id, receiver)

    async def stop(self) -> None:
        self._network.leave(self._member_id)
