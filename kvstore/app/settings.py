"""What the flags mean for a member and its ports."""

from __future__ import annotations

from dataclasses import dataclass

from kvstore.app.flags import FlagError, ParsedFlags
from kvstore.app.member import Options
from kvstore.front import FrontLimits, ServerTLS
from kvstore.server.auto_compaction import parse_retention
from kvstore.server.identity import parse_initial_cluster

__all__ = ["Settings", "settings_of"]

GRPC_OVERHEAD_BYTES = 512 << 10
ELECTION_TIMEOUT_MS_MAX = 50_000
LEASE_CHECKPOINT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Settings:
    """A member's options, and how to reach it."""

    options: Options
    listen_client_urls: tuple[str, ...]
    listen_metrics_urls: tuple[str, ...]
    tls: ServerTLS | None
    limits: FrontLimits
    gateway: bool
    log_level: str
    log_outputs: tuple[str, ...]


def settings_of(flags: ParsedFlags) -> Settings:
    """Make sense of the flags together.

    Raises:
        FlagError: they contradict each other, or ask for what is not there.
    """
    _check(flags)
    try:
        retention = parse_retention(flags["auto-compaction-mode"], flags["auto-compaction-retention"])
        members = parse_initial_cluster(flags["initial-cluster"])
    except ValueError as error:
        raise FlagError(str(error)) from None
    if len(members) > 1:
        raise FlagError("--initial-cluster names several members; this version runs a member alone")
    options = Options(
        name=flags["name"],
        data_dir=flags["data-dir"],
        wal_dir=flags["wal-dir"],
        initial_cluster=flags["initial-cluster"],
        initial_cluster_token=flags["initial-cluster-token"],
        initial_advertise_peer_urls=_peer_urls(flags, members),
        advertise_client_urls=flags["advertise-client-urls"],
        heartbeat_interval_ms=flags["heartbeat-interval"],
        election_timeout_ms=max(flags["election-timeout"], 2 * flags["heartbeat-interval"]),
        pre_vote=flags["pre-vote"],
        snapshot_count=flags["snapshot-count"],
        snapshot_catchup_entries=flags["snapshot-catchup-entries"],
        quota_backend_bytes=flags["quota-backend-bytes"],
        max_txn_ops=flags["max-txn-ops"],
        max_request_bytes=flags["max-request-bytes"],
        auto_compaction=retention,
        compaction_sleep_interval_seconds=flags["compaction-sleep-interval"],
        watch_progress_notify_interval_seconds=flags["watch-progress-notify-interval"],
        lease_checkpoint_interval_seconds=LEASE_CHECKPOINT_SECONDS if _gate(flags, "LeaseCheckpoint") else None,
        auth_token=flags["auth-token"],
        auth_token_ttl_seconds=flags["auth-token-ttl"],
        bcrypt_cost=flags["bcrypt-cost"],
        client_cert_auth=flags["client-cert-auth"],
        sync=not flags["unsafe-no-fsync"],
    )
    limits = FrontLimits(
        receive_message_bytes_max=flags["max-request-bytes"] + GRPC_OVERHEAD_BYTES,
        max_concurrent_streams=min(flags["max-concurrent-streams"], (1 << 31) - 1),
        keepalive_min_seconds=flags["grpc-keepalive-min-time"],
        ping_interval_seconds=flags["grpc-keepalive-interval"],
        ping_timeout_seconds=flags["grpc-keepalive-timeout"],
    )
    return Settings(
        options,
        (*flags["listen-client-urls"], *flags["listen-client-http-urls"]),
        flags["listen-metrics-urls"],
        _tls(flags),
        limits,
        flags["enable-grpc-gateway"],
        flags["log-level"],
        flags["log-outputs"],
    )


def _check(flags: ParsedFlags) -> None:
    given = flags.given
    if "listen-client-urls" in given and "advertise-client-urls" not in given:
        raise FlagError("--advertise-client-urls is required when --listen-client-urls is set explicitly")
    heartbeat, election = flags["heartbeat-interval"], flags["election-timeout"]
    if heartbeat <= 0 or election <= 0:
        raise FlagError("--heartbeat-interval and --election-timeout must be >0 (in milliseconds)")
    # The defaults are closer together than etcd's, for a faster election; who sets both gets etcd's rule.
    if {"heartbeat-interval", "election-timeout"} <= given and 5 * heartbeat > election:
        raise FlagError(
            f"--election-timeout[{election}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat}ms]"
        )
    if election > ELECTION_TIMEOUT_MS_MAX:
        raise FlagError(
            f"--election-timeout[{election}ms] is too long, and should be set less than {ELECTION_TIMEOUT_MS_MAX}ms"
        )
    if flags["initial-cluster-state"] not in ("new", "existing"):
        raise FlagError(f'invalid value "{flags["initial-cluster-state"]}" for flag -initial-cluster-state')


def _peer_urls(flags: ParsedFlags, members: dict[str, list[str]]) -> tuple[str, ...]:
    """The advertised peer URLs; without any, those the initial cluster has for us, or the default."""
    name = flags["name"]
    if members and name not in members:
        raise FlagError(f'couldn\'t find local name "{name}" in the initial cluster configuration')
    if "initial-advertise-peer-urls" not in flags.given and members:
        return tuple(members[name])
    return tuple(flags["initial-advertise-peer-urls"])


def _gate(flags: ParsedFlags, name: str) -> bool:
    return any(pair.partition("=")[::2] == (name, "true") for pair in flags["feature-gates"])


def _tls(flags: ParsedFlags) -> ServerTLS | None:
    cert, key = flags["cert-file"], flags["key-file"]
    if not cert and not key:
        if any(url.startswith(("https://", "unixs://")) for url in flags["listen-client-urls"]):
            raise FlagError("TLS key/cert (--cert-file, --key-file) must be provided for client urls with HTTPS scheme")
        return None
    if not cert or not key:
        raise FlagError("--cert-file and --key-file must be given together")
    return ServerTLS(
        cert,
        key,
        flags["trusted-ca-file"] or None,
        flags["client-cert-auth"],
        flags["client-crl-file"] or None,
        flags["tls-min-version"],
        flags["tls-max-version"],
        flags["cipher-suites"],
    )
