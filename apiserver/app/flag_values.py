"""Values of flags, in the forms that Go's flags take."""

from __future__ import annotations

import argparse
from typing import Any

from apiserver.api.metatime import parse_duration

__all__ = ["OptionsError", "Pairs", "Repeated", "boolean", "duration", "pairs", "words"]


class OptionsError(Exception):
    """A flag's value cannot be used; the text says which and why."""


def words(text: str) -> tuple[str, ...]:
    """A list separated by commas."""
    return tuple(word for word in text.split(",") if word)


def boolean(text: str) -> bool:
    """`true` or `false`, or shorter."""
    if text.lower() in ("1", "t", "true"):
        return True
    if text.lower() in ("0", "f", "false"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def duration(text: str) -> float:
    """Seconds, given as `1h30m`."""
    try:
        return parse_duration(text) / 1e9
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error} (examples: 30s, 5m, 1h30m)") from error


def pairs(text: str) -> dict[str, str]:
    """Names and values: `a=1,b=2`; a name without a value means true."""
    found = {}
    for word in words(text):
        name, _, value = word.partition("=")
        found[name] = value or "true"
    return found


class Pairs(argparse.Action):
    """A flag of pairs that may be given several times."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Join what is given to what was."""
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), **values})


class Repeated(argparse.Action):
    """A flag that may be given several times, each adding to a list."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Append what is given."""
        more = values if isinstance(values, tuple) else (values,)
        setattr(namespace, self.dest, (*(getattr(namespace, self.dest) or ()), *more))
