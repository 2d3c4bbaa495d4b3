"""What the flags mean for a member and its ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvstore.app.features import EARLIER_FLAGS_OF_FEATURES
from kvstore.app.flags import FlagError, ParsedFlags
from kvstore.app.logs import LogSettings
from kvstore.app.options import Options
from kvstore.app.validation import check_flags
from kvstore.front import AccessControl, FrontLimits, ServerTLS, SocketOptions
from kvstore.server.auto_compaction import parse_retention
from kvstore.server.identity import parse_initial_cluster

if TYPE_CHECKING:
    from raft.runtime.peer_tls import PeerTLS

__all__ = ["AutoTLS", "Settings", "log_settings_of", "settings_of"]

GRPC_OVERHEAD_BYTES = 512 << 10
LEASE_CHECKPOINT_SECONDS = 300.0
STREAMS_MAX = (1 << 31) - 1

GO_KEEPALIVE_MIN_SECONDS = 300.0
GO_PING_INTERVAL_SECONDS = 7_200.0
GO_PING_TIMEOUT_SECONDS = 20.0
"""grpc-go's defaults."""


@dataclass(frozen=True, slots=True)
class AutoTLS:
    """Whose certificate is to be made at the start: `--auto-tls`, `--peer-auto-tls`.

    Attributes:
        validity_years: how long it is to be valid.
        min_version, max_version, cipher_suites: what goes for clients' connections all the same.
    """

    client: bool = False
    peer: bool = False
    validity_years: int = 1
    min_version: str = ""
    max_version: str = ""
    cipher_suites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """A member's options, and how to reach it.

    Attributes:
        listen_client_urls: gRPC and HTTP, or gRPC alone when there are `listen_client_http_urls`.
    """

    options: Options
    listen_client_urls: tuple[str, ...]
    listen_client_http_urls: tuple[str, ...]
    listen_metrics_urls: tuple[str, ...]
    tls: ServerTLS | None
    auto_tls: AutoTLS
    limits: FrontLimits
    access: AccessControl
    sockets: SocketOptions
    gateway: bool
    logs: LogSettings


def settings_of(flags: ParsedFlags) -> Settings:
    """Make sense of the flags together.

    Raises:
        FlagError: they contradict each other, or ask for what is not there.
    """
    check_flags(flags)
    return Settings(
        options=_options(flags),
        listen_client_urls=flags["listen-client-urls"],
        listen_client_http_urls=flags["listen-client-http-urls"],
        listen_metrics_urls=flags["listen-metrics-urls"],
        tls=_client_tls(flags),
        auto_tls=_auto_tls(flags),
        limits=_limits(flags),
        access=AccessControl(flags["cors"], frozenset(flags["host-whitelist"])),
        sockets=SocketOptions(flags["socket-reuse-port"], flags["socket-reuse-address"]),
        gateway=flags["enable-grpc-gateway"],
        logs=log_settings_of(flags),
    )


def log_settings_of(flags: ParsedFlags) -> LogSettings:
    """How to log; asked for before everything else, so that what is wrong with the rest can be logged."""
    return LogSettings(
        level=flags["log-level"],
        format=flags["log-format"],
        outputs=flags["log-outputs"],
        rotation=flags["log-rotation-config-json"] if flags["enable-log-rotation"] else None,
    )


def _options(flags: ParsedFlags) -> Options:
    try:
        retention = parse_retention(flags["auto-compaction-mode"], flags["auto-compaction-retention"])
        members = parse_initial_cluster(flags["initial-cluster"])
    except ValueError as error:
        raise FlagError(str(error)) from None
    features = _features(flags)
    return Options(
        name=flags["name"],
        data_dir=flags["data-dir"],
        wal_dir=flags["wal-dir"],
        initial_cluster=flags["initial-cluster"],
        initial_cluster_state=flags["initial-cluster-state"],
        initial_cluster_token=flags["initial-cluster-token"],
        initial_advertise_peer_urls=_peer_urls(flags, members),
        listen_peer_urls=flags["listen-peer-urls"],
        peer_tls=_peer_tls(flags),
        advertise_client_urls=flags["advertise-client-urls"],
        heartbeat_interval_ms=flags["heartbeat-interval"],
        election_timeout_ms=max(flags["election-timeout"], 2 * flags["heartbeat-interval"]),
        pre_vote=flags["pre-vote"],
        force_new_cluster=flags["force-new-cluster"],
        strict_reconfig_check=flags["strict-reconfig-check"],
        max_learners=flags["max-learners"],
        snapshot_count=flags["snapshot-count"],
        snapshot_catchup_entries=flags["snapshot-catchup-entries"],
        max_snapshots=flags["max-snapshots"],
        quota_backend_bytes=flags["quota-backend-bytes"],
        backend_batch_interval_seconds=flags["backend-batch-interval"],
        backend_batch_limit=flags["backend-batch-limit"],
        max_txn_ops=flags["max-txn-ops"],
        max_request_bytes=flags["max-request-bytes"],
        auto_compaction=retention,
        compaction_batch_limit=flags["compaction-batch-limit"],
        compaction_sleep_interval_seconds=flags["compaction-sleep-interval"],
        watch_progress_notify_interval_seconds=flags["watch-progress-notify-interval"],
        lease_checkpoint_interval_seconds=LEASE_CHECKPOINT_SECONDS if features.get("LeaseCheckpoint") else None,
        auth_token=flags["auth-token"],
        auth_token_ttl_seconds=flags["auth-token-ttl"],
        bcrypt_cost=flags["bcrypt-cost"],
        client_cert_auth=flags["client-cert-auth"],
        corrupt_check_seconds=flags["corrupt-check-time"],
        compact_hash_check_seconds=flags["compact-hash-check-time"],
        downgrade_check_seconds=flags["downgrade-check-time"],
        warning_apply_seconds=flags["warning-apply-duration"],
        warning_unary_request_seconds=flags["warning-unary-request-duration"],
        extensive_metrics=flags["metrics"] == "extensive",
        features=features,
        sync=not flags["unsafe-no-fsync"],
    )


def _features(flags: ParsedFlags) -> Mapping[str, bool]:
    """The feature gates that were set, by their own flag or by the flags they were before 3.6."""
    earlier = {name: flags[flag] for flag, name in EARLIER_FLAGS_OF_FEATURES.items() if flag in flags.given}
    return {**earlier, **flags["feature-gates"]}


def _limits(flags: ParsedFlags) -> FrontLimits:
    """Zeros mean what they mean to etcd, which then leaves it to grpc-go."""
    interval, timeout = flags["grpc-keepalive-interval"], flags["grpc-keepalive-timeout"]
    pings = interval > 0 and timeout > 0
    return FrontLimits(
        receive_message_bytes_max=flags["max-request-bytes"] + GRPC_OVERHEAD_BYTES,
        max_concurrent_streams=min(flags["max-concurrent-streams"], STREAMS_MAX),
        keepalive_min_seconds=flags["grpc-keepalive-min-time"] or GO_KEEPALIVE_MIN_SECONDS,
        ping_interval_seconds=interval if pings else GO_PING_INTERVAL_SECONDS,
        ping_timeout_seconds=timeout if pings else GO_PING_TIMEOUT_SECONDS,
    )


def _peer_urls(flags: ParsedFlags, members: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The advertised peer URLs; without any, those the initial cluster has for us, or the default."""
    name = flags["name"]
    if members and name not in members:
        raise FlagError(f'couldn\'t find local name "{name}" in the initial cluster configuration')
    if "initial-advertise-peer-urls" not in flags.given and members:
        return tuple(members[name])
    return tuple(flags["initial-advertise-peer-urls"])


def _client_tls(flags: ParsedFlags) -> ServerTLS | None:
    if not flags["cert-file"]:
        return None
    return ServerTLS(
        flags["cert-file"],
        flags["key-file"],
        flags["trusted-ca-file"] or None,
        flags["client-cert-auth"],
        flags["client-crl-file"] or None,
        flags["tls-min-version"],
        flags["tls-max-version"],
        flags["cipher-suites"],
        flags["client-cert-allowed-hostname"],
    )


def _peer_tls(flags: ParsedFlags) -> PeerTLS | None:
    """TLS between members; gRPC chooses version and ciphers by itself there."""
    if not flags["peer-cert-file"]:
        return None
    from raft.runtime.peer_tls import PeerTLS

    try:
        return PeerTLS(
            flags["peer-cert-file"],
            flags["peer-key-file"],
            flags["peer-trusted-ca-file"] or None,
            flags["peer-client-cert-file"] or None,
            flags["peer-client-key-file"] or None,
            flags["peer-client-cert-auth"],
            flags["peer-crl-file"] or None,
            flags["peer-cert-allowed-cn"],
            flags["peer-cert-allowed-hostname"],
            flags["peer-skip-client-san-verification"],
        )
    except ValueError as error:
        raise FlagError(str(error)) from None


def _auto_tls(flags: ParsedFlags) -> AutoTLS:
    """Certificates that are given are used; etcd says so and goes on."""
    return AutoTLS(
        client=flags["auto-tls"] and not flags["cert-file"],
        peer=flags["peer-auto-tls"] and not flags["peer-cert-file"],
        validity_years=flags["self-signed-cert-validity"],
        min_version=flags["tls-min-version"],
        max_version=flags["tls-max-version"],
        cipher_suites=flags["cipher-suites"],
    )
