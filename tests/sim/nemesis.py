"""What goes wrong, and who comes and goes: one misfortune after the other, by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft.core import ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState
from tests.sim.member import Member

if TYPE_CHECKING:
    from tests.sim.world import World

MEMBERS_MAX = 6


class Nemesis:
    """Each misfortune is a method; the world's settings say which of them there are."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance
        self._at = world.timeline.at
        self._log = world.log
        self._healed = False

    def begin(self) -> None:
        """Let misfortune rule until `end`."""
        self._at(self._chance.randrange(200), self._strike)

    def end(self) -> None:
        """Nothing goes wrong any more."""
        self._healed = True

    def _strike(self) -> None:
        if self._healed:
            return
        settings = self._world.settings
        kinds = [*settings.misfortunes]
        if settings.membership_changes:
            kinds += ["change_membership"] * len(kinds)
            if self._world.conf_state.joint:
                kinds += ["part_configurations"] * len(kinds)
        getattr(self, self._chance.choice(kinds))()
        self._at(self._chance.randrange(10, settings.every_ms), self._strike)

    # Whom it strikes

    def _leader(self) -> Member | None:
        leaders = [member for member in self._world.alive() if member.node.is_leader]
        return self._chance.choice(leaders) if leaders else None

    def _anybody(self) -> Member | None:
        alive = self._world.alive()
        return self._chance.choice(alive) if alive else None

    # Members

    def crash(self) -> None:
        """One member, or all at once."""
        alive = self._world.alive()
        if not alive:
            return
        for member in alive if self._chance.random() < 0.1 else [self._chance.choice(alive)]:
            member.crash()
            self._at(self._chance.randrange(10, 400), self._restart, member)

    def crash_leader(self) -> None:
        """With proposals on their way."""
        if leader := self._leader():
            self._burst_at(leader)
            self._at(self._chance.randrange(10), self._crash_now, leader)
            self._at(self._chance.randrange(20, 400), self._restart, leader)

    def _crash_now(self, member: Member) -> None:
        if not self._healed:
            member.crash()

    def stop(self) -> None:
        """In good order, and start again."""
        member = self._anybody()
        if member is not None and not member.life.paused:
            member.stop()
            self._at(self._chance.randrange(10, 400), self._restart, member)

    def _restart(self, member: Member) -> None:
        if not self._healed and not member.refused and member.life.dead:
            member.disk.full = False
            member.start()
        elif not self._healed and not member.alive and not member.refused:
            self._at(20, self._restart, member)  # it is still stopping

    def pause(self) -> None:
        """It notices nothing, and goes on as if no time had passed."""
        member = self._leader() if self._chance.random() < 0.5 else self._anybody()
        if member is not None and not member.life.paused:
            member.pause()
            self._at(self._chance.randrange(30, 600), member.resume)

    def wipe(self) -> None:
        """A follower comes back with an empty disk while its leader is well."""
        leader = self._leader()
        if leader is None:
            return
        known = [
            member
            for member in self._world.alive()
            if (progress := leader.node.progress(member.id)) and member is not leader and progress.match > 0
        ]
        lost = sum(bool(member.lost) for member in self._world.members.values())
        if known and 2 * (len(self._world.conf_state.voters) - lost - 1) > len(self._world.conf_state.voters):
            self._chance.choice(known).wipe()

    # The network

    def isolate_leader(self) -> None:
        """Leave a leader with a minority and, more often than not, with proposals that it cannot commit."""
        leader = self._leader()
        if leader is None:
            return
        others = [member_id for member_id in sorted(self._world.members) if member_id != leader.id]
        friends = self._chance.sample(others, self._chance.randrange(0, len(others) // 2 + 1)) if others else []
        side = {leader.id, *friends}
        self._part(side, set(others) - side)
        self._log(f"leader {leader.id} is left with {sorted(friends)}")
        if self._chance.random() < 0.7:
            self._burst_at(leader)
        if self._chance.random() < 0.7:
            self._at(self._chance.randrange(100, 500), self.mend_network)

    def partition(self) -> None:
        """Two sides that do not hear each other."""
        ids = sorted(self._world.members)
        left = {member_id for member_id in ids if self._chance.random() < 0.5}
        self._part(left, set(ids) - left)
        self._log(f"partition: {sorted(left)} from the others")

    def part_configurations(self) -> None:
        """In a joint configuration: those who come on one side, those who go on the other."""
        state = self._world.conf_state
        newcomers = set(state.voters) - set(state.voters_outgoing)
        leavers = set(state.voters_outgoing) - set(state.voters)
        rest = [member_id for member_id in sorted(self._world.members) if member_id not in newcomers | leavers]
        with_newcomers = {member_id for member_id in rest if self._chance.random() < 0.5}
        self._part(newcomers | with_newcomers, leavers | (set(rest) - with_newcomers))
        self._log(f"configurations parted: {sorted(newcomers | with_newcomers)} from the others")

    def _part(self, left: set[int], right: set[int]) -> None:
        self._world.network.cut |= {(a, b) for a in left for b in right} | {(b, a) for a in left for b in right}

    def one_way_cut(self) -> None:
        """One hears the other and not the other way round."""
        ids = sorted(self._world.members)
        pair = (self._chance.choice(ids), self._chance.choice(ids))
        self._world.network.cut.add(pair)
        self._log(f"cut: {pair[0]} to {pair[1]}")

    def mend_network(self) -> None:
        """For once, something good."""
        self._world.network.heal()
        self._log("network mended")

    def bad_network(self) -> None:
        """Losses, duplicates and delays for all."""
        network = self._world.network
        network.loss = self._chance.choice((0.0, 0.05, 0.2))
        network.duplication = self._chance.choice((0.0, 0.1, 0.3))
        network.delay_max = self._chance.choice((5, 30, 120, 300))
        self._log(f"network: loss {network.loss}, duplication {network.duplication}, delay {network.delay_max}")

    # Disks

    def slow_disk(self) -> None:
        """A disk becomes slow, or fast again."""
        member = self._chance.choice(list(self._world.members.values()))
        member.slow_disk = not member.slow_disk
        self._log(f"{member.id} disk slow: {member.slow_disk}")

    def full_disk(self) -> None:
        """A disk fills up; the member ends at its next write, and starts when there is space."""
        member = self._chance.choice(list(self._world.members.values()))
        if member.alive:
            member.disk.full = True
            self._log(f"{member.id} disk full")
            self._at(self._chance.randrange(50, 400), self._free_disk, member)

    def _free_disk(self, member: Member) -> None:
        member.disk.full = False
        if not member.alive:
            self._restart(member)

    # Requests

    def burst(self) -> None:
        """Several writes at once."""
        if member := self._anybody():
            self._burst_at(member)

    def _burst_at(self, member: Member) -> None:
        for _ in range(self._chance.randrange(1, 6)):
            if member.alive:
                self._world.write(member)

    def transfer(self) -> None:
        """Somebody is asked to see that somebody else leads."""
        if member := self._anybody():
            target = self._chance.choice(sorted(self._world.members))
            self._log(f"transfer to {target}")
            member.transfer(target)

    def snapshot(self) -> None:
        """A member makes a snapshot."""
        if member := self._anybody():
            member.snapshot()

    # Membership

    def change_membership(self) -> None:
        """A leader is asked for one to three changes at once, or to leave a joint configuration."""
        leader = self._leader()
        if leader is None:
            return
        chance, state = self._chance, self._world.conf_state
        if state.joint:
            change = ConfChangeV2()
        else:
            changes = tuple(self._random_change(state) for _ in range(chance.choice((1, 1, 2, 3))))
            transition = chance.choice(
                (ConfChangeTransition.AUTO, ConfChangeTransition.JOINT_IMPLICIT, ConfChangeTransition.JOINT_EXPLICIT)
            )
            change = ConfChangeV2(transition, changes)
        self._log(f"propose {change}")
        leader.change(change)

    def _random_change(self, state: ConfState) -> ConfChangeSingle:
        chance = self._chance
        kind = chance.choice((ConfChangeType.ADD_NODE, ConfChangeType.ADD_LEARNER_NODE, ConfChangeType.REMOVE_NODE))
        members = state.members()
        if kind is ConfChangeType.REMOVE_NODE and len(state.voters) <= 2:
            kind = ConfChangeType.ADD_NODE
        if kind is ConfChangeType.REMOVE_NODE:
            return ConfChangeSingle(kind, chance.choice(members))
        if len(members) < MEMBERS_MAX and chance.random() < 0.6:
            return ConfChangeSingle(kind, self._world.newcomer())
        if kind is ConfChangeType.ADD_LEARNER_NODE and len(state.voters) <= 2:
            kind = ConfChangeType.ADD_NODE
        return ConfChangeSingle(kind, chance.choice(members))
