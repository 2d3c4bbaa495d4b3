"""The database on its way from the leader to a member that has fallen too far behind.

What is sent is a copy of the whole database file, as of the moment it is asked for: newer than the snapshot in the log
that gave rise to it, and it says itself at which entry it stands. On the other side the file waits beside the database
under the index it is at, until the log has noted the snapshot and lets it take the database's place; a crash in between
finds it there (`snapshot_files`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from kvstore.apply import APPLIED_INDEX_KEY, APPLIED_TERM_KEY
from kvstore.backend import LMDBBackend, LMDBFile
from kvstore.environment import FileSystem
from kvstore.server.machine import CONF_STATE_KEY
from kvstore.server.snapshot_files import decode_conf_state, received_path, sending_path
from raft.core import ConfState, Snapshot
from raft.errors import RaftError
from raft.runtime.peer_snapshot import FileBody

__all__ = ["DatabaseBodies"]


class DatabaseBody:
    """A copy of the database; see `raft.runtime.peer_snapshot.SnapshotBody`.

    Attributes:
        snapshot: what the copy is a snapshot of.
    """

    def __init__(self, files: FileSystem, path: str) -> None:
        """Reads all of the file; to be called on a thread. Raises OSError, BackendError."""
        file = LMDBFile(path)
        try:
            stored = dict(file.rows("meta"))
        finally:
            file.close()
        index, term = (int.from_bytes(stored.get(key, b""), "big") for key in (APPLIED_INDEX_KEY, APPLIED_TERM_KEY))
        self.snapshot = Snapshot(index, term, decode_conf_state(stored.get(CONF_STATE_KEY, b"")) or ConfState())
        self._files = files
        self._path = path
        self._body = FileBody(files, path, self.snapshot)
        self.size = self._body.size
        self.digest = self._body.digest
        self.read: Callable[[int, int], bytes] = self._body.read

    def close(self) -> None:
        """Remove the copy."""
        self._body.close()
        self._files.remove(self._path)


class DatabaseBodies:
    """`raft.runtime.peer_snapshot.SnapshotBodies` on the database."""

    def __init__(self, backend: LMDBBackend, files: FileSystem, snap_path: str) -> None:
        self.directory = snap_path
        self._backend = backend
        self._files = files
        self._numbers = itertools.count(1)

    async def open(self, snapshot: Snapshot) -> DatabaseBody:
        """A fresh copy, at least as new as `snapshot`."""
        path = sending_path(self.directory, next(self._numbers))
        await self._backend.copy_to(path)
        body = await asyncio.to_thread(DatabaseBody, self._files, path)
        if body.snapshot.index < snapshot.index:
            await asyncio.to_thread(body.close)
            raise RaftError(f"the database is at {body.snapshot.index} and the log's snapshot at {snapshot.index}")
        return body

    async def accept(self, snapshot: Snapshot, path: str) -> None:
        """Keep a database that has come until the log wants it."""
        self._files.rename(path, received_path(self.directory, snapshot.index))
        self._files.fsync_dir(self.directory)
