"""Flags: kube-apiserver's names and meanings, in the groups in which it lists them.

Both `--flag=value` and `--flag value` work; a boolean may stand alone or take `=true` or `=false`, as Go's flags do.
"""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apiserver.app.authentication_options import AuthenticationOptions, add_authentication_flags
from apiserver.app.authorization_config import MODES, check_flags
from apiserver.app.flag_values import OptionsError, Pairs, boolean, duration, pairs, words

__all__ = ["STORE_FLAGS", "Options", "OptionsError", "parse_options"]

ADMISSION_PLUGINS = ("NamespaceLifecycle",)
DEFAULT_ADMISSION_PLUGINS = ("NamespaceLifecycle",)
CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "namespace-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
)

STORE_FLAGS = (
    "name",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "initial-advertise-peer-urls",
    "listen-peer-urls",
    "listen-client-urls",
    "advertise-client-urls",
    "cert-file",
    "key-file",
    "trusted-ca-file",
    "client-cert-auth",
    "auto-tls",
    "peer-cert-file",
    "peer-key-file",
    "peer-trusted-ca-file",
    "peer-client-cert-auth",
    "peer-auto-tls",
    "heartbeat-interval",
    "election-timeout",
    "snapshot-count",
    "quota-backend-bytes",
    "auto-compaction-mode",
    "auto-compaction-retention",
    "strict-reconfig-check",
    "force-new-cluster",
)
"""etcd's flags for the embedded store; `apiserver.app.embedded_store` knows what they mean."""
_STORE_SWITCHES = (
    "client-cert-auth",
    "auto-tls",
    "peer-client-cert-auth",
    "peer-auto-tls",
    "strict-reconfig-check",
    "force-new-cluster",
)


@dataclass(slots=True)
class Options(AuthenticationOptions):
    """Everything a server can be told. Durations in seconds; the names are the flags'.

    Attributes:
        store_flags: those of `STORE_FLAGS` that were given, as text by name.
    """

    data_dir: str = "./mini-apiserver.data"
    bind_address: str = "127.0.0.1"
    secure_port: int = 6443
    advertise_address: str = ""
    external_hostname: str = ""
    tls_cert_file: str = ""
    tls_private_key_file: str = ""
    cert_dir: str = ""
    etcd_servers: tuple[str, ...] = ()
    etcd_cafile: str = ""
    etcd_certfile: str = ""
    etcd_keyfile: str = ""
    etcd_compaction_interval: float = 300.0
    event_ttl: float = 3600.0
    store_flags: Mapping[str, str] = field(default_factory=dict)
    runtime_config: dict[str, str] = field(default_factory=dict)
    service_cluster_ip_range: str = "10.0.0.0/24"
    service_node_port_range: tuple[int, int] = (30000, 32767)
    authorization_mode: tuple[str, ...] = ("AlwaysAllow",)
    authorization_policy_file: str = ""
    authorization_webhook_config_file: str = ""
    authorization_webhook_version: str = "v1beta1"
    authorization_webhook_cache_authorized_ttl: float = 300.0
    authorization_webhook_cache_unauthorized_ttl: float = 30.0
    authorization_config: str = ""
    enable_admission_plugins: tuple[str, ...] = ()
    disable_admission_plugins: tuple[str, ...] = ()
    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    request_timeout: float = 60.0
    min_request_timeout: float = 1800.0
    controllers: tuple[str, ...] = ("*",)
    verbosity: int = 0

    @property
    def admission_plugins(self) -> tuple[str, ...]:
        """The plugins in effect, in the order in which they run."""
        chosen = {*DEFAULT_ADMISSION_PLUGINS, *self.enable_admission_plugins} - set(self.disable_admission_plugins)
        return tuple(name for name in ADMISSION_PLUGINS if name in chosen)

    def runs(self, controller: str) -> bool:
        """Whether a controller is switched on; what is named counts before `*`."""
        if f"-{controller}" in self.controllers:
            return False
        return controller in self.controllers or "*" in self.controllers

    def check(self) -> None:
        """Raise `OptionsError` for values that cannot be right together."""
        if not 0 <= self.secure_port <= 65535:
            raise OptionsError(f"--secure-port {self.secure_port} must be between 0 and 65535; 0 picks a free port")
        if bool(self.tls_cert_file) != bool(self.tls_private_key_file):
            raise OptionsError("--tls-cert-file and --tls-private-key-file must be given together")
        if bool(self.etcd_certfile) != bool(self.etcd_keyfile):
            raise OptionsError("--etcd-certfile and --etcd-keyfile must be given together")
        if self.store_flags:
            self._check_store_flags()
        self.check_authentication()
        named = [name.removeprefix("-") for name in self.controllers if name != "*"]
        _check_known("--controllers", named, CONTROLLERS)
        problem = check_flags(
            self.authorization_mode,
            self.authorization_policy_file,
            self.authorization_webhook_config_file,
            self.authorization_webhook_version,
            bool(self.authorization_config),
        )
        if problem is not None:
            raise OptionsError(problem)
        _check_known("--enable-admission-plugins", self.enable_admission_plugins, ADMISSION_PLUGINS)
        _check_known("--disable-admission-plugins", self.disable_admission_plugins, ADMISSION_PLUGINS)
        try:
            network = ipaddress.ip_network(self.service_cluster_ip_range)
        except ValueError as error:
            raise OptionsError(f"--service-cluster-ip-range: {error}") from error
        if network.num_addresses < 8:
            raise OptionsError("--service-cluster-ip-range must hold at least 8 IP addresses")

    def _check_store_flags(self) -> None:
        if self.etcd_servers:
            names = ", ".join(f"--{name}" for name in self.store_flags)
            raise OptionsError(f"{names}: of the embedded store, which --etcd-servers does without")
        from apiserver.app.embedded_store import check_store_flags  # not before it is needed: see there

        check_store_flags(self.store_flags)


def _check_known(flag: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise OptionsError(f"{flag}: unknown {name!r}; this server has: {', '.join(known)}")


def parse_options(arguments: Sequence[str]) -> Options:
    """Options from the command line.

    Raises:
        OptionsError: a value is out of range or two flags contradict each other.
        SystemExit: argparse's own: `--help` (0) and unknown flags (2).
    """
    parser = _parser()
    _add_store_flags(parser, {"-h", "--help"} & set(arguments))
    namespace = parser.parse_args(arguments)
    given = {name: value for name, value in vars(namespace).items() if value is not None}
    store_flags = {name: given.pop(f"--{name}") for name in STORE_FLAGS if f"--{name}" in given}
    beside = [name for name in given if name == "authorization_mode" or name.startswith("authorization_webhook")]
    if "authorization_config" in given and beside:
        text = "can not be specified when --authorization-mode or --authorization-webhook-* flags are defined"
        raise OptionsError(f"--authorization-config {text}")
    if "authorization_config" in given:
        given["authorization_mode"] = ()
    options = Options(**given, store_flags=store_flags)
    options.check()
    return options


def _port_range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if not match or not 0 < int(match[1]) <= int(match[2]) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port range such as 30000-32767")
    return int(match[1]), int(match[2])


DESCRIPTION = """\
A Kubernetes API server with its own replicated, durable store. With no flags it makes a data directory with
certificates and an admin kubeconfig, and serves HTTPS on 127.0.0.1:6443:

  mini-apiserver
  export KUBECONFIG=$PWD/mini-apiserver.data/admin.kubeconfig
  kubectl get namespaces
"""

EMBEDDED_STORE = """\
As etcd's. Without them the store is this server's alone; with --initial-cluster several servers share one that lives
in all of them, and with --listen-client-urls it answers etcdctl and other API servers too.
"""

EPILOG = """\
other commands:
  mini-apiserver decode    print a value of the store (k8s protobuf) as JSON or YAML
  mini-apiserver encode    the way back

Durations are Go's: 30s, 5m, 1h30m. Lists are separated by commas.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mini-apiserver",
        usage="mini-apiserver [flags]\n       mini-apiserver decode|encode [flags] [file]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=None,
    )
    defaults = Options()

    def group(title: str) -> Callable[..., None]:
        section = parser.add_argument_group(title)

        def flag(name: str, kind: Any, text: str, metavar: str = "", **more: Any) -> None:
            attribute = name.replace("-", "_")
            default = getattr(defaults, attribute)
            shown = f" (default {_shown(default)})" if default not in ("", (), None, {}) else ""
            if kind is boolean:
                more.update(nargs="?", const=True, metavar="true|false")
            else:
                more.setdefault("metavar", metavar or "VALUE")
            section.add_argument(f"--{name}", type=kind, help=(text + shown).replace("%", "%%"), **more)

        return flag

    flag = group("serving")
    flag("data-dir", str, "where certificates, the admin kubeconfig and the embedded store live", "DIR")
    flag("bind-address", str, "IP address to listen on", "IP")
    flag("secure-port", int, "HTTPS port; 0 picks a free one", "PORT")
    flag(
        "advertise-address",
        str,
        "IP address of the kubernetes Service's endpoint; this host's own when not given",
        "IP",
    )
    flag("external-hostname", str, "one more name for the serving certificate and the kubeconfig", "HOST")
    flag("tls-cert-file", str, "serving certificate (PEM), instead of one of our own CA", "FILE")
    flag("tls-private-key-file", str, "its private key", "FILE")
    flag(
        "cert-dir",
        str,
        "where our own CA and its certificates are, or are made; several servers may share one (default DATA_DIR/pki)",
        "DIR",
    )
    flag("request-timeout", duration, "longest a request other than a watch may take", "DURATION")
    flag("min-request-timeout", duration, "shortest a watch is served; picked at random up to twice this", "DURATION")
    flag("max-requests-inflight", int, "reads under way at once; more get 429; 0 for no limit", "N")
    flag("max-mutating-requests-inflight", int, "writes under way at once; more get 429; 0 for no limit", "N")

    flag = group("etcd")
    flag("etcd-servers", words, "use this etcd v3 instead of the embedded store", "URL[,URL]")
    flag("etcd-cafile", str, "CA of the etcd servers", "FILE")
    flag("etcd-certfile", str, "client certificate for etcd", "FILE")
    flag("etcd-keyfile", str, "its private key", "FILE")
    flag("etcd-compaction-interval", duration, "how often history is compacted; 0 never", "DURATION")
    flag("event-ttl", duration, "how long events are kept", "DURATION")

    flag = group("API enablement")
    flag(
        "runtime-config",
        pairs,
        "switch API versions or resources on and off: api/all=true, api/beta=true, GROUP/VERSION[/RESOURCE]=true",
        "KEY=VALUE[,…]",
        action=Pairs,
    )
    flag("service-cluster-ip-range", str, "CIDR of Service cluster IPs", "CIDR")
    flag("service-node-port-range", _port_range, "ports for NodePort Services", "FROM-TO")

    flag = group("authentication")
    add_authentication_flags(flag)

    flag = group("authorization")
    flag("authorization-mode", words, f"authorizers in order; of {', '.join(MODES)}", "MODE[,MODE]")
    flag("authorization-policy-file", str, "policies of mode ABAC, one JSON object a line", "FILE")
    flag("authorization-webhook-config-file", str, "kubeconfig that says where mode Webhook asks", "FILE")
    flag("authorization-webhook-version", str, "of the SubjectAccessReview sent: v1 or v1beta1", "VERSION")
    flag("authorization-webhook-cache-authorized-ttl", duration, "how long a webhook's yes is kept", "DURATION")
    flag("authorization-webhook-cache-unauthorized-ttl", duration, "how long a webhook's no is kept", "DURATION")
    flag("authorization-config", str, "AuthorizationConfiguration (YAML) instead of the flags above", "FILE")

    flag = group("admission")
    flag("enable-admission-plugins", words, f"plugins beside the default ones; of {', '.join(ADMISSION_PLUGINS)}", "…")
    flag("disable-admission-plugins", words, "default plugins to leave out", "…")

    flag = group("controllers")
    flag(
        "controllers",
        words,
        f"controllers to run: * for all, NAME to have one, -NAME to leave one out; of {', '.join(CONTROLLERS)}",
        "NAME[,NAME]",
    )

    section = parser.add_argument_group("misc")
    section.add_argument("-v", "--v", dest="verbosity", type=int, metavar="LEVEL", help="log verbosity (default 0)")
    section.add_argument("--version", action="version", version=_version(), help="print the version and exit")
    return parser


def _add_store_flags(parser: argparse.ArgumentParser, helping: object) -> None:
    """The flags that are handed on as they are; what they are for is asked only for `--help`."""
    texts: Mapping[str, str] = {}
    if helping:
        from apiserver.app.embedded_store import store_flag_help

        texts = store_flag_help()
    section = parser.add_argument_group("embedded store", EMBEDDED_STORE)
    for name in STORE_FLAGS:
        text = texts.get(name, "").replace("%", "%%")
        if name in _STORE_SWITCHES:
            section.add_argument(
                f"--{name}", dest=f"--{name}", nargs="?", const="true", metavar="true|false", help=text
            )
        else:
            section.add_argument(f"--{name}", dest=f"--{name}", metavar="VALUE", help=text)


def _version() -> str:
    from apiserver.endpoints.version_info import GIT_VERSION

    return f"Kubernetes {GIT_VERSION}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}s"
    if isinstance(value, tuple):
        separator = "-" if all(isinstance(item, int) for item in value) else ","
        return separator.join(map(str, value))
    return str(value)
