"""Reading a bbolt file that may be damaged or hostile.

Nothing is believed before it is checked: every page is asked for once at most, lies inside the file, says its own id
and a type that fits; keys and values fill their page one after the other, as bbolt writes them; keys rise from the
first to the last and stay between those of the branches above them. Whatever is wrong is a `BoltError` that names the
page. Memory is bounded by the largest page and one byte of book-keeping a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from kvstore.bolt.layout import (
    BRANCH_ELEMENT,
    BRANCH_PAGE,
    BUCKET_ELEMENT,
    BUCKET_HEADER,
    FREELIST_PAGE,
    LEAF_ELEMENT,
    LEAF_PAGE,
    META_BYTES,
    NO_FREELIST,
    PAGE_HEADER,
    BoltError,
    Meta,
)

__all__ = ["BoltReader"]

_PAGE_BYTES_MIN, _PAGE_BYTES_MAX = 1024, 1024 << 14
"""The page sizes bbolt looks for (`db.go: getPageSizeFromSecondMeta`)."""

_CONTENT_BYTES_MAX = 1 << 30
"""A page with its overflow; nothing etcd stores comes near it."""

_DEPTH_MAX = 64
"""Levels of a tree; two children a branch are enough for any file at far fewer."""

_COUNT_IS_STORED = 0xFFFF


class BoltReader:
    """The newest state of a database file.

    Args:
        file: can be read and sought; what follows the last page is left alone.

    Attributes:
        page_bytes: the file's page size.
        size_bytes: of the database, without what may follow it in the file.

    Raises:
        BoltError: it is no bbolt database, or is damaged. Every method may raise it, and OSError when the file
            cannot be read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file_bytes = file.seek(0, 2)
        self._meta = self._read_meta(file_bytes)
        self.page_bytes = self._meta.page_bytes
        self.size_bytes = self._meta.high_water * self.page_bytes
        if self.size_bytes > file_bytes:
            raise BoltError(f"the file is truncated: it has {file_bytes} of {self.size_bytes} bytes")
        self._roots: dict[bytes, bytes] = {}
        self._tree_pages = _PageSet(self._meta.high_water)
        for name, value, is_bucket in self._walk(self._meta.root, self._tree_pages):
            if not is_bucket:
                raise BoltError(f"key {name[:64]!r} lies outside of all buckets")
            if len(value) < BUCKET_HEADER.size:
                raise BoltError(f"bucket {name[:64]!r} has no header")
            self._roots[name] = value

    def buckets(self) -> list[bytes]:
        """Names of the buckets, sorted."""
        return list(self._roots)

    def rows(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a bucket, in order; nothing when there is no such bucket."""
        return self._rows(bucket, _PageSet(self._meta.high_water))

    def get(self, bucket: bytes, key: bytes) -> bytes | None:
        """One value out of a small bucket; it is read from the start."""
        return next((value for found, value in self.rows(bucket) if found == key), None)

    def check(self) -> None:
        """Read everything, and find each page in one tree or among the free ones.

        Raises:
            BoltError: the database is damaged.
        """
        used = self._tree_pages.copy()
        used.add(0, 2, "a meta page")
        for bucket in self._roots:
            for _ in self._rows(bucket, used):
                pass
        if self._meta.freelist != NO_FREELIST:
            for page_id in self._free_pages(used):
                used.add(page_id, 1, "the freelist")
            lost = used.first_missing()
            if lost is not None:
                raise BoltError(f"page {lost} is neither used nor free")

    # --- pages

    def _read_meta(self, file_bytes: int) -> Meta:
        candidates: list[Meta] = []
        errors: list[BoltError] = []
        offset = _PAGE_BYTES_MIN
        for position in (0, *(offset << shift for shift in range(15))):
            if position and position + META_BYTES > file_bytes:
                break
            try:
                meta = Meta.decode(self._read(position, META_BYTES))
            except BoltError as error:
                errors.append(error)
                continue
            if position in (0, meta.page_bytes):
                candidates.append(meta)
        if not candidates:
            raise errors[0]
        meta = max(candidates, key=lambda candidate: candidate.txid)
        size = meta.page_bytes
        if not _PAGE_BYTES_MIN <= size <= _PAGE_BYTES_MAX or size & (size - 1):
            raise BoltError(f"a page size of {size} bytes")
        return meta

    def _read(self, offset: int, count: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(count)
        while 0 < len(data) < count:
            more = self._file.read(count - len(data))
            if not more:
                break
            data += more
        return data

    def _page(self, page_id: int, used: _PageSet) -> tuple[int, int, bytes]:
        """A page as (flags, count, content with its header)."""
        if not 2 <= page_id < self._meta.high_water:
            raise BoltError(f"page {page_id} lies outside of the database")
        offset = page_id * self.page_bytes
        content = self._read(offset, self.page_bytes)
        own_id, flags, count, overflow = PAGE_HEADER.unpack_from(content)
        if own_id != page_id:
            raise BoltError(f"page {page_id} says that it is page {own_id}")
        if overflow:
            size = (overflow + 1) * self.page_bytes
            if page_id + overflow >= self._meta.high_water or size > _CONTENT_BYTES_MAX:
                raise BoltError(f"page {page_id} ends outside of the database")
            content += self._read(offset + self.page_bytes, size - self.page_bytes)
        used.add(page_id, overflow + 1, "a tree")
        return flags, count, content

    # --- trees

    def _rows(self, bucket: bytes, used: _PageSet) -> Iterator[tuple[bytes, bytes]]:
        header = self._roots.get(bucket)
        if header is None:
            return
        root, _ = BUCKET_HEADER.unpack_from(header)
        found = self._walk(root, used) if root else _inline_rows(bucket, header[BUCKET_HEADER.size :])
        for key, value, is_bucket in found:
            if is_bucket:
                raise BoltError(f"bucket {bucket[:64]!r} holds another bucket, which etcd's do not")
            yield key, value

    def _walk(self, root: int, used: _PageSet) -> Iterator[tuple[bytes, bytes, bool]]:
        """The elements of a tree in order, as (key, value, whether it is a bucket)."""
        stack = [iter([(b"", root)])]
        previous = b""
        while stack:
            child = next(stack[-1], None)
            if child is None:
                stack.pop()
                continue
            low, page_id = child
            flags, count, content = self._page(page_id, used)
            if flags == LEAF_PAGE:
                if not count and len(stack) > 1:
                    raise BoltError(f"page {page_id}: an empty leaf")
                for key, value, is_bucket in _leaf_elements(page_id, count, content):
                    if key <= previous or key < low:
                        raise BoltError(f"page {page_id}: key {key[:64]!r} is out of order")
                    previous = key
                    yield key, value, is_bucket
            elif flags == BRANCH_PAGE:
                if len(stack) >= _DEPTH_MAX:
                    raise BoltError(f"page {page_id}: the tree is too deep")
                stack.append(iter(_branch_elements(page_id, count, content, previous, low)))
            else:
                raise BoltError(f"page {page_id} is of type {flags:#x}, not part of a tree")

    def _free_pages(self, used: _PageSet) -> list[int]:
        flags, count, content = self._page(self._meta.freelist, used)
        if flags != FREELIST_PAGE:
            raise BoltError(f"page {self._meta.freelist} is of type {flags:#x}, not the freelist")
        first = PAGE_HEADER.size
        if count == _COUNT_IS_STORED:
            count = int.from_bytes(content[first : first + 8], "little")
            first += 8
        if first + 8 * count > len(content):
            raise BoltError(f"page {self._meta.freelist}: the freelist is longer than its page")
        pages = memoryview(content)[first : first + 8 * count]
        return [int.from_bytes(pages[at : at + 8], "little") for at in range(0, len(pages), 8)]


def _inline_rows(bucket: bytes, page: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    if len(page) < PAGE_HEADER.size:
        raise BoltError(f"bucket {bucket[:64]!r} is cut off")
    _, flags, count, overflow = PAGE_HEADER.unpack_from(page)
    if flags != LEAF_PAGE or overflow:
        raise BoltError(f"bucket {bucket[:64]!r} is stored inline, but not as a leaf")
    previous = b""
    end = PAGE_HEADER.size
    for key, value, is_bucket in _leaf_elements(0, count, page):
        if key <= previous:
            raise BoltError(f"bucket {bucket[:64]!r}: key {key[:64]!r} is out of order")
        previous = key
        end += LEAF_ELEMENT.size + len(key) + len(value)
        yield key, value, is_bucket
    if end != len(page):
        raise BoltError(f"bucket {bucket[:64]!r} is stored inline, with {len(page) - end} bytes too many")


def _leaf_elements(page_id: int, count: int, page: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    start = PAGE_HEADER.size
    end = start + count * LEAF_ELEMENT.size
    size = len(page)
    if end > size:
        raise BoltError(f"page {page_id}: {count} elements do not fit in it")
    for flags, position, key_bytes, value_bytes in LEAF_ELEMENT.iter_unpack(page[start:end]):
        key_at = start + position
        value_at = key_at + key_bytes
        if flags > BUCKET_ELEMENT or key_at != end or value_at + value_bytes > size:
            raise BoltError(f"page {page_id}: an element is not where it should be")
        end = value_at + value_bytes
        yield page[key_at:value_at], page[value_at:end], flags == BUCKET_ELEMENT
        start += LEAF_ELEMENT.size


def _branch_elements(page_id: int, count: int, page: bytes, previous: bytes, low: bytes) -> list[tuple[bytes, int]]:
    """The children as (least key, page); their keys lie behind `previous` and not before `low`."""
    start = PAGE_HEADER.size
    end = start + count * BRANCH_ELEMENT.size
    if not count or end > len(page):
        raise BoltError(f"page {page_id}: {count} children do not fit in it")
    children = []
    for position, key_bytes, child in BRANCH_ELEMENT.iter_unpack(page[start:end]):
        if start + position != end or end + key_bytes > len(page):
            raise BoltError(f"page {page_id}: a child is not where it should be")
        key = page[end : end + key_bytes]
        end += key_bytes
        if key <= previous or key < low:
            raise BoltError(f"page {page_id}: key {key[:64]!r} is out of order")
        children.append((key, child))
        previous = key
        start += BRANCH_ELEMENT.size
    return children


class _PageSet:
    """Which pages were met; one byte each."""

    def __init__(self, high_water: int) -> None:
        self._high_water = high_water
        self._met = bytearray(high_water)

    def copy(self) -> _PageSet:
        other = _PageSet(0)
        other._high_water = self._high_water
        other._met = self._met[:]
        return other

    def add(self, page_id: int, count: int, what: str) -> None:
        if not 0 <= page_id <= self._high_water - count:
            raise BoltError(f"page {page_id} of {what} lies outside of the database")
        if any(self._met[page_id : page_id + count]):
            raise BoltError(f"page {page_id} of {what} is used twice")
        self._met[page_id : page_id + count] = b"\1" * count

    def first_missing(self) -> int | None:
        missing = self._met.find(0)
        return None if missing < 0 else missing
