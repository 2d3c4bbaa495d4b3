"""A running member: its services, what it does beside them, and how it comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from kvstore.app.corruption_checks import CorruptionChecks
from kvstore.app.options import Options
from kvstore.app.services import Services
from kvstore.backend import BackendError
from kvstore.client.in_process import InProcessClient
from kvstore.errors import EtcdError
from kvstore.etcdpb import membership_pb2
from kvstore.server import catalogue
from kvstore.server.auto_compaction import AutoCompaction
from kvstore.server.bootstrap import RemovedError
from kvstore.server.consensus import RunningConsensus
from kvstore.server.core import MemberCore
from kvstore.server.data_dir import DataDir
from kvstore.server.disk_space import DiskSpace, SpaceKeeper
from kvstore.server.downgrade import VersionMonitor
from kvstore.server.identity import Identity
from kvstore.server.lease_keeper import LeaseKeeper
from kvstore.server.machine import LoggedMachine
from kvstore.server.metrics import MemberMetrics
from kvstore.server.peer_answers import PeerAnswers
from kvstore.server.progress import ProgressReporter
from raft.errors import RaftError

if TYPE_CHECKING:
    from raft.runtime.peer_stats import TransportStats

__all__ = ["Member", "fail"]

HAND_OVER_SECONDS = 2.0
"""How long a leader that stops waits for the next one."""

REMOVED_PAUSE_SECONDS = 1.0
"""How long a removed member stays, so that the others can learn of the removal from it."""

logger = logging.getLogger(__name__)


class Member:
    """A member that runs, until `stop`.

    Attributes:
        metrics: what is measured where it happens.
        corruption_checks: whether the members agree about the data.
        failed: done, with the reason, when the log could not be written and the member is of no more use.
    """

    def __init__(
        self,
        options: Options,
        core: MemberCore,
        consensus: RunningConsensus,
        data_dir: DataDir,
        space: DiskSpace,
        machine: LoggedMachine,
        failed: asyncio.Future[None],
        metrics: MemberMetrics,
        answers: PeerAnswers,
    ) -> None:
        self.core = core
        self.metrics = metrics
        self.failed = failed
        self.options = options
        self._consensus = consensus
        self._data_dir = data_dir
        self._machine = machine
        clock = core.environment.clock
        self.corruption_checks = CorruptionChecks.of(core, options)
        services = self._services = Services.of(core, self.corruption_checks.hashes)
        answers.begin(services.cluster, services.lease, services.maintenance)
        self._lease_keeper = LeaseKeeper(
            core.lessor, core.proposer, clock, options.lease_checkpoint_interval_seconds, metrics
        )
        self._auto_compaction = AutoCompaction(
            core.store, core.proposer, core.consensus, clock, options.auto_compaction
        )
        self._progress = ProgressReporter(core.hub, core.environment, options.watch_progress_notify_interval_seconds)
        self._version_monitor = VersionMonitor(core, clock)
        self._space_keeper = SpaceKeeper(core, space, clock)
        self._space_alarm: asyncio.Task[None] | None = None
        self._stopped = False
        failed.add_done_callback(self._on_failure)
        machine.on_leadership = self._on_leadership
        machine.on_removed = self._on_removed
        machine.on_restored = self._on_restored

    def _on_leadership(self, is_leader: bool) -> None:
        core = self.core
        core.proposer.note_leader_change()
        core.leader_loss.leader_is(core.consensus.leader_id)
        if len(core.membership.members()) == 1:
            return
        logger.info(
            "leader changed",
            extra={"fields": {"leader-id": f"{core.consensus.leader_id:x}", "term": core.consensus.term}},
        )

    def _on_removed(self) -> None:
        """The cluster goes on without this member, which stops once the others had time to notice."""
        self.core.environment.clock.call_later(REMOVED_PAUSE_SECONDS, lambda: fail(self.failed, RemovedError()))

    def _on_restored(self) -> None:
        self._continue_compaction()

    def _on_failure(self, _: asyncio.Future[None]) -> None:
        """Whoever waits is told at once; reads that need no leader go on until `stop`."""
        self.core.proposer.refuse_all(catalogue.STOPPED)
        self._services.watch.end_all(catalogue.STOPPED.error())

    def notice_no_space(self) -> None:
        """A write that the log had taken did not fit: raise the alarm, unless it is raised."""
        if not self.core.has_space_alarm and self._space_alarm is None:
            fields = {"quota-size-bytes": self.core.quota.limit_bytes}
            logger.warning("message exceeded backend quota; raising alarm", extra={"fields": fields})
            self._space_alarm = asyncio.get_running_loop().create_task(self._raise_space_alarm())

    async def _raise_space_alarm(self) -> None:
        try:
            await self.core.raise_space_alarm()
        except EtcdError as error:  # the next write that does not fit tries again
            logger.warning("failed to raise the NOSPACE alarm", extra={"fields": {"error": error.message}})
        finally:
            self._space_alarm = None

    @property
    def identity(self) -> Identity:
        """The member's and the cluster's id."""
        return Identity(self.core.headers.member_id, self.core.headers.cluster_id)

    @property
    def network(self) -> TransportStats | None:
        """Figures of the traffic with other members; None for a member that will always be alone."""
        return self._consensus.network

    @property
    def late_heartbeats(self) -> int:
        """Heartbeats of this member, as a leader, that went out more than one interval late."""
        return self._consensus.late_heartbeats

    def client(self) -> InProcessClient:
        """A client of this member, without a network between."""
        services = self._services
        return InProcessClient(services.kv, services.watch, services.lease, services.maintenance)

    def services(self) -> Services:
        """The services, for a front to serve."""
        return self._services

    def start(self) -> None:
        """Begin the work in the background."""
        self._lease_keeper.start()
        self._auto_compaction.start()
        self._progress.start()
        self._version_monitor.start()
        self.corruption_checks.start()
        self._space_keeper.start()
        self._continue_compaction()
        self.core.leader_loss.leader_is(self.core.consensus.leader_id)

    def _continue_compaction(self) -> None:
        pending = self.core.store.pending_compaction()
        if pending is not None:
            self.core.compactor.start(self.core.store.compact_revision, pending)

    async def publish(self) -> None:
        """Tell the cluster our name and client URLs, unless it knows them; and its version, if it has none.

        Raises:
            EtcdError: no leader took it in time.
        """
        core, options = self.core, self.options
        urls = options.advertise_client_urls
        known = core.membership.get(core.headers.member_id)
        if known is None or (known.name, known.client_urls) != (options.name, urls):
            attributes = membership_pb2.Attributes(name=options.name, client_urls=urls)
            request = membership_pb2.ClusterMemberAttrSetRequest(
                member_ID=core.headers.member_id, member_attributes=attributes
            )
            await core.proposer.propose("cluster_member_attr_set", request)
        await self._version_monitor.update()

    async def ready(self) -> None:
        """Return when the member has a leader and has told the cluster about itself.

        Raises:
            EtcdError: that took longer than a request may.
        """
        # Caught up first: of what is proposed while the leader's database is on its way nobody can tell what became.
        await self.core.proposer.linearize()
        await self.publish()
        await self.core.proposer.linearize()

    async def join(self) -> None:
        """Return when `ready` has; a cluster may take any time to come together."""
        while True:
            try:
                return await self.ready()
            except EtcdError as error:
                logger.warning(
                    "failed to publish local member to cluster through raft",
                    extra={"fields": {"local-member-id": f"{self.identity.member_id:x}", "error": error.message}},
                )

    async def stop(self) -> None:
        """Refuse what comes, stop, and write what is left to write. Harmless when stopped already."""
        if self._stopped:
            return
        self._stopped = True
        await self.hand_over()
        self.core.leader_loss.stop()
        self._services.watch.end_all(catalogue.STOPPED.error())
        for part in (
            self._lease_keeper,
            self._auto_compaction,
            self._progress,
            self._version_monitor,
            self.corruption_checks,
            self._space_keeper,
            self.core.compactor,
        ):
            await part.stop()
        self.core.proposer.refuse_all(catalogue.STOPPED)
        self.core.passwords.close()
        await self._consensus.stop()
        if self._machine.snapshotter is not None:
            await self._machine.snapshotter.stop()
        try:
            await self.core.backend.close()
        except BackendError as error:  # nothing is lost: the log has it, and the next start reads more of the log
            logger.warning("failed to write the database", extra={"fields": {"error": str(error)}})
        self._data_dir.release()

    async def hand_over(self) -> None:
        """Let somebody else lead, rather than have the others wait until they miss us. What comes here goes on."""
        core = self.core
        if not core.consensus.is_leader or len(core.membership.voters()) < 2 or self.failed.done():
            return
        matches = core.consensus.matches() or {}
        others = [voter.member_id for voter in core.membership.voters() if voter.member_id != core.headers.member_id]
        connected = [member_id for member_id in others if core.consensus.connected_seconds(member_id) is not None]
        if connected:
            with contextlib.suppress(TimeoutError, RaftError):  # whoever was to lead stops too, it may be
                async with asyncio.timeout(HAND_OVER_SECONDS):
                    await core.consensus.transfer_leadership(max(connected, key=lambda other: matches.get(other, 0)))


def fail(failed: asyncio.Future[None], error: Exception) -> None:
    """Tell whoever looks after a member why it is of no more use; the first reason counts."""
    if not failed.done():
        failed.set_exception(error)
