"""The records of a bbolt file (see the package's docstring)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

__all__ = [
    "BRANCH_ELEMENT",
    "BRANCH_PAGE",
    "BUCKET_ELEMENT",
    "BUCKET_HEADER",
    "FREELIST_PAGE",
    "KEY_BYTES_MAX",
    "LEAF_ELEMENT",
    "LEAF_PAGE",
    "META_BYTES",
    "META_PAGE",
    "NO_FREELIST",
    "PAGE_BYTES",
    "PAGE_HEADER",
    "BoltError",
    "Meta",
]

PAGE_BYTES: Final = 4096
"""The page size written; files with any other that bbolt makes are read too."""

KEY_BYTES_MAX: Final = 32768
"""The longest key bbolt takes."""

NO_FREELIST: Final = 0xFFFF_FFFF_FFFF_FFFF
"""In place of the freelist's page: it is not stored, what no tree uses is free. etcd writes its files so."""

BRANCH_PAGE, LEAF_PAGE, META_PAGE, FREELIST_PAGE = 0x01, 0x02, 0x04, 0x10
BUCKET_ELEMENT: Final = 0x01

PAGE_HEADER = struct.Struct("<QHHI")
BRANCH_ELEMENT = struct.Struct("<IIQ")
LEAF_ELEMENT = struct.Struct("<IIII")
BUCKET_HEADER = struct.Struct("<QQ")

_MAGIC = 0xED0CDAED
_VERSION = 2
_META = struct.Struct("<IIIIQQQQQ")
META_BYTES: Final = PAGE_HEADER.size + _META.size + 8


class BoltError(Exception):
    """A file is not a bbolt database, or is damaged; the message says where."""


class Meta(NamedTuple):
    """What a meta page says."""

    page_bytes: int
    root: int
    freelist: int
    high_water: int
    txid: int

    def encode(self, page_id: int) -> bytes:
        """The page, without the zeros that fill it."""
        content = _META.pack(
            _MAGIC, _VERSION, self.page_bytes, 0, self.root, 0, self.freelist, self.high_water, self.txid
        )
        return PAGE_HEADER.pack(page_id, META_PAGE, 0, 0) + content + _fnv1a(content).to_bytes(8, "little")

    @classmethod
    def decode(cls, page: bytes) -> Meta:
        """Read a meta page.

        Raises:
            BoltError: it is none, or its checksum is wrong.
        """
        if len(page) < META_BYTES:
            raise BoltError("invalid database: the file is too short for its meta pages")
        content = page[PAGE_HEADER.size : META_BYTES - 8]
        magic, version, page_bytes, _, root, _, freelist, high_water, txid = _META.unpack(content)
        if magic != _MAGIC:
            raise BoltError("invalid database: this is no bbolt file")
        if version != _VERSION:
            raise BoltError(f"version mismatch: bbolt format {version}, not {_VERSION}")
        if _fnv1a(content) != int.from_bytes(page[META_BYTES - 8 : META_BYTES], "little"):
            raise BoltError("checksum error in a meta page")
        return cls(page_bytes, root, freelist, high_water, txid)


def _fnv1a(data: bytes) -> int:
    """FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/)."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFF_FFFF_FFFF_FFFF
    return value
