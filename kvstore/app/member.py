"""From options to a running member: the one place where the store's parts are chosen and joined."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvstore.app.corruption_checks import CorruptionChecks
from kvstore.app.options import Options
from kvstore.apply import Alarms, Applier, HeaderSource, Membership, Quota, StateMachine
from kvstore.auth import AuthStore
from kvstore.backend import FLUSH_INTERVAL_SECONDS, FLUSH_OPERATIONS, BackendError, LMDBBackend
from kvstore.client.in_process import InProcessClient
from kvstore.environment import Environment
from kvstore.errors import EtcdError, StatusCode
from kvstore.etcdpb import membership_pb2
from kvstore.mvcc import Lessor, Store, WatchHub
from kvstore.server import catalogue
from kvstore.server.access import Access
from kvstore.server.apply_timer import ApplyTimer
from kvstore.server.auth import AuthService
from kvstore.server.auto_compaction import AutoCompaction
from kvstore.server.bootstrap import AskUrl, Beginning, BootstrapError, RemovedError, begin
from kvstore.server.cluster import ClusterService
from kvstore.server.compactor import Compactor
from kvstore.server.consensus import ConsensusSettings, RunningConsensus, StartConsensus
from kvstore.server.contention import Contention
from kvstore.server.core import MemberCore
from kvstore.server.corruption import CorruptionError
from kvstore.server.data_dir import DataDir, DataDirError
from kvstore.server.disk_space import DiskSpace, SpaceKeeper
from kvstore.server.downgrade import VersionMonitor
from kvstore.server.election import ElectionService
from kvstore.server.identity import Identity
from kvstore.server.kv import KVService
from kvstore.server.leader_loss import LeaderLoss
from kvstore.server.learner_gate import LearnerGate, LearnerView
from kvstore.server.lease import LeaseService
from kvstore.server.lease_keeper import LeaseKeeper
from kvstore.server.lock import LockService
from kvstore.server.machine import CONF_STATE_KEY, LoggedMachine
from kvstore.server.maintenance import MaintenanceService
from kvstore.server.metrics import MemberMetrics
from kvstore.server.passwords import PasswordHasher
from kvstore.server.peer_answers import PeerAnswers
from kvstore.server.peers import LeaderCalls, PeerSettings
from kvstore.server.progress import ProgressReporter
from kvstore.server.proposer import Proposer
from kvstore.server.request_ids import RequestIds
from kvstore.server.snapshotter import Snapshotter
from kvstore.server.tokens import parse_token_options
from kvstore.server.watch import WatchService
from raft.errors import PeerPortError, RaftError
from raft.wal import WAL

if TYPE_CHECKING:
    from raft.runtime.peer_stats import TransportStats

__all__ = ["Member", "Options", "Services", "StartError", "start_member"]

HAND_OVER_SECONDS = 2.0
"""How long a leader that stops waits for the next one."""

REMOVED_PAUSE_SECONDS = 1.0
"""How long a removed member stays, so that the others can learn of the removal from it."""

logger = logging.getLogger(__name__)


class StartError(Exception):
    """A member cannot start; the message is for whoever started it."""


@dataclass(frozen=True, slots=True)
class Services:
    """The member's services, as async functions over etcd's messages."""

    kv: KVService
    watch: WatchService
    lease: LeaseService
    cluster: ClusterService
    maintenance: MaintenanceService
    auth: AuthService
    lock: LockService
    election: ElectionService

    def by_name(self, member: LearnerView) -> Mapping[str, object]:
        """The services by full name, as a front wants them; they refuse nearly everything while `member` learns."""
        services = {
            "etcdserverpb.KV": self.kv,
            "etcdserverpb.Watch": self.watch,
            "etcdserverpb.Lease": self.lease,
            "etcdserverpb.Cluster": self.cluster,
            "etcdserverpb.Maintenance": self.maintenance,
            "etcdserverpb.Auth": self.auth,
            "v3lockpb.Lock": self.lock,
            "v3electionpb.Election": self.election,
        }
        return {name: LearnerGate(service, member) for name, service in services.items()}


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
        kv, watch, lease = KVService(core), WatchService(core), LeaseService(core)
        contention = Contention(kv, watch, lease)
        self.corruption_checks = CorruptionChecks.of(core, options)
        cluster, maintenance = ClusterService(core), MaintenanceService(core, self.corruption_checks.hashes)
        answers.begin(cluster, lease, maintenance)
        self._services = Services(
            kv,
            watch,
            lease,
            cluster,
            maintenance,
            AuthService(core),
            LockService(core, contention),
            ElectionService(core, contention),
        )
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
        self.core.environment.clock.call_later(REMOVED_PAUSE_SECONDS, lambda: _fail(self.failed, RemovedError()))

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


async def start_member(
    options: Options, environment: Environment, *, start_consensus: StartConsensus | None = None
) -> Member:
    """Start a member from its data directory, or make one.

    Returns when a member that is alone in its cluster is ready for requests; one among several when it has begun to
    look for the others (`Member.ready`).

    Args:
        start_consensus: what replicates the log; Raft unless a test says otherwise.

    Raises:
        StartError: it cannot; the message says why in one line.
        RemovedError: it was removed from its cluster.
    """
    if start_consensus is None:
        from kvstore.server.raft_adapter import start_raft

        start_consensus = start_raft
    try:
        data_dir = DataDir(options.data_path, environment.files, options.wal_dir)
    except DataDirError as error:
        raise StartError(str(error)) from error
    try:
        return await _start(options, environment, data_dir, start_consensus)
    except BaseException:
        data_dir.release()
        raise


async def _start(
    options: Options, environment: Environment, data_dir: DataDir, start_consensus: StartConsensus
) -> Member:
    try:
        backend = LMDBBackend(
            data_dir.database_path,
            environment.clock,
            on_error=_log_backend_error,
            flush_interval_seconds=options.backend_batch_interval_seconds or FLUSH_INTERVAL_SECONDS,
            flush_operations=options.backend_batch_limit or FLUSH_OPERATIONS,
        )
    except BackendError as error:
        raise StartError(f"cannot open the database: {error}") from error
    try:
        membership = Membership(backend, options.max_learners)
        membership.restore()
        beginning = await _begin(options, environment, data_dir, membership)
        return await _assemble(options, environment, data_dir, backend, membership, beginning, start_consensus)
    except (ValueError, BootstrapError, PeerPortError) as error:
        await backend.close()
        raise StartError(str(error)) from error
    except (RaftError, OSError) as error:
        await backend.close()
        raise StartError(f"cannot use the log: {error}") from error
    except BaseException:
        await backend.close()
        raise


async def _begin(options: Options, environment: Environment, data_dir: DataDir, membership: Membership) -> Beginning:
    """Who this member is: as its log has it, or on first start as the flags and the other members say."""
    metadata = WAL.metadata_of(environment.files, data_dir.wal_path)
    flags = options.cluster_flags()
    ask: AskUrl
    if len(flags.initial_cluster) == 1:
        ask = _nobody_to_ask
    else:
        from kvstore.server.peer_port import asking_url

        ask = asking_url(environment, options.peer_tls)
    return await begin(flags, metadata, membership.members(), ask, membership.was_removed)


async def _nobody_to_ask(url: str, method: str, request: bytes, timeout_seconds: float) -> bytes:
    raise EtcdError(StatusCode.UNAVAILABLE, f"{url} is not asked")


async def _assemble(
    options: Options,
    environment: Environment,
    data_dir: DataDir,
    backend: LMDBBackend,
    membership: Membership,
    beginning: Beginning,
    start_consensus: StartConsensus,
) -> Member:
    clock, identity = environment.clock, beginning.identity
    lessor = Lessor(backend, clock.monotonic, options.minimum_lease_ttl_seconds)
    lessor.restore()
    store = Store(backend, lessor)
    store.restore()
    store.compaction_keys_per_step = options.compaction_batch_limit
    alarms = Alarms(backend)
    alarms.restore()
    hub = WatchHub(store)
    space = DiskSpace(data_dir.free_bytes, clock)
    quota = Quota(backend, options.quota_backend_bytes, space.room_bytes)
    headers = HeaderSource(identity.cluster_id, identity.member_id)
    metrics = MemberMetrics()
    compactor = Compactor(clock, store, metrics, options.compaction_sleep_interval_seconds)
    passwords = PasswordHasher(options.bcrypt_cost, environment.randomness)
    make_tokens = parse_token_options(
        options.auth_token, options.auth_token_ttl_seconds, environment, options.request_timeout_seconds
    )
    tokens = make_tokens(lambda: state_machine.applied_index)
    auth = AuthStore(backend, tokens, passwords.hash_now)
    auth.restore()
    applier = Applier(store, alarms, membership, quota, headers, auth, compactor.start)
    state_machine = StateMachine(applier, backend, hub)
    apply_timer = state_machine.observer = ApplyTimer(
        metrics, clock.monotonic, options.request_timeout_seconds, options.warning_apply_seconds
    )
    backend.on_flush = metrics.backend_commit_seconds.observe
    machine = LoggedMachine(
        state_machine,
        backend,
        hub,
        membership,
        lessor,
        store,
        (alarms, membership, auth, state_machine),
        headers,
        metrics,
        compactor,
        options.election_timeout_ms / 1000,
    )
    answers = PeerAnswers()
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.add_done_callback(lambda future: future.cancelled() or future.exception())  # nobody need look at it
    settings = ConsensusSettings(
        identity=identity,
        founders=beginning.founders,
        known=beginning.known,
        peers=_peer_settings(options, answers, membership, lambda: _fail(failed, RemovedError())),
        wal_path=data_dir.wal_path,
        snap_path=data_dir.snap_path,
        applied_index=state_machine.applied_index,
        conf_state=backend.get("meta", CONF_STATE_KEY) or b"",
        force_new_cluster=options.force_new_cluster,
        heartbeat_interval_ms=options.heartbeat_interval_ms,
        election_timeout_ms=options.election_timeout_ms,
        catch_up_entries=options.snapshot_catchup_entries,
        max_snapshots=options.max_snapshots,
        pre_vote=options.pre_vote,
        request_timeout_seconds=options.request_timeout_seconds,
        sync=options.sync,
        on_sync=metrics.wal_fsync_seconds.observe,
        on_round_trip=lambda peer_id, seconds: metrics.round_trip_seconds.of(f"{peer_id:x}").observe(seconds),
        on_fatal=lambda error: None if failed.done() else failed.set_exception(error),
    )
    consensus = await start_consensus(settings, machine, backend, environment)
    machine.snapshotter = Snapshotter(
        state_machine,
        backend,
        consensus.save_snapshot,
        snapshot_count=options.snapshot_count,
        last_index=state_machine.applied_index,
    )
    proposer = Proposer(
        consensus,
        state_machine,
        RequestIds(identity.member_id, clock.now()),
        auth,
        clock,
        timeout_seconds=options.request_timeout_seconds,
        request_bytes_max=options.max_request_bytes,
        request_seconds=metrics.request_seconds,
        changes=machine.changes,
    )
    space.pending_bytes = lambda: proposer.pending_bytes
    core = MemberCore(
        environment,
        backend,
        store,
        lessor,
        hub,
        alarms,
        membership,
        quota,
        headers,
        auth,
        Access(auth, tokens, lessor, options.client_cert_auth),
        tokens,
        passwords,
        consensus,
        proposer,
        compactor,
        LeaderCalls(consensus, consensus.call_peer, clock, options.request_timeout_seconds),
        LeaderLoss(clock, options.election_timeout_ms / 1000),
        options.max_txn_ops,
        options.max_request_bytes,
        metrics,
        options.warning_apply_seconds,
        options.strict_reconfig_check,
    )
    member = Member(options, core, consensus, data_dir, space, machine, failed, metrics, answers)
    apply_timer.on_no_space = member.notice_no_space
    try:
        await member.corruption_checks.initial()
    except CorruptionError as error:
        await member.stop()
        raise StartError(str(error)) from error
    member.start()
    if len(beginning.known) == 1:
        try:
            await member.ready()
        except EtcdError as error:
            await member.stop()
            raise StartError(f"the member did not become ready: {error.message}") from error
    return member


def _peer_settings(
    options: Options, answers: PeerAnswers, membership: Membership, on_removed: Callable[[], None]
) -> PeerSettings | None:
    if not options.listen_peer_urls:
        return None
    return PeerSettings(
        options.listen_peer_urls,
        options.peer_tls,
        answers.handlers(),
        membership.was_removed,
        options.initial_advertise_peer_urls,
        on_removed,
    )


def _fail(failed: asyncio.Future[None], error: Exception) -> None:
    if not failed.done():
        failed.set_exception(error)


def _log_backend_error(error: Exception) -> None:
    logger.warning("failed to write the database; will try again", extra={"fields": {"error": str(error)}})
