"""Do the members agree about the data? The leader compares hashes and raises an alarm (etcd `corrupt.go`).

Three checks: before a member serves anyone (`initial`), by the clock (`periodic`), and after compactions (`compact`),
which alone can tell who is wrong: whoever disagrees with a majority.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from kvstore.environment import Clock
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.mvcc import Store, StoreError
from kvstore.server import catalogue
from kvstore.server.hashes import Hashes, KeyValueHash
from kvstore.server.proposer import Proposer

__all__ = ["CorruptionChecker", "CorruptionError", "CorruptionMonitor", "PeerHash", "PeerHashes"]

WHOLE_CLUSTER = 0
"""The member an alarm is raised for when nobody can tell who is wrong."""

logger = logging.getLogger(__name__)


class CorruptionError(Exception):
    """This member's data is not what its peers have; the message is for whoever started it."""


@dataclass(frozen=True, slots=True)
class PeerHash:
    """What one other member answered: a hash, or why there is none."""

    member_id: int
    response: pb.HashKVResponse | None = None
    error: EtcdError | None = None


class PeerHashes(Protocol):
    """Asks the other members."""

    async def at(self, revision: int) -> list[PeerHash]:
        """HashKV at a revision of every other member, in no particular order. Does not raise."""


class CorruptionChecker:
    """The checks of one member."""

    def __init__(self, member_id: int, store: Store, hashes: Hashes, peers: PeerHashes, proposer: Proposer) -> None:
        self._member_id = member_id
        self._store = store
        self._hashes = hashes
        self._peers = peers
        self._proposer = proposer
        self._checked_revision = 0

    async def initial(self) -> None:
        """Compare what is stored with what the others have at the same revision, before serving anyone.

        Members that cannot be asked, or have compacted elsewhere, say nothing.

        Raises:
            CorruptionError: another member has something else.
        """
        member = f"{self._member_id:x}"
        logger.info("starting initial corruption check", extra={"fields": {"local-member-id": member}})
        own = await self._hashes.at(0)
        mismatches = 0
        for peer in await self._peers.at(own.revision):
            fields = {
                "local-member-id": member,
                **_fields("local-member", own),
                "remote-peer-id": f"{peer.member_id:x}",
            }
            if peer.response is None:
                _log_silence(peer, fields)
            elif peer.response.hash != own.value:
                fields |= _fields("remote-peer", _hash_of(peer.response))
                same = peer.response.compact_revision == own.compact_revision
                mismatches += same
                what = "hash" if same else "compact revision"
                logger.warning(f"found different {what} values from remote peer", extra={"fields": fields})
        if mismatches:
            raise CorruptionError(f"{member} found data inconsistency with peers")
        logger.info("initial corruption checking passed; no corruption", extra={"fields": {"local-member-id": member}})

    async def periodic(self) -> None:
        """Compare now, on the leader; raises at most one alarm.

        Raises:
            EtcdError, StoreError: no hash could be had.
        """
        before = await self._hashes.at(0)
        peers = await self._peers.at(before.revision)
        await self._proposer.linearize()
        now = await self._hashes.at(0)
        suspects = []
        unchanged = (now.revision, now.compact_revision) == (before.revision, before.compact_revision)
        if unchanged and now.value != before.value:
            fields = _fields("before", before) | _fields("after", now)
            logger.warning("found hash mismatch", extra={"fields": fields})
            suspects.append(self._member_id)
        checked = [(peer.member_id, peer.response) for peer in peers if peer.response is not None]
        suspects += [
            member_id for member_id, response in checked if self._contradicts(member_id, response, before, now)
        ]
        for suspect in suspects[:1]:
            await self._raise_alarm(suspect)
        logger.info("finished peer corruption check", extra={"fields": {"number-of-peers-checked": len(checked)}})

    def _contradicts(
        self, member_id: int, response: pb.HashKVResponse, before: KeyValueHash, now: KeyValueHash
    ) -> bool:
        """Whether a follower has what it cannot have, given what the leader has."""
        reasons = []
        if response.header.revision > self._store.revision:
            reasons.append("revision from follower must be less than or equal to leader's")
        if response.compact_revision > now.compact_revision:
            reasons.append("compact revision from follower must be less than or equal to leader's")
        if response.compact_revision == before.compact_revision and response.hash != before.value:
            reasons.append("same compact revision then hashes must match")
        fields = {
            "follower-peer-id": f"{member_id:x}",
            "follower-current-revision": response.header.revision,
            **_fields("leader", before),
            **_fields("follower", _hash_of(response)),
        }
        for reason in reasons:
            logger.warning(reason, extra={"fields": fields})
        return bool(reasons)

    async def compact(self) -> None:
        """Compare the newest compactions that all members still know the hash of, on the leader."""
        fields = {"local-member-id": f"{self._member_id:x}"}
        logger.info("starting compact hash check", extra={"fields": fields})
        count = 0
        for own in self._hashes.kept:
            if own.revision <= self._checked_revision:
                break
            count += 1
            peers = await self._peers.at(own.revision)
            if peers and await self._compare(own, peers):
                break
        logger.info("finished compaction hash check", extra={"fields": {"number-of-hashes-checked": count}})

    async def _compare(self, own: KeyValueHash, peers: list[PeerHash]) -> bool:
        """Whether that settles it: everybody was heard, or somebody is wrong."""
        by_hash: defaultdict[int, list[int]] = defaultdict(list)
        by_hash[own.value].append(self._member_id)
        for peer in peers:
            if peer.response is None or peer.response.compact_revision != own.compact_revision:
                reason = "no response" if peer.response is None else "the compact revisions differ"
                fields = {"peer-id": f"{peer.member_id:x}", "reason": reason}
                logger.warning("Skipped peer's hash", extra={"fields": fields})
            else:
                by_hash[peer.response.hash].append(peer.member_id)
        if len(by_hash) > 1:
            await self._accuse(own, by_hash, len(peers) + 1)
            return True
        checked = len(by_hash[own.value]) - 1
        seen = {"number-of-peers-checked": checked, "number-of-peers": len(peers), **_fields("leader", own)}
        if checked < len(peers):
            message = "skipped revision in compaction hash check; was not able to check all peers"
            logger.warning(message, extra={"fields": seen})
            return False
        logger.info("successfully checked hash on whole cluster", extra={"fields": seen})
        self._checked_revision = max(self._checked_revision, own.revision)
        return True

    async def _accuse(self, own: KeyValueHash, by_hash: dict[int, list[int]], member_count: int) -> None:
        """Raise the alarm for everybody who disagrees with a majority; for the whole cluster when there is none."""
        right = next((members for members in by_hash.values() if len(members) > member_count // 2), None)
        if right is None:
            message = (
                "Detected compaction hash mismatch but cannot identify the corrupted members, "
                "so intentionally set the memberID as 0"
            )
            logger.error(message, extra={"fields": _fields("leader", own)})
            await self._raise_alarm(WHOLE_CLUSTER)
        for value, members in by_hash.items():
            if members is right:
                continue
            ids = ",".join(f"{member_id:x}" for member_id in sorted(members))
            fields = {**_fields("leader", own), "peer-hash": value, "peer-ids": ids, "quorum-exist": right is not None}
            logger.error("Detected compaction hash mismatch", extra={"fields": fields})
            if right is not None:
                for member_id in members:
                    await self._raise_alarm(member_id)

    async def _raise_alarm(self, member_id: int) -> None:
        request = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=member_id, alarm=pb.CORRUPT)
        try:
            await self._proposer.propose("alarm", request)
        except EtcdError as error:  # the next check finds it again
            logger.warning("failed to raise the CORRUPT alarm", extra={"fields": {"error": error.message}})


class CorruptionMonitor:
    """Runs the checks by the clock, where this member leads.

    Args:
        is_leader: whether it does.
        periodic_seconds: `--corrupt-check-time`; 0 for never.
        compact_seconds: `--compact-hash-check-time`; 0 for never.
    """

    def __init__(
        self,
        checker: CorruptionChecker,
        is_leader: Callable[[], bool],
        clock: Clock,
        periodic_seconds: float,
        compact_seconds: float,
    ) -> None:
        self._is_leader = is_leader
        self._clock = clock
        self._checks = [(periodic_seconds, checker.periodic), (compact_seconds, checker.compact)]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin, if there is anything to do."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(seconds, check)) for seconds, check in self._checks if seconds > 0]

    async def stop(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self, seconds: float, check: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._clock.sleep(seconds)
            if not self._is_leader():
                continue
            try:
                await check()
            except (EtcdError, StoreError) as error:
                logger.warning("failed to check hash KV", extra={"fields": {"error": repr(error)}})


def _hash_of(response: pb.HashKVResponse) -> KeyValueHash:
    return KeyValueHash(response.hash, response.compact_revision, response.hash_revision)


def _fields(prefix: str, of: KeyValueHash) -> dict[str, object]:
    return {
        f"{prefix}-revision": of.revision,
        f"{prefix}-compact-revision": of.compact_revision,
        f"{prefix}-hash": of.value,
    }


def _log_silence(peer: PeerHash, fields: dict[str, object]) -> None:
    text = peer.error.message if peer.error is not None else "no response"
    message = {
        catalogue.FUTURE_REVISION.text: "cannot fetch hash from slow remote peer",
        catalogue.COMPACTED.text: "cannot fetch hash from remote peer; local member is behind",
        catalogue.CLUSTER_ID_MISMATCH.text: "cluster ID mismatch",
    }.get(text, "failed hash kv request")
    logger.warning(message, extra={"fields": {**fields, "error": text}})
