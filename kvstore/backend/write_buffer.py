"""What has been written and is not yet on disk."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["WriteBuffer"]


class WriteBuffer:
    """Puts and deletions, newest per key.

    Attributes:
        revisions: values by revision, in order.
        deleted: revisions to delete, none of them in `revisions`; a dictionary's keys, to keep their order.
        buckets: values by (bucket, key); None deletes.
        size_bytes: bytes of the values of `revisions`.
    """

    __slots__ = ("buckets", "deleted", "revisions", "size_bytes")

    def __init__(self) -> None:
        self.revisions: dict[bytes, bytes] = {}
        self.deleted: dict[bytes, None] = {}
        self.buckets: dict[tuple[str, bytes], bytes | None] = {}
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self.revisions or self.buckets or self.deleted)

    def delete_revisions(self, keys: Sequence[bytes]) -> None:
        """Delete revisions: at once if they never left this buffer, on disk otherwise."""
        revisions = self.revisions
        for key in keys:
            value = revisions.pop(key, None)
            if value is None:
                self.deleted[key] = None
            else:
                self.size_bytes -= len(value)

    def followed_by(self, later: WriteBuffer) -> WriteBuffer:
        """This buffer with a later one's changes on top."""
        joined = WriteBuffer()
        joined.revisions = {**self.revisions, **later.revisions}
        joined.size_bytes = self.size_bytes + later.size_bytes
        joined.buckets = {**self.buckets, **later.buckets}
        joined.deleted = dict(self.deleted)
        joined.delete_revisions(list(later.deleted))
        return joined
