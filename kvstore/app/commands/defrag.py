"""`mini-etcd defrag --data-dir DIR`: the database of a stopped member without its free pages."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from kvstore.app.commands.console import CommandError, command_parser, parse_arguments
from kvstore.backend import BackendError, LMDBBackend
from kvstore.environment import Environment, real_environment
from kvstore.server.data_dir import DataDir, DataDirError
from kvstore.snapshot import human_bytes

__all__ = ["run"]


def run(arguments: Sequence[str]) -> None:
    """Rewrite the database and say what that saved.

    Raises:
        CommandError: there is no database, or it cannot be used.
    """
    parser = command_parser("defrag", "Defragments the storage of a member that is not running.")
    parser.add_argument("--data-dir", required=True, metavar="DIR", help="the member's data directory")
    data_dir = parse_arguments(parser, arguments).data_dir
    environment = real_environment()
    try:
        before, after = asyncio.run(_defragment(data_dir, environment))
    except (BackendError, DataDirError, OSError) as error:
        raise CommandError(f"Failed to defragment etcd data[{data_dir}] ({error})") from error
    sys.stdout.write(f"Finished defragmenting {data_dir}: {human_bytes(before)} -> {human_bytes(after)}\n")


async def _defragment(path: str, environment: Environment) -> tuple[int, int]:
    if not environment.files.exists(f"{path}/member/snap/db"):
        raise DataDirError(f"there is no database in {path!r}")
    data_dir = DataDir(path, environment.files)
    try:
        backend = LMDBBackend(data_dir.database_path, environment.clock)
        try:
            before = backend.size_bytes()
            await backend.defragment()
            return before, backend.size_bytes()
        finally:
            await backend.close()
    finally:
        data_dir.release()
