"""Revisions and buckets in LMDB, behind a write buffer.

What is written goes into dictionaries, where every read looks first, and from there into LMDB about every 100 ms, in
one LMDB transaction: values, deletions and the applied index together. LMDB is never what makes an acknowledged write
durable (the log is), only how much of the log a restart must read again.

A flush has three parts. A worker thread begins the transaction, which may wait for the lock; the loop puts the rows
in, in slices; the worker commits, which waits for the disk. The rows are put in by the loop although that costs it
about half a microsecond each, because `lmdb` gives up the interpreter lock at every row: a worker that had to win it
back from a busy loop two thousand times would need seconds (measured: 2.4 s against 1 ms).

The file is `member/snap/db`, one LMDB database per bucket.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import lmdb

from kvstore.backend.interface import BUCKETS, KEY_BUCKET
from kvstore.backend.uninterrupted import uninterrupted
from kvstore.backend.write_buffer import WriteBuffer
from kvstore.environment import Clock, TimerHandle

__all__ = ["FLUSH_INTERVAL_SECONDS", "FLUSH_OPERATIONS", "BackendError", "LMDBBackend"]

FLUSH_INTERVAL_SECONDS = 0.1
"""How long a write may wait in the buffer."""

FLUSH_OPERATIONS = 10_000
"""How many writes may wait in the buffer before it is flushed ahead of time."""

RETRY_SECONDS = 1.0
"""How long to wait after a flush that failed, on a full disk for example."""

ROWS_PER_SLICE = 1000
"""Rows put into LMDB before the loop gets on with other things."""

MAP_BYTES_MIN = 256 << 20
"""Address space first set aside for the file; it is doubled when it runs out."""


class BackendError(Exception):
    """The database file cannot be opened or read."""


class LMDBBackend:
    """`Backend` in one LMDB file.

    Args:
        path: the file; `path + "-lock"` is LMDB's lock file.
        clock: tells when to flush.
        on_flush: called on the loop after each flush that succeeded, with the seconds it took.
        on_error: called on the loop with the reason each time a flush fails; it is tried again.
        flush_interval_seconds, flush_operations: how long, and how many, writes may wait in the buffer.

    Attributes:
        path: the file.

    Raises:
        BackendError: the file is not an LMDB database, or cannot be opened.
    """

    def __init__(
        self,
        path: str,
        clock: Clock,
        *,
        on_flush: Callable[[float], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
        flush_interval_seconds: float = FLUSH_INTERVAL_SECONDS,
        flush_operations: int = FLUSH_OPERATIONS,
    ) -> None:
        self.path = path
        self._flush_interval_seconds = flush_interval_seconds
        self._flush_operations = flush_operations
        self._clock = clock
        self.on_flush = on_flush
        self.on_error = on_error
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="lmdb")
        self._buffer = WriteBuffer()
        self._flushing = WriteBuffer()
        self._timer: TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        # Held while the file is written, copied or replaced: the map must not grow under a copy, nor a flush go into a
        # file that is about to be replaced.
        self._exclusive = asyncio.Lock()
        self._closed = False
        self._open()

    def _open(self) -> None:
        size = os.path.getsize(self.path) if os.path.exists(self.path) else 0
        try:
            self._env = lmdb.open(
                self.path,
                subdir=False,
                mode=0o600,
                map_size=max(MAP_BYTES_MIN, 2 * size),
                max_dbs=len(BUCKETS) + 1,
                max_spare_txns=2,
            )
            self._keys = self._env.open_db(KEY_BUCKET.encode())
            self._databases = {name: self._env.open_db(name.encode()) for name in BUCKETS}
        except (lmdb.Error, OSError) as error:
            raise BackendError(f"{self.path}: {error}") from error
        self._read = self._env.begin()
        self._file_bytes = self._measure()

    # --- writing

    def put_revision(self, key: bytes, value: bytes) -> None:
        """See `Backend.put_revision`."""
        buffer = self._buffer
        buffer.revisions[key] = value
        buffer.size_bytes += len(value)
        if self._timer is None:
            self._schedule()

    def delete_revisions(self, keys: Sequence[bytes]) -> None:
        """See `Backend.delete_revisions`."""
        self._buffer.delete_revisions(keys)
        self._schedule()

    def put(self, bucket: str, key: bytes, value: bytes) -> None:
        """See `Backend.put`."""
        self._buffer.buckets[bucket, key] = value
        if self._timer is None:
            self._schedule()

    def delete(self, bucket: str, key: bytes) -> None:
        """See `Backend.delete`."""
        self._buffer.buckets[bucket, key] = None
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is None and self._task is None and not self._closed:
            self._timer = self._clock.call_later(self._flush_interval_seconds, self._start_flush)

    def buffer_is_full(self) -> bool:
        """Whether so much waits that the next flush should not wait for its time (`start_flush`)."""
        return len(self._buffer.revisions) >= self._flush_operations

    # --- reading

    def get_revision(self, key: bytes) -> bytes | None:
        """See `Backend.get_revision`."""
        value = self._buffer.revisions.get(key)
        if value is None:
            value = self._flushing.revisions.get(key)
            if value is None:
                value = self._read.get(key, db=self._keys)
        return value

    def get_revisions(self, keys: Sequence[bytes]) -> list[bytes]:
        """See `Backend.get_revisions`."""
        if len(keys) == 1:
            value = self.get_revision(keys[0])
            if value is None:
                raise KeyError(keys[0])
            return [value]
        fresh = self._buffer.revisions
        flushing = self._flushing.revisions
        found = {key: fresh.get(key) or flushing.get(key) for key in keys} if fresh or flushing else {}
        stored = [key for key in keys if not found.get(key)]
        if stored:
            with self._read.cursor(self._keys) as cursor:
                rows = cursor.getmulti(stored)
            if len(rows) == len(keys):
                return [value for _, value in rows]
            found.update(rows)
        return [_present(key, found.get(key)) for key in keys]

    def scan_revisions(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See `Backend.scan_revisions`."""
        deleted = {**self._flushing.deleted, **self._buffer.deleted}
        with self._read.cursor(self._keys) as cursor:
            if cursor.set_range(start):
                if not deleted:
                    yield from cursor.iternext(keys=True, values=True)
                else:
                    for key, value in cursor.iternext(keys=True, values=True):
                        if key not in deleted:
                            yield key, value
        # Revisions only grow, so the buffers continue where the file ends.
        for buffer in (self._flushing, self._buffer):
            for key, value in buffer.revisions.items():
                if key >= start and key not in deleted:
                    yield key, value

    def get(self, bucket: str, key: bytes) -> bytes | None:
        """See `Backend.get`."""
        for buffer in (self._buffer, self._flushing):
            if (bucket, key) in buffer.buckets:
                return buffer.buckets[bucket, key]
        value: bytes | None = self._read.get(key, db=self._databases[bucket])
        return value

    def items(self, bucket: str) -> list[tuple[bytes, bytes]]:
        """See `Backend.items`."""
        with self._read.cursor(self._databases[bucket]) as cursor:
            found: dict[bytes, bytes | None] = dict(cursor.iternext(keys=True, values=True)) if cursor.first() else {}
        for buffer in (self._flushing, self._buffer):
            for (name, key), value in buffer.buckets.items():
                if name == bucket:
                    found[key] = value
        return sorted((key, value) for key, value in found.items() if value is not None)

    def size_bytes(self) -> int:
        """See `Backend.size_bytes`."""
        return self._file_bytes + self._buffer.size_bytes + self._flushing.size_bytes

    def size_in_use_bytes(self) -> int:
        """See `Backend.size_in_use_bytes`."""
        pages = 0
        for database in (self._keys, *self._databases.values()):
            stat = self._read.stat(database)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        page_bytes = self._env.stat()["psize"]
        return min(pages * page_bytes, self._file_bytes) + self._buffer.size_bytes + self._flushing.size_bytes

    # --- flushing

    async def flush(self) -> None:
        """Return when everything written before this call is on disk.

        Raises:
            lmdb.Error: it could not be written; the buffer keeps it, and another flush follows by itself.
        """
        while self._task is not None:
            await asyncio.shield(self._task)
        if self._buffer:
            await asyncio.shield(self.start_flush())

    def start_flush(self) -> asyncio.Task[None]:
        """Begin to flush now, or return the flush under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._flush())
            self._task.add_done_callback(_look_at_result)
        return self._task

    def _start_flush(self) -> None:
        self._timer = None
        if self._buffer and not self._closed:
            self.start_flush()

    async def _flush(self) -> None:
        started = self._clock.monotonic()
        try:
            async with self._exclusive:
                await self._flush_exclusively()
        except Exception as error:
            if not self._closed:
                self._timer = self._clock.call_later(RETRY_SECONDS, self._start_flush)
                if self.on_error is not None:
                    self.on_error(error)
            raise
        finally:
            # Here and not in a callback, which would run later: whoever waits for «no flush» must not see one that is
            # over, for awaiting that lets nothing else run.
            self._task = None
        if self._buffer:
            self._schedule()
        if self.on_flush is not None:
            self.on_flush(self._clock.monotonic() - started)

    async def _flush_exclusively(self) -> None:
        self._flushing, self._buffer = self._buffer, WriteBuffer()
        try:
            while not await self._write(self._flushing):
                self._grow()
        except BaseException:
            self._buffer = self._flushing.followed_by(self._buffer)
            self._flushing = WriteBuffer()
            raise
        self._flushing = WriteBuffer()
        self._reopen_read()

    async def _write(self, buffer: WriteBuffer) -> bool:
        """Write a buffer in one transaction; False when the map is too small for it."""
        loop = asyncio.get_running_loop()
        txn = await loop.run_in_executor(self._worker, self._begin_write)
        try:
            for step in self._fill(txn, buffer):
                if step:
                    await asyncio.sleep(0)
            await loop.run_in_executor(self._worker, txn.commit)
        except lmdb.MapFullError:
            await loop.run_in_executor(self._worker, txn.abort)
            return False
        except BaseException:
            await loop.run_in_executor(self._worker, txn.abort)
            raise
        return True

    def _begin_write(self) -> lmdb.Transaction:
        return self._env.begin(write=True)

    def _fill(self, txn: lmdb.Transaction, buffer: WriteBuffer) -> Iterator[int]:
        """Put a buffer's rows into a transaction; yields how many after each slice."""
        rows = list(buffer.revisions.items())
        for start in range(0, len(rows), ROWS_PER_SLICE):
            piece = rows[start : start + ROWS_PER_SLICE]
            with txn.cursor(self._keys) as cursor:
                _, added = cursor.putmulti(piece, append=True)
            assert added == len(piece), "revisions must be written in order, each once"
            yield added
        for count, key in enumerate(buffer.deleted):
            txn.delete(key, db=self._keys)
            if count % ROWS_PER_SLICE == ROWS_PER_SLICE - 1:
                yield count
        for (bucket, key), value in buffer.buckets.items():
            if value is None:
                txn.delete(key, db=self._databases[bucket])
            else:
                txn.put(key, value, db=self._databases[bucket])

    def _grow(self) -> None:
        # The map may only change while this process has no transaction open.
        self._read.abort()
        self._env.set_mapsize(2 * self._env.info()["map_size"])
        self._read = self._env.begin()

    def _reopen_read(self) -> None:
        self._read.abort()
        self._read = self._env.begin()
        self._file_bytes = self._measure()

    def _measure(self) -> int:
        return int((self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"])

    # --- the whole file

    async def copy_to(self, path: str) -> None:
        """Write a compacted copy of the database, with everything written before this call, to a new file.

        One who is cancelled meanwhile learns of it when the copy is there.
        """
        await uninterrupted(self._copy_exclusively(path))

    async def _copy_exclusively(self, path: str) -> None:
        async with self._exclusive:
            await self._flush_exclusively()
            await asyncio.get_running_loop().run_in_executor(self._worker, self._copy, path)

    def _copy(self, path: str) -> None:
        if os.path.exists(path):
            os.remove(path)
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        try:
            self._env.copyfd(descriptor, compact=True)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    async def defragment(self) -> None:
        """Rewrite the file without its free pages. Reads and writes go on in the buffer meanwhile."""
        await uninterrupted(self._defragment_exclusively())

    async def _defragment_exclusively(self) -> None:
        compacted = self.path + ".defrag"
        async with self._exclusive:
            await self._flush_exclusively()
            await asyncio.get_running_loop().run_in_executor(self._worker, self._copy, compacted)
            self._replace(compacted)

    async def replace(self, path: str) -> None:
        """Put another database file in the place of this one; what was written here is forgotten, buffers included.

        Raises:
            BackendError: the file is no LMDB database.
        """
        async with self._exclusive:
            self._buffer, self._flushing = WriteBuffer(), WriteBuffer()
            self._replace(path)

    def _replace(self, path: str) -> None:
        self._read.abort()
        self._env.close()
        os.replace(path, self.path)
        self._open()

    def close_sync(self) -> None:
        """Write what is left, on this thread, and close the file. Only when no flush is under way.

        Raises:
            BackendError: it could not be written; the file is closed all the same.
        """
        assert self._task is None
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            while self._buffer and not self._write_sync():
                self._grow()
        except lmdb.Error as error:
            raise BackendError(f"{self.path}: {error}") from error
        finally:
            self._read.abort()
            self._env.close()
            self._worker.shutdown(wait=False)

    def _write_sync(self) -> bool:
        try:
            with self._env.begin(write=True) as txn:
                for _ in self._fill(txn, self._buffer):
                    pass
        except lmdb.MapFullError:
            return False
        self._buffer = WriteBuffer()
        return True

    async def close(self) -> None:
        """Write what is left and close the file; see `close_sync`."""
        while self._task is not None:
            await asyncio.wait([self._task])
        async with self._exclusive:
            self.close_sync()


def _look_at_result(task: asyncio.Task[None]) -> None:
    """A flush may fail without anybody waiting for it; `on_error` was told."""
    if not task.cancelled():
        task.exception()


def _present(key: bytes, value: bytes | None) -> bytes:
    if value is None:
        raise KeyError(key)
    return value
