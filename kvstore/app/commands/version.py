"""`mini-etcd version`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kvstore.app.commands.console import command_parser, parse_arguments
from kvstore.server.version import SERVER_VERSION

__all__ = ["run"]


def run(arguments: Sequence[str]) -> None:
    """Print the release and the API's version."""
    parse_arguments(command_parser("version", "Prints the version of mini-etcd."), arguments)
    api_version = ".".join(SERVER_VERSION.split(".")[:2])
    sys.stdout.write(f"mini-etcd version: {SERVER_VERSION}\nAPI version: {api_version}\n")
