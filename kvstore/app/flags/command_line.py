"""The command line, and the environment behind it.

`--flag=value` and `--flag value`, with one dash or two; booleans bare or with a value, as Go's flag package reads them.
Every flag is also `ETCD_` and its name in capitals. Either names a configuration file, and then nothing else counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kvstore.app.flags.config_file import read_config_file
from kvstore.app.flags.parsed import ConflictError, ParsedFlags, find_flag
from kvstore.app.flags.values import HIDDEN, FlagError, UsageError, boolean

__all__ = ["parse_flags", "shown_arguments"]

_PREFIX = "ETCD_"
_CONFIG_FILE_VARIABLE = "ETCD_CONFIG_FILE"
_NOT_FROM_ENVIRONMENT = ("version", "help")


def parse_flags(
    arguments: Sequence[str], environ: Mapping[str, str], read_file: Callable[[str], str] | None = None
) -> ParsedFlags:
    """Read command line and environment, or the configuration file one of them names.

    With `--help` or `--version` on the command line nothing else is looked at.

    Args:
        read_file: reads the configuration file; OSError when it cannot.

    Raises:
        UsageError: the command line is malformed.
        ConflictError: a flag is also in the environment.
        FlagError: something else makes no sense.
    """
    parsed = ParsedFlags()
    _read_command_line(parsed, list(arguments))
    if parsed["help"] or parsed["version"]:
        return parsed
    path = parsed["config-file"] or environ.get(_CONFIG_FILE_VARIABLE, "")
    if not path:
        _read_environment(parsed, environ)
        return parsed
    if read_file is None:
        raise FlagError("a configuration file cannot be read here")
    ignored = sorted(parsed.given - {"config-file"})
    parsed = read_config_file(path, read_file)
    parsed.inform(
        "loaded server configuration, other configuration command line flags and environment variables will be ignored "
        "if provided",
        path=path,
    )
    if ignored:
        parsed.warn("flags beside --config-file are ignored", flags=ignored)
    return parsed


def shown_arguments(arguments: Sequence[str]) -> list[str]:
    """The command line as it may be logged: values of secret flags are hidden."""
    shown: list[str] = []
    hide_next = False
    for argument in arguments:
        name, separator, _ = argument.lstrip("-").partition("=")
        flag = find_flag(name) if argument.startswith("-") else None
        secret = flag is not None and flag.secret
        if hide_next:
            shown.append(HIDDEN)
        else:
            shown.append(f"--{name}={HIDDEN}" if secret and separator else argument)
        hide_next = secret and not separator and not hide_next
    return shown


def _read_command_line(parsed: ParsedFlags, words: list[str]) -> None:
    while words:
        word = words.pop(0)
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            words.insert(0, word)
            break
        name, separator, text = word.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {word}")
        flag = find_flag(name)
        if flag is not None and not separator:
            if flag.parse is boolean:
                text = "true"
            elif words:
                text = words.pop(0)
            else:
                raise UsageError(f"flag needs an argument: -{name}")
        parsed.set_from_command_line(name, text)
        if parsed["help"]:
            return
    if words:
        raise FlagError(f"'{words[0]}' is not a valid flag")


def _read_environment(parsed: ParsedFlags, environ: Mapping[str, str]) -> None:
    """Flags from `ETCD_…` (etcd pkg/flags.SetFlagsFromEnv). Values are not repeated: one may be a password."""
    explicit = set(parsed.given)
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX):
            continue
        name = variable.removeprefix(_PREFIX).lower().replace("_", "-")
        flag = find_flag(name)
        if name in _NOT_FROM_ENVIRONMENT:
            parsed.warn("cannot set special environment variable", key=variable)
        elif flag is None:
            parsed.warn("unrecognized environment variable", **{"environment-variable": variable})
        elif flag.name in explicit:
            raise ConflictError(variable)
        elif environ[variable]:
            _set_from_environment(parsed, name, variable, environ[variable])


def _set_from_environment(parsed: ParsedFlags, name: str, variable: str, text: str) -> None:
    flag = find_flag(name)
    assert flag is not None
    shown = HIDDEN if flag.secret else text
    try:
        parsed.set(flag, text)
    except ValueError as error:
        raise FlagError(f'invalid value "{shown}" for {variable}: {error}') from None
    fields = {"variable-name": variable, "variable-value": shown}
    parsed.inform("recognized and used environment variable", **fields)
