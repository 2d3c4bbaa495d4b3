"""Which keys somebody may touch: unions of intervals of keys (etcd `server/auth/range_perm_cache.go`).

A range of requests and grants is a key and an end: no end means the key alone, `\\0` everything from the key on, and
anything else the keys from the first to just before the second. A request is permitted when its whole range lies in the
union of what was granted; that several grants share it between them does no harm.

>>> union = KeyUnion([(b"a", b"c"), (b"c", b"e"), (b"x", b"")])
>>> union.covers(b"b", b"d"), union.covers(b"x", b""), union.covers(b"x", b"y"), union.covers(b"d", b"\\0")
(True, True, False, False)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from kvstore.etcdpb import auth_pb2

__all__ = ["KeyUnion", "Permissions", "is_valid_range", "permissions_of"]

_OPEN = b"\0"


def is_valid_range(key: bytes, range_end: bytes) -> bool:
    """Whether a range may be granted: it has a key, and does not end before it begins."""
    return bool(key) and (not range_end or range_end == _OPEN or key < range_end)


class KeyUnion:
    """A set of keys made of intervals.

    Args:
        ranges: as (key, range_end); those that are no valid range are left out.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[bytes, bytes]]) -> None:
        self._starts: list[bytes] = []
        self._ends: list[bytes | None] = []  # None: no end
        for start, end in sorted((key, _end_of(key, end)) for key, end in ranges if is_valid_range(key, end)):
            self._add(start, end or None)

    def _add(self, start: bytes, end: bytes | None) -> None:
        """Add an interval that begins no earlier than those before it."""
        if not self._starts:
            self._starts.append(start)
            self._ends.append(end)
            return
        last = self._ends[-1]
        if last is None:
            return
        if start > last:
            self._starts.append(start)
            self._ends.append(end)
        elif end is None or end > last:
            self._ends[-1] = end

    def covers(self, key: bytes, range_end: bytes) -> bool:
        """Whether all of a range is in the set. A range that ends before it begins counts as its key."""
        found = bisect_right(self._starts, key) - 1
        if found < 0:
            return False
        end = self._ends[found]
        if end is None:
            return True
        return key < end and range_end != _OPEN and range_end <= end


def _end_of(key: bytes, range_end: bytes) -> bytes:
    """Where an interval ends, b"" for nowhere."""
    if not range_end:
        return key + b"\0"
    return b"" if range_end == _OPEN else range_end


class Permissions:
    """What one user may read and write."""

    __slots__ = ("read", "write")

    def __init__(self, read: KeyUnion, write: KeyUnion) -> None:
        self.read = read
        self.write = write


def permissions_of(grants: Iterable[auth_pb2.Permission]) -> Permissions:
    """The union of what several roles grant."""
    read: list[tuple[bytes, bytes]] = []
    write: list[tuple[bytes, bytes]] = []
    for grant in grants:
        interval = (grant.key, grant.range_end)
        if grant.permType in (auth_pb2.Permission.READ, auth_pb2.Permission.READWRITE):
            read.append(interval)
        if grant.permType in (auth_pb2.Permission.WRITE, auth_pb2.Permission.READWRITE):
            write.append(interval)
    return Permissions(KeyUnion(read), KeyUnion(write))
