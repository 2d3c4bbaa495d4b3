"""`mini-etcd`: a member of the store as a program, with etcd's flags."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from kvstore.app.flags import FlagError, help_text, parse_flags

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status: 0 after a clean stop, 1 when it cannot start or fails, 2 for wrong flags."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "-h" in arguments:
        sys.stdout.write(help_text())
        return 0
    if arguments and arguments[0] in ("gateway", "grpc-proxy"):
        return _refuse(f"subcommand {arguments[0]!r} is not available", 2)
    try:
        flags = parse_flags(arguments, os.environ, _read_text)
    except FlagError as error:
        return _refuse(f"{error}. See 'mini-etcd --help'.", 2)
    if flags["help"]:
        sys.stdout.write(help_text())
        return 0
    if flags["version"]:
        from kvstore.server.version import SERVER_VERSION

        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        sys.stdout.write(
            f"etcd Version: {SERVER_VERSION}\nImplementation: mini-etcd\n"
            f"Python Version: {platform.python_version()}\nOS/Arch: {sys.platform}/{machine}\n"
        )
        return 0
    return _serve(flags)


def _serve(flags: Any) -> int:
    import logging

    from kvstore.app.logs import configure_logging
    from kvstore.app.member import StartError
    from kvstore.app.serve import serve
    from kvstore.app.settings import settings_of
    from kvstore.environment import real_environment

    try:
        settings = settings_of(flags)
    except FlagError as error:
        return _refuse(f"{error}. See 'mini-etcd --help'.", 1)
    try:
        configure_logging(settings.log_level, settings.log_outputs)
    except (OSError, ValueError) as error:
        return _refuse(str(error), 1)
    logger = logging.getLogger(__name__)
    for warning in flags.warnings:
        logger.warning(warning)
    try:
        _runner()(serve(settings, real_environment()))
    except StartError as error:
        logger.critical(str(error))
        return 1
    except KeyboardInterrupt:  # before the signal handlers were in place
        return 1
    return 0


def _runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    try:
        import uvloop
    except ImportError:  # it does not build everywhere
        return asyncio.run
    run: Callable[[Coroutine[Any, Any, None]], None] = uvloop.run
    return run


def _read_text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _refuse(reason: str, status: int) -> int:
    sys.stderr.write(f"mini-etcd: {reason}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
