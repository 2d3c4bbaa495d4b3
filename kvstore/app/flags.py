"""etcd's flags: which there are, and how they are written.

`--flag=value` and `--flag value`, with one dash or two; booleans bare or with a value; every flag also as `ETCD_` and
its name in capitals; or all of them as keys of a YAML file, in which case nothing else counts. A flag given explicitly
wins over the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kvstore.server.auto_compaction import parse_duration_seconds

__all__ = ["FLAGS", "Flag", "FlagError", "ParsedFlags", "help_text", "parse_flags"]


class FlagError(Exception):
    """The command line, the environment or the configuration file makes no sense; the message says what."""


class _Parsers:
    """Text to value, one per kind of flag; ValueError when it is none."""

    @staticmethod
    def text(value: str) -> str:
        return value

    @staticmethod
    def number(value: str) -> int:
        return int(value, 0)

    @staticmethod
    def natural(value: str) -> int:
        number = int(value, 0)
        if number < 0:
            raise ValueError(value)
        return number

    @staticmethod
    def real(value: str) -> float:
        return float(value)

    @staticmethod
    def seconds(value: str) -> float:
        return parse_duration_seconds(value)

    @staticmethod
    def words(value: str) -> tuple[str, ...]:
        return tuple(word.strip() for word in value.split(",") if word.strip())

    @staticmethod
    def boolean(value: str) -> bool:
        if value in ("1", "t", "T", "true", "TRUE", "True"):
            return True
        if value in ("0", "f", "F", "false", "FALSE", "False"):
            return False
        raise ValueError(value)


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag. `help` says what it does; without, it is accepted for the sake of who passes it, and does nothing."""

    name: str
    parse: Callable[[str], Any]
    default: Any
    help: str = ""
    group: str = "Member"


def _group(group: str, *rows: tuple[str, Callable[[str], Any], Any, str]) -> list[Flag]:
    return [Flag(name, parse, default, text, group) for name, parse, default, text in rows]


def _accepted(parse: Callable[[str], Any], default: Any, names: str) -> list[Flag]:
    return [Flag(name, parse, default, "", "Accepted, without effect here") for name in names.split()]


_P = _Parsers

FLAGS: tuple[Flag, ...] = (
    *_group(
        "Member",
        ("name", _P.text, "default", "Human-readable name for this member."),
        ("data-dir", _P.text, "", "Path to the data directory (default: <name>.etcd)."),
        ("wal-dir", _P.text, "", "Path to a directory for the log alone."),
        ("snapshot-count", _P.number, 10_000, "Committed transactions that trigger a snapshot."),
        ("heartbeat-interval", _P.number, 50, "Time (in milliseconds) of a heartbeat interval."),
        ("election-timeout", _P.number, 150, "Time (in milliseconds) for an election to time out."),
        ("pre-vote", _P.boolean, True, "Whether an election begins with a round that disturbs nobody."),
        ("listen-client-urls", _P.words, ("http://localhost:2379",), "List of URLs to listen on for client traffic."),
        ("listen-client-http-urls", _P.words, (), "List of URLs to listen on for HTTP-only client traffic."),
        ("listen-peer-urls", _P.words, ("http://localhost:2380",), "List of URLs to listen on for peer traffic."),
        ("listen-metrics-urls", _P.words, (), "List of URLs that answer /metrics and /health alone."),
        ("quota-backend-bytes", _P.number, 0, "Refuse writes beyond this size (0: 2 GiB; negative: no limit)."),
        ("max-txn-ops", _P.number, 128, "Maximum number of operations permitted in a transaction."),
        ("max-request-bytes", _P.number, 3 << 19, "Maximum client request size in bytes the server accepts."),
        ("max-concurrent-streams", _P.number, 10_000, "Maximum concurrent streams that each client can open."),
        ("grpc-keepalive-min-time", _P.seconds, 5.0, "Minimum interval a client should wait before pinging."),
        ("grpc-keepalive-interval", _P.seconds, 7200.0, "Frequency of server-to-client pings."),
        ("grpc-keepalive-timeout", _P.seconds, 20.0, "How long to wait before closing an unresponsive connection."),
        ("watch-progress-notify-interval", _P.seconds, 600.0, "Interval of progress notifications to watchers."),
        ("unsafe-no-fsync", _P.boolean, False, "Acknowledge writes before they are on disk. Unsafe: loses data."),
        ("config-file", _P.text, "", "YAML file with the flags' names as keys; other flags are ignored then."),
    ),
    *_group(
        "Clustering",
        (
            "initial-advertise-peer-urls",
            _P.words,
            ("http://localhost:2380",),
            "This member's peer URLs to advertise to the rest of the cluster.",
        ),
        ("initial-cluster", _P.text, "", "Initial cluster configuration: <name>=<peer URL>,…"),
        ("initial-cluster-state", _P.text, "new", "Initial cluster state ('new' or 'existing')."),
        ("initial-cluster-token", _P.text, "etcd-cluster", "Initial cluster token."),
        (
            "advertise-client-urls",
            _P.words,
            ("http://localhost:2379",),
            "This member's client URLs to advertise to the public.",
        ),
        ("auto-compaction-retention", _P.text, "0", "Auto compaction retention length; 0 disables it."),
        ("auto-compaction-mode", _P.text, "periodic", "Interpret the retention as 'periodic' or 'revision'."),
        ("compaction-sleep-interval", _P.seconds, 0.01, "Pause between two batches of a compaction."),
        ("snapshot-catchup-entries", _P.number, 5_000, "Entries kept for a slow member to catch up after a snapshot."),
    ),
    *_group(
        "Security",
        ("cert-file", _P.text, "", "Path to the client server TLS certificate file."),
        ("key-file", _P.text, "", "Path to the client server TLS key file."),
        ("client-cert-auth", _P.boolean, False, "Enable client certificate authentication."),
        ("client-crl-file", _P.text, "", "Path to the client certificate revocation list file."),
        ("trusted-ca-file", _P.text, "", "Path to the client server TLS trusted CA certificate file."),
        ("cipher-suites", _P.words, (), "TLS cipher suites between clients and server."),
        ("tls-min-version", _P.text, "TLS1.2", "Minimum TLS version supported."),
        ("tls-max-version", _P.text, "", "Maximum TLS version supported."),
    ),
    *_group(
        "Auth",
        (
            "auth-token",
            _P.text,
            "simple",
            "Tokens: 'simple', or 'jwt,sign-method=…,priv-key=…,pub-key=…,ttl=…'.",
        ),
        ("auth-token-ttl", _P.natural, 300, "Time (in seconds) after which an unused simple token is forgotten."),
        ("bcrypt-cost", _P.number, 10, "Cost of hashing passwords, from 4 to 31."),
    ),
    *_group(
        "Logging and features",
        ("log-level", _P.text, "info", "Only write debug, info, warn, error, panic or fatal messages and above."),
        ("log-outputs", _P.words, ("default",), "'stdout', 'stderr', 'default' (stderr) or file paths."),
        ("enable-grpc-gateway", _P.boolean, True, "Serve the JSON gateway under /v3/."),
        ("feature-gates", _P.words, (), "Comma-separated feature=bool pairs; LeaseCheckpoint is known."),
        ("version", _P.boolean, False, "Print the version and exit."),
        ("help", _P.boolean, False, "Print this text and exit."),
    ),
    *_accepted(
        _P.text,
        "",
        "peer-cert-file peer-key-file peer-trusted-ca-file peer-cert-allowed-cn peer-cert-allowed-hostname "
        "peer-client-cert-file peer-client-key-file client-cert-file client-key-file peer-crl-file "
        "client-cert-allowed-hostname backend-bbolt-freelist-type metrics logger log-format log-rotation-config-json "
        "cors host-whitelist discovery-token discovery-endpoints discovery-srv discovery-srv-name discovery-fallback "
        "discovery-cert discovery-key discovery-cacert discovery-user discovery-password discovery proxy "
        "distributed-tracing-address distributed-tracing-service-name distributed-tracing-instance-id "
        "experimental-distributed-tracing-address experimental-distributed-tracing-service-name "
        "experimental-distributed-tracing-instance-id v2-deprecation",
    ),
    *_accepted(
        _P.number,
        0,
        "max-wals max-snapshots backend-batch-limit self-signed-cert-validity max-learners "
        "compaction-batch-limit experimental-compaction-batch-limit bootstrap-defrag-threshold-megabytes "
        "experimental-bootstrap-defrag-threshold-megabytes distributed-tracing-sampling-rate "
        "experimental-distributed-tracing-sampling-rate",
    ),
    *_accepted(
        _P.seconds,
        0.0,
        "backend-batch-interval raft-read-timeout raft-write-timeout corrupt-check-time compact-hash-check-time "
        "warning-apply-duration warning-unary-request-duration downgrade-check-time discovery-dial-timeout "
        "discovery-request-timeout discovery-keepalive-time discovery-keepalive-timeout "
        "experimental-corrupt-check-time experimental-compact-hash-check-time experimental-warning-apply-duration "
        "experimental-warning-unary-request-duration experimental-downgrade-check-time",
    ),
    *_accepted(
        _P.boolean,
        False,
        "strict-reconfig-check force-new-cluster initial-election-tick-advance socket-reuse-port socket-reuse-address "
        "auto-tls peer-auto-tls peer-client-cert-auth peer-skip-client-san-verification enable-log-rotation "
        "enable-pprof enable-v2 memory-mlock enable-distributed-tracing experimental-enable-distributed-tracing "
        "discovery-insecure-transport discovery-insecure-skip-tls-verify compact-hash-check-enabled "
        "experimental-initial-corrupt-check experimental-compact-hash-check-enabled "
        "experimental-enable-lease-checkpoint experimental-enable-lease-checkpoint-persist "
        "experimental-memory-mlock experimental-txn-mode-write-with-shared-buffer "
        "experimental-stop-grpc-service-on-defrag experimental-peer-skip-client-san-verification",
    ),
)

_RENAMED = {
    "experimental-snapshot-catchup-entries": "snapshot-catchup-entries",
    "experimental-watch-progress-notify-interval": "watch-progress-notify-interval",
    "experimental-compaction-sleep-interval": "compaction-sleep-interval",
}
"""Names of earlier releases."""

_BY_NAME = {flag.name: flag for flag in FLAGS}


@dataclass(slots=True)
class ParsedFlags:
    """Values by flag name, those that were given, and what to warn about."""

    values: dict[str, Any] = field(default_factory=lambda: {flag.name: flag.default for flag in FLAGS})
    given: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def set(self, name: str, text: str, source: str) -> None:
        """Give a flag a value in its textual form.

        Raises:
            FlagError: there is no such flag, or it cannot have that value.
        """
        flag = _flag(name)
        try:
            self.values[flag.name] = flag.parse(text)
        except ValueError:
            raise FlagError(f'invalid value "{text}" for {source}') from None
        self.given.add(flag.name)


def _flag(name: str) -> Flag:
    flag = _BY_NAME.get(_RENAMED.get(name, name))
    if flag is None:
        raise FlagError(f"flag provided but not defined: -{name}")
    return flag


def parse_flags(
    arguments: Sequence[str], environ: Mapping[str, str], read_file: Callable[[str], str] | None = None
) -> ParsedFlags:
    """Read command line and environment, or the configuration file one of them names.

    Args:
        read_file: reads the configuration file; OSError when it cannot.

    Raises:
        FlagError: something in it makes no sense.
    """
    parsed = ParsedFlags()
    words = list(arguments)
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word in ("-", "--"):
            raise FlagError(f"'{word}' is not a valid flag")
        name, separator, text = word.removeprefix("-").removeprefix("-").partition("=")
        if not separator:
            if _flag(name).parse is _P.boolean:
                text = "true"
            elif words:
                text = words.pop(0)
            else:
                raise FlagError(f"flag needs an argument: -{name}")
        parsed.set(name, text, f"flag -{name}")
    _read_environment(parsed, environ)
    if parsed["config-file"]:
        if read_file is None:
            raise FlagError("a configuration file cannot be read here")
        return _read_config_file(parsed["config-file"], read_file)
    return parsed


def _read_environment(parsed: ParsedFlags, environ: Mapping[str, str]) -> None:
    explicit = set(parsed.given)
    for variable in sorted(environ):
        if not variable.startswith("ETCD_"):
            continue
        name = variable.removeprefix("ETCD_").lower().replace("_", "-")
        if _RENAMED.get(name, name) not in _BY_NAME:
            parsed.warnings.append(f"unrecognized environment variable {variable}={environ[variable]}")
        elif _flag(name).name not in explicit and environ[variable]:
            parsed.set(name, environ[variable], f"environment variable {variable}")


_SECTIONS = {"client-transport-security": "", "peer-transport-security": "peer-"}


def _read_config_file(path: str, read_file: Callable[[str], str]) -> ParsedFlags:
    import yaml

    try:
        content = yaml.safe_load(read_file(path)) or {}
    except OSError as error:
        raise FlagError(f"cannot read configuration file {path}: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise FlagError(f"configuration file {path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise FlagError(f"configuration file {path}: a mapping of flag names is wanted")
    parsed = ParsedFlags()
    for key, value in content.items():
        if key in _SECTIONS and isinstance(value, dict):
            for name, inner in value.items():
                _set_from_file(parsed, f"{_SECTIONS[key]}{name}", inner, path)
        else:
            _set_from_file(parsed, str(key), value, path)
    return parsed


def _set_from_file(parsed: ParsedFlags, name: str, value: object, path: str) -> None:
    if value is None:
        return
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, list):
        text = ",".join(map(str, value))
    elif isinstance(value, dict):
        text = ",".join(f"{key}={inner}" for key, inner in value.items())
    else:
        text = str(value)
    parsed.set(name, text, f"{name} in {path}")


def help_text() -> str:
    """What `--help` prints."""
    lines = [
        "Usage:",
        "",
        "  mini-etcd [flags]",
        "    Start a member.",
        "  mini-etcd --version",
        "    Show the version.",
        "  mini-etcd -h | --help",
        "    Show this text.",
    ]
    for group in dict.fromkeys(flag.group for flag in FLAGS):
        lines += ["", f"{group}:", ""]
        for flag in FLAGS:
            if flag.group == group:
                lines.append(f"  --{flag.name} {_default_text(flag)}".rstrip())
                if flag.help:
                    lines.append(f"    {flag.help}")
    return "\n".join(lines) + "\n"


def _default_text(flag: Flag) -> str:
    default = flag.default
    if isinstance(default, bool):
        return f"'{str(default).lower()}'"
    if isinstance(default, tuple):
        return f"'{','.join(default)}'"
    if flag.parse is _P.seconds:
        return f"'{default:g}s'"
    return f"'{default}'"
