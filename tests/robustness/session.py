"""A whole run: members, clients, watchers, faults; then everything is held against the guarantees."""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kvstore.errors import EtcdError
from kvstore.etcdpb import rpc_pb2 as pb
from tests.robustness.check_operations import check_operations, merge_events, states_of
from tests.robustness.check_watches import check_watch, everything
from tests.robustness.cluster import Cluster, Member
from tests.robustness.faults import Nemesis, Outcome
from tests.robustness.history import History
from tests.robustness.traffic import PREFIX, PREFIX_END, Recorder, Traffic
from tests.robustness.watchers import Watchers

__all__ = ["FLAGS", "Report", "check", "compare_hashes", "finish", "run"]

FLAGS = (
    "--snapshot-count=300",
    "--snapshot-catchup-entries=100",
    "--watch-progress-notify-interval=1s",
)
"""Snapshots often, so that members that were away need one."""


@dataclass(slots=True)
class Report:
    """What came of a run."""

    seed: int
    history: History
    problems: list[str]
    outcomes: list[Outcome] = field(default_factory=list)
    leaders: int = 0

    def figures(self) -> str:
        """In a few lines."""
        operations = self.history.operations
        writes = sorted(
            it.returned for it in operations if it.response is not None and not isinstance(it.request, pb.RangeRequest)
        )
        gap = max((later - earlier for earlier, later in itertools.pairwise(writes)), default=0.0)
        kills = sorted(it.recovered_seconds for it in self.outcomes if it.kind.startswith("kill leader"))
        lines = [
            f"seed {self.seed}: {len(operations)} operations, {sum(it.response is not None for it in operations)} "
            f"answered, {len(writes)} of them writes; {self.leaders} leaders; longest without an acknowledged write "
            f"{gap:.2f} s",
            *(f"  {count:5} {name}" for name, count in self.history.errors.most_common()),
        ]
        if kills:
            lines.append(
                f"  leader killed -> next acknowledged write: median {statistics.median(kills):.2f} s, "
                f"max {kills[-1]:.2f} s of {len(kills)}"
            )
        lines += [
            f"  {it.kind:24} {it.target}: {it.recovered_seconds:.2f} s, healed after {it.healed_seconds:.2f} s"
            for it in self.outcomes
        ]
        return "\n".join(lines)


async def run(
    directory: Path, *, seed: int, seconds: float, size: int = 3, clients: int = 6, kinds: Sequence[str] = ()
) -> Report:
    """Faults over a cluster under load; see `Nemesis.run`."""
    history = History()
    async with Cluster(directory, FLAGS) as cluster:
        await cluster.start(size)
        traffic = Traffic(history, [member.url for member in cluster.members], clients=clients, seed=seed)
        watchers = Watchers(history, cluster.members, seed)
        nemesis = Nemesis(cluster, history, watchers, seed)
        traffic.start()
        watchers.start()
        try:
            await nemesis.run(seconds, kinds)
        finally:
            await traffic.stop()
        problems = await finish(cluster, history, watchers)
        return Report(seed, history, problems, nemesis.outcomes, len(cluster.terms))


async def finish(cluster: Cluster, history: History, watchers: Watchers) -> list[str]:
    """Wait until everybody has seen everything, and check it all."""
    recorder = Recorder(98, history, [member.url for member in cluster.members])
    try:
        # The last events are of every kind that a watcher may wait for.
        await _until_done(recorder, pb.PutRequest(key=PREFIX + b"0", value=b"last"))
        revision = await _until_done(recorder, pb.DeleteRangeRequest(key=PREFIX, range_end=PREFIX_END))
    finally:
        await recorder.close()
    await watchers.reach(revision)
    await watchers.stop()
    problems = await compare_hashes(cluster.members, revision)
    return problems + check(history, revision)


async def _until_done(recorder: Recorder, request: pb.PutRequest | pb.DeleteRangeRequest) -> int:
    while True:
        response = await recorder.call(request)
        if response is not None:
            revision: int = response.header.revision
            return revision
        await asyncio.sleep(0.05)


def check(history: History, last_revision: int) -> list[str]:
    """Everything that is wrong."""
    events, problems = merge_events(everything(log) for log in history.watches if log.name.startswith("all"))
    states, more = states_of(events, last_revision)
    problems += more
    if problems:
        return problems
    problems = check_operations(history, states)
    for log in history.watches:
        problems += check_watch(log, events, states)
    return problems


async def compare_hashes(members: Sequence[Member], revision: int) -> list[str]:
    """Every member has the same at one revision. They may still be catching up."""
    hashes = {}
    for member in members:
        while member.name not in hashes:
            try:
                answer = await member.client._unary(
                    "/etcdserverpb.Maintenance/HashKV", pb.HashKVRequest(revision=revision), pb.HashKVResponse
                )
            except EtcdError:
                await asyncio.sleep(0.05)
            else:
                hashes[member.name] = answer.hash, answer.compact_revision
    return [] if len(set(hashes.values())) == 1 else [f"members have different data at {revision}: {hashes}"]
