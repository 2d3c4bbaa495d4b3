"""Forgets old revisions of the store every few minutes, once for all API servers (k8s.io/apiserver `etcd3/compact.go`).

The key `compact_rev_key` holds the revision compacted last, and its version is the time of a logical clock. Each server
remembers version and revision it saw last. When its turn comes it puts its revision under the condition that the
version is still the same: whoever succeeds compacts at that revision, which is an interval old; everybody else takes
over version and revision and waits for another interval. A server that goes away is replaced within two intervals.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from kvstore.client import Client
from kvstore.environment import Clock
from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["COMPACTION_INTERVAL_SECONDS", "COMPACT_REVISION_KEY", "Compactor"]

COMPACT_REVISION_KEY: Final = b"compact_rev_key"
COMPACTION_INTERVAL_SECONDS: Final = 300.0


class Compactor:
    """Runs while its task does. An interval of 0 switches it off."""

    def __init__(self, client: Client, clock: Clock, interval_seconds: float = COMPACTION_INTERVAL_SECONDS) -> None:
        self._client = client
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._version = 0
        self._revision = 0

    async def run(self) -> None:
        """Compact for ever; a round that the store refuses is tried again an interval later."""
        if self._interval_seconds <= 0:
            return
        while True:
            await self._clock.sleep(self._interval_seconds)
            with contextlib.suppress(EtcdError):
                await self.round()

    async def round(self) -> int:
        """One turn; returns the revision compacted, or 0 when it was somebody else's turn or the first.

        Raises EtcdError.
        """
        request = pb.TxnRequest()
        compare = request.compare.add(key=COMPACT_REVISION_KEY, target=pb.Compare.VERSION, result=pb.Compare.EQUAL)
        compare.version = self._version
        put = pb.PutRequest(key=COMPACT_REVISION_KEY, value=str(self._revision).encode())
        request.success.add(request_put=put)
        request.failure.add(request_range=pb.RangeRequest(key=COMPACT_REVISION_KEY))
        response = await self._client.txn(request)
        previous, self._revision = self._revision, response.header.revision
        if not response.succeeded:
            kvs = response.responses[0].response_range.kvs
            self._version = kvs[0].version if kvs else 0
            return 0
        self._version += 1
        if previous == 0:  # nothing is known yet about what is an interval old
            return 0
        await self._client.compact(pb.CompactionRequest(revision=previous))
        return previous

    def start(self) -> asyncio.Task[None]:
        """Run in a task of its own, which the caller cancels."""
        return asyncio.get_running_loop().create_task(self.run(), name="compactor")
