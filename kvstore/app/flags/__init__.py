"""etcd's flags: which there are, how they are written, and what `--help` says of them.

values        the kinds of values: text to value, as Go's flag package reads it
table         the flags
command_line  command line and environment
config_file   the YAML file that may stand in their place
usage         the text of `--help`
"""

from kvstore.app.flags.command_line import parse_flags, shown_arguments
from kvstore.app.flags.parsed import ConflictError, Notice, ParsedFlags
from kvstore.app.flags.table import EARLIER_NAMES, FLAGS, Flag
from kvstore.app.flags.usage import help_text
from kvstore.app.flags.values import FlagError, UsageError

__all__ = [
    "EARLIER_NAMES",
    "FLAGS",
    "ConflictError",
    "Flag",
    "FlagError",
    "Notice",
    "ParsedFlags",
    "UsageError",
    "help_text",
    "parse_flags",
    "shown_arguments",
]
