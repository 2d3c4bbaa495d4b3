"""How much may still be written before the disk is full, and the alarm that is raised before it is.

A log that cannot be written ends a member, for nobody knows what is on the disk after a failed write. So writes are
refused while there is still room for what must go on: the alarm itself, deletions and compaction, what waits to be
written to the database, and the next segment of the log. etcd only watches the size of its database
(`server/etcdserver/quota.go` of storage) and ends at the first write that fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from kvstore.environment import Clock
from kvstore.errors import EtcdError
from kvstore.server.background import BackgroundWork
from kvstore.server.core import MemberCore

__all__ = ["DISK_RESERVE_BYTES", "DiskSpace", "SpaceKeeper"]

DISK_RESERVE_BYTES = 32 << 20
"""Room on the disk that requests of clients may not take."""

COPIES = 2
"""What is under way is written to the log and to the database."""

CHECK_SECONDS = 1.0
"""How often the alarm is thought of without anybody writing."""

ASK_SECONDS = 0.1
"""How long it holds that there is plenty of room."""

ROOMY_BYTES = 512 << 20

logger = logging.getLogger(__name__)


class DiskSpace:
    """Room for what clients write.

    The disk is asked each time when there is little left, and otherwise now and then.

    Args:
        free_bytes: what the disk has left.

    Attributes:
        pending_bytes: tells how much is under way and on no disk yet.
    """

    def __init__(self, free_bytes: Callable[[], int], clock: Clock) -> None:
        self._ask = free_bytes
        self._clock = clock
        self._free_bytes = 0
        self._asked_at = 0.0
        self.pending_bytes: Callable[[], int] = lambda: 0

    def room_bytes(self) -> int:
        """What is left for clients; below 0 when the reserve is touched."""
        now = self._clock.monotonic()
        if self._free_bytes < ROOMY_BYTES or now - self._asked_at > ASK_SECONDS:
            self._free_bytes = self._ask()
            self._asked_at = now
        return self._free_bytes - DISK_RESERVE_BYTES - COPIES * self.pending_bytes()


class SpaceKeeper(BackgroundWork):
    """Raises the alarm when the disk fills up, whoever fills it: another member's client, or another program."""

    def __init__(self, core: MemberCore, space: DiskSpace, clock: Clock) -> None:
        super().__init__()
        self._core = core
        self._space = space
        self._clock = clock

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(CHECK_SECONDS)
            room_bytes = self._space.room_bytes()
            if room_bytes > 0 or self._core.has_space_alarm:
                continue
            self._core.quota.refresh()
            logger.warning(
                "the disk is nearly full; raising the alarm NOSPACE",
                extra={"fields": {"free-bytes": room_bytes + DISK_RESERVE_BYTES}},
            )
            try:
                await self._core.raise_space_alarm()
            except EtcdError as error:  # no leader just now; there is a next time
                logger.warning("failed to raise the alarm", extra={"fields": {"error": error.message}})
