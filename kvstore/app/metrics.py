"""What a member exports as metrics, under etcd's names, types, labels and buckets.

Left out is what does not exist here: the Go runtime (`go_*`, `promhttp_*`, `etcd_server_go_version`), the v2 store and
the proxy, the parts of a bbolt commit (`etcd_debugging_disk_backend_commit_*`) and of a snapshot file (`etcd_snap_*`,
`etcd_debugging_snap_save_*`), a pause for the index alone in compactions, the send loops of watches
(`etcd_debugging_server_watch_send_loop_*`), which here do not wait for the network, and writes to the log
apart from their sync (`etcd_disk_wal_write_*`).
Everything is read when asked for; what must be measured where it happens is in `kvstore.server.metrics.MemberMetrics`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kvstore.app.exposition import Family, counter, gauge, histogram, histograms
from kvstore.app.features import FEATURES, stage
from kvstore.app.network_metrics import network_families
from kvstore.etcdpb import rpc_pb2 as pb
from kvstore.server.version import SERVER_VERSION

if TYPE_CHECKING:
    from kvstore.app.member import Member

__all__ = ["member_families"]


def member_families(member: Member) -> Iterator[Family]:
    """Everything about a member, its calls and its process excepted."""
    yield from _server(member)
    yield from _requests(member)
    yield from _mvcc(member)
    yield from _watches(member)
    yield from _compactions(member)
    yield from _leases(member)
    yield from _disk(member)
    yield from network_families(member)


def _server(member: Member) -> Iterator[Family]:
    core, metrics = member.core, member.metrics
    own = core.membership.get(core.headers.member_id)
    version = core.membership.cluster_version.rpartition(".")[0]
    yield gauge("etcd_server_has_leader", bool(core.consensus.leader_id))
    yield gauge("etcd_server_is_leader", core.consensus.is_leader)
    yield gauge("etcd_server_is_learner", own is not None and own.is_learner)
    yield counter("etcd_server_leader_changes_seen_total", metrics.leader_changes)
    yield counter("etcd_server_heartbeat_send_failures_total", member.late_heartbeats)
    yield gauge("etcd_server_snapshot_apply_in_progress_total", metrics.snapshots_in_progress)
    yield counter("etcd_server_learner_promote_failures", labels=("Reason",), samples=metrics.promote_failures.items())
    yield counter("etcd_server_learner_promote_successes", metrics.promote_successes)
    yield gauge("etcd_server_quota_backend_bytes", core.quota.limit_bytes)
    yield _info("etcd_server_version", "server_version", SERVER_VERSION)
    yield _info("etcd_cluster_version", "cluster_version", *((version,) if version else ()))
    yield _info("etcd_server_id", "server_id", f"{core.headers.member_id:x}")
    yield gauge(
        "etcd_server_feature_enabled",
        labels=("name", "stage"),
        samples=[((name, stage(name)), member.options.feature(name)) for name in FEATURES],
    )
    alarms = [
        ((f"{alarm.memberID:x}", pb.AlarmType.Name(alarm.alarm)), 1) for alarm in core.alarms.get() if alarm.alarm
    ]
    yield gauge("etcd_debugging_server_alarms", labels=("server_id", "alarm_type"), samples=alarms)
    yield gauge("etcd_debugging_auth_revision", core.auth.revision)


def _requests(member: Member) -> Iterator[Family]:
    core, metrics = member.core, member.metrics
    yield gauge("etcd_server_proposals_committed_total", core.consensus.commit_index)
    yield gauge("etcd_server_proposals_applied_total", core.proposer.applied_index)
    yield gauge("etcd_server_proposals_pending", core.proposer.pending_count)
    yield counter("etcd_server_proposals_failed_total", core.proposer.failed_count)
    yield counter("etcd_server_read_indexes_failed_total", core.proposer.failed_reads_count)
    yield counter("etcd_server_slow_read_indexes_total", core.proposer.slow_reads_count)
    yield counter("etcd_server_slow_apply_total", metrics.slow_applies)
    yield histograms("etcd_server_request_duration_seconds", ("type", "success"), metrics.request_seconds)
    yield histograms("etcd_server_range_duration_seconds", ("success",), metrics.range_seconds)
    # All requests are of the third version of the API.
    applied = [(("v3", *labels), value) for labels, value in metrics.apply_seconds]
    yield Family("etcd_server_apply_duration_seconds", "histogram", ("version", "op", "success"), applied)


def _mvcc(member: Member) -> Iterator[Family]:
    core, metrics = member.core, member.metrics
    store = core.store
    yield counter("etcd_mvcc_range_total", store.range_count)
    yield counter("etcd_mvcc_put_total", store.put_count)
    yield counter("etcd_mvcc_delete_total", store.delete_count)
    yield counter("etcd_mvcc_txn_total", metrics.txn_count)
    yield gauge("etcd_mvcc_db_total_size_in_bytes", core.backend.size_bytes())
    yield gauge("etcd_mvcc_db_total_size_in_use_in_bytes", core.backend.size_in_use_bytes())
    yield gauge("etcd_mvcc_db_open_read_transactions", 1)  # one that is opened anew after each flush
    yield histogram("etcd_mvcc_hash_duration_seconds", metrics.hash_seconds)
    yield histogram("etcd_mvcc_hash_rev_duration_seconds", metrics.hash_rev_seconds)
    yield gauge("etcd_debugging_mvcc_keys_total", store.index.count(b"\0", b"\0", store.revision))
    yield gauge("etcd_debugging_mvcc_current_revision", store.revision)
    yield gauge("etcd_debugging_mvcc_compact_revision", store.compact_revision)
    yield gauge("etcd_debugging_mvcc_total_put_size_in_bytes", store.put_bytes)


def _watches(member: Member) -> Iterator[Family]:
    hub, metrics = member.core.hub, member.metrics
    yield gauge("etcd_debugging_mvcc_watch_stream_total", hub.stream_count)
    yield gauge("etcd_debugging_mvcc_watcher_total", hub.watcher_count)
    yield gauge("etcd_debugging_mvcc_slow_watcher_total", hub.slow_watcher_count)
    yield gauge("etcd_debugging_mvcc_pending_events_total", hub.pending_event_count)
    yield counter("etcd_debugging_mvcc_events_total", metrics.events_sent)


def _compactions(member: Member) -> Iterator[Family]:
    metrics = member.metrics
    prefix = "etcd_debugging_mvcc_db_compaction_"
    yield histogram(f"{prefix}pause_duration_milliseconds", metrics.compaction_pause_milliseconds)
    yield histogram(f"{prefix}total_duration_milliseconds", metrics.compaction_total_milliseconds)
    yield counter(f"{prefix}keys_total", metrics.compaction_keys)
    yield gauge(f"{prefix}last", metrics.compaction_last)


def _leases(member: Member) -> Iterator[Family]:
    metrics = member.metrics
    yield counter("etcd_debugging_lease_granted_total", metrics.lease_granted)
    yield counter("etcd_debugging_lease_revoked_total", metrics.lease_revoked)
    yield counter("etcd_debugging_lease_renewed_total", member.core.lessor.renewed_count)
    yield histogram("etcd_debugging_lease_ttl_total", metrics.lease_ttl)
    yield counter("etcd_debugging_server_lease_expired_total", metrics.lease_expired)


def _disk(member: Member) -> Iterator[Family]:
    metrics = member.metrics
    yield histogram("etcd_disk_wal_fsync_duration_seconds", metrics.wal_fsync_seconds)
    yield histogram("etcd_disk_backend_commit_duration_seconds", metrics.backend_commit_seconds)
    yield histogram("etcd_disk_backend_defrag_duration_seconds", metrics.backend_defrag_seconds)
    yield histogram("etcd_disk_backend_snapshot_duration_seconds", metrics.backend_snapshot_seconds)
    yield gauge("etcd_disk_defrag_inflight", metrics.defrag_inflight)


def _info(name: str, label: str, *values: str) -> Family:
    return gauge(name, labels=(label,), samples=[((value,), 1) for value in values])
