"""Writing a bbolt file in one pass: sorted rows in, full pages out, nothing kept but the right edge of one tree.

A tree is built from the left: a leaf that is full is written and its first key and page go to the level above, which
does the same. So a file of any size needs the memory of a few pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import BinaryIO

from kvstore.bolt.layout import (
    BRANCH_ELEMENT,
    BRANCH_PAGE,
    BUCKET_ELEMENT,
    BUCKET_HEADER,
    FREELIST_PAGE,
    KEY_BYTES_MAX,
    LEAF_ELEMENT,
    LEAF_PAGE,
    PAGE_BYTES,
    PAGE_HEADER,
    Meta,
)

__all__ = ["BoltWriter"]

_INLINE_BYTES_MAX = PAGE_BYTES // 4
"""A bucket of one page no larger than this is stored inside its parent, as bbolt does."""

_BRANCH_KEYS_MIN = 2
"""bbolt takes branches with fewer children for a mistake when it balances its tree."""

_FIRST_TXID = 2
"""Even, so that page 0 holds the newer meta; page 1 holds the same with one less."""


class BoltWriter:
    """Writes one file: `add_bucket` for every bucket, then `finish`.

    Args:
        file: empty, and can be written and sought. Pages are written in order, but the two meta pages last.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._next_page = 0
        self._buckets: dict[bytes, bytes] = {}
        self.write_page(b"\0" * (2 * PAGE_BYTES))
        self._freelist = self.write_page(PAGE_HEADER.pack(2, FREELIST_PAGE, 0, 0))

    def add_bucket(self, name: bytes, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Write a bucket in one go; its rows come sorted by key, each key once.

        Raises:
            ValueError: they do not, a key is empty or too long, or there is a bucket of this name.
        """
        bucket = self.bucket(name)
        for key, value in rows:
            bucket.add(key, value)
        bucket.close()

    def bucket(self, name: bytes) -> BucketWriter:
        """Begin a bucket that is written row by row; only one at a time.

        Raises:
            ValueError: the name is empty or taken.
        """
        if not name or name in self._buckets:
            raise ValueError(f"bucket {name!r} is written already" if name else "a bucket needs a name")
        self._buckets[name] = b""
        return BucketWriter(self, self._buckets, name)

    def finish(self) -> int:
        """Write what makes the pages a database; returns the file's size in bytes."""
        root = _Tree(self, BUCKET_ELEMENT)
        for name in sorted(self._buckets):
            root.add(name, self._buckets[name])
        meta = Meta(PAGE_BYTES, root.close(), self._freelist, self._next_page, _FIRST_TXID)
        for page_id, txid in ((0, _FIRST_TXID), (1, _FIRST_TXID - 1)):
            self._file.seek(page_id * PAGE_BYTES)
            self._file.write(meta._replace(txid=txid).encode(page_id))
        self._file.seek(0, 2)
        return self.size_bytes

    def write_page(self, page: bytes) -> int:
        """Append a page, filled up to whole pages; returns its id. For the trees of this module."""
        page_id = self._next_page
        count = -(-len(page) // PAGE_BYTES)
        self._file.write(page.ljust(count * PAGE_BYTES, b"\0"))
        self._next_page += count
        return page_id

    @property
    def size_bytes(self) -> int:
        """What was written so far."""
        return self._next_page * PAGE_BYTES

    @property
    def next_page(self) -> int:
        """The id that the next page gets."""
        return self._next_page


class BucketWriter:
    """A bucket being written; see `BoltWriter.bucket`."""

    def __init__(self, writer: BoltWriter, buckets: dict[bytes, bytes], name: bytes) -> None:
        self._buckets = buckets
        self._name = name
        self._tree = _Tree(writer, 0)
        self.add = self._tree.add

    def close(self) -> None:
        """Write what is left of it."""
        inline = self._tree.inline()
        if inline is not None:
            self._buckets[self._name] = BUCKET_HEADER.pack(0, 0) + inline
        else:
            self._buckets[self._name] = BUCKET_HEADER.pack(self._tree.close(), 0)


class _Tree:
    """One B+tree, growing to the right."""

    def __init__(self, writer: BoltWriter, element_flags: int) -> None:
        self._writer = writer
        self._element_flags = element_flags
        self._keys: list[bytes] = []
        self._values: list[bytes] = []
        self._bytes = PAGE_HEADER.size
        self._last_key = b""
        # The unwritten right edge above the leaves, lowest level first.
        self._levels: list[_Level] = []

    def add(self, key: bytes, value: bytes) -> None:
        """Add a row behind all others.

        Raises:
            ValueError: the key is not greater than the one before, or is too long.
        """
        if key <= self._last_key or len(key) > KEY_BYTES_MAX:
            raise ValueError(
                f"key {key[:64]!r} is too long" if key > self._last_key else f"key {key!r} is out of order"
            )
        self._last_key = key
        size = LEAF_ELEMENT.size + len(key) + len(value)
        if self._keys and self._bytes + size > PAGE_BYTES:
            self._write_leaf()
        self._keys.append(key)
        self._values.append(value)
        self._bytes += size

    def inline(self) -> bytes | None:
        """The tree as one page for its parent, if it is small enough."""
        if self._levels or self._bytes > _INLINE_BYTES_MAX:
            return None
        return self._leaf(0)

    def close(self) -> int:
        """Write what is left; returns the root's page."""
        if self._keys or not self._levels:
            self._write_leaf()
        number = 0
        while True:  # writing a level may add one above it
            level = self._levels[number]
            if number == len(self._levels) - 1 and len(level.keys) == 1:
                return level.pages[0]
            self._write_branch(number)
            number += 1

    def _write_leaf(self) -> None:
        first = self._keys[0] if self._keys else b""
        page = self._writer.write_page(self._leaf(self._writer.next_page))
        self._keys = []
        self._values = []
        self._bytes = PAGE_HEADER.size
        self._add_child(0, first, page)

    def _leaf(self, page_id: int) -> bytes:
        keys, values, flags = self._keys, self._values, self._element_flags
        count = len(keys)
        elements: list[int] = []
        position = count * LEAF_ELEMENT.size
        content: list[bytes] = []
        for key, value in zip(keys, values, strict=True):
            key_bytes, value_bytes = len(key), len(value)
            elements += (flags, position, key_bytes, value_bytes)
            position += key_bytes + value_bytes - LEAF_ELEMENT.size
            content += (key, value)
        header = PAGE_HEADER.pack(page_id, LEAF_PAGE, count, (self._bytes - 1) // PAGE_BYTES)
        return b"".join((header, struct.pack(f"<{4 * count}I", *elements), *content))

    def _add_child(self, number: int, first_key: bytes, page: int) -> None:
        if number == len(self._levels):
            self._levels.append(_Level())
        level = self._levels[number]
        size = BRANCH_ELEMENT.size + len(first_key)
        if level.bytes + size > PAGE_BYTES and len(level.keys) > _BRANCH_KEYS_MIN:
            # The last child stays, so that the next page has two even if no more come.
            key, last = level.keys.pop(), level.pages.pop()
            self._write_branch(number)
            level = self._levels[number]
            level.add(key, last)
        level.add(first_key, page)

    def _write_branch(self, number: int) -> None:
        level = self._levels[number]
        count = len(level.keys)
        elements = []
        position = count * BRANCH_ELEMENT.size
        for key, child in zip(level.keys, level.pages, strict=True):
            elements.append(BRANCH_ELEMENT.pack(position, len(key), child))
            position += len(key) - BRANCH_ELEMENT.size
        size = PAGE_HEADER.size + count * BRANCH_ELEMENT.size + sum(map(len, level.keys))
        header = PAGE_HEADER.pack(self._writer.next_page, BRANCH_PAGE, count, (size - 1) // PAGE_BYTES)
        first = level.keys[0]
        page = self._writer.write_page(b"".join((header, *elements, *level.keys)))
        self._levels[number] = _Level()
        self._add_child(number + 1, first, page)


class _Level:
    """Children of the branch page being filled."""

    __slots__ = ("bytes", "keys", "pages")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.pages: list[int] = []
        self.bytes = PAGE_HEADER.size

    def add(self, key: bytes, page: int) -> None:
        self.keys.append(key)
        self.pages.append(page)
        self.bytes += BRANCH_ELEMENT.size + len(key)
