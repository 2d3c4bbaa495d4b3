"""The checks whether members agree about the data, as the options want them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from kvstore.app.options import Options
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.core import MemberCore
from kvstore.server.corruption import CorruptionChecker, CorruptionMonitor
from kvstore.server.hashes import Hashes
from kvstore.server.peer_hashes import AskedPeerHashes
from kvstore.server.peers import HASH_KV

__all__ = ["CorruptionChecks"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class CorruptionChecks:
    """One member's share of the checks.

    Attributes:
        hashes: of this member.
        checker: makes them.
    """

    hashes: Hashes
    checker: CorruptionChecker
    _monitor: CorruptionMonitor
    _initially: bool

    @classmethod
    def of(cls, core: MemberCore, options: Options) -> CorruptionChecks:
        """The checks of a member; they run once they are started."""
        clock = core.environment.clock
        member_id = core.headers.member_id
        hashes = Hashes(core.store, clock.monotonic, core.metrics.hash_rev_seconds)

        async def ask(other_id: int, request: pb.HashKVRequest) -> pb.HashKVResponse:
            wire = request.SerializeToString()
            answer = await core.consensus.call_peer(other_id, HASH_KV, wire, options.request_timeout_seconds)
            return pb.HashKVResponse.FromString(answer)

        peers = AskedPeerHashes(core.membership, member_id, ask)
        checker = CorruptionChecker(member_id, core.store, hashes, peers, core.proposer)
        after_compactions = options.feature("CompactHashCheck")
        if after_compactions:
            core.compactor.hash = hashes.keep
        monitor = CorruptionMonitor(
            checker,
            lambda: core.consensus.is_leader,
            clock,
            options.corrupt_check_seconds,
            options.compact_hash_check_seconds if after_compactions else 0.0,
        )
        if options.corrupt_check_seconds:
            fields = {"local-member-id": f"{member_id:x}", "interval": f"{options.corrupt_check_seconds:g}s"}
            logger.info("enabled corruption checking", extra={"fields": fields})
        return cls(hashes, checker, monitor, options.feature("InitialCorruptCheck"))

    async def initial(self) -> None:
        """Compare with the others before anyone is served, if that is wanted.

        Raises:
            CorruptionError: another member has something else.
        """
        if self._initially:
            await self.checker.initial()

    def start(self) -> None:
        """Begin to look by the clock."""
        self._monitor.start()

    async def stop(self) -> None:
        """Stop looking."""
        await self._monitor.stop()
