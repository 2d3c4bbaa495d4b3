from __future__ import annotations

import pytest

from kvstore.app.flags import (
    EARLIER_NAMES,
    FLAGS,
    ConflictError,
    FlagError,
    UsageError,
    help_text,
    parse_flags,
    shown_arguments,
)
from kvstore.app.settings import settings_of


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--name=a b"], "name", "a b"),
        (["--name", "x"], "name", "x"),
        (["-name", "x"], "name", "x"),
        (["--name=x", "--name=y"], "name", "y"),
        (["--snapshot-count=10"], "snapshot-count", 10),
        (["--pre-vote=false"], "pre-vote", False),
        (["--pre-vote"], "pre-vote", True),
        (["--listen-client-urls=http://a:1,https://b:2"], "listen-client-urls", ("http://a:1", "https://b:2")),
        (["--experimental-snapshot-catchup-entries", "7"], "snapshot-catchup-entries", 7),
        (["--watch-progress-notify-interval=1m30s"], "watch-progress-notify-interval", 90.0),
        (["--quota-backend-bytes=-1"], "quota-backend-bytes", -1),
        (["--snapshot-count=0x10", "--"], "snapshot-count", 16),
        (["--snapshot-count=010"], "snapshot-count", 8),
        (
            ["--listen-client-urls=https://b:2,http://a:1,http://a:1"],
            "listen-client-urls",
            ("http://a:1", "https://b:2"),
        ),
        (
            ["--listen-client-urls=unix:///tmp/s,unixs://localhost:1"],
            "listen-client-urls",
            ("unix:///tmp/s", "unixs://localhost:1"),
        ),
        (["--listen-metrics-urls="], "listen-metrics-urls", ()),
        (
            ["--feature-gates=AllAlpha=true,LeaseCheckpoint=false"],
            "feature-gates",
            {
                "CompactHashCheck": True,
                "InitialCorruptCheck": True,
                "LeaseCheckpoint": False,
                "LeaseCheckpointPersist": True,
                "PriorityRequest": True,
                "SetMemberLocalAddr": True,
                "StopGRPCServiceOnDefrag": True,
            },
        ),
        (["--cors=*"], "cors", {"*"}),
        (["--cors=http://a:1,http://b:1"], "cors", {"http://a:1", "http://b:1"}),
        (["--host-whitelist=a,b"], "host-whitelist", ("a", "b")),
        (["-v"], "v", True),
    ],
)
def test_command_line(arguments: list[str], name: str, value: object) -> None:
    assert parse_flags(arguments, {})[name] == value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus"], "flag provided but not defined: -bogus"),
        (["--bogus=1"], "flag provided but not defined: -bogus"),
        (["--snapshot-count=many"], 'invalid value "many" for flag -snapshot-count: parse error'),
        (["--snapshot-count=-1"], 'invalid value "-1" for flag -snapshot-count: parse error'),
        (["--snapshot-count=08"], 'invalid value "08" for flag -snapshot-count: parse error'),
        (
            ["--max-txn-ops=18446744073709551616"],
            'invalid value "18446744073709551616" for flag -max-txn-ops: value out of range',
        ),
        (["--pre-vote=perhaps"], 'invalid boolean value "perhaps" for -pre-vote: parse error'),
        (["--grpc-keepalive-interval=5"], 'invalid value "5" for flag -grpc-keepalive-interval: parse error'),
        (["--initial-cluster-state=old"], 'invalid value "old" for flag -initial-cluster-state: invalid value'),
        (
            ["--listen-client-urls=foo"],
            'invalid value "foo" for flag -listen-client-urls: URL scheme must be http, https, unix, or unixs: foo',
        ),
        (
            ["--listen-peer-urls=http://a"],
            'invalid value "http://a" for flag -listen-peer-urls: URL address does not have the form "host:port": http://a',
        ),
        (
            ["--listen-peer-urls=http://a:1/b"],
            'invalid value "http://a:1/b" for flag -listen-peer-urls: URL must not contain a path: http://a:1/b',
        ),
        (
            ["--feature-gates=Other=true"],
            'invalid value "Other=true" for flag -feature-gates: unrecognized feature gate: Other',
        ),
        (
            ["--feature-gates=LeaseCheckpoint"],
            'invalid value "LeaseCheckpoint" for flag -feature-gates: missing bool value for LeaseCheckpoint',
        ),
        (["--name"], "flag needs an argument: -name"),
        (["---name=a"], "bad flag syntax: ---name=a"),
    ],
)
def test_malformed_command_lines(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_flags(arguments, {})
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("max-txn-ops", "18446744073709551616", "value out of range"),
        ("listen-client-urls", "foo", "URL scheme must be http, https, unix, or unixs: foo"),
        ("listen-peer-urls", "http://a", 'URL address does not have the form "host:port": http://a'),
        ("listen-peer-urls", "http://a:1/b", "URL must not contain a path: http://a:1/b"),
        ("feature-gates", "Other=true", "unrecognized feature gate: Other"),
        ("feature-gates", "LeaseCheckpoint", "missing bool value for LeaseCheckpoint"),
        ("feature-gates", "LeaseCheckpoint=x", "invalid value of LeaseCheckpoint=x"),
    ],
)
def test_values_that_are_refused_with_a_reason(name: str, value: str, reason: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_flags([f"--{name}={value}"], {})
    assert str(refusal.value) == f'invalid value "{value}" for flag -{name}: {reason}'


@pytest.mark.parametrize(
    ("arguments", "word"), [(["name"], "name"), (["--pre-vote", "false"], "false"), (["--pre-vote", "-"], "-")]
)
def test_words_that_are_no_flags(arguments: list[str], word: str) -> None:
    with pytest.raises(FlagError) as refusal:
        parse_flags(arguments, {})
    assert str(refusal.value) == f"'{word}' is not a valid flag"


def notices(flags: object) -> list[tuple[str, dict[str, object]]]:
    return [(notice.message, dict(notice.fields)) for notice in flags.notices]


def test_environment() -> None:
    environ = {"ETCD_DATA_DIR": "/env", "ETCD_WHAT": "1", "PATH": "/bin", "ETCD_WAL_DIR": "", "ETCD_VERSION": "3"}
    flags = parse_flags(["--name=explicit"], environ)
    assert (flags["name"], flags["data-dir"], flags["wal-dir"], flags["version"]) == ("explicit", "/env", "", False)
    assert notices(flags) == [
        ("recognized and used environment variable", {"variable-name": "ETCD_DATA_DIR", "variable-value": "/env"}),
        ("cannot set special environment variable", {"key": "ETCD_VERSION"}),
        ("unrecognized environment variable", {"environment-variable": "ETCD_WHAT"}),
    ]
    with pytest.raises(FlagError) as refusal:
        parse_flags([], {"ETCD_SNAPSHOT_COUNT": "x"})
    assert str(refusal.value) == 'invalid value "x" for ETCD_SNAPSHOT_COUNT: parse error'


@pytest.mark.parametrize("value", ["", "x"])
def test_a_flag_that_is_also_in_the_environment(value: str) -> None:
    with pytest.raises(ConflictError, match="conflicting environment variable is shadowed") as refusal:
        parse_flags(["--name=y"], {"ETCD_NAME": value})
    assert refusal.value.variable == "ETCD_NAME"


def test_secrets_are_not_repeated() -> None:
    arguments = ["--discovery-password=hush", "--discovery-user", "u:hush", "--name=hush-hush"]
    assert shown_arguments(arguments) == ["--discovery-password=***", "--discovery-user", "***", "--name=hush-hush"]
    flags = parse_flags([], {"ETCD_DISCOVERY_PASSWORD": "hush", "ETCD_ROOT_PASSWORD": "hush"})
    assert flags["discovery-password"] == "hush"
    assert "hush" not in str(flags.notices)


def test_flags_without_effect_say_so() -> None:
    flags = parse_flags(["--enable-v2", "--memory-mlock=true", "--enable-pprof=false", "--proxy=off"], {})
    assert [message.partition(":")[0] for message, _ in notices(flags)] == [
        "--enable-v2 has no effect",
        "--memory-mlock has no effect",
    ]


CONFIG = """
name: from-file
listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2
pre-vote: false
snapshot-count: 11
client-transport-security:
  cert-file: /c
  client-cert-auth: true
  allowed-hostname: [a, b]
  crl-file:
peer-transport-security:
  cert-file: /p
  allowed-cn: one
  skip-client-san-verification: true
socket-options: {reuse-port: true}
cipher-suites: [A, B]
grpc-keepalive-interval: 1500000000
watch-progress-notify-interval: 2m
feature-gates: LeaseCheckpoint=true
cors:
proxy-whatever: 1
"""


def test_a_configuration_file_stands_alone() -> None:
    flags = parse_flags(["--config-file=f", "--data-dir=ignored"], {"ETCD_WAL_DIR": "ignored"}, lambda _: CONFIG)
    assert (flags["name"], flags["data-dir"], flags["wal-dir"]) == ("from-file", "", "")
    assert flags["listen-client-urls"] == ("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert (flags["pre-vote"], flags["snapshot-count"]) == (False, 11)
    assert (flags["cert-file"], flags["client-cert-auth"], flags["peer-cert-file"]) == ("/c", True, "/p")
    assert (flags["client-cert-allowed-hostname"], flags["peer-cert-allowed-cn"]) == (("a", "b"), ("one",))
    assert (flags["peer-skip-client-san-verification"], flags["socket-reuse-port"]) == (True, True)
    assert (flags["cipher-suites"], flags["cors"]) == (("A", "B"), {"*"})
    assert (flags["grpc-keepalive-interval"], flags["watch-progress-notify-interval"]) == (1.5, 120)
    assert flags["feature-gates"] == {"LeaseCheckpoint": True}
    messages = [message for message, _ in notices(flags)]
    assert messages[0] == "unknown key in the configuration file is ignored"
    assert messages[1].startswith("loaded server configuration")
    assert notices(flags)[2] == ("flags beside --config-file are ignored", {"flags": ["data-dir"]})
    settings_of(parse_flags(["--config-file=f"], {}, lambda _: "listen-client-urls: http://127.0.0.1:1"))


@pytest.mark.parametrize(
    "content",
    [
        "- list",
        "a: [",
        "snapshot-count: many",
        "pre-vote: 7",
        "peer-transport-security: 1",
        "client-transport-security: {allowed-cn: a}",
    ],
)
def test_wrong_configuration_files(content: str) -> None:
    with pytest.raises(FlagError):
        parse_flags(["--config-file=f"], {}, lambda _: content)


def test_a_configuration_file_that_is_not_there() -> None:
    def missing(path: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    with pytest.raises(FlagError, match="open f: no such file or directory"):
        parse_flags(["--config-file=f"], {}, missing)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen-client-urls=http://127.0.0.1:1"], "--advertise-client-urls is required"),
        (["--heartbeat-interval=100", "--election-timeout=400"], "at least as 5 times"),
        (["--election-timeout=60000"], "too long"),
        (["--heartbeat-interval=0"], "must be >0"),
        (["--auto-compaction-mode=x"], "unknown auto-compaction-mode"),
        (["--auto-compaction-retention=x"], "invalid duration"),
        (["--auto-compaction-mode=revision", "--auto-compaction-retention=1h"], "a number of revisions"),
        (["--initial-cluster=a"], "error parsing initial cluster"),
        (["--initial-cluster=a=http://a:1"], "couldn't find local name"),
        (["--cert-file=c"], "must be given together"),
        (["--peer-key-file=c"], "must be given together"),
        (
            ["--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://a:1"],
            "--cert-file, --key-file",
        ),
        (["--listen-metrics-urls=https://127.0.0.1:1"], "--cert-file, --key-file"),
        (["--listen-peer-urls=https://127.0.0.1:1"], "--peer-cert-file, --peer-key-file"),
        (["--cert-file=c", "--key-file=k", "--client-cert-auth"], "needs --trusted-ca-file"),
        (["--listen-peer-urls=http://a:1"], "expected IP in URL for binding (http://a:1)"),
        (["--listen-peer-urls=http://:1"], "expected IP in URL for binding (http://:1)"),
        (["--advertise-client-urls=http://:1"], '--advertise-client-urls "http://:1" must be in the format'),
        (["--initial-advertise-peer-urls=http://:1"], 'must be "host:port" (unexpected empty host (http://:1))'),
        (["--listen-client-http-urls=http://localhost:2379"], "cannot bind both"),
        (
            ["--initial-cluster=default=http://a:1", "--discovery-srv=a"],
            "multiple discovery or bootstrap flags",
        ),
        (["--discovery-token=a"], "--discovery-token is not supported"),
        (["--discovery-srv=example.com"], "list them with --initial-cluster"),
        (["--discovery=https://discovery.etcd.io/a"], "--discovery is not supported"),
        (["--compact-hash-check-time=0s"], "--compact-hash-check-time must be >0"),
        (["--auto-compaction-mode="], "undefined auto-compaction-mode"),
        (["--feature-gates=LeaseCheckpointPersist=true"], "requires enabling feature gate LeaseCheckpoint"),
        (["--experimental-enable-lease-checkpoint-persist"], "requires enabling feature gate LeaseCheckpoint"),
        (["--tls-min-version=TLS1.1"], 'unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)'),
        (["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"], "min version (TLS1.3) is greater than max version"),
        (["--tls-min-version=TLS1.3", "--cipher-suites=a"], "cipher suites cannot be configured when only TLS1.3"),
        (["--auto-tls", "--self-signed-cert-validity=0"], "selfSignedCertValidity is invalid"),
        (["--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"], "mutually exclusive"),
        (["--logger=capnslog"], 'unknown logger option "capnslog"'),
    ],
)
def test_what_makes_no_sense_together(arguments: list[str], message: str) -> None:
    with pytest.raises(FlagError) as refusal:
        settings_of(parse_flags(arguments, {}))
    assert message in str(refusal.value)


def test_what_the_flags_mean() -> None:
    arguments = [
        "--name=n",
        "--data-dir=d",
        "--heartbeat-interval=100",
        "--election-timeout=1000",
        "--max-request-bytes=1000",
        "--auto-compaction-retention=2",
        "--feature-gates=LeaseCheckpoint=true,PriorityRequest=false",
        "--unsafe-no-fsync",
        "--initial-cluster=n=http://peer:1",
    ]
    settings = settings_of(parse_flags(arguments, {}))
    options = settings.options
    assert (options.name, options.data_path, options.sync) == ("n", "d", False)
    assert (options.minimum_lease_ttl_seconds, options.request_timeout_seconds) == (2, 7.0)
    assert options.auto_compaction.period_seconds == 7200
    assert options.lease_checkpoint_interval_seconds == 300
    assert options.initial_advertise_peer_urls == ("http://peer:1",)
    assert settings.limits.receive_message_bytes_max == 1000 + (512 << 10)


def test_tls_flags_end_where_they_belong() -> None:
    arguments = [
        "--listen-client-urls=https://127.0.0.1:1,http://127.0.0.1:1",
        "--advertise-client-urls=https://127.0.0.1:1",
        "--cert-file=c",
        "--key-file=k",
        "--trusted-ca-file=ca",
        "--client-cert-auth",
        "--client-crl-file=crl",
        "--client-cert-allowed-hostname=h,i",
        "--auto-tls",
        "--peer-auto-tls",
        "--peer-cert-allowed-cn=a,b",
        "--peer-trusted-ca-file=pca",
        "--peer-client-cert-file=pc",
        "--peer-client-key-file=pk",
        "--tls-max-version=TLS1.3",
        "--self-signed-cert-validity=3",
    ]
    flags = parse_flags(arguments, {})
    settings = settings_of(flags)
    assert settings.tls is not None
    assert (settings.tls.cert, settings.tls.key, settings.tls.ca, settings.tls.crl) == ("c", "k", "ca", "crl")
    assert (settings.tls.client_cert_auth, settings.tls.allowed_hostnames) == (True, ("h", "i"))
    assert (settings.auto_tls.client, settings.auto_tls.peer, settings.auto_tls.validity_years) == (False, True, 3)
    assert (settings.auto_tls.min_version, settings.auto_tls.max_version) == ("TLS1.2", "TLS1.3")
    assert settings.options.peer_tls is None  # to be made
    assert [message for message, _ in notices(flags)] == [
        "ignoring client auto TLS since certs given",
        "scheme is http or unix while key and cert files are present; ignoring key and cert files",
    ]


def test_earlier_flags_of_features() -> None:
    flags = parse_flags(["--experimental-initial-corrupt-check=true", "--experimental-corrupt-check-time=1m"], {})
    options = settings_of(flags).options
    assert options.feature("InitialCorruptCheck")
    assert not options.feature("CompactHashCheck")
    assert options.feature("FastLeaseKeepAlive")
    assert options.corrupt_check_seconds == 60


@pytest.mark.parametrize(
    ("arguments", "interval", "timeout", "minimum"),
    [
        ([], 7200, 20, 5),
        (["--grpc-keepalive-interval=1m", "--grpc-keepalive-timeout=3s"], 60, 3, 5),
        (["--grpc-keepalive-interval=0s", "--grpc-keepalive-timeout=3s"], 7200, 20, 5),
        (["--grpc-keepalive-interval=1m", "--grpc-keepalive-timeout=0"], 7200, 20, 5),
        (["--grpc-keepalive-min-time=0s"], 7200, 20, 300),
    ],
)
def test_keepalive_zeros_are_grpc_s_defaults(
    arguments: list[str], interval: float, timeout: float, minimum: float
) -> None:
    limits = settings_of(parse_flags(arguments, {})).limits
    assert (limits.ping_interval_seconds, limits.ping_timeout_seconds) == (interval, timeout)
    assert limits.keepalive_min_seconds == minimum


def test_help_has_a_line_about_every_flag() -> None:
    lines = help_text().splitlines()
    names = [flag.name for flag in FLAGS] + list(EARLIER_NAMES)
    assert len(set(names)) == len(names)
    for name in names:
        (at,) = [number for number, line in enumerate(lines) if line.split()[:1] == [f"--{name}"]]
        assert lines[at + 1].startswith("    ")
        assert lines[at + 1].strip()
    assert all(len(line) <= 130 for line in lines)


def test_tls_between_members() -> None:
    arguments = [
        "--peer-cert-file=c",
        "--peer-key-file=k",
        "--peer-trusted-ca-file=ca",
        "--peer-client-cert-file=pc",
        "--peer-client-key-file=pk",
        "--peer-client-cert-auth",
        "--peer-cert-allowed-cn=a,b",
        "--peer-crl-file=crl",
    ]
    tls = settings_of(parse_flags(arguments, {})).options.peer_tls
    assert tls is not None
    assert (tls.cert, tls.key, tls.ca, tls.client_cert, tls.client_key) == ("c", "k", "ca", "pc", "pk")
    assert (tls.client_cert_auth, tls.allowed_cns, tls.crl, tls.self_signed) == (True, ("a", "b"), "crl", False)
