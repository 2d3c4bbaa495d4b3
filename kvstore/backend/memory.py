"""A backend that forgets everything at exit, for tests and throw-away stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sortedcontainers import SortedDict

from kvstore.backend.interface import BUCKETS

__all__ = ["MemoryBackend"]


class MemoryBackend:
    """`Backend` on the heap."""

    def __init__(self) -> None:
        self._revisions: SortedDict[bytes, bytes] = SortedDict()
        self._buckets: dict[str, SortedDict[bytes, bytes]] = {name: SortedDict() for name in BUCKETS}
        self._bytes = 0

    def put_revision(self, key: bytes, value: bytes) -> None:
        """See `Backend.put_revision`."""
        self._revisions[key] = value
        self._bytes += len(key) + len(value)

    def delete_revisions(self, keys: Sequence[bytes]) -> None:
        """See `Backend.delete_revisions`."""
        for key in keys:
            value = self._revisions.pop(key, None)
            if value is not None:
                self._bytes -= len(key) + len(value)

    def get_revision(self, key: bytes) -> bytes | None:
        """See `Backend.get_revision`."""
        return self._revisions.get(key)

    def get_revisions(self, keys: Sequence[bytes]) -> list[bytes]:
        """See `Backend.get_revisions`."""
        return [self._revisions[key] for key in keys]

    def scan_revisions(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See `Backend.scan_revisions`."""
        return ((key, self._revisions[key]) for key in self._revisions.irange(start))

    def put(self, bucket: str, key: bytes, value: bytes) -> None:
        """See `Backend.put`."""
        self._buckets[bucket][key] = value

    def delete(self, bucket: str, key: bytes) -> None:
        """See `Backend.delete`."""
        self._buckets[bucket].pop(key, None)

    def get(self, bucket: str, key: bytes) -> bytes | None:
        """See `Backend.get`."""
        return self._buckets[bucket].get(key)

    def items(self, bucket: str) -> list[tuple[bytes, bytes]]:
        """See `Backend.items`."""
        return list(self._buckets[bucket].items())

    def size_bytes(self) -> int:
        """See `Backend.size_bytes`."""
        return self._bytes

    def size_in_use_bytes(self) -> int:
        """See `Backend.size_in_use_bytes`."""
        return self._bytes
