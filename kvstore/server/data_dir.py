"""The layout of a data directory, and the lock that keeps a second server out of it.

<data directory>/member/wal/       the log
                 member/snap/      snapshot files
                 member/snap/db    the database
                 member/snap/db.*  work under way on it: a copy, a defragmented one; worth nothing after a restart
                 member/lock       held, by `flock`, as long as the server runs; worth nothing when it does not

All of it is for its owner alone.
"""

from __future__ import annotations

import fcntl
from typing import BinaryIO

from kvstore.environment import FileSystem

__all__ = ["DataDir", "DataDirError"]

_MAGIC_OFFSET = 16  # after the header of the first page
_BOLT_MAGIC = (0xED0CDAED).to_bytes(4, "little")  # bbolt's internal/common/types.go


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
            for directory in (path, f"{path}/member", self.snap_path, self.wal_path):
                files.makedirs(directory)  # each by itself, for only the last one of several is made private
            self._lock = files.open(f"{path}/member/lock", "wb")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DataDirError(
                f"cannot use data directory {path!r}: {reason}; choose one that can be written with --data-dir"
            ) from error
        self._files = files
        try:
            self._take(self._lock)
            self._refuse_bolt(files)
        except BaseException:
            self._lock.close()
            raise
        for name in ("db.copy", "db.snapshot", "db.defrag"):
            if files.exists(f"{self.snap_path}/{name}"):
                files.remove(f"{self.snap_path}/{name}")

    def _refuse_bolt(self, files: FileSystem) -> None:
        """The database of a real etcd has the same name and another format."""
        if not files.exists(self.database_path):
            return
        with files.open(self.database_path, "rb") as file:
            head = file.read(_MAGIC_OFFSET + len(_BOLT_MAGIC))
        if head[_MAGIC_OFFSET:] == _BOLT_MAGIC:
            raise DataDirError(
                f"data directory {self.path!r} is one of etcd itself ({self.database_path} is a bbolt file): "
                f"save it with 'etcdctl snapshot save FILE' and make a new one with "
                f"'mini-etcd snapshot restore FILE --data-dir=DIR'"
            )

    def _take(self, lock: BinaryIO) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataDirError(
                f"data directory {self.path!r} is in use by another server; stop it, or choose another with --data-dir"
            ) from error

    def free_bytes(self) -> int:
        """What the disk has left; the lesser where log and database are on two."""
        return min(self._files.free_bytes(self.snap_path), self._files.free_bytes(self.wal_path))

    def release(self) -> None:
        """Let others have it."""
        self._lock.close()
