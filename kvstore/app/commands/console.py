"""What the commands share: arguments in Go's forms, errors, progress on a terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TextIO

from kvstore.environment import Clock

__all__ = ["CommandError", "Progress", "command_parser", "parse_arguments"]

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")

_PROGRESS_INTERVAL_SECONDS = 0.1


class CommandError(Exception):
    """A command cannot do what it was asked; the message is for whoever asked."""


def command_parser(command: str, description: str) -> argparse.ArgumentParser:
    """The parser of one command; flags are not abbreviated."""
    return argparse.ArgumentParser(prog=f"mini-etcd {command}", description=description, allow_abbrev=False)


def parse_arguments(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse, with switches also as `--switch=true` and `--switch=false`."""
    switches = {
        option
        for action in parser._actions
        if action.nargs == 0 and action.dest != "help"
        for option in action.option_strings
    }
    words = []
    for word in arguments:
        name, separator, text = word.partition("=")
        if separator and name in switches and text in _TRUE + _FALSE:
            words += [name] if text in _TRUE else []
        else:
            words.append(word)
    return parser.parse_args(words)


class Progress:
    """A counter on a terminal, rewritten in place; silent where there is no terminal.

    Args:
        what: is counted, for example `rows read`.
    """

    def __init__(self, what: str, clock: Clock, stream: TextIO | None = None) -> None:
        self._what = what
        self._clock = clock
        self._stream = stream or sys.stderr
        self._visible = self._stream.isatty()
        self._count = 0
        self._shown_at = clock.monotonic()

    def __call__(self, count: int) -> None:
        """Count so many more."""
        self._count += count
        if self._visible and self._clock.monotonic() - self._shown_at > _PROGRESS_INTERVAL_SECONDS:
            self._shown_at = self._clock.monotonic()
            self._stream.write(f"\r{self._count:,} {self._what}\x1b[K")
            self._stream.flush()

    def clear(self) -> None:
        """Take the counter off the terminal."""
        if self._visible:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
