"""What flags must not be, alone and together (etcd server/embed/config.go, Validate), in etcd's words."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from kvstore.app.features import EARLIER_FLAGS_OF_FEATURES
from kvstore.app.flags import FlagError, ParsedFlags

__all__ = ["check_flags"]

ELECTION_TIMEOUT_MS_MAX = 50_000
TLS_VERSIONS = ("TLS1.2", "TLS1.3")

_BOUND_URLS = ("listen-peer-urls", "listen-client-urls", "listen-client-http-urls", "listen-metrics-urls")


def check_flags(flags: ParsedFlags) -> None:
    """Refuse what cannot be meant, and note what is passed over.

    Raises:
        FlagError: the first thing that is wrong.
    """
    if flags["logger"] != "zap":
        raise FlagError(f'unknown logger option "{flags["logger"]}"')
    _check_urls(flags)
    _check_bootstrap(flags)
    _check_timing(flags)
    _check_features(flags)
    _check_client_tls(flags)
    _check_peer_tls(flags)
    _check_tls_versions(flags)


def _check_urls(flags: ParsedFlags) -> None:
    for name in _BOUND_URLS:
        for url in flags[name]:
            _check_bound(url)
    _check_hosts(flags["initial-advertise-peer-urls"], "--initial-advertise-peer-urls", '"host:port"')
    form = 'in the format "host:port", "unix:/path/to/socket" or "unixs:/path/to/socket"'
    _check_hosts(flags["advertise-client-urls"], "--advertise-client-urls", form)
    given = flags.given
    if "listen-client-urls" in given and "advertise-client-urls" not in given and not flags.from_file:
        raise FlagError("--advertise-client-urls is required when --listen-client-urls is set explicitly")
    for url in flags["listen-client-http-urls"]:
        if urlsplit(url).netloc + urlsplit(url).path in {
            urlsplit(other).netloc + urlsplit(other).path for other in flags["listen-client-urls"]
        }:
            raise FlagError(
                f"cannot bind both --listen-client-urls and --listen-client-http-urls on the same url {url}"
            )


def _check_bound(url: str) -> None:
    """Only addresses can be listened on: a name may stand for another address tomorrow."""
    parts = urlsplit(url)
    if parts.scheme in ("unix", "unixs") or parts.hostname == "localhost":
        return
    try:
        ipaddress.ip_address((parts.hostname or "").partition("%")[0])
    except ValueError:
        raise FlagError(f"expected IP in URL for binding ({url})") from None


def _check_hosts(urls: Iterable[str], flag: str, form: str) -> None:
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("unix", "unixs") and not parts.hostname:
            quoted = ",".join(urls)
            raise FlagError(f'{flag} "{quoted}" must be {form} (unexpected empty host ({url}))')


def _check_bootstrap(flags: ParsedFlags) -> None:
    ways = [flags["initial-cluster"], flags["discovery-srv"], flags["discovery-endpoints"]]
    if sum(map(bool, ways)) > 1:
        raise FlagError(
            "multiple discovery or bootstrap flags are set. "
            'Choose one of "initial-cluster", "discovery-endpoints" or "discovery-srv"'
        )
    for name in ("discovery-endpoints", "discovery-token", "discovery-srv", "discovery"):
        if flags[name]:
            raise FlagError(
                f"--{name} is not supported: members do not look for each other; list them with --initial-cluster"
            )


def _check_timing(flags: ParsedFlags) -> None:
    heartbeat, election = flags["heartbeat-interval"], flags["election-timeout"]
    for name in ("heartbeat-interval", "election-timeout"):
        if flags[name] <= 0:
            raise FlagError(f"--{name} must be >0 (set to {flags[name]}ms)")
    # The defaults are closer together than etcd's, for a faster election; who sets both gets etcd's rule.
    if {"heartbeat-interval", "election-timeout"} <= flags.given and 5 * heartbeat > election:
        raise FlagError(
            f"--election-timeout[{election}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat}ms]"
        )
    if election > ELECTION_TIMEOUT_MS_MAX:
        raise FlagError(
            f"--election-timeout[{election}ms] is too long, and should be set less than {ELECTION_TIMEOUT_MS_MAX}ms"
        )
    if flags["compact-hash-check-time"] <= 0:
        raise FlagError(f"--compact-hash-check-time must be >0 (set to {flags['compact-hash-check-time']:g}s)")
    if flags["auto-compaction-mode"] == "":
        raise FlagError("undefined auto-compaction-mode")


def _check_features(flags: ParsedFlags) -> None:
    on = {name for name, value in flags["feature-gates"].items() if value}
    on |= {name for flag, name in EARLIER_FLAGS_OF_FEATURES.items() if flag in flags.given and flags[flag]}
    if "LeaseCheckpointPersist" in on and "LeaseCheckpoint" not in on:
        raise FlagError("enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint")


def _check_client_tls(flags: ParsedFlags) -> None:
    given = _check_pair(flags, "cert-file", "key-file")
    if given and flags["auto-tls"]:
        flags.warn("ignoring client auto TLS since certs given")
    for url in (*flags["listen-client-urls"], *flags["listen-client-http-urls"], *flags["listen-metrics-urls"]):
        secure = url.startswith(("https:", "unixs:"))
        if secure and not given and not flags["auto-tls"]:
            raise FlagError(
                f"TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme"
            )
        if not secure and given:
            flags.warn(
                "scheme is http or unix while key and cert files are present; ignoring key and cert files",
                **{"client-url": url},
            )
    if given and flags["client-cert-auth"] and not flags["trusted-ca-file"]:
        raise FlagError(
            "--client-cert-auth needs --trusted-ca-file: certificates of what authority are to be accepted?"
        )


def _check_peer_tls(flags: ParsedFlags) -> None:
    given = _check_pair(flags, "peer-cert-file", "peer-key-file")
    _check_pair(flags, "peer-client-cert-file", "peer-client-key-file")
    if given and flags["peer-auto-tls"]:
        flags.warn("ignoring peer auto TLS since certs given")
    names, hosts = flags["peer-cert-allowed-cn"], flags["peer-cert-allowed-hostname"]
    if names and hosts:
        raise FlagError(f"AllowedCNs and AllowedHostnames are mutually exclusive (cns={names}, hostnames={hosts})")
    for url in flags["listen-peer-urls"]:
        if url.startswith(("https:", "unixs:")):
            if not given and not flags["peer-auto-tls"]:
                raise FlagError(
                    "TLS key/cert (--peer-cert-file, --peer-key-file) must be provided for "
                    f"peer url {url} with HTTPS scheme"
                )
        elif given:
            flags.warn(
                "scheme is HTTP while key and cert files are present; ignoring key and cert files", **{"peer-url": url}
            )
    if given and flags["peer-client-cert-auth"] and not flags["peer-trusted-ca-file"]:
        raise FlagError("--peer-client-cert-auth needs --peer-trusted-ca-file")


def _check_pair(flags: ParsedFlags, cert: str, key: str) -> bool:
    """Whether there is a certificate, for which there must be a key."""
    if bool(flags[cert]) != bool(flags[key]):
        raise FlagError(f"--{cert} and --{key} must be given together")
    return bool(flags[cert])


def _check_tls_versions(flags: ParsedFlags) -> None:
    minimum, maximum = flags["tls-min-version"] or TLS_VERSIONS[0], flags["tls-max-version"]
    for version in (minimum, maximum or minimum):
        if version not in TLS_VERSIONS:
            raise FlagError(f'unexpected TLS version "{version}" (must be one of: {", ".join(TLS_VERSIONS)})')
    if maximum and minimum > maximum:
        raise FlagError(f"min version ({minimum}) is greater than max version ({maximum})")
    if minimum == "TLS1.3" and flags["cipher-suites"]:
        raise FlagError("cipher suites cannot be configured when only TLS1.3 is enabled")
    if flags["self-signed-cert-validity"] == 0 and (flags["auto-tls"] or flags["peer-auto-tls"]):
        raise FlagError("selfSignedCertValidity is invalid,it should be greater than 0")
