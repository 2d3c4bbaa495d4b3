"""`mini-etcd`: a member of the store as a program, with etcd's flags."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from kvstore.app.flags import ConflictError, FlagError, ParsedFlags, UsageError, help_text, parse_flags, shown_arguments

__all__ = ["main"]

_COMMANDS = ("snapshot", "defrag", "dump", "version")
_PROXIES = ("gateway", "grpc-proxy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status: 0 after a clean stop, 1 when it cannot start or fails, 2 for a malformed line."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what matters of it stands in our own log
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in _COMMANDS:
        from kvstore.app.commands import run_command

        return run_command(arguments[0], arguments[1:])
    if arguments and arguments[0] in _PROXIES:
        return _refuse(f"{arguments[0]} is not available: clients connect to the members themselves")
    try:
        flags = parse_flags(arguments, os.environ, _read_text)
    except UsageError as error:
        return _refuse(f"{error}. See 'mini-etcd --help'")
    except FlagError as error:
        return _report(error)
    if flags["help"]:
        sys.stdout.write(help_text())
        return 0
    if flags["version"]:
        sys.stdout.write(_version_text())
        return 0
    return _serve(flags, arguments)


def _version_text() -> str:
    from kvstore.server.version import SERVER_VERSION

    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return (
        f"etcd Version: {SERVER_VERSION}\nImplementation: mini-etcd\n"
        f"Python Version: {platform.python_version()}\nOS/Arch: {sys.platform}/{machine}\n"
    )


def _serve(flags: ParsedFlags, arguments: Sequence[str]) -> int:
    import logging

    from kvstore.app.logs import configure_logging
    from kvstore.app.serve import serve
    from kvstore.app.settings import log_settings_of, settings_of
    from kvstore.app.starting import StartError
    from kvstore.environment import real_environment

    environment = real_environment()
    try:
        configure_logging(log_settings_of(flags), environment.clock.now)
    except (OSError, ValueError) as error:
        return _report(error)
    logger = logging.getLogger(__name__)
    logger.info("Running: ", extra={"fields": {"args": shown_arguments(arguments)}})
    try:
        settings = settings_of(flags)
    except FlagError as error:
        return _report(error)
    for notice in flags.notices:
        logger.log(notice.level, notice.message, extra={"fields": dict(notice.fields)})
    try:
        _runner()(serve(settings, environment))
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


def _report(error: Exception) -> int:
    """Say in the log what is wrong with the flags: the log that was asked for, or else standard error."""
    import logging

    from kvstore.app.logs import LogSettings, configure_logging
    from kvstore.environment import real_environment

    if not logging.getLogger().handlers:
        configure_logging(LogSettings(), real_environment().clock.now)
    logger = logging.getLogger(__name__)
    if isinstance(error, ConflictError):
        logger.critical(str(error), extra={"fields": {"environment-variable": error.variable}})
    else:
        logger.warning("failed to verify flags", extra={"fields": {"error": str(error)}})
    return 1


def _refuse(reason: str) -> int:
    sys.stderr.write(f"mini-etcd: {reason}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
