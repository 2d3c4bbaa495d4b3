"""What can be chosen about a member."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvstore.app.features import FEATURES
from kvstore.server.auto_compaction import Retention
from kvstore.server.bootstrap import ClusterFlags, parse_cluster
from kvstore.server.compactor import PAUSE_SECONDS
from kvstore.server.passwords import DEFAULT_BCRYPT_COST
from kvstore.server.progress import DEFAULT_PROGRESS_INTERVAL_SECONDS
from kvstore.server.proposer import DEFAULT_REQUEST_BYTES_MAX
from kvstore.server.snapshotter import DEFAULT_CATCH_UP_ENTRIES, DEFAULT_SNAPSHOT_COUNT
from kvstore.server.tokens import DEFAULT_TOKEN_TTL_SECONDS
from kvstore.server.validation import DEFAULT_TXN_OPERATIONS_MAX

if TYPE_CHECKING:
    from raft.runtime.peer_tls import PeerTLS

__all__ = ["Options"]

DEFAULT_PEER_URL = "http://localhost:2380"
DEFAULT_CLIENT_URL = "http://localhost:2379"


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen about a member. Names and defaults are those of etcd's flags, unless design says otherwise.

    Attributes:
        data_dir: "" means `<name>.etcd`.
        initial_cluster: `name=peer URL,…`; "" means this member alone.
        initial_cluster_state: "new", or "existing" to join a cluster that runs.
        listen_peer_urls: where other members reach this one; nobody can join a member that has none.
        peer_tls: certificates between members.
        force_new_cluster: keep the data, forget the other members.
        max_snapshots: snapshot files of the log to keep; 0 for all of them.
        quota_backend_bytes: 0 means 2 GiB, negative no limit.
        lease_checkpoint_interval_seconds: None leaves remaining times to the leader's memory.
        features: feature gates that are not at etcd's default; see `kvstore.app.features`.
        backend_batch_interval_seconds, backend_batch_limit: 0 means the default of the backend.
        auth_token: `simple`, `jwt,…` or "" for no tokens.
        client_cert_auth: whether clients must have certificates, whose common names are then names of users.
        corrupt_check_seconds: 0 means never.
        sync: False acknowledges writes before they are on disk (`--unsafe-no-fsync`).
    """

    name: str = "default"
    data_dir: str = ""
    wal_dir: str = ""
    initial_cluster: str = ""
    initial_cluster_state: str = "new"
    initial_cluster_token: str = "etcd-cluster"  # noqa: S105  a name, not a secret
    initial_advertise_peer_urls: tuple[str, ...] = (DEFAULT_PEER_URL,)
    listen_peer_urls: tuple[str, ...] = ()
    peer_tls: PeerTLS | None = None
    advertise_client_urls: tuple[str, ...] = (DEFAULT_CLIENT_URL,)
    heartbeat_interval_ms: int = 50
    election_timeout_ms: int = 150
    pre_vote: bool = True
    force_new_cluster: bool = False
    strict_reconfig_check: bool = True
    max_learners: int = 1
    snapshot_count: int = DEFAULT_SNAPSHOT_COUNT
    snapshot_catchup_entries: int = DEFAULT_CATCH_UP_ENTRIES
    max_snapshots: int = 5
    quota_backend_bytes: int = 0
    backend_batch_interval_seconds: float = 0.0
    backend_batch_limit: int = 0
    max_txn_ops: int = DEFAULT_TXN_OPERATIONS_MAX
    max_request_bytes: int = DEFAULT_REQUEST_BYTES_MAX
    auto_compaction: Retention = field(default_factory=Retention)
    compaction_batch_limit: int = 1_000
    compaction_sleep_interval_seconds: float = PAUSE_SECONDS
    watch_progress_notify_interval_seconds: float = DEFAULT_PROGRESS_INTERVAL_SECONDS
    lease_checkpoint_interval_seconds: float | None = None
    auth_token: str = "simple"  # noqa: S105  a kind of token
    auth_token_ttl_seconds: int = DEFAULT_TOKEN_TTL_SECONDS
    bcrypt_cost: int = DEFAULT_BCRYPT_COST
    client_cert_auth: bool = False
    corrupt_check_seconds: float = 0.0
    compact_hash_check_seconds: float = 60.0
    downgrade_check_seconds: float = 5.0
    warning_apply_seconds: float = 0.1
    warning_unary_request_seconds: float = 0.3
    extensive_metrics: bool = False
    features: Mapping[str, bool] = field(default_factory=dict)
    sync: bool = True

    @property
    def data_path(self) -> str:
        """Where the member keeps everything."""
        return self.data_dir or f"{self.name}.etcd"

    def cluster_flags(self) -> ClusterFlags:
        """What is said about the cluster.

        Raises:
            BootstrapError: it makes no sense.
        """
        alone = ",".join(f"{self.name}={url}" for url in self.initial_advertise_peer_urls)
        cluster = parse_cluster(self.initial_cluster or alone)
        existing = self.initial_cluster_state == "existing"
        return ClusterFlags(self.name, cluster, self.initial_cluster_token, existing, self.initial_advertise_peer_urls)

    @property
    def minimum_lease_ttl_seconds(self) -> int:
        """Leases shorter than one and a half election timeouts would run out under a change of leader."""
        return max(2, math.ceil(1.5 * self.election_timeout_ms / 1000))

    @property
    def request_timeout_seconds(self) -> float:
        """How long a write may take: five seconds for the disk, two elections for the leader."""
        return 5.0 + 2 * self.election_timeout_ms / 1000

    def feature(self, name: str) -> bool:
        """Whether a feature gate is open; KeyError when there is none of this name."""
        return self.features.get(name, FEATURES[name])
