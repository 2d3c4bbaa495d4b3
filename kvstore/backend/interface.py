"""What the store needs of a disk: revisions in order, and a few small buckets beside them.

Writes are visible to reads at once and durable later; `flush` says when. What was written before a flush began
becomes durable all together or not at all, so the applied index written with it always tells the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

__all__ = ["BUCKETS", "KEY_BUCKET", "Backend"]

KEY_BUCKET = "key"
"""Bucket of the revisions; its name is part of what HashKV hashes."""

BUCKETS = ("meta", "lease", "alarm", "cluster", "members", "members_removed", "auth", "authUsers", "authRoles")
"""The buckets beside `key`, under etcd's names (`server/storage/schema/bucket.go`)."""


class Backend(Protocol):
    """Storage by revision, with a write buffer in front that every read sees.

    Used from one thread. Keys of revisions only ever grow, and each is written once; deleting is compaction's right.
    """

    def put_revision(self, key: bytes, value: bytes) -> None:
        """Store `value` under a revision newer than all before it."""

    def delete_revisions(self, keys: Sequence[bytes]) -> None:
        """Delete revisions nothing can ask for any more."""

    def get_revision(self, key: bytes) -> bytes | None:
        """The value stored under a revision."""

    def get_revisions(self, keys: Sequence[bytes]) -> list[bytes]:
        """The values stored under revisions that all exist, in the order asked for.

        Raises:
            KeyError: one of them does not exist.
        """

    def scan_revisions(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Revisions from `start` on, in order. Writing ends the iterator's validity."""

    def put(self, bucket: str, key: bytes, value: bytes) -> None:
        """Set a key of one of `BUCKETS`."""

    def delete(self, bucket: str, key: bytes) -> None:
        """Remove a key of one of `BUCKETS`, if it is there."""

    def get(self, bucket: str, key: bytes) -> bytes | None:
        """A key of one of `BUCKETS`."""

    def items(self, bucket: str) -> list[tuple[bytes, bytes]]:
        """Everything in one of `BUCKETS`, in key order."""

    def size_bytes(self) -> int:
        """How much room the data takes, deleted pages included, with what still waits in the buffer."""

    def size_in_use_bytes(self) -> int:
        """How much of that holds data."""
