"""A network that loses, duplicates, delays and cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft.core import Message, MessageType
from raft.wire import decode_message, encode_message

if TYPE_CHECKING:
    from tests.sim.world import World

CODED_SHARE = 0.1
"""How many of the messages travel as bytes; all of them would take a quarter of the time."""


class Network:
    """Links are directed; a cut one loses everything.

    Attributes:
        loss, duplication: probabilities.
        delay_max: the longest way, in milliseconds; messages overtake each other.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.cut: set[tuple[int, int]] = set()
        self.loss = 0.0
        self.duplication = 0.0
        self.delay_max = 5

    def send(self, message: Message) -> None:
        chance, at = self._world.chance, self._world.timeline.at
        lost = (message.sender, message.to) in self.cut or chance.random() < self.loss
        if message.type is MessageType.SNAP:
            # The transport knows at some point whether a snapshot got through; sometimes it is wrong about failure.
            ok = not lost and chance.random() < 0.9
            at(chance.randrange(5, 60), self._report_snapshot, message.sender, message.to, ok)
        elif lost and chance.random() < 0.1:
            at(chance.randrange(5), self._report_unreachable, message.sender, message.to)
        if lost:
            return
        if chance.random() < CODED_SHARE:
            message = decode_message(encode_message(message))
        # A proposal is never sent twice, see `raft.runtime.Transport`.
        copies = 2 if chance.random() < self.duplication and message.type is not MessageType.PROP else 1
        for _ in range(copies):
            at(1 + chance.randrange(self.delay_max), self._deliver, message)

    def _deliver(self, message: Message) -> None:
        member = self._world.members.get(message.to)
        if member is not None and member.alive:
            member.receive(message)

    def _report_snapshot(self, sender: int, to: int, ok: bool) -> None:
        member = self._world.members.get(sender)
        if member is not None and member.alive:
            member.life.call(lambda: member.driver.report_snapshot(to, ok=ok))

    def _report_unreachable(self, sender: int, to: int) -> None:
        member = self._world.members.get(sender)
        if member is not None and member.alive:
            member.life.call(member.driver.report_unreachable, to)

    def heal(self) -> None:
        """Be a good network from now on."""
        self.cut.clear()
        self.loss = self.duplication = 0.0
        self.delay_max = 5
