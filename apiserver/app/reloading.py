"""Files that may change while the server runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from kvstore.environment import Clock, FileSystem

__all__ = ["follow_files", "read_file"]

POLL_SECONDS = 5.0


def read_file(files: FileSystem, path: str) -> bytes:
    """All of a file. Raises OSError."""
    with files.open(path, "rb") as file:
        return file.read()


async def follow_files(
    paths: Sequence[str], changed: Callable[[], Awaitable[None]], files: FileSystem, clock: Clock
) -> None:
    """Call `changed` whenever what the files hold has changed, until cancelled.

    A file that cannot be read at the moment counts as unchanged: whoever replaces it may be half-way.
    """
    known = [_content(files, path) for path in paths]
    while True:
        await clock.sleep(POLL_SECONDS)
        present = [_content(files, path) for path in paths]
        present = [new if new is not None else old for new, old in zip(present, known, strict=True)]
        if present != known:
            known = present
            await changed()


def _content(files: FileSystem, path: str) -> bytes | None:
    try:
        return read_file(files, path)
    except OSError:
        return None
