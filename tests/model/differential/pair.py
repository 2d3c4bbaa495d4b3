"""The two servers of a comparison, in step."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, note, settings

from kvstore.etcdpb import rpc_pb2 as pb
from tests.model.differential.differences import known_difference
from tests.model.differential.histories import Operation
from tests.model.differential.player import Player, Refusal

EXAMPLES = int(os.environ.get("EXAMPLES", "500"))
EXAMPLES_PER_COMPACTION = 100


def examples(count: int) -> settings:
    """Settings of a comparison with so many examples."""
    return settings(
        max_examples=count,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
        ],
    )


@dataclass
class Pair:
    """Both servers. They are at the same revision when an example begins."""

    ours: Player
    theirs: Player
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __repr__(self) -> str:
        return "Pair()"

    def compare(self, history: Sequence[Operation]) -> None:
        """Play a history on both; raises AssertionError at the first answers that differ.

        Where one of them deliberately refuses what the other does, they can no longer be compared: the example ends.
        """
        self._begin()
        try:
            for operation in history:
                ours, theirs = self.ours.play(operation), self.theirs.play(operation)
                if ours == theirs:
                    continue
                if not known_difference(operation, ours, theirs):
                    note(f"base revision {self.ours.base_revision}, keys begin with {self.ours.prefix!r}")
                    raise AssertionError(f"{operation}\nmini-etcd: {ours}\netcd 3.5.1: {theirs}")
                if isinstance(ours, Refusal) != isinstance(theirs, Refusal):
                    return
        finally:
            for player in (self.ours, self.theirs):
                player.end()

    def _begin(self) -> None:
        number = next(self._numbers)
        self._bring_together()
        for player in (self.ours, self.theirs):
            player.begin(number)
            if number % EXAMPLES_PER_COMPACTION == 0:
                player.call("KV/Put", pb.PutRequest(key=b"\0"))  # there may be nothing else to compact
                player.call("KV/Compact", pb.CompactionRequest(revision=player.revision()))
                player.base_revision = player.revision()

    def _bring_together(self) -> None:
        """Both to the same revision and empty, after an example in which they went apart."""
        if self.ours.revision() == self.theirs.revision():
            return
        while (lag := self.ours.revision() - self.theirs.revision()) != 0:
            behind = self.ours if lag < 0 else self.theirs
            behind.call("KV/Put", pb.PutRequest(key=b"\0"))
        for player in (self.ours, self.theirs):
            player.call("KV/Put", pb.PutRequest(key=b"\0"))
            player.call("KV/DeleteRange", pb.DeleteRangeRequest(key=b"\0"))
