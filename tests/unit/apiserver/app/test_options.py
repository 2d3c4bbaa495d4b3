"""Flags: Go's forms, kube-apiserver's names, clear refusals."""

from __future__ import annotations

import pytest

from apiserver.app.options import STORE_FLAGS, Options, OptionsError, parse_options


def test_no_flags_are_the_defaults() -> None:
    assert parse_options([]) == Options()


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--secure-port=0"], "secure_port", 0),
        (["--secure-port", "7443"], "secure_port", 7443),
        (["--anonymous-auth"], "anonymous_auth", True),
        (["--anonymous-auth=false"], "anonymous_auth", False),
        (["--request-timeout=1m30s"], "request_timeout", 90.0),
        (["--etcd-servers=http://a:1,http://b:2"], "etcd_servers", ("http://a:1", "http://b:2")),
        (["--runtime-config=api/beta=true", "--runtime-config=batch/v1"], "runtime_config",
         {"api/beta": "true", "batch/v1": "true"}),
        (["--service-node-port-range=31000-31010"], "service_node_port_range", (31000, 31010)),
        (["--authorization-mode=AlwaysDeny"], "authorization_mode", ("AlwaysDeny",)),
        (["-v", "4"], "verbosity", 4),
        (["--service-account-issuer=https://a", "--service-account-issuer=https://b"], "service_account_issuer",
         ("https://a", "https://b")),
        (["--oidc-required-claim=a=b,c", "--oidc-required-claim=d=e"], "oidc_required_claim", {"a": "b,c", "d": "e"}),
        (["--controllers=*,-namespace-controller"], "controllers", ("*", "-namespace-controller")),
    ],
)  # fmt: skip
def test_forms_of_flags(arguments: list[str], name: str, value: object) -> None:
    assert getattr(parse_options(arguments), name) == value


@pytest.mark.parametrize(
    "argument",
    [
        "--secure-port=70000",
        "--tls-cert-file=only-one",
        "--etcd-certfile=only-one",
        "--authorization-mode=Nothing",
        "--enable-admission-plugins=Nothing",
        "--service-cluster-ip-range=10.0.0.0/30",
        "--service-cluster-ip-range=nonsense",
        "--controllers=nothing",
        "--service-account-issuer=",
        "--service-account-jwks-uri=http://x",
        "--service-account-max-token-expiration=10m",
        "--oidc-client-id=alone",
        "--oidc-signing-algs=HS256",
    ],
)
def test_values_that_cannot_be_are_refused_by_name(argument: str) -> None:
    with pytest.raises(OptionsError) as refused:
        parse_options([argument])
    assert argument.split("=")[0] in str(refused.value)


@pytest.mark.parametrize("argument", ["--no-such-flag", "--secure-port=x", "--request-timeout=soon", "--secure-por=1"])
def test_what_cannot_be_parsed_ends_with_usage(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_options([argument])
    assert ended.value.code == 2
    assert "usage: mini-apiserver" in capsys.readouterr().err


def test_plugins_in_effect() -> None:
    assert parse_options([]).admission_plugins == ("NamespaceLifecycle",)
    assert parse_options(["--disable-admission-plugins=NamespaceLifecycle"]).admission_plugins == ()


CLUSTER = "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2"


def test_flags_of_the_embedded_store_are_handed_on() -> None:
    given = [CLUSTER, "--name", "a", "--listen-peer-urls=http://127.0.0.1:1", "--force-new-cluster"]
    flags = parse_options(given).store_flags
    assert flags == {
        "initial-cluster": CLUSTER.removeprefix("--initial-cluster="),
        "name": "a",
        "listen-peer-urls": "http://127.0.0.1:1",
        "force-new-cluster": "true",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([CLUSTER], "--initial-cluster needs --listen-peer-urls"),
        ([CLUSTER, "--listen-peer-urls=http://127.0.0.1:1", "--name=c"], 'couldn\'t find local name "c"'),
        (["--initial-cluster=a", "--listen-peer-urls=http://127.0.0.1:1"], "<name>=<peer URL>"),
        (["--initial-cluster-state=existing"], "--initial-cluster-state=existing needs --initial-cluster"),
        (["--initial-cluster-state=soon"], "initial-cluster-state"),
        (["--listen-client-urls=http://127.0.0.1:1"], "--advertise-client-urls is required"),
        (["--advertise-client-urls=http://127.0.0.1:1"], "--advertise-client-urls needs --listen-client-urls"),
        (["--listen-peer-urls=https://127.0.0.1:1"], "--peer-cert-file"),
        (["--listen-peer-urls=127.0.0.1:1"], "listen-peer-urls"),
        (["--peer-cert-file=one"], "--peer-cert-file and --peer-key-file must be given together"),
        (["--heartbeat-interval=0"], "--heartbeat-interval must be >0"),
        (["--snapshot-count=many"], "snapshot-count"),
        (["--auto-compaction-mode=never"], "auto-compaction-mode"),
        (["--etcd-servers=http://a:1", "--snapshot-count=5", "--name=a"], "--name, --snapshot-count: of the embedded"),
    ],
)
def test_flags_of_the_embedded_store_that_cannot_be(arguments: list[str], words: str) -> None:
    with pytest.raises(OptionsError) as refused:
        parse_options(arguments)
    assert words in str(refused.value)


def test_help_tells_what_every_flag_of_the_store_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--help"])
    words = capsys.readouterr().out.split()
    for name in STORE_FLAGS:
        after = words[len(words) - words[::-1].index(f"--{name}") :]
        assert not after[1].startswith("--"), name


def test_controllers_that_run() -> None:
    options = parse_options(["--controllers=*,-namespace-controller"])
    assert not options.runs("namespace-controller")
    assert options.runs("serviceaccount-controller")
    only = parse_options(["--controllers=namespace-controller"])
    assert only.runs("namespace-controller")
    assert not only.runs("serviceaccount-controller")


def test_audiences_are_the_issuers_unless_given() -> None:
    assert parse_options(["--service-account-issuer=https://a"]).audiences == ("https://a",)
    assert parse_options(["--service-account-issuer=https://a", "--api-audiences=b"]).audiences == ("b",)
