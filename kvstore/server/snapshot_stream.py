"""Maintenance.Snapshot: the database as one file of etcd's, made and sent without being in anybody's way.

The database is copied by LMDB on a thread; that copy is one state of it, whatever is written meanwhile. From the copy
the loop makes etcd's file, in slices of well under a millisecond, for the reason `kvstore.backend.lmdb_backend` gives
for its flushes; files are written, read and hashed on threads, which give up the interpreter lock for that. Both files
lose their names as soon as they are open, so that nothing is left of them however this ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from typing import BinaryIO, cast

from kvstore.backend import LMDBBackend, LMDBFile, uninterrupted
from kvstore.environment import Clock, FileSystem
from kvstore.snapshot import human_bytes, write_snapshot

__all__ = ["SNAPSHOT_CHUNK_BYTES", "SnapshotSender"]

SNAPSHOT_CHUNK_BYTES = 32 << 10
"""What one message carries."""

_CHUNKS_PER_READ = 32

_SINK_BYTES_MAX = 1 << 20
"""How much of the file waits in memory before a thread writes it."""

logger = logging.getLogger(__name__)


class SnapshotSender:
    """Makes snapshots of one member's database, one at a time; sends any number at once."""

    def __init__(self, backend: LMDBBackend, files: FileSystem, clock: Clock) -> None:
        self._backend = backend
        self._files = files
        self._clock = clock
        self._making = asyncio.Lock()

    async def pieces(self, storage_version: str) -> AsyncIterator[tuple[bytes, int]]:
        """The file in chunks and its SHA-256 as the last one, each with the number of bytes that follow it.

        Args:
            storage_version: whose format the file says it has.
        """
        started = self._clock.monotonic()
        file = await self._make(storage_version)
        try:
            total = file.seek(0, 2)
            sizes = {"total-bytes": total, "size": human_bytes(total)}
            self._log("sending database snapshot to client", **sizes, **{"storage-version": storage_version})
            file.seek(0)
            remaining = total
            digest = hashlib.sha256()
            while remaining:
                data = await uninterrupted(asyncio.to_thread(_read_and_hash, file, digest))
                for start in range(0, len(data), SNAPSHOT_CHUNK_BYTES):
                    chunk = data[start : start + SNAPSHOT_CHUNK_BYTES]
                    remaining -= len(chunk)
                    yield chunk, remaining
                    await asyncio.sleep(0)
            self._log("sending database sha256 checksum to client", **sizes, **{"checksum-size": digest.digest_size})
            yield digest.digest(), 0
        finally:
            file.close()
        took = f"{self._clock.monotonic() - started:.3f}s"
        self._log("successfully sent database snapshot to client", **sizes, took=took)

    @staticmethod
    def _log(message: str, **fields: object) -> None:
        logger.info(message, extra={"fields": fields})

    async def _make(self, storage_version: str) -> BinaryIO:
        """A new file without a name, holding the database as it is now in etcd's format."""
        async with self._making:
            source = await self._copy()
            try:
                file = self._open_unnamed(f"{self._backend.path}.snapshot")
                try:
                    await self._write(source, file, storage_version)
                except BaseException:
                    file.close()
                    raise
            finally:
                source.close()
        return file

    async def _copy(self) -> LMDBFile:
        path = f"{self._backend.path}.copy"
        try:
            await self._backend.copy_to(path)
            return LMDBFile(path)
        finally:
            if self._files.exists(path):
                self._files.remove(path)

    def _open_unnamed(self, path: str) -> BinaryIO:
        file = self._files.open(path, "w+b")
        self._files.remove(path)
        return file

    async def _write(self, source: LMDBFile, file: BinaryIO, storage_version: str) -> None:
        sink = _Sink(file)
        for _ in write_snapshot(source, cast(BinaryIO, sink), storage_version):
            if sink.waiting_bytes >= _SINK_BYTES_MAX:
                await uninterrupted(asyncio.to_thread(sink.flush))
            else:
                await asyncio.sleep(0)
        await uninterrupted(asyncio.to_thread(sink.flush))


class _Sink:
    """What `BoltWriter` needs of a file, in memory until a thread writes it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._writes: list[tuple[int, list[bytes]]] = [(0, [])]
        self._position = 0
        self._end = 0
        self.waiting_bytes = 0

    def write(self, data: bytes) -> int:
        self._writes[-1][1].append(data)
        self.waiting_bytes += len(data)
        self._position += len(data)
        self._end = max(self._end, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + self._end if whence else offset
        self._writes.append((self._position, []))
        return self._position

    def flush(self) -> None:
        for offset, pieces in self._writes:
            self._file.seek(offset)
            data = memoryview(b"".join(pieces))
            while data:
                data = data[self._file.write(data) :]
        self._writes = [(self._position, [])]
        self.waiting_bytes = 0


def _read_and_hash(file: BinaryIO, digest: hashlib._Hash) -> bytes:
    data = file.read(_CHUNKS_PER_READ * SNAPSHOT_CHUNK_BYTES)
    if not data:
        raise OSError("the snapshot became shorter while it was read")
    digest.update(data)
    return data
