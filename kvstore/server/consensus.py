"""What the server needs of consensus; `raft.runtime.Driver` provides it, tests bring a smaller one."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Consensus"]


class Consensus(Protocol):
    """The log, seen from above."""

    def propose(self, data: bytes) -> None:
        """Ask for `data` to be appended to the log. Never blocks; the entry may also never come."""

    async def read_index(self) -> int:
        """An index such that whoever has applied it has seen everything acknowledged before this call.

        Does not suspend when this member is the only voter.
        """

    async def transfer_leadership(self, target_id: int) -> None:
        """Hand the lead to another voter; returns when it leads."""

    @property
    def leader_id(self) -> int:
        """The member that leads, as far as this one knows; 0 when it knows of none."""

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""

    @property
    def term(self) -> int:
        """The newest term this member knows."""

    @property
    def commit_index(self) -> int:
        """The newest index known to be committed."""
