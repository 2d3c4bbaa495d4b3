"""Request ids: unique in the cluster, and across restarts (etcd `pkg/idutil`)."""

from __future__ import annotations

from kvstore.mvcc import encode_varint

__all__ = ["RequestIds"]

_LOW_BITS = 14
_LOW = (1 << _LOW_BITS) - 1


class RequestIds:
    """Ids of 2 bytes of member id, 5 bytes of milliseconds at the start and a counter.

    >>> ids = RequestIds(0x12345678, 1000.0)
    >>> hex(ids.next())
    '0x56780000f4240001'
    """

    def __init__(self, member_id: int, now_seconds: float) -> None:
        milliseconds = int(now_seconds * 1000) & ((1 << 40) - 1)
        self._last = (member_id & 0xFFFF) << 48 | milliseconds << 8
        self._high = -1
        self._high_wire = b""

    def next(self) -> int:
        """A new id."""
        # The counter may run into the clock's bits, but never out of the member's prefix.
        self._last = (self._last & ~((1 << 48) - 1)) | ((self._last + 1) & ((1 << 48) - 1))
        return self._last

    def next_wire(self) -> bytes:
        """A new id in protobuf's varint form. What rarely changes of it is kept, since every request needs one."""
        last = self.next()
        high = last >> _LOW_BITS
        if high != self._high:
            self._high = high
            self._high_wire = encode_varint(high)
        return bytes((last & 0x7F | 0x80, (last >> 7) & 0x7F | 0x80)) + self._high_wire
