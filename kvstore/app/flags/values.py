"""The kinds of values a flag can have: text to value, with the words Go's flag package refuses with."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from kvstore.server.auto_compaction import parse_duration_seconds

__all__ = [
    "HIDDEN",
    "FlagError",
    "Parser",
    "UsageError",
    "boolean",
    "choice",
    "number",
    "origins",
    "quantity",
    "seconds",
    "shown",
    "strings",
    "text",
    "urls",
    "words",
]

Parser = Callable[[str], Any]

HIDDEN = "***"
"""Shown in place of a value that is secret."""

UINT_MAX = (1 << 64) - 1

_GO_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]*|[1-9][0-9_]*)")


class FlagError(Exception):
    """Flags, environment or configuration file make no sense; the message says what, as etcd does where it has a word.

    etcd reports these as «failed to verify flags» and exits with status 1.
    """


class UsageError(FlagError):
    """The command line is not written as flags are; etcd exits with status 2."""


def text(value: str) -> str:
    """Any text."""
    return value


def number(value: str) -> int:
    """A whole number that may be negative, in Go's notation: 10, 0x1f, 0o17."""
    if _GO_INTEGER.fullmatch(value) is None:
        raise ValueError("parse error")
    digits = value.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_":  # a leading 0 alone is octal
        digits = f"0o{digits[1:].lstrip('_')}"
    try:
        parsed = int(digits, 0)
    except ValueError:
        raise ValueError("parse error") from None
    if parsed > UINT_MAX:
        raise ValueError("value out of range")
    return -parsed if value.startswith("-") else parsed


def quantity(value: str) -> int:
    """A whole number from 0."""
    if value.startswith(("-", "+")):
        raise ValueError("parse error")
    return number(value)


def seconds(value: str) -> float:
    """A duration in Go's notation, as seconds."""
    try:
        return parse_duration_seconds(value)
    except ValueError:
        raise ValueError("parse error") from None


def boolean(value: str) -> bool:
    """What Go's strconv.ParseBool takes."""
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError("parse error")


def words(value: str) -> tuple[str, ...]:
    """A comma-separated list, each word once, in the order given."""
    return tuple(dict.fromkeys(word.strip() for word in value.split(",") if word.strip()))


def strings(value: str) -> tuple[str, ...]:
    """A comma-separated list as it is written."""
    return tuple(value.split(",")) if value else ()


def urls(value: str) -> tuple[str, ...]:
    """A comma-separated list of URLs, each once (etcd sorts them; types.NewURLs)."""
    if not value:
        return ()
    return tuple(dict.fromkeys(sorted(_url(part.strip()) for part in value.split(","))))


def origins(value: str) -> frozenset[str]:
    """Origins of scripts: URLs, or `*` (or nothing at all) for any."""
    return frozenset("*" if value in ("", "*") else urls(value))


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(f"parse {value!r}: invalid URL") from None
    if parts.scheme in ("unix", "unixs"):
        return value
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"URL scheme must be http, https, unix, or unixs: {value}")
    if port is None:
        raise ValueError(f'URL address does not have the form "host:port": {value}')
    if parts.path:
        raise ValueError(f"URL must not contain a path: {value}")
    return value


def choice(*allowed: str) -> Parser:
    """One of these words."""

    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError("invalid value")
        return value

    return parse


def shown(value: object, parse: Parser) -> str:
    """A value as `--help` shows it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, frozenset)):
        return ",".join(value)
    if isinstance(value, dict):
        return ",".join(f"{key}={shown(inner, parse)}" for key, inner in value.items())
    if parse is seconds and isinstance(value, float):
        return _duration(value)
    return str(value)


def _duration(value: float) -> str:
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        if value >= size and value % size == 0:
            return f"{value / size:g}{unit}"
    return f"{value * 1000:g}ms" if value else "0s"
