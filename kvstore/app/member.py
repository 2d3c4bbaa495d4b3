"""From options to a running member: the one place where the store's parts are chosen and joined."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from kvstore.app.corruption_checks import CorruptionChecks
from kvstore.app.options import Options
from kvstore.apply import Alarms, Applier, HeaderSource, Membership, Quota, StateMachine
from kvstore.apply import Member as ClusterMember
from kvstore.auth import AuthStore
from kvstore.backend import FLUSH_INTERVAL_SECONDS, FLUSH_OPERATIONS, BackendError, LMDBBackend
from kvstore.client.in_process import InProcessClient
from kvstore.environment import Environment
from kvstore.errors import EtcdError
from kvstore.etcdpb import membership_pb2
from kvstore.mvcc import Lessor, Store, WatchHub
from kvstore.server import catalogue
from kvstore.server.access import Access
from kvstore.server.apply_timer import ApplyTimer
from kvstore.server.auth import AuthService
from kvstore.server.auto_compaction import AutoCompaction
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
from kvstore.server.identity import Identity, derive_identity, parse_initial_cluster
from kvstore.server.kv import KVService
from kvstore.server.lease import LeaseService
from kvstore.server.lease_keeper import LeaseKeeper
from kvstore.server.lock import LockService
from kvstore.server.machine import LoggedMachine
from kvstore.server.maintenance import MaintenanceService
from kvstore.server.metrics import MemberMetrics
from kvstore.server.passwords import PasswordHasher
from kvstore.server.progress import ProgressReporter
from kvstore.server.proposer import Proposer
from kvstore.server.request_ids import RequestIds
from kvstore.server.snapshotter import Snapshotter
from kvstore.server.tokens import parse_token_options
from kvstore.server.watch import WatchService
from raft.errors import RaftError

__all__ = ["Member", "Options", "Services", "StartError", "start_member"]

_IDENTITY_KEY = b"local"
"""In the `cluster` bucket: the same bytes as the log's metadata."""

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

    def by_name(self) -> Mapping[str, object]:
        """The services by full name, as a front wants them."""
        return {
            "etcdserverpb.KV": self.kv,
            "etcdserverpb.Watch": self.watch,
            "etcdserverpb.Lease": self.lease,
            "etcdserverpb.Cluster": self.cluster,
            "etcdserverpb.Maintenance": self.maintenance,
            "etcdserverpb.Auth": self.auth,
            "v3lockpb.Lock": self.lock,
            "v3electionpb.Election": self.election,
        }


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
        self._services = Services(
            kv,
            watch,
            lease,
            ClusterService(core),
            MaintenanceService(core, self.corruption_checks.hashes),
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
        await self.publish()
        await self.core.proposer.linearize()

    async def stop(self) -> None:
        """Refuse what comes, stop, and write what is left to write. Harmless when stopped already."""
        if self._stopped:
            return
        self._stopped = True
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
        membership = Membership(backend)
        membership.restore()
        identity = await _identity(options, backend, membership)
        return await _assemble(options, environment, data_dir, backend, membership, identity, start_consensus)
    except ValueError as error:
        await backend.close()
        raise StartError(str(error)) from error
    except (RaftError, OSError) as error:
        await backend.close()
        raise StartError(f"cannot use the log: {error}") from error
    except BaseException:
        await backend.close()
        raise


async def _identity(options: Options, backend: LMDBBackend, membership: Membership) -> Identity:
    """Who this member is: as the database has it, or on first start as the flags say, which is then written down."""
    stored = backend.get("cluster", _IDENTITY_KEY)
    if stored is not None:
        return Identity.decode(stored)
    peer_urls = options.initial_advertise_peer_urls
    initial = options.initial_cluster or ",".join(f"{options.name}={url}" for url in peer_urls)
    members = parse_initial_cluster(initial)
    identity = derive_identity(members, options.name, options.initial_cluster_token)
    if sorted(members[options.name]) != sorted(peer_urls):
        raise ValueError(
            f"--initial-cluster has {','.join(members[options.name])} but missing from "
            f"--initial-advertise-peer-urls={','.join(peer_urls)}"
        )
    for name, urls in members.items():
        member_id = derive_identity(members, name, options.initial_cluster_token).member_id
        membership.put(ClusterMember(member_id, peer_urls=tuple(sorted(urls))))
    backend.put("cluster", _IDENTITY_KEY, identity.encode())
    await backend.flush()
    return identity


async def _assemble(
    options: Options,
    environment: Environment,
    data_dir: DataDir,
    backend: LMDBBackend,
    membership: Membership,
    identity: Identity,
    start_consensus: StartConsensus,
) -> Member:
    clock = environment.clock
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
    machine = LoggedMachine(state_machine, lessor, headers, metrics, options.election_timeout_ms / 1000)
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.add_done_callback(lambda future: future.cancelled() or future.exception())  # nobody need look at it
    settings = ConsensusSettings(
        identity=identity,
        peer_urls={member.member_id: member.peer_urls for member in membership.members()},
        wal_path=data_dir.wal_path,
        snap_path=data_dir.snap_path,
        applied_index=state_machine.applied_index,
        heartbeat_interval_ms=options.heartbeat_interval_ms,
        election_timeout_ms=options.election_timeout_ms,
        catch_up_entries=options.snapshot_catchup_entries,
        pre_vote=options.pre_vote,
        request_timeout_seconds=options.request_timeout_seconds,
        sync=options.sync,
        on_sync=metrics.wal_fsync_seconds.observe,
        on_fatal=lambda error: None if failed.done() else failed.set_exception(error),
    )
    consensus = await start_consensus(settings, machine, environment)
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
        options.max_txn_ops,
        options.max_request_bytes,
        metrics,
        options.warning_apply_seconds,
    )
    member = Member(options, core, consensus, data_dir, space, machine, failed, metrics)
    apply_timer.on_no_space = member.notice_no_space
    try:
        await member.corruption_checks.initial()
    except CorruptionError as error:
        await member.stop()
        raise StartError(str(error)) from error
    member.start()
    if len(membership.members()) == 1:
        try:
            await member.ready()
        except EtcdError as error:
            await member.stop()
            raise StartError(f"the member did not become ready: {error.message}") from error
    return member


def _log_backend_error(error: Exception) -> None:
    logger.warning("failed to write the database; will try again", extra={"fields": {"error": str(error)}})
