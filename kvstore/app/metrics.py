"""`/metrics`: the families dashboards and alerts of etcd read, in Prometheus' text form."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from kvstore.errors import StatusCode
from kvstore.front import Kind, Method
from kvstore.server.metrics import Histogram
from kvstore.server.version import CLUSTER_VERSION, SERVER_VERSION

if TYPE_CHECKING:
    from kvstore.app.member import Member

__all__ = ["CallCounters", "render_metrics"]

_CODE_NAMES = {
    StatusCode.OK: "OK",
    StatusCode.CANCELLED: "Canceled",
    StatusCode.UNKNOWN: "Unknown",
    StatusCode.INVALID_ARGUMENT: "InvalidArgument",
    StatusCode.DEADLINE_EXCEEDED: "DeadlineExceeded",
    StatusCode.NOT_FOUND: "NotFound",
    StatusCode.ALREADY_EXISTS: "AlreadyExists",
    StatusCode.PERMISSION_DENIED: "PermissionDenied",
    StatusCode.RESOURCE_EXHAUSTED: "ResourceExhausted",
    StatusCode.FAILED_PRECONDITION: "FailedPrecondition",
    StatusCode.ABORTED: "Aborted",
    StatusCode.OUT_OF_RANGE: "OutOfRange",
    StatusCode.UNIMPLEMENTED: "Unimplemented",
    StatusCode.INTERNAL: "Internal",
    StatusCode.UNAVAILABLE: "Unavailable",
    StatusCode.DATA_LOSS: "DataLoss",
    StatusCode.UNAUTHENTICATED: "Unauthenticated",
}
_KIND_NAMES = {Kind.UNARY: "unary", Kind.SERVER_STREAM: "server_stream", Kind.BIDI_STREAM: "bidi_stream"}


class CallCounters:
    """`kvstore.front.CallObserver` that counts."""

    def __init__(self) -> None:
        self.started: dict[Method, int] = {}
        self.handled: dict[tuple[Method, StatusCode], int] = {}
        self.received: dict[Method, int] = {}
        self.sent: dict[Method, int] = {}
        self.received_bytes = 0
        self.sent_bytes = 0

    def call_started(self, method: Method) -> None:
        """See `CallObserver`."""
        self.started[method] = self.started.get(method, 0) + 1

    def message_received(self, method: Method, size_bytes: int) -> None:
        """See `CallObserver`."""
        self.received[method] = self.received.get(method, 0) + 1
        self.received_bytes += size_bytes

    def message_sent(self, method: Method, size_bytes: int) -> None:
        """See `CallObserver`."""
        self.sent[method] = self.sent.get(method, 0) + 1
        self.sent_bytes += size_bytes

    def call_finished(self, method: Method, code: StatusCode, duration_seconds: float) -> None:
        """See `CallObserver`."""
        self.handled[method, code] = self.handled.get((method, code), 0) + 1


def render_metrics(member: Member, calls: CallCounters) -> str:
    """Everything, as text."""
    lines: list[str] = []
    for name, value in _gauges(member):
        _family(lines, name, "gauge", [({}, value)])
    for name, value in _counters(member):
        _family(lines, name, "counter", [({}, value)])
    member_id = f"{member.core.headers.member_id:x}"
    _family(lines, "etcd_server_version", "gauge", [({"server_version": SERVER_VERSION}, 1)])
    _family(lines, "etcd_cluster_version", "gauge", [({"cluster_version": CLUSTER_VERSION.rpartition(".")[0]}, 1)])
    _family(lines, "etcd_server_id", "gauge", [({"server_id": member_id}, 1)])
    _histogram(lines, "etcd_disk_wal_fsync_duration_seconds", member.metrics.wal_fsync_seconds)
    _histogram(lines, "etcd_disk_backend_commit_duration_seconds", member.metrics.backend_commit_seconds)
    _grpc(lines, calls)
    return "\n".join(lines) + "\n"


def _gauges(member: Member) -> Iterable[tuple[str, float]]:
    core = member.core
    yield "etcd_server_has_leader", bool(core.consensus.leader_id)
    yield "etcd_server_is_leader", core.consensus.is_leader
    own = core.membership.get(core.headers.member_id)
    yield "etcd_server_is_learner", own is not None and own.is_learner
    yield "etcd_server_proposals_committed_total", core.consensus.commit_index
    yield "etcd_server_proposals_applied_total", core.proposer.applied_index
    yield "etcd_server_proposals_pending", core.proposer.pending_count
    yield "etcd_server_quota_backend_bytes", core.quota.limit_bytes
    yield "etcd_mvcc_db_total_size_in_bytes", core.backend.size_bytes()
    yield "etcd_mvcc_db_total_size_in_use_in_bytes", core.backend.size_in_use_bytes()
    yield "etcd_debugging_mvcc_keys_total", core.store.index.count(b"\0", b"\0", core.store.revision)
    yield "etcd_debugging_mvcc_current_revision", core.store.revision
    yield "etcd_debugging_mvcc_compact_revision", core.store.compact_revision
    yield "etcd_debugging_auth_revision", core.auth.revision
    yield "etcd_debugging_mvcc_watcher_total", core.hub.watcher_count
    yield "etcd_debugging_mvcc_watch_stream_total", core.hub.stream_count
    yield "etcd_debugging_mvcc_slow_watcher_total", core.hub.slow_watcher_count
    with open("/proc/self/statm", "rb") as statm:
        yield "process_resident_memory_bytes", int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    yield "process_open_fds", len(os.listdir("/proc/self/fd"))
    yield "process_max_fds", resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _counters(member: Member) -> Iterable[tuple[str, float]]:
    core = member.core
    yield "etcd_server_leader_changes_seen_total", member.metrics.leader_changes
    yield "etcd_server_proposals_failed_total", core.proposer.failed_count
    yield "etcd_mvcc_put_total", core.store.put_count
    yield "etcd_mvcc_delete_total", core.store.delete_count
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield "process_cpu_seconds_total", usage.ru_utime + usage.ru_stime


def _grpc(lines: list[str], calls: CallCounters) -> None:
    for name, counts in (
        ("grpc_server_started_total", calls.started),
        ("grpc_server_msg_received_total", calls.received),
        ("grpc_server_msg_sent_total", calls.sent),
    ):
        _family(lines, name, "counter", [(_method_labels(method), count) for method, count in counts.items()])
    handled = [
        ({"grpc_code": _CODE_NAMES[code], **_method_labels(method)}, count)
        for (method, code), count in calls.handled.items()
    ]
    _family(lines, "grpc_server_handled_total", "counter", handled)
    _family(lines, "etcd_network_client_grpc_received_bytes_total", "counter", [({}, calls.received_bytes)])
    _family(lines, "etcd_network_client_grpc_sent_bytes_total", "counter", [({}, calls.sent_bytes)])


def _method_labels(method: Method) -> dict[str, str]:
    return {"grpc_method": method.name, "grpc_service": method.service, "grpc_type": _KIND_NAMES[method.kind]}


def _family(lines: list[str], name: str, kind: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> None:
    lines.append(f"# TYPE {name} {kind}")
    lines.extend(f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples)


def _histogram(lines: list[str], name: str, histogram: Histogram) -> None:
    lines.append(f"# TYPE {name} histogram")
    total = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        total += count
        lines.append(f'{name}_bucket{{le="{"+Inf" if bound == float("inf") else f"{bound:g}"}"}} {total}')
    lines.append(f"{name}_sum {histogram.sum:g}")
    lines.append(f"{name}_count {total}")


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{key}="{labels[key]}"' for key in sorted(labels)) + "}" if labels else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"
