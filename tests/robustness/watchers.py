"""Watchers that never give up: each notes all it gets, and goes on where it ended when its stream does."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence

from kvstore.client.interface import WatchStream
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from tests.robustness.cluster import Member
from tests.robustness.history import Delivery, History, WatchLog, WatchSession
from tests.robustness.traffic import KEYS, PREFIX, PREFIX_END, kind_of

__all__ = ["Watchers"]

PROGRESS_SECONDS_MAX = 0.5
RETRY_SECONDS = 0.2


class Watchers:
    """One of everything on each member, and some that want less."""

    def __init__(self, history: History, members: Sequence[Member], seed: int) -> None:
        self._chance = random.Random(seed)
        self._tasks: list[asyncio.Task[None]] = []
        self._watchers = [
            _Watcher(WatchLog(f"all on {member.name}", PREFIX, PREFIX_END, previous=True), member, history)
            for member in members
        ]
        first, last = members[0], members[-1]
        for log, member in (
            (WatchLog(f"puts on {first.name}", PREFIX, PREFIX_END, no_delete=True), first),
            (WatchLog(f"deletes on {last.name}", PREFIX, PREFIX_END, no_put=True, previous=True), last),
            (WatchLog(f"one key on {last.name}", KEYS[0], b""), last),
        ):
            self._watchers.append(_Watcher(log, member, history))

    def start(self) -> None:
        """Begin, at revision 1."""
        loop = asyncio.get_running_loop()
        for watcher in self._watchers:
            self._tasks.append(loop.create_task(watcher.run(random.Random(self._chance.random()))))

    @property
    def revision(self) -> int:
        """Everything up to here has reached every watcher."""
        return min(watcher.revision for watcher in self._watchers)

    async def reach(self, revision: int) -> None:
        """Wait until every watcher has come to a revision."""
        for watcher in self._watchers:
            await watcher.reach(revision)

    async def stop(self) -> None:
        """End all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in self._tasks:
            if not task.cancelled():
                task.result()  # a watcher that ended by itself has met an error of ours


class _Watcher:
    def __init__(self, log: WatchLog, member: Member, history: History) -> None:
        self._log = log
        self._member = member
        self._history = history
        self._moved = asyncio.Event()
        self.revision = 0
        history.watches.append(log)

    async def reach(self, revision: int) -> None:
        while self.revision < revision:
            self._moved.clear()
            await self._moved.wait()

    async def run(self, chance: random.Random) -> None:
        while True:
            session = WatchSession(self._member.name, self.revision + 1)
            self._log.sessions.append(session)
            try:
                await self._watch(session, chance)
            except EtcdError as error:
                self._history.errors[f"watch: {error.code.name}: {kind_of(error.message)}"] += 1
            await asyncio.sleep(RETRY_SECONDS)

    async def _watch(self, session: WatchSession, chance: random.Random) -> None:
        stream = self._member.client.watch()
        asking = asyncio.ensure_future(self._ask(stream, chance))
        try:
            await stream.send(pb.WatchRequest(create_request=self._request(session.start_revision)))
            async for response in stream:
                assert not response.canceled, f"{self._log.name}: {response.cancel_reason}"
                if not response.created:
                    self._take(session, response)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await stream.close()

    def _take(self, session: WatchSession, response: pb.WatchResponse) -> None:
        revision = response.header.revision
        session.deliveries.append(Delivery(revision, list(response.events), time.monotonic()))
        if response.events:
            revision = response.events[-1].kv.mod_revision
        self.revision = max(self.revision, revision)
        self._moved.set()

    def _request(self, start_revision: int) -> pb.WatchCreateRequest:
        log = self._log
        filters = [pb.WatchCreateRequest.NOPUT] * log.no_put + [pb.WatchCreateRequest.NODELETE] * log.no_delete
        return pb.WatchCreateRequest(
            key=log.key,
            range_end=log.range_end,
            start_revision=start_revision,
            progress_notify=True,
            prev_kv=log.previous,
            filters=filters,
        )

    async def _ask(self, stream: WatchStream, chance: random.Random) -> None:
        """Ask for progress now and then, which must never be ahead of the events."""
        while True:
            await asyncio.sleep(chance.uniform(0, PROGRESS_SECONDS_MAX))
            with contextlib.suppress(EtcdError):
                await stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
