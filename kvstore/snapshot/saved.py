"""A snapshot file that somebody saved: checking it, and looking into it (etcd `etcdutl/snapshot/v3_snapshot.go`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import google_crc32c
from google.protobuf.message import DecodeError

from kvstore.backend import KEY_BUCKET
from kvstore.bolt import BoltError, BoltReader
from kvstore.etcdpb import kv_pb2
from kvstore.mvcc import Revision, decode_revision
from kvstore.mvcc.revision import is_tombstone

__all__ = ["SavedSnapshot", "SnapshotError", "SnapshotStatus", "human_bytes"]

_DIGEST_BYTES = 32
_SECTOR_BYTES = 512
"""A database is whole pages, and so whole sectors; what is left over tells whether a digest follows it."""

_HASH_CHUNK_BYTES = 1 << 20
_ROWS_PER_PROGRESS = 1000

Progress = Callable[[int], None]


class SnapshotError(Exception):
    """A snapshot cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class SnapshotStatus:
    """The figures of a snapshot.

    Attributes:
        hash: CRC-32C over the names of the buckets and every key and value in them.
        revision: the newest revision.
        total_keys: keys that are there at that revision.
        total_size: of the database, in bytes.
        version: of the storage format; "" before etcd 3.6.
    """

    hash: int
    revision: int
    total_keys: int
    total_size: int
    version: str


class SavedSnapshot:
    """A snapshot, or the database file of a member that is stopped.

    Args:
        file: can be read and sought; stays the caller's.
        progress: told how many bytes were hashed or rows read since it was told last.

    Raises:
        SnapshotError: it is no database of etcd's; every method may raise it when the file is damaged.
    """

    def __init__(self, file: BinaryIO, progress: Progress = lambda _: None) -> None:
        self._file = file
        self._progress = progress
        self._file_bytes = file.seek(0, 2)
        try:
            self._reader = BoltReader(file)
        except BoltError as error:
            raise SnapshotError(str(error)) from error

    @property
    def has_digest(self) -> bool:
        """Whether the SHA-256 that a server appends is there."""
        return self._file_bytes % _SECTOR_BYTES == _DIGEST_BYTES

    def verify_digest(self) -> None:
        """Compare the digest with the database before it.

        Raises:
            SnapshotError: there is none, or it is another's; the words are etcdutl's.
        """
        verify_digest(self._file, self._progress)

    def check(self) -> None:
        """Read every page and row.

        Raises:
            SnapshotError: the database is damaged.
        """
        try:
            self._reader.check()
        except BoltError as error:
            raise SnapshotError(f"snapshot file integrity check failed. 1 errors found.\n{error}") from error

    def rows(self, bucket: str) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a bucket, in order; nothing when it does not exist."""
        try:
            for count, row in enumerate(self._reader.rows(bucket.encode()), 1):
                if count % _ROWS_PER_PROGRESS == 0:
                    self._progress(_ROWS_PER_PROGRESS)
                yield row
        except BoltError as error:
            raise SnapshotError(str(error)) from error

    def status(self) -> SnapshotStatus:
        """Check the file and gather its figures, as `etcdutl snapshot status` does since etcd 3.6."""
        self.check()
        crc = 0
        revision = 0
        keys: set[bytes] = set()
        version = ""
        for name in self._reader.buckets():
            crc = google_crc32c.extend(crc, name)
            bucket = name.decode(errors="replace")
            for key, value in self.rows(bucket):
                crc = google_crc32c.extend(google_crc32c.extend(crc, key), value)
                if name == KEY_BUCKET.encode():
                    revision = _revision(key).main
                    _count(keys, key, value)
                elif (bucket, key) == ("meta", b"storageVersion"):
                    version = value.decode(errors="replace")
        return SnapshotStatus(crc, revision, len(keys), self._reader.size_bytes, version)


def verify_digest(file: BinaryIO, progress: Progress) -> None:
    """See `SavedSnapshot.verify_digest`; for a file that need not be a database."""
    size = file.seek(0, 2)
    if size % _SECTOR_BYTES != _DIGEST_BYTES:
        raise SnapshotError("snapshot missing hash but --skip-hash-check=false")
    file.seek(0)
    digest = hashlib.sha256()
    left = size - _DIGEST_BYTES
    while left > 0:
        chunk = file.read(min(left, _HASH_CHUNK_BYTES))
        if not chunk:
            raise SnapshotError("the file became shorter while it was read")
        digest.update(chunk)
        progress(len(chunk))
        left -= len(chunk)
    expected = file.read(_DIGEST_BYTES)
    if expected != digest.digest():
        raise SnapshotError(f"expected sha256 {_go_bytes(expected)}, got {_go_bytes(digest.digest())}")


def _count(keys: set[bytes], stored: bytes, value: bytes) -> None:
    try:
        key = kv_pb2.KeyValue.FromString(value).key
    except DecodeError as error:
        raise SnapshotError(f"cannot unmarshal value, key: {stored!r} err: {error}") from error
    if is_tombstone(stored):
        keys.discard(key)
    else:
        keys.add(key)


def _revision(stored: bytes) -> Revision:
    try:
        return decode_revision(stored)
    except ValueError as error:
        raise SnapshotError(f"cannot parse revision key: {stored!r} err: {error}") from error


def _go_bytes(data: bytes) -> str:
    return f"[{' '.join(map(str, data))}]"


def human_bytes(count: int) -> str:
    """A size as etcd's tools print it: `25 kB`, `1.2 MB`, powers of 1000."""
    if count < 10:
        return f"{count} B"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB", "EB"):  # noqa: B007  used after the loop
        if value < 1000:
            break
        value /= 1000
    value = int(value * 10 + 0.5) / 10
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
