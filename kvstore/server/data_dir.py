"""The layout of a data directory, and the lock that keeps a second server out of it.

<data directory>/member/wal/       the log
                 member/snap/      snapshot files
                 member/snap/db    the database
                 member/snap/db.*  work under way on it: a copy, a defragmented one; worth nothing after a restart
                 member/lock       held, by `flock`, as long as the server runs; worth nothing when it does not
"""

from __future__ import annotations

import fcntl
from typing import BinaryIO

from kvstore.environment import FileSystem

__all__ = ["DataDir", "DataDirError"]


class DataDirError(Exception):
    """The data directory cannot be used."""


class DataDir:
    """A data directory that is ours until `release`.

    Raises:
        DataDirError: it cannot be made or written, or another server uses it.
    """

    def __init__(self, path: str, files: FileSystem, wal_path: str = "") -> None:
        self.path = path
        self.snap_path = f"{path}/member/snap"
        self.wal_path = wal_path or f"{path}/member/wal"
        self.database_path = f"{self.snap_path}/db"
        try:
            files.makedirs(self.snap_path)
            files.makedirs(self.wal_path)
            self._lock = files.open(f"{path}/member/lock", "wb")
        except OSError as error:
            raise DataDirError(f"cannot use data directory {path!r}: {error.strerror or error}") from error
        self._files = files
        self._take(self._lock)
        for name in ("db.copy", "db.snapshot", "db.defrag"):
            if files.exists(f"{self.snap_path}/{name}"):
                files.remove(f"{self.snap_path}/{name}")

    def _take(self, lock: BinaryIO) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise DataDirError(f"data directory {self.path!r} is in use by another server") from error

    def free_bytes(self) -> int:
        """What the disk has left; the lesser where log and database are on two."""
        return min(self._files.free_bytes(self.snap_path), self._files.free_bytes(self.wal_path))

    def release(self) -> None:
        """Let others have it."""
        self._lock.close()
