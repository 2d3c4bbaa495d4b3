"""The hashes of the other members, asked for all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kvstore.apply import Membership
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.corruption import PeerHash

__all__ = ["AskMember", "AskedPeerHashes"]

AskMember = Callable[[int, pb.HashKVRequest], Awaitable[pb.HashKVResponse]]
"""Maintenance.HashKV of the member with this id; raises `EtcdError` when it refuses or cannot be reached."""


class AskedPeerHashes:
    """`PeerHashes` of a cluster's members.

    Args:
        member_id: of this member, which is not asked.
    """

    def __init__(self, membership: Membership, member_id: int, ask: AskMember) -> None:
        self._membership = membership
        self._member_id = member_id
        self._ask = ask

    async def at(self, revision: int) -> list[PeerHash]:
        """See `PeerHashes.at`."""
        others = [member.member_id for member in self._membership.members() if member.member_id != self._member_id]
        return list(await asyncio.gather(*(self._hash_of(member_id, revision) for member_id in others)))

    async def _hash_of(self, member_id: int, revision: int) -> PeerHash:
        try:
            return PeerHash(member_id, await self._ask(member_id, pb.HashKVRequest(revision=revision)))
        except EtcdError as error:
            return PeerHash(member_id, error=error)
