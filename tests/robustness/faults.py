"""What goes wrong, and when: a schedule from a seed. Each fault is mended before the next, and progress is awaited."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from tests.robustness.cluster import Cluster, Member, status_of
from tests.robustness.history import History
from tests.robustness.traffic import Recorder
from tests.robustness.watchers import Watchers

__all__ = ["FAULTS", "Nemesis"]

PROBES = 100
PROBE_SECONDS = 0.05
FAULT_SECONDS_MIN, FAULT_SECONDS_MAX = 0.6, 2.0


@dataclass(slots=True)
class Outcome:
    """One fault as it went. `recovered_seconds` is from the fault to the next acknowledged write called after it."""

    kind: str
    target: str
    recovered_seconds: float
    healed_seconds: float = 0.0


@dataclass(slots=True)
class Nemesis:
    """Carries out the schedule.

    Attributes:
        seed: says which faults come in which order, and for how long.
        outcomes: what was done.
    """

    cluster: Cluster
    history: History
    watchers: Watchers
    seed: int
    outcomes: list[Outcome] = field(default_factory=list)
    chance: random.Random = field(init=False)
    probes: list[Recorder] = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.probes = [
            Recorder(PROBES + number, self.history, [member.url]) for number, member in enumerate(self.cluster.members)
        ]

    async def run(self, seconds: float, kinds: Sequence[str] = ()) -> None:
        """One fault after the other for so long, and every kind, or each of `kinds`, at least once."""
        started = time.monotonic()
        rounds = 0
        try:
            while rounds == 0 or time.monotonic() - started < seconds:
                order = list(kinds or FAULTS)
                self.chance.shuffle(order)
                for kind in order:
                    if rounds and time.monotonic() - started >= seconds:
                        break
                    await self._one(kind)
                rounds += 1
        finally:
            await asyncio.gather(*(probe.close() for probe in self.probes))

    async def _one(self, kind: str) -> None:
        leader = await self.cluster.leader()
        target = leader if "leader" in kind else self.chance.choice(self.cluster.others(leader) or [leader])
        seconds, reset = self.chance.uniform(FAULT_SECONDS_MIN, FAULT_SECONDS_MAX), self.chance.random() < 0.5
        began = time.monotonic()
        mend = await FAULTS[kind](self, target)
        recovering = asyncio.ensure_future(self._recovered())
        await asyncio.sleep(seconds)
        if mend is not None:
            await mend()
        self.cluster.heal(reset=reset)
        healed = time.monotonic()
        recovered = await recovering
        await self._recovered()
        self.outcomes.append(Outcome(kind, target.name, recovered - began, time.monotonic() - healed))

    async def _recovered(self) -> float:
        """When a write that is called from now on is acknowledged by any member."""
        tries = [asyncio.ensure_future(self._probe(probe)) for probe in self.probes]
        await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
        for it in tries:
            it.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
        return time.monotonic()

    async def _probe(self, probe: Recorder) -> None:
        while True:
            value = b"%d.%d" % (probe.number, time.monotonic_ns())
            if await probe.call(pb.PutRequest(key=b"k/probe", value=value)) is not None:
                return
            await asyncio.sleep(PROBE_SECONDS)

    # Faults: each returns what mends it, if `Cluster.heal` does not.

    async def kill(self, target: Member) -> _Mend:
        """The process dies; what was not written is lost with it."""
        await target.end(signal.SIGKILL)
        return lambda: self._restart(target)

    async def kill_all(self, target: Member) -> _Mend:
        """All die at once."""
        await asyncio.gather(*(member.end(signal.SIGKILL) for member in self.cluster.members))
        return lambda: self._restart(*self.cluster.members)

    async def terminate(self, target: Member) -> _Mend:
        """It is told to stop, and has time to hand over."""
        await target.end(signal.SIGTERM)
        return lambda: self._restart(target)

    async def _restart(self, *members: Member) -> None:
        for member in members:
            await member.launch()
        await asyncio.gather(*(member.wait_ready() for member in members))

    async def pause(self, target: Member) -> _Mend:
        """It stands still, and does not know."""
        target.signal(signal.SIGSTOP)
        return None

    async def isolate(self, target: Member) -> _Mend:
        """Nothing comes to it or from it."""
        for other in self.cluster.others(target):
            self.cluster.link(target, other).cut()
            self.cluster.link(other, target).cut()
        return None

    async def deafen(self, target: Member) -> _Mend:
        """It is heard, and hears nothing."""
        for other in self.cluster.others(target):
            self.cluster.link(other, target).cut()
        return None

    async def mute(self, target: Member) -> _Mend:
        """It hears, and is not heard."""
        for other in self.cluster.others(target):
            self.cluster.link(target, other).cut()
        return None

    async def divide(self, target: Member) -> _Mend:
        """It and one other do not reach each other; both reach the rest."""
        other = self.chance.choice(self.cluster.others(target))
        self.cluster.link(target, other).cut()
        self.cluster.link(other, target).cut()
        return None

    async def delay(self, target: Member) -> _Mend:
        """What it sends is late, and so is what it gets."""
        for other in self.cluster.others(target):
            self.cluster.link(target, other).delay_seconds = self.chance.uniform(0.01, 0.1)
            self.cluster.link(other, target).delay_seconds = self.chance.uniform(0.01, 0.1)
        return None

    async def break_connections(self, target: Member) -> _Mend:
        """All connections between members break."""
        self.cluster.reset()
        return None

    async def hand_over(self, target: Member) -> _Mend:
        """The leader is told that somebody else should lead."""
        other = await status_of(self.chance.choice(self.cluster.others(target)))
        if other is not None:
            await self._try(target, "/etcdserverpb.Maintenance/MoveLeader", other.header.member_id)
        return None

    async def kill_while_defragmenting(self, target: Member) -> _Mend:
        """The database is being copied when the process dies."""
        call = target.client._unary(
            "/etcdserverpb.Maintenance/Defragment", pb.DefragmentRequest(), pb.DefragmentResponse
        )
        return await self._kill_during(target, call)

    async def kill_while_compacting(self, target: Member) -> _Mend:
        """Old revisions are being thrown away, up to the newest, when the process dies."""
        return await self._kill_during(target, self.compact(target))

    async def _kill_during(self, target: Member, work: Awaitable[object]) -> _Mend:
        working = asyncio.ensure_future(work)
        await asyncio.sleep(self.chance.uniform(0, 0.05))
        await target.end(signal.SIGKILL)
        await asyncio.gather(working, return_exceptions=True)
        return lambda: self._restart(target)

    async def compact(self, target: Member) -> _Mend:
        """History is thrown away, as far as every watcher has seen it."""
        revision = self.watchers.revision
        if revision > 1:
            try:
                await target.client.compact(pb.CompactionRequest(revision=revision, physical=True))
            except EtcdError as error:
                self.history.errors[f"compact: {error.code.name}"] += 1
        return None

    async def _try(self, target: Member, path: str, leader: int) -> None:
        try:
            await target.client._unary(path, pb.MoveLeaderRequest(targetID=leader), pb.MoveLeaderResponse)
        except EtcdError as error:
            self.history.errors[f"move leader: {error.code.name}"] += 1


_Mend = Callable[[], Awaitable[None]] | None

FAULTS: dict[str, Callable[[Nemesis, Member], Awaitable[_Mend]]] = {
    "kill leader": Nemesis.kill,
    "kill leader once more": Nemesis.kill,
    "kill follower": Nemesis.kill,
    "kill all": Nemesis.kill_all,
    "terminate leader": Nemesis.terminate,
    "pause leader": Nemesis.pause,
    "pause follower": Nemesis.pause,
    "isolate leader": Nemesis.isolate,
    "isolate follower": Nemesis.isolate,
    "deafen leader": Nemesis.deafen,
    "mute leader": Nemesis.mute,
    "deafen follower": Nemesis.deafen,
    "mute follower": Nemesis.mute,
    "divide follower": Nemesis.divide,
    "delay leader": Nemesis.delay,
    "break connections": Nemesis.break_connections,
    "hand over by leader": Nemesis.hand_over,
    "compact": Nemesis.compact,
    "kill while defragmenting": Nemesis.kill_while_defragmenting,
    "kill while compacting": Nemesis.kill_while_compacting,
}
