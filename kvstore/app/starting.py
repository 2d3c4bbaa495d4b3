"""From options to a running member: the one place where the store's parts are chosen and joined."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvstore.app.member import Member, fail
from kvstore.app.options import Options
from kvstore.apply import Alarms, Applier, HeaderSource, Membership, Quota, StateMachine
from kvstore.auth import AuthStore
from kvstore.backend import FLUSH_INTERVAL_SECONDS, FLUSH_OPERATIONS, BackendError, LMDBBackend
from kvstore.environment import Environment
from kvstore.errors import EtcdError, StatusCode
from kvstore.mvcc import Lessor, Store, WatchHub
from kvstore.server.access import Access
from kvstore.server.apply_timer import ApplyTimer
from kvstore.server.bootstrap import AskUrl, Beginning, BootstrapError, RemovedError, begin
from kvstore.server.compactor import Compactor
from kvstore.server.consensus import ConsensusSettings, RunningConsensus, StartConsensus
from kvstore.server.core import MemberCore
from kvstore.server.corruption import CorruptionError
from kvstore.server.data_dir import DataDir, DataDirError
from kvstore.server.disk_space import DiskSpace
from kvstore.server.identity import Identity
from kvstore.server.leader_loss import LeaderLoss
from kvstore.server.machine import CONF_STATE_KEY, LoggedMachine
from kvstore.server.metrics import MemberMetrics
from kvstore.server.passwords import PasswordHasher
from kvstore.server.peer_answers import PeerAnswers
from kvstore.server.peers import LeaderCalls, PeerSettings
from kvstore.server.proposer import Proposer
from kvstore.server.request_ids import RequestIds
from kvstore.server.snapshotter import Snapshotter
from kvstore.server.tokens import TokenProvider, parse_token_options
from raft.errors import PeerPortError, RaftError
from raft.wal import WAL

if TYPE_CHECKING:
    pass

__all__ = ["StartError", "start_member"]

logger = logging.getLogger(__name__)


class StartError(Exception):
    """A member cannot start; the message is for whoever started it."""


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


@dataclass(frozen=True, slots=True)
class _State:
    """What the log changes, read from the database, and what stands around it."""

    backend: LMDBBackend
    lessor: Lessor
    store: Store
    alarms: Alarms
    hub: WatchHub
    membership: Membership
    auth: AuthStore
    tokens: TokenProvider
    passwords: PasswordHasher
    space: DiskSpace
    quota: Quota
    headers: HeaderSource
    metrics: MemberMetrics
    compactor: Compactor
    machine: StateMachine
    apply_timer: ApplyTimer


def _read_state(
    options: Options,
    environment: Environment,
    data_dir: DataDir,
    backend: LMDBBackend,
    membership: Membership,
    identity: Identity,
) -> _State:
    clock = environment.clock
    lessor = Lessor(backend, clock.monotonic, options.minimum_lease_ttl_seconds)
    lessor.restore()
    store = Store(backend, lessor)
    store.restore()
    store.compaction_keys_per_step = options.compaction_batch_limit
    alarms = Alarms(backend)
    alarms.restore()
    space = DiskSpace(data_dir.free_bytes, clock)
    quota = Quota(backend, options.quota_backend_bytes, space.room_bytes)
    headers = HeaderSource(identity.cluster_id, identity.member_id)
    metrics = MemberMetrics()
    backend.on_flush = metrics.backend_commit_seconds.observe
    compactor = Compactor(clock, store, metrics, options.compaction_sleep_interval_seconds)
    passwords = PasswordHasher(options.bcrypt_cost, environment.randomness)
    make_tokens = parse_token_options(
        options.auth_token, options.auth_token_ttl_seconds, environment, options.request_timeout_seconds
    )
    tokens = make_tokens(lambda: machine.applied_index)
    auth = AuthStore(backend, tokens, passwords.hash_now)
    auth.restore()
    applier = Applier(store, alarms, membership, quota, headers, auth, compactor.start)
    hub = WatchHub(store)
    machine = StateMachine(applier, backend, hub)
    apply_timer = machine.observer = ApplyTimer(
        metrics, clock.monotonic, options.request_timeout_seconds, options.warning_apply_seconds
    )
    return _State(
        backend,
        lessor,
        store,
        alarms,
        hub,
        membership,
        auth,
        tokens,
        passwords,
        space,
        quota,
        headers,
        metrics,
        compactor,
        machine,
        apply_timer,
    )


async def _assemble(
    options: Options,
    environment: Environment,
    data_dir: DataDir,
    backend: LMDBBackend,
    membership: Membership,
    beginning: Beginning,
    start_consensus: StartConsensus,
) -> Member:
    state = _read_state(options, environment, data_dir, backend, membership, beginning.identity)
    machine = LoggedMachine(
        state.machine,
        backend,
        state.hub,
        membership,
        state.lessor,
        state.store,
        (state.alarms, membership, state.auth, state.machine),
        state.headers,
        state.metrics,
        state.compactor,
        options.election_timeout_ms / 1000,
    )
    answers = PeerAnswers()
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.add_done_callback(lambda future: future.cancelled() or future.exception())  # nobody need look at it
    peers = _peer_settings(options, answers, membership, lambda: fail(failed, RemovedError()))
    settings = _consensus_settings(options, data_dir, state, beginning, peers, failed)
    consensus = await start_consensus(settings, machine, backend, environment)
    machine.snapshotter = Snapshotter(
        state.machine,
        backend,
        consensus.save_snapshot,
        snapshot_count=options.snapshot_count,
        last_index=state.machine.applied_index,
    )
    core = _core(options, environment, state, consensus, machine.changes)
    member = Member(options, core, consensus, data_dir, state.space, machine, failed, state.metrics, answers)
    state.apply_timer.on_no_space = member.notice_no_space
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


def _consensus_settings(
    options: Options,
    data_dir: DataDir,
    state: _State,
    beginning: Beginning,
    peers: PeerSettings | None,
    failed: asyncio.Future[None],
) -> ConsensusSettings:
    metrics = state.metrics
    return ConsensusSettings(
        identity=beginning.identity,
        founders=beginning.founders,
        known=beginning.known,
        peers=peers,
        wal_path=data_dir.wal_path,
        snap_path=data_dir.snap_path,
        applied_index=state.machine.applied_index,
        conf_state=state.backend.get("meta", CONF_STATE_KEY) or b"",
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


def _core(
    options: Options,
    environment: Environment,
    state: _State,
    consensus: RunningConsensus,
    changes: dict[int, asyncio.Future[None]],
) -> MemberCore:
    clock = environment.clock
    proposer = Proposer(
        consensus,
        state.machine,
        RequestIds(state.headers.member_id, clock.now()),
        state.auth,
        clock,
        timeout_seconds=options.request_timeout_seconds,
        request_bytes_max=options.max_request_bytes,
        request_seconds=state.metrics.request_seconds,
        changes=changes,
    )
    state.space.pending_bytes = lambda: proposer.pending_bytes
    return MemberCore(
        environment,
        state.backend,
        state.store,
        state.lessor,
        state.hub,
        state.alarms,
        state.membership,
        state.quota,
        state.headers,
        state.auth,
        Access(state.auth, state.tokens, state.lessor, options.client_cert_auth),
        state.tokens,
        state.passwords,
        consensus,
        proposer,
        state.compactor,
        LeaderCalls(consensus, consensus.call_peer, clock, options.request_timeout_seconds),
        LeaderLoss(clock, options.election_timeout_ms / 1000),
        options.max_txn_ops,
        options.max_request_bytes,
        state.metrics,
        options.warning_apply_seconds,
        options.strict_reconfig_check,
    )


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


def _log_backend_error(error: Exception) -> None:
    logger.warning("failed to write the database; will try again", extra={"fields": {"error": str(error)}})
