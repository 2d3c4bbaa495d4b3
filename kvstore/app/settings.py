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

__all__ = ["AutoTLS", "Discovery", "PeerTLSFiles", "Settings", "log_settings_of", "settings_of"]

GRPC_OVERHEAD_BYTES = 512 << 10
LEASE_CHECKPOINT_SECONDS = 300.0
STREAMS_MAX = (1 << 31) - 1

GO_KEEPALIVE_MIN_SECONDS = 300.0
GO_PING_INTERVAL_SECONDS = 7_200.0
GO_PING_TIMEOUT_SECONDS = 20.0
"""grpc-go's defaults."""


@dataclass(frozen=True, slots=True)
class PeerTLSFiles:
    """TLS between members: every `--peer-…` flag, and those that clients and peers share.

    Attributes:
        cert, key: what we show to peers that call.
        client_cert, client_key: what we show to peers we call; `cert` and `key` unless given.
        trusted_ca: who must have signed peers' certificates; "" for nobody in particular.
        client_cert_auth: whether peers that call must have a certificate; implied by `trusted_ca`.
        allowed_cn, allowed_hostname: names of which a calling peer's certificate must have one, unless empty.
        skip_client_san_verification: do not compare a calling peer's address with its certificate.
        self_signed: the certificate is one we made; those of peers we call are not verified then, as etcd does.
    """

    cert: str = ""
    key: str = ""
    client_cert: str = ""
    client_key: str = ""
    trusted_ca: str = ""
    client_cert_auth: bool = False
    crl: str = ""
    allowed_cn: tuple[str, ...] = ()
    allowed_hostname: tuple[str, ...] = ()
    skip_client_san_verification: bool = False
    self_signed: bool = False
    cipher_suites: tuple[str, ...] = ()
    min_version: str = "TLS1.2"
    max_version: str = ""

    def __bool__(self) -> bool:
        """Whether there is a certificate."""
        return bool(self.cert or self.key)


@dataclass(frozen=True, slots=True)
class AutoTLS:
    """Whose certificate is to be made at the start: `--auto-tls`, `--peer-auto-tls`, and how long it is to be valid."""

    client: bool = False
    peer: bool = False
    validity_years: int = 1


@dataclass(frozen=True, slots=True)
class Discovery:
    """How to find the other members of a new cluster: a discovery service, or DNS SRV records of `srv_domain`."""

    token: str = ""
    endpoints: tuple[str, ...] = ()
    dial_timeout_seconds: float = 2.0
    request_timeout_seconds: float = 5.0
    keepalive_time_seconds: float = 2.0
    keepalive_timeout_seconds: float = 6.0
    insecure_transport: bool = True
    insecure_skip_tls_verify: bool = False
    cert: str = ""
    key: str = ""
    ca: str = ""
    user: str = ""
    password: str = ""
    srv_domain: str = ""
    srv_name: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """A member's options, and how to reach it.

    Attributes:
        listen_client_urls: gRPC and HTTP, or gRPC alone when there are `listen_client_http_urls`.
    """

    options: Options
    listen_client_urls: tuple[str, ...]
    listen_client_http_urls: tuple[str, ...]
    listen_peer_urls: tuple[str, ...]
    listen_metrics_urls: tuple[str, ...]
    tls: ServerTLS | None
    peer_tls: PeerTLSFiles
    auto_tls: AutoTLS
    discovery: Discovery
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
        listen_peer_urls=flags["listen-peer-urls"],
        listen_metrics_urls=flags["listen-metrics-urls"],
        tls=_client_tls(flags),
        peer_tls=_peer_tls(flags),
        auto_tls=_auto_tls(flags),
        discovery=_discovery(flags),
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
        peer_tls=_transport_tls(_peer_tls(flags)),
        advertise_client_urls=flags["advertise-client-urls"],
        heartbeat_interval_ms=flags["heartbeat-interval"],
        election_timeout_ms=max(flags["election-timeout"], 2 * flags["heartbeat-interval"]),
        pre_vote=flags["pre-vote"],
        force_new_cluster=flags["force-new-cluster"],
        strict_reconfig_check=flags["strict-reconfig-check"],
        max_learners=flags["max-learners"],
        snapshot_count=flags["snapshot-count"],
        snapshot_catchup_entries=flags["snapshot-catchup-entries"],
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


def _peer_tls(flags: ParsedFlags) -> PeerTLSFiles:
    return PeerTLSFiles(
        cert=flags["peer-cert-file"],
        key=flags["peer-key-file"],
        client_cert=flags["peer-client-cert-file"],
        client_key=flags["peer-client-key-file"],
        trusted_ca=flags["peer-trusted-ca-file"],
        client_cert_auth=flags["peer-client-cert-auth"],
        crl=flags["peer-crl-file"],
        allowed_cn=flags["peer-cert-allowed-cn"],
        allowed_hostname=flags["peer-cert-allowed-hostname"],
        skip_client_san_verification=flags["peer-skip-client-san-verification"],
        cipher_suites=flags["cipher-suites"],
        min_version=flags["tls-min-version"],
        max_version=flags["tls-max-version"],
    )


def _transport_tls(files: PeerTLSFiles) -> PeerTLS | None:
    """The same, as the transport between members takes it."""
    if not files:
        return None
    from raft.runtime.peer_tls import PeerTLS

    try:
        return PeerTLS(
            files.cert,
            files.key,
            files.trusted_ca or None,
            files.client_cert or None,
            files.client_key or None,
            files.client_cert_auth,
            files.crl or None,
            files.allowed_cn,
            files.allowed_hostname,
            files.skip_client_san_verification,
        )
    except ValueError as error:
        raise FlagError(str(error)) from None


def _auto_tls(flags: ParsedFlags) -> AutoTLS:
    """Certificates that are given are used; etcd says so and goes on."""
    return AutoTLS(
        client=flags["auto-tls"] and not flags["cert-file"],
        peer=flags["peer-auto-tls"] and not flags["peer-cert-file"],
        validity_years=flags["self-signed-cert-validity"],
    )


def _discovery(flags: ParsedFlags) -> Discovery:
    return Discovery(
        token=flags["discovery-token"],
        endpoints=flags["discovery-endpoints"],
        dial_timeout_seconds=flags["discovery-dial-timeout"],
        request_timeout_seconds=flags["discovery-request-timeout"],
        keepalive_time_seconds=flags["discovery-keepalive-time"],
        keepalive_timeout_seconds=flags["discovery-keepalive-timeout"],
        insecure_transport=flags["discovery-insecure-transport"],
        insecure_skip_tls_verify=flags["discovery-insecure-skip-tls-verify"],
        cert=flags["discovery-cert"],
        key=flags["discovery-key"],
        ca=flags["discovery-cacert"],
        user=flags["discovery-user"],
        password=flags["discovery-password"],
        srv_domain=flags["discovery-srv"],
        srv_name=flags["discovery-srv-name"],
    )
