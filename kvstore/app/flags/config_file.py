"""The configuration file: YAML with the flags' names as keys (etcd's etcd.conf.yml.sample).

TLS has two sections of its own, as have socket options and discovery; durations may also be whole numbers of
nanoseconds, the only form etcd takes. What is not a flag is left alone with a warning: etcd says nothing, and a file
that starts it should start us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kvstore.app.flags import values
from kvstore.app.flags.parsed import ParsedFlags, find_flag
from kvstore.app.flags.values import HIDDEN, FlagError

__all__ = ["read_config_file"]

_TLS_KEYS = (
    "cert-file",
    "key-file",
    "client-cert-file",
    "client-key-file",
    "client-cert-auth",
    "trusted-ca-file",
    "auto-tls",
)

_SECTIONS: Mapping[str, Mapping[str, str]] = {
    "client-transport-security": {
        **{key: key for key in _TLS_KEYS},
        "allowed-hostname": "client-cert-allowed-hostname",
    },
    "peer-transport-security": {
        **{key: f"peer-{key}" for key in _TLS_KEYS},
        "allowed-cn": "peer-cert-allowed-cn",
        "allowed-hostname": "peer-cert-allowed-hostname",
        "skip-client-san-verification": "peer-skip-client-san-verification",
    },
    "socket-options": {"reuse-port": "socket-reuse-port", "reuse-address": "socket-reuse-address"},
    "discovery-config": {"token": "discovery-token"},
}
"""Keys of nested sections, and the flags they stand for."""

_NANOSECONDS = 1e9


def read_config_file(path: str, read_file: Callable[[str], str]) -> ParsedFlags:
    """The flags a configuration file sets.

    Raises:
        FlagError: it cannot be read, or something in it makes no sense.
    """
    parsed = ParsedFlags(from_file=True)
    for key, value in _load(path, read_file).items():
        section = _SECTIONS.get(key)
        if section is None:
            _set(parsed, key, key, value, path)
        elif isinstance(value, dict):
            for inner, inner_value in value.items():
                _set(parsed, section.get(str(inner), ""), f"{key}.{inner}", inner_value, path)
        elif value is not None:
            raise FlagError(f"invalid {key}: configuration file {path} has no mapping there")
    return parsed


def _load(path: str, read_file: Callable[[str], str]) -> dict[str, object]:
    import yaml

    try:
        content = yaml.safe_load(read_file(path))
    except OSError as error:
        raise FlagError(f"open {path}: {(error.strerror or str(error)).lower()}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise FlagError(f"configuration file {path}: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise FlagError(f"configuration file {path}: a mapping of flag names is wanted")
    return {str(key): value for key, value in content.items()}


def _set(parsed: ParsedFlags, name: str, key: str, value: object, path: str) -> None:
    if value is None or value == "":
        return
    if key == "client-transport-security.allowed-cn":  # to pass over it would let in whom it keeps out
        raise FlagError(f"configuration file {path}: {key} is not supported; use allowed-hostname")
    flag = find_flag(name)
    if flag is None:
        parsed.warn("unknown key in the configuration file is ignored", key=key, path=path)
        return
    text = _text(value, flag.parse)
    try:
        parsed.set(flag, text)
    except ValueError as error:
        shown = HIDDEN if flag.secret else text
        raise FlagError(f'configuration file {path}: invalid value "{shown}" for {key}: {error}') from None


def _text(value: object, parse: values.Parser) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return ",".join(f"{key}={_text(inner, values.text)}" for key, inner in value.items())
    if parse is values.seconds and isinstance(value, int):
        return f"{value / _NANOSECONDS:.9f}s"
    return str(value)
