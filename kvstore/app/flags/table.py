"""The flags: names, kinds, defaults and help (etcd server/embed/config.go, server/etcdmain/config.go).

All of etcd's are here, of its current and of its two previous minor releases, so that whatever starts etcd starts us.
Defaults are etcd's, but for three: a heartbeat of 50 ms and an election timeout of 150 ms find a new leader sooner on a
fast network, and 10,000 streams are enough for one connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kvstore.app.features import EARLIER_FLAGS_OF_FEATURES, FEATURES, parse_features
from kvstore.app.flags.values import (
    Parser,
    boolean,
    choice,
    number,
    origins,
    quantity,
    seconds,
    strings,
    text,
    urls,
    words,
)

__all__ = ["EARLIER_NAMES", "FLAGS", "NO_EFFECT", "Flag"]

NO_EFFECT = "Accepted without effect"


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        parse: text to value, or ValueError.
        help: what it does, in a line.
        no_effect: when it does nothing here: why.
        secret: whether its value must not be repeated anywhere.
    """

    name: str
    parse: Parser
    default: Any
    help: str
    group: str
    no_effect: str = ""
    secret: bool = False


def _group(group: str, *rows: tuple[str, Parser, Any, str]) -> list[Flag]:
    return [Flag(name, parse, default, line, group) for name, parse, default, line in rows]


def _inert(reason: str, *rows: tuple[str, Parser, Any]) -> list[Flag]:
    line = f"No effect: {reason}."
    return [Flag(name, parse, default, line, NO_EFFECT, no_effect=reason) for name, parse, default in rows]


CLIENT_URL = "http://localhost:2379"
PEER_URL = "http://localhost:2380"
LOG_ROTATION = '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}'

FLAGS: tuple[Flag, ...] = (
    *_group(
        "Member",
        ("name", text, "default", "Human-readable name for this member."),
        ("data-dir", text, "", "Path to the data directory; <name>.etcd unless given."),
        ("wal-dir", text, "", "Path to a directory for the write-ahead log alone."),
        ("snapshot-count", quantity, 10_000, "Number of committed transactions that trigger a snapshot."),
        ("heartbeat-interval", quantity, 50, "Time (in milliseconds) of a heartbeat interval."),
        ("election-timeout", quantity, 150, "Time (in milliseconds) for an election to time out."),
        ("listen-peer-urls", urls, (PEER_URL,), "List of URLs to listen on for peer traffic."),
        (
            "listen-client-urls",
            urls,
            (CLIENT_URL,),
            "List of URLs to listen on for client traffic: gRPC, and HTTP unless --listen-client-http-urls is given.",
        ),
        (
            "listen-client-http-urls",
            urls,
            (),
            "List of URLs to listen on for HTTP-only client traffic; --listen-client-urls then serve gRPC alone.",
        ),
        ("quota-backend-bytes", number, 0, "Refuse writes beyond this database size (0: 2 GiB; negative: no limit)."),
        ("backend-batch-interval", seconds, 0.0, "Maximum time before the database is committed (0: 100 ms)."),
        ("backend-batch-limit", number, 0, "Maximum operations before the database is committed (0: 10000)."),
        ("max-txn-ops", quantity, 128, "Maximum number of operations permitted in a transaction."),
        ("max-request-bytes", quantity, 3 << 19, "Maximum client request size in bytes the server accepts."),
        ("max-concurrent-streams", quantity, 10_000, "Maximum concurrent streams that each client can open at a time."),
        ("grpc-keepalive-min-time", seconds, 5.0, "Minimum interval a client should wait before pinging the server."),
        ("grpc-keepalive-interval", seconds, 7200.0, "Frequency of server-to-client pings (0: 2h)."),
        ("grpc-keepalive-timeout", seconds, 20.0, "Wait before closing an unresponsive connection (0: 20s)."),
        ("socket-reuse-port", boolean, False, "Set SO_REUSEPORT on listeners, so that a port in use can be shared."),
        ("socket-reuse-address", boolean, False, "Set SO_REUSEADDR on listeners (asyncio does so anyway)."),
        ("enable-grpc-gateway", boolean, True, "Serve the JSON gateway under /v3/."),
        ("config-file", text, "", "YAML file with the flags' names as keys; other flags are ignored then."),
        ("version", boolean, False, "Print the version and exit."),
        ("help", boolean, False, "Print this text and exit."),
    ),
    *_group(
        "Clustering",
        (
            "initial-advertise-peer-urls",
            urls,
            (PEER_URL,),
            "List of this member's peer URLs to advertise to the rest of the cluster.",
        ),
        (
            "initial-cluster",
            text,
            "",
            "Initial cluster for bootstrapping, <name>=<peer URL>,…; this member alone unless given.",
        ),
        ("initial-cluster-state", choice("new", "existing"), "new", "'new', or 'existing' to join a running cluster."),
        ("initial-cluster-token", text, "etcd-cluster", "Token that keeps clusters apart during bootstrap."),
        (
            "advertise-client-urls",
            urls,
            (CLIENT_URL,),
            "List of this member's client URLs to advertise to the public.",
        ),
        ("discovery-token", text, "", "Discovery: token of the cluster to be bootstrapped."),
        ("discovery-endpoints", words, (), "Discovery: gRPC endpoints of the discovery service."),
        ("discovery-dial-timeout", seconds, 2.0, "Discovery: timeout for connecting."),
        ("discovery-request-timeout", seconds, 5.0, "Discovery: timeout for a request."),
        ("discovery-keepalive-time", seconds, 2.0, "Discovery: interval of pings to the service."),
        ("discovery-keepalive-timeout", seconds, 6.0, "Discovery: timeout of such a ping."),
        ("discovery-insecure-transport", boolean, True, "Discovery: no TLS to the service."),
        ("discovery-insecure-skip-tls-verify", boolean, False, "Discovery: do not verify the service's certificate."),
        ("discovery-cert", text, "", "Discovery: client certificate file."),
        ("discovery-key", text, "", "Discovery: client key file."),
        ("discovery-cacert", text, "", "Discovery: CA bundle to verify the service with."),
    ),
    Flag("discovery-user", text, "", "Discovery: user name[:password].", "Clustering", secret=True),
    Flag("discovery-password", text, "", "Discovery: password.", "Clustering", secret=True),
    *_group(
        "Clustering",
        ("discovery-srv", text, "", "DNS domain whose SRV records list the initial cluster."),
        ("discovery-srv-name", text, "", "Suffix of the DNS service name to ask for."),
        ("strict-reconfig-check", boolean, True, "Reject reconfiguration that would cause loss of quorum."),
        ("pre-vote", boolean, True, "Begin an election with a round that disturbs nobody."),
        ("max-learners", number, 1, "Maximum number of learners in the cluster."),
        ("snapshot-catchup-entries", quantity, 5_000, "Entries kept for a slow member to catch up after a snapshot."),
        ("max-snapshots", quantity, 5, "Snapshot files to keep, and the log back to the oldest (0 is unlimited)."),
        ("auto-compaction-retention", text, "0", "How much history auto compaction leaves (0 disables it)."),
        (
            "auto-compaction-mode",
            text,
            "periodic",
            "Read the retention as a duration ('periodic'; bare numbers are hours) or as revisions ('revision').",
        ),
    ),
    *_group(
        "Security",
        ("cert-file", text, "", "Path to the client server TLS certificate file."),
        ("key-file", text, "", "Path to the client server TLS key file."),
        ("client-cert-auth", boolean, False, "Demand client certificates."),
        ("client-crl-file", text, "", "Path to the client certificate revocation list file."),
        (
            "client-cert-allowed-hostname",
            strings,
            (),
            "Comma-separated host names or IP addresses of which a client certificate must have one.",
        ),
        ("trusted-ca-file", text, "", "Path to the client server TLS trusted CA certificate file."),
        ("auto-tls", boolean, False, "Client TLS with a generated certificate, in <data-dir>/fixtures/client."),
        ("peer-cert-file", text, "", "Path to the peer server TLS certificate file."),
        ("peer-key-file", text, "", "Path to the peer server TLS key file."),
        ("peer-client-cert-auth", boolean, False, "Demand client certificates of peers."),
        ("peer-client-cert-file", text, "", "Path to the certificate to call peers with; the server's unless given."),
        ("peer-client-key-file", text, "", "Path to the key to call peers with; the server's unless given."),
        ("peer-trusted-ca-file", text, "", "Path to the peer server TLS trusted CA certificate file."),
        ("peer-cert-allowed-cn", strings, (), "Comma-separated common names of which a peer must have one."),
        ("peer-cert-allowed-hostname", strings, (), "Comma-separated host names of which a peer must have one."),
        ("peer-auto-tls", boolean, False, "Peer TLS with a generated certificate, in <data-dir>/fixtures/peer."),
        ("peer-crl-file", text, "", "Path to the peer certificate revocation list file."),
        ("peer-skip-client-san-verification", boolean, False, "Do not check where a peer's certificate belongs."),
        ("self-signed-cert-validity", quantity, 1, "Years that generated certificates are valid."),
        ("cipher-suites", strings, (), "Comma-separated TLS 1.2 cipher suites for clients and peers."),
        ("tls-min-version", text, "TLS1.2", "Minimum TLS version: TLS1.2 or TLS1.3."),
        ("tls-max-version", text, "", "Maximum TLS version: TLS1.2 or TLS1.3; the newest unless given."),
        (
            "cors",
            origins,
            frozenset("*"),
            "Comma-separated origins whose scripts may read HTTP answers (empty or * for all).",
        ),
        ("host-whitelist", words, ("*",), "Host names HTTP requests may ask for, without TLS (empty or * for all)."),
    ),
    *_group(
        "Auth",
        ("auth-token", text, "simple", "Kind of authentication token and its options ('simple' or 'jwt,…')."),
        ("auth-token-ttl", quantity, 300, "Time (in seconds) a simple token lives."),
        ("bcrypt-cost", quantity, 10, "Cost of hashing a password with bcrypt, from 4 to 31."),
    ),
    *_group(
        "Monitoring",
        ("metrics", text, "basic", "Level of detail of metrics: 'basic', or 'extensive' for histograms of gRPC calls."),
        ("listen-metrics-urls", urls, (), "List of URLs that answer /metrics and /health alone."),
        ("warning-apply-duration", seconds, 0.1, "Log a warning when applying a request takes longer."),
        ("warning-unary-request-duration", seconds, 0.3, "Log a warning when a unary request takes longer."),
    ),
    *_group(
        "Logging",
        ("logger", text, "zap", "Style of the log; 'zap' is the only one."),
        ("log-outputs", words, ("default",), "Comma-separated 'stdout', 'stderr', 'default' (stderr) or file paths."),
        ("log-level", text, "info", "Lowest level that is logged: debug, info, warn, error, panic or fatal."),
        ("log-format", text, "json", "'json', or 'console' for reading without tools."),
        ("enable-log-rotation", boolean, False, "Rotate the log file; --log-outputs must have exactly one."),
        (
            "log-rotation-config-json",
            text,
            LOG_ROTATION,
            "Rotation: maxsize (MB), maxage (days), maxbackups, localtime, compress (gzip); 0 is no limit.",
        ),
    ),
    *_group(
        "Features",
        ("feature-gates", parse_features, {}, f"Comma-separated feature=bool pairs of: {', '.join(FEATURES)}."),
        ("corrupt-check-time", seconds, 0.0, "Interval of comparing data between members (0 disables it)."),
        ("compact-hash-check-time", seconds, 60.0, "Interval of comparing hashes of compacted revisions."),
        ("compaction-batch-limit", number, 1_000, "Maximum revisions deleted in one batch of a compaction."),
        ("compaction-sleep-interval", seconds, 0.01, "Pause between two batches of a compaction."),
        ("watch-progress-notify-interval", seconds, 600.0, "Interval of progress notifications to watchers."),
        ("downgrade-check-time", seconds, 5.0, "Interval of checking on a downgrade under way."),
        *(
            (name, boolean, FEATURES[feature], f"Earlier form of --feature-gates={feature}=….")
            for name, feature in EARLIER_FLAGS_OF_FEATURES.items()
        ),
    ),
    *_group(
        "Unsafe",
        ("force-new-cluster", boolean, False, "Make this member the only one of its cluster. May lose data."),
        ("unsafe-no-fsync", boolean, False, "Acknowledge writes before they are on disk. Loses data in a crash."),
    ),
    *_inert(
        "the first election is not far off: a member alone holds it at once, others after one timeout",
        ("initial-election-tick-advance", boolean, True),
    ),
    *_inert("log files are removed when no member needs them", ("max-wals", quantity, 5)),
    *_inert("the database is not bbolt", ("backend-bbolt-freelist-type", text, "")),
    *_inert("the database gives freed pages to new data", ("bootstrap-defrag-threshold-megabytes", quantity, 0)),
    *_inert("memory is not locked; turn off swap where that matters", ("memory-mlock", boolean, False)),
    *_inert("nothing is served under /debug/pprof/", ("enable-pprof", boolean, False)),
    *_inert(
        "the JSON gateway makes no connection of its own", ("client-cert-file", text, ""), ("client-key-file", text, "")
    ),
    *_inert(
        "heartbeats find connections to peers that are stuck",
        ("raft-read-timeout", seconds, 5.0),
        ("raft-write-timeout", seconds, 5.0),
    ),
    *_inert(
        "no traces are sent",
        ("enable-distributed-tracing", boolean, False),
        ("distributed-tracing-address", text, "localhost:4317"),
        ("distributed-tracing-service-name", text, "etcd"),
        ("distributed-tracing-instance-id", text, ""),
        ("distributed-tracing-sampling-rate", number, 0),
    ),
    *_inert(
        "there is no v2 API",
        ("enable-v2", boolean, False),
        ("experimental-enable-v2v3", text, ""),
        ("v2-deprecation", text, "not-yet"),
        ("discovery", text, ""),
        ("discovery-proxy", text, ""),
        ("discovery-fallback", text, "exit"),
        ("proxy", text, "off"),
        ("proxy-failure-wait", quantity, 5_000),
        ("proxy-refresh-interval", quantity, 30_000),
        ("proxy-dial-timeout", quantity, 1_000),
        ("proxy-write-timeout", quantity, 5_000),
        ("proxy-read-timeout", quantity, 0),
    ),
    *_inert("requests are served when there is a leader", ("experimental-wait-cluster-ready-timeout", seconds, 5.0)),
    *_inert(
        "etcd ignores it too",
        *(
            (name, boolean, False)
            for name in (
                "cluster-active-size",
                "cluster-remove-delay",
                "cluster-sync-interval",
                "config",
                "force",
                "max-result-buffer",
                "max-retry-attempts",
                "peer-election-timeout",
                "peer-heartbeat-interval",
                "retry-interval",
                "snapshot",
                "v",
                "vv",
            )
        ),
    ),
)

EARLIER_NAMES = {
    "h": "help",
    **{
        f"experimental-{name}": name
        for name in (
            "bootstrap-defrag-threshold-megabytes",
            "compact-hash-check-time",
            "compaction-batch-limit",
            "compaction-sleep-interval",
            "corrupt-check-time",
            "distributed-tracing-address",
            "distributed-tracing-instance-id",
            "distributed-tracing-sampling-rate",
            "distributed-tracing-service-name",
            "downgrade-check-time",
            "enable-distributed-tracing",
            "max-learners",
            "memory-mlock",
            "peer-skip-client-san-verification",
            "snapshot-catchup-entries",
            "warning-apply-duration",
            "warning-unary-request-duration",
            "watch-progress-notify-interval",
        )
    },
}
"""Other names of the same flags, mostly those of earlier releases."""
