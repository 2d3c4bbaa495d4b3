"""What `mini-etcd` does besides serving: `mini-etcd COMMAND …`, with the names and flags of etcdutl.

Each command is a module with `run`, imported only when it is asked for, so that they cost a server nothing.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from kvstore.app.commands.console import CommandError

__all__ = ["COMMANDS", "run_command"]

COMMANDS = ("snapshot", "defrag", "dump", "version")


def run_command(name: str, arguments: Sequence[str]) -> int:
    """Run one of `COMMANDS`; returns the exit status: 0, 1 for a failure, 2 for a malformed line."""
    module = importlib.import_module(f"kvstore.app.commands.{name}")
    try:
        module.run(arguments)
    except CommandError as error:
        sys.stderr.write(f"mini-etcd: {error}\n")
        return 1
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("mini-etcd: interrupted\n")
        return 1
    except SystemExit as exit_:  # argparse has printed its help or its complaint
        return exit_.code if isinstance(exit_.code, int) else 1
    return 0
