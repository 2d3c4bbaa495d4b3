"""What must hold at every step (Raft paper, figure 3), and what clients may rely on."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from raft.core import ConfState, Entry, RawNode
from tests.sim.machine import write_number


class SafetyError(AssertionError):
    """Raft has promised otherwise."""


@dataclass
class Canon:
    """What the cluster as a whole has decided so far."""

    leaders: dict[int, int] = field(default_factory=dict)  # term -> member
    stored: dict[tuple[int, int], tuple[int, bytes]] = field(
        default_factory=dict
    )  # (index, term) -> previous term, data
    committed: dict[int, Entry] = field(default_factory=dict)
    committed_by: dict[int, int] = field(
        default_factory=dict
    )  # index -> the term in which it was committed, at the latest
    digests: dict[int, int] = field(default_factory=lambda: {0: 0})  # index -> digest of everything applied up to there
    configurations: dict[int, ConfState] = field(default_factory=dict)  # index -> in force behind it
    written: dict[int, int] = field(default_factory=dict)  # write -> index
    last_committed: int = 0

    def leads(self, node: RawNode) -> None:
        """Election safety: at most one leader a term. Leader completeness: it has all that earlier terms committed."""
        other = self.leaders.setdefault(node.term, node.id)
        if other != node.id:
            raise SafetyError(f"{node.id} and {other} both lead in term {node.term}")
        for index in range(node.first_index, self.last_committed + 1):
            if self.committed_by[index] < node.term and node.term_at(index) != self.committed[index].term:
                raise SafetyError(f"leader {node.id} of term {node.term} lacks the committed entry {index}")

    def stores(self, node: RawNode, entries: tuple[Entry, ...]) -> None:
        """Log matching: an index and a term determine the entry and, by induction, everything before it."""
        before = node.term_at(entries[0].index - 1)
        for entry in entries:
            if before is not None:
                known = self.stored.setdefault((entry.index, entry.term), (before, entry.data))
                if known != (before, entry.data):
                    raise SafetyError(f"{node.id} stores another entry at {entry.index} in term {entry.term}")
            before = entry.term

    def applies(self, member_id: int, term: int, entry: Entry, digest: int) -> int:
        """State machine safety: everybody applies the same entry at an index. Returns the digest behind it.

        `term` is the one that the member is in.
        """
        self.committed_by.setdefault(entry.index, term)
        known = self.committed.setdefault(entry.index, entry)
        if known != entry:
            raise SafetyError(f"{member_id} applies another entry at {entry.index}: {entry} and not {known}")
        self.last_committed = max(self.last_committed, entry.index)
        number = write_number(entry)
        if number is not None and self.written.setdefault(number, entry.index) != entry.index:
            raise SafetyError(f"write {number} is done twice, at {self.written[number]} and at {entry.index}")
        digest = digest_after(digest, entry)
        if self.digests.setdefault(entry.index, digest) != digest:
            raise SafetyError(f"{member_id} has come to another state at {entry.index}")
        return digest

    def restores(self, member_id: int, index: int, digest: int) -> None:
        """A snapshot is the state at its index."""
        if self.digests.get(index) != digest:
            raise SafetyError(f"{member_id} restores a snapshot at {index} that is not the state there")

    def configures(self, member_id: int, index: int, state: ConfState) -> None:
        """Everybody has the same configuration behind an index."""
        known = self.configurations.setdefault(index, state)
        if known != state:
            raise SafetyError(f"{member_id} is in {state} behind {index} and others are in {known}")


def is_quorum(state: ConfState, members: set[int]) -> bool:
    """Whether the members are a majority of the voters, and of the outgoing ones while there are any."""

    def majority(voters: tuple[int, ...]) -> bool:
        return 2 * len(members.intersection(voters)) > len(voters)

    return majority(state.voters) and (not state.voters_outgoing or majority(state.voters_outgoing))


def digest_after(digest: int, entry: Entry) -> int:
    """The digest of a history with one more entry."""
    return zlib.crc32(b"%d %d %d " % (entry.index, entry.term, entry.type) + entry.data, digest)
