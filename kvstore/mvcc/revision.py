"""Revisions and the bytes they are stored under.

Every write request that changes something raises the store's main revision by one; the changes inside it are numbered
by the sub revision. A change is stored under the 17 bytes `main (8, big-endian) '_' sub (8, big-endian)`, and a
deletion under the same bytes with `t` appended, so that the order of bytes is the order of history. This is etcd's
encoding (`server/storage/mvcc/revision.go`), and what its dump tools and HashKV expect.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = [
    "REVISION_BYTES",
    "TOMBSTONE_MARK",
    "Revision",
    "decode_revision",
    "encode_revision",
    "is_tombstone",
    "unpack_revision",
]

REVISION_BYTES = 17
TOMBSTONE_MARK = b"t"

_LAYOUT = struct.Struct(">QcQ")
_pack = _LAYOUT.pack
unpack_revision = _LAYOUT.unpack_from
"""`decode_revision` for code that reads a whole store: (main, separator, sub), unchecked."""


class Revision(NamedTuple):
    """A place in the store's history; compares in the order of history."""

    main: int
    sub: int = 0


def encode_revision(main: int, sub: int) -> bytes:
    """The stored form of a put at (main, sub); append `TOMBSTONE_MARK` for a deletion.

    >>> encode_revision(5, 1).hex()
    '00000000000000055f0000000000000001'
    """
    return _pack(main, b"_", sub)


def decode_revision(data: bytes) -> Revision:
    """The revision stored as `data`, with or without the tombstone mark.

    Raises:
        ValueError: if `data` is neither 17 bytes nor 18 with the mark, or has no separator.
    """
    if len(data) != REVISION_BYTES and not is_tombstone(data):
        raise ValueError(f"a revision has 17 bytes, or 18 with the tombstone mark, not {len(data)}")
    main, separator, sub = _LAYOUT.unpack_from(data)
    if separator != b"_":
        raise ValueError(f"revision without separator: {data!r}")
    return Revision(main, sub)


def is_tombstone(data: bytes) -> bool:
    """Whether a stored revision marks a deletion."""
    return len(data) == REVISION_BYTES + 1 and data[REVISION_BYTES:] == TOMBSTONE_MARK
