"""What was read: values by flag name, which of them were given, and what there is to say about it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kvstore.app.flags.table import EARLIER_NAMES, FLAGS, Flag
from kvstore.app.flags.values import HIDDEN, FlagError, UsageError, boolean

__all__ = ["ConflictError", "Notice", "ParsedFlags", "find_flag"]

_BY_NAME = {flag.name: flag for flag in FLAGS}


class ConflictError(FlagError):
    """A flag is given on the command line and in the environment; etcd does not start then.

    Attributes:
        variable: name of the environment variable.
    """

    def __init__(self, variable: str) -> None:
        super().__init__(
            "conflicting environment variable is shadowed by corresponding command-line flag "
            "(either unset environment variable or disable flag)"
        )
        self.variable = variable


@dataclass(frozen=True, slots=True)
class Notice:
    """A line for the log, once there is one."""

    level: int
    message: str
    fields: Mapping[str, object] = field(default_factory=dict)


def find_flag(name: str) -> Flag | None:
    """The flag of this name, or of this earlier name."""
    return _BY_NAME.get(EARLIER_NAMES.get(name, name))


@dataclass(slots=True)
class ParsedFlags:
    """Values by flag name, those that were given, what to tell in the log, and whether a file had the word."""

    values: dict[str, Any] = field(default_factory=lambda: {flag.name: flag.default for flag in FLAGS})
    given: set[str] = field(default_factory=set)
    notices: list[Notice] = field(default_factory=list)
    from_file: bool = False

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def set(self, flag: Flag, text: str) -> None:
        """Give a flag a value in its textual form.

        Raises:
            ValueError: it cannot have that value; the text says why.
        """
        self.values[flag.name] = flag.parse(text)
        self.given.add(flag.name)
        if flag.no_effect and self.values[flag.name] != flag.default:
            self.warn(f"--{flag.name} has no effect: {flag.no_effect}")

    def set_from_command_line(self, name: str, text: str) -> None:
        """Give a flag a value, as it was written on the command line.

        Raises:
            UsageError: there is no such flag, or it cannot have that value.
        """
        flag = find_flag(name)
        if flag is None:
            raise UsageError(f"flag provided but not defined: -{name}")
        try:
            self.set(flag, text)
        except ValueError as error:
            quoted = f'"{HIDDEN if flag.secret else text}"'
            what = f"boolean value {quoted} for -" if flag.parse is boolean else f"value {quoted} for flag -"
            raise UsageError(f"invalid {what}{name}: {error}") from None

    def warn(self, message: str, **fields: object) -> None:
        """Something that whoever started this should know."""
        self.notices.append(Notice(logging.WARNING, message, fields))

    def inform(self, message: str, **fields: object) -> None:
        """Something worth a line in the log."""
        self.notices.append(Notice(logging.INFO, message, fields))
