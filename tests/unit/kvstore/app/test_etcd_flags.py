from __future__ import annotations

import pytest

from kvstore.app.flags import FLAGS, FlagError, help_text, parse_flags
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
    ],
)
def test_command_line(arguments: list[str], name: str, value: object) -> None:
    assert parse_flags(arguments, {})[name] == value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus"], "flag provided but not defined: -bogus"),
        (["--bogus=1"], "flag provided but not defined: -bogus"),
        (["--snapshot-count=many"], 'invalid value "many" for flag -snapshot-count'),
        (["--pre-vote=perhaps"], 'invalid value "perhaps" for flag -pre-vote'),
        (["--name"], "flag needs an argument: -name"),
        (["name"], "'name' is not a valid flag"),
        (["--pre-vote", "false"], "'false' is not a valid flag"),
    ],
)
def test_wrong_command_lines(arguments: list[str], message: str) -> None:
    with pytest.raises(FlagError) as refusal:
        parse_flags(arguments, {})
    assert str(refusal.value) == message


def test_environment_and_precedence() -> None:
    environ = {"ETCD_NAME": "from-env", "ETCD_DATA_DIR": "/env", "ETCD_WHAT": "1", "PATH": "/bin", "ETCD_WAL_DIR": ""}
    flags = parse_flags(["--name=explicit"], environ)
    assert (flags["name"], flags["data-dir"], flags["wal-dir"]) == ("explicit", "/env", "")
    assert flags.warnings == ["unrecognized environment variable ETCD_WHAT=1"]
    with pytest.raises(FlagError, match="environment variable ETCD_SNAPSHOT_COUNT"):
        parse_flags([], {"ETCD_SNAPSHOT_COUNT": "x"})


CONFIG = """
name: from-file
listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2
pre-vote: false
snapshot-count: 11
client-transport-security:
  cert-file: /c
  client-cert-auth: true
peer-transport-security:
  cert-file: /p
"""


def test_a_configuration_file_stands_alone() -> None:
    flags = parse_flags(["--config-file=f", "--data-dir=ignored"], {"ETCD_WAL_DIR": "ignored"}, lambda _: CONFIG)
    assert (flags["name"], flags["data-dir"], flags["wal-dir"]) == ("from-file", "", "")
    assert flags["listen-client-urls"] == ("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert (flags["pre-vote"], flags["snapshot-count"]) == (False, 11)
    assert (flags["cert-file"], flags["client-cert-auth"], flags["peer-cert-file"]) == ("/c", True, "/p")


@pytest.mark.parametrize("content", ["- list", "a: [", "bogus: 1", "snapshot-count: many"])
def test_wrong_configuration_files(content: str) -> None:
    with pytest.raises(FlagError):
        parse_flags(["--config-file=f"], {}, lambda _: content)


def test_a_configuration_file_that_is_not_there() -> None:
    def missing(path: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    with pytest.raises(FlagError, match="No such file"):
        parse_flags(["--config-file=f"], {}, missing)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen-client-urls=http://a:1"], "--advertise-client-urls is required"),
        (["--heartbeat-interval=100", "--election-timeout=400"], "at least as 5 times"),
        (["--election-timeout=60000"], "too long"),
        (["--heartbeat-interval=0"], "must be >0"),
        (["--auto-compaction-mode=x"], "unknown auto-compaction-mode"),
        (["--auto-compaction-retention=x"], "invalid duration"),
        (["--auto-compaction-mode=revision", "--auto-compaction-retention=1h"], "a number of revisions"),
        (["--initial-cluster=a=http://1,b=http://2", "--name=a"], "several members"),
        (["--initial-cluster=a"], "error parsing initial cluster"),
        (["--initial-cluster=a=http://1"], "couldn't find local name"),
        (["--initial-cluster-state=old"], "initial-cluster-state"),
        (["--cert-file=c"], "must be given together"),
        (["--listen-client-urls=https://a:1", "--advertise-client-urls=https://a:1"], "--cert-file, --key-file"),
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
        "--feature-gates=LeaseCheckpoint=true,Other=false",
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


def test_help_names_every_flag() -> None:
    text = help_text()
    assert all(f"  --{flag.name}" in text for flag in FLAGS)
    assert len({flag.name for flag in FLAGS}) == len(FLAGS)
