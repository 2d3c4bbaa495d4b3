"""Whole LMDB files, read and written in one go: copies of a database, and databases that are made from a snapshot."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator

import lmdb

from kvstore.backend.interface import BUCKETS, KEY_BUCKET
from kvstore.backend.lmdb_backend import MAP_BYTES_MIN, ROWS_PER_SLICE, BackendError

__all__ = ["LMDBFile", "write_lmdb_file"]

Rows = Iterable[tuple[bytes, bytes]]


class LMDBFile:
    """A database file that nobody writes, as rows by bucket.

    Once it is open the path may be removed.

    Raises:
        BackendError: it is no LMDB file, or cannot be opened; every method may raise it when it is damaged.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._env = lmdb.open(
                path, subdir=False, readonly=True, lock=False, create=False, max_dbs=len(BUCKETS) + 1, readahead=False
            )
            self._txn = self._env.begin()
        except (lmdb.Error, OSError) as error:
            raise BackendError(f"{path}: {error}") from error

    def rows(self, bucket: str) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a bucket in order; nothing when it does not exist."""
        try:
            database = self._env.open_db(bucket.encode(), self._txn, create=False)
            with self._txn.cursor(database) as cursor:
                if cursor.first():
                    yield from cursor.iternext(keys=True, values=True)
        except lmdb.NotFoundError:
            return
        except lmdb.Error as error:
            raise BackendError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._txn.abort()
        self._env.close()


def write_lmdb_file(path: str, buckets: Iterable[tuple[str, Rows]], progress: Callable[[int], None]) -> None:
    """Make a database file of buckets whose rows come sorted, durable when this returns.

    Args:
        progress: told, every thousand rows, how many there were since it was told last.

    Raises:
        BackendError: LMDB does not take a row, or the disk is full.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        env = lmdb.open(path, subdir=False, lock=False, sync=False, map_size=MAP_BYTES_MIN, max_dbs=len(BUCKETS) + 1)
        try:
            for name in (KEY_BUCKET, *BUCKETS):
                env.open_db(name.encode())
            for name, rows in buckets:
                _write_bucket(env, name, iter(rows), progress)
            env.sync(True)
        finally:
            env.close()
    except lmdb.Error as error:
        raise BackendError(f"{path}: {error}") from error


def _write_bucket(
    env: lmdb.Environment, name: str, rows: Iterator[tuple[bytes, bytes]], progress: Callable[[int], None]
) -> None:
    database = env.open_db(name.encode())
    while piece := list(itertools.islice(rows, ROWS_PER_SLICE)):
        while True:
            try:
                with env.begin(write=True) as txn, txn.cursor(database) as cursor:
                    cursor.putmulti(piece, append=True)
                break
            except lmdb.MapFullError:
                env.set_mapsize(2 * env.info()["map_size"])
        progress(len(piece))
