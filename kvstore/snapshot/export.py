"""Our database as a file of etcd's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Protocol

from kvstore.bolt import BoltWriter
from kvstore.snapshot.schema import BUCKET_NAMES, meta_rows

__all__ = ["RowSource", "write_snapshot"]


class RowSource(Protocol):
    """A database that does not change; `kvstore.backend.LMDBFile` is one."""

    def rows(self, bucket: str) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a bucket, in order."""


def write_snapshot(
    source: RowSource, file: BinaryIO, storage_version: str, *, bytes_per_step: int = 128 << 10
) -> Iterator[int]:
    """Write the database `source` to `file`, a step at a time.

    Yields the size of what was written so far after each step of about `bytes_per_step`; the last one is the size of
    the whole file.
    """
    writer = BoltWriter(file)
    pending = 0
    for name in sorted(BUCKET_NAMES):
        bucket = writer.bucket(name.encode())
        if name == "meta":
            rows = iter(meta_rows(source.rows(name), source.rows("members"), storage_version))
        else:
            rows = source.rows(name)
        for key, value in rows:
            bucket.add(key, value)
            pending += len(value) + 64  # what a row costs in time besides its bytes
            if pending >= bytes_per_step:
                pending = 0
                yield writer.size_bytes
        bucket.close()
    yield writer.finish()
