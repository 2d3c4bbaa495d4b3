"""bbolt files: what is written is read back, the tree has the shape bbolt wants, damage is one documented error."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.bolt import PAGE_BYTES, BoltError, BoltReader, BoltWriter
from kvstore.bolt.layout import BRANCH_ELEMENT, BRANCH_PAGE, LEAF_PAGE, NO_FREELIST, PAGE_HEADER, Meta

Rows = list[tuple[bytes, bytes]]


def write(buckets: dict[bytes, Iterable[tuple[bytes, bytes]]]) -> bytes:
    file = io.BytesIO()
    writer = BoltWriter(file)
    for name, rows in buckets.items():
        writer.add_bucket(name, rows)
    assert writer.finish() == len(file.getvalue())
    return file.getvalue()


def read(data: bytes) -> dict[bytes, Rows]:
    reader = BoltReader(io.BytesIO(data))
    reader.check()
    return {name: list(reader.rows(name)) for name in reader.buckets()}


def numbered(count: int, value: bytes) -> Rows:
    return [(number.to_bytes(8, "big"), value) for number in range(1, count + 1)]


def pages(data: bytes) -> dict[int, tuple[int, int, bytes]]:
    """Every logical page as (flags, count, content) by id."""
    found = {}
    page_id = 0
    while page_id * PAGE_BYTES < len(data):
        own_id, flags, count, overflow = PAGE_HEADER.unpack_from(data, page_id * PAGE_BYTES)
        assert own_id == page_id
        found[page_id] = (flags, count, data[page_id * PAGE_BYTES : (page_id + overflow + 1) * PAGE_BYTES])
        page_id += overflow + 1
    return found


keys = st.binary(min_size=1, max_size=60)
values = st.one_of(st.binary(max_size=200), st.integers(0, 20_000).map(bytes))
bucket_rows = st.dictionaries(keys, values, max_size=60)


@given(st.dictionaries(st.binary(min_size=1, max_size=20), bucket_rows, max_size=6))
def test_what_is_written_is_read(buckets: dict[bytes, dict[bytes, bytes]]) -> None:
    wanted = {name: sorted(rows.items()) for name, rows in sorted(buckets.items())}
    data = write({name: iter(rows) for name, rows in wanted.items()})
    assert len(data) % PAGE_BYTES == 0
    assert read(data) == wanted


@pytest.mark.parametrize("count", [0, 1, 2, 14, 15, 5_000, 60_000])
def test_trees_of_every_height(count: int) -> None:
    rows = numbered(count, b"v" * 230)
    assert read(write({b"key": rows}))[b"key"] == rows


def test_every_branch_has_two_children() -> None:
    """bbolt stops the process when it balances a tree and finds a branch with one."""
    for count in range(2_300, 2_340):
        data = write({b"key": numbered(count, b"v" * 1_800)})
        branches = [page for page in pages(data).values() if page[0] == BRANCH_PAGE]
        assert len(branches) > 1
        assert min(children for _, children, _ in branches) >= 2


def test_long_keys_and_large_values_overflow() -> None:
    rows = [(bytes([65 + number]) * 20_000, bytes([number]) * (number * 100_000)) for number in range(24)]
    data = write({b"key": rows})
    assert read(data)[b"key"] == rows
    assert any(len(page) > 2_000_000 for _, _, page in pages(data).values())


def test_small_buckets_are_inline() -> None:
    data = write({b"a": [], b"b": [(b"k", b"v")], b"c": [(b"k", b"v" * 1_000)]})
    leaves = [page_id for page_id, (flags, _, _) in pages(data).items() if flags == LEAF_PAGE]
    assert len(leaves) == 2  # the root, and what does not fit into it
    assert read(data) == {b"a": [], b"b": [(b"k", b"v")], b"c": [(b"k", b"v" * 1_000)]}


@pytest.mark.parametrize(
    "rows", [[(b"b", b""), (b"a", b"")], [(b"a", b""), (b"a", b"")], [(b"", b"")], [(b"k" * 32769, b"")]]
)
def test_rows_bbolt_would_not_have(rows: Rows) -> None:
    with pytest.raises(ValueError, match=r"out of order|too long"):
        BoltWriter(io.BytesIO()).add_bucket(b"key", rows)


def test_buckets_have_different_names() -> None:
    writer = BoltWriter(io.BytesIO())
    writer.add_bucket(b"key", [])
    for name in (b"key", b""):
        with pytest.raises(ValueError, match=r"written already|needs a name"):
            writer.add_bucket(name, [])


def test_a_bucket_that_is_not_there_is_empty() -> None:
    reader = BoltReader(io.BytesIO(write({b"key": [(b"a", b"1")]})))
    assert list(reader.rows(b"other")) == []
    assert (reader.get(b"key", b"a"), reader.get(b"key", b"b")) == (b"1", None)


# --- metas


def test_the_newer_good_meta_counts() -> None:
    data = bytearray(write({b"key": [(b"a", b"1")]}))
    meta = Meta.decode(bytes(data))
    for page_id in (0, 1):  # either may be damaged: a crash can tear the one being written
        damaged = bytearray(data)
        damaged[page_id * PAGE_BYTES + 40] ^= 1
        assert read(bytes(damaged)) == {b"key": [(b"a", b"1")]}
    data[PAGE_BYTES : PAGE_BYTES + 80] = meta._replace(txid=meta.txid + 1, root=99).encode(1)
    with pytest.raises(BoltError, match="page 99 lies outside"):
        BoltReader(io.BytesIO(bytes(data)))


def test_files_of_other_page_sizes_and_without_freelist() -> None:
    """As other machines write them. The pages are those of a small file, spread out."""
    small = write({b"a": [(b"k", b"v")], b"key": numbered(20, b"v" * 150)})
    meta = Meta.decode(small)
    spread = bytearray()
    for start in range(0, len(small), PAGE_BYTES):
        spread += small[start : start + PAGE_BYTES].ljust(4 * PAGE_BYTES, b"\0")
    for page_id in (0, 1):
        at = page_id * 4 * PAGE_BYTES
        other = meta._replace(page_bytes=4 * PAGE_BYTES, freelist=NO_FREELIST, txid=7 - page_id)
        spread[at : at + 80] = other.encode(page_id)
    assert read(bytes(spread)) == read(small)
    spread[20] ^= 1  # the first meta tells the page size; without it the second is looked for
    assert read(bytes(spread)) == read(small)


# --- damage

SAMPLE = {
    b"big": [(b"k%d" % number, bytes([number]) * 6_000) for number in range(9)],
    b"key": numbered(1500, b"v" * 40),
}
SAMPLE_DATA = write({**SAMPLE, b"inline": [(b"a", b"b")]})


def examine(data: bytes) -> dict[bytes, Rows] | None:
    """What is in a file, or None if it is refused in the documented way; any other exception is the test's failure."""
    try:
        return read(data)
    except BoltError:
        return None


@settings(max_examples=400)
@given(st.integers(0, len(SAMPLE_DATA) * 8 - 1))
def test_a_flipped_bit_is_refused_or_only_data(bit: int) -> None:
    """No value has a checksum; every other bit is either padding or makes the file a wrong one."""
    damaged = bytearray(SAMPLE_DATA)
    damaged[bit // 8] ^= 1 << bit % 8
    found = examine(bytes(damaged))
    if found is not None:
        assert [len(rows) for rows in found.values()] == [9, 1, 1500]


@settings(max_examples=300)
@given(st.data())
def test_flipped_bits_in_the_bookkeeping(data: st.DataObject) -> None:
    """Where it matters most: headers, elements, keys and children."""
    damaged = bytearray(SAMPLE_DATA)
    starts = [page_id * PAGE_BYTES for page_id in pages(SAMPLE_DATA)]
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.sampled_from(starts))
        damaged[start + data.draw(st.integers(0, 120))] ^= 1 << data.draw(st.integers(0, 7))
    examine(bytes(damaged))


@given(st.integers(0, len(SAMPLE_DATA) - 1))
def test_a_truncated_file_is_refused(size: int) -> None:
    with pytest.raises(BoltError):
        read(SAMPLE_DATA[:size])


@given(st.binary(max_size=9_000))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(BoltError):
        read(noise)


def test_trees_that_bite_their_tail() -> None:
    """A branch that is its own child, and a page with two parents: refused, not followed."""
    data = SAMPLE_DATA
    for page_id, (flags, count, content) in pages(data).items():
        if flags != BRANCH_PAGE:
            continue
        first = page_id * PAGE_BYTES + PAGE_HEADER.size
        for child in (page_id, BRANCH_ELEMENT.unpack_from(content, PAGE_HEADER.size + BRANCH_ELEMENT.size)[2]):
            damaged = bytearray(data)
            damaged[first + 8 : first + 16] = struct.pack("<Q", child)
            with pytest.raises(BoltError, match=r"is used twice|out of order"):
                read(bytes(damaged))
        assert count >= 2


def test_pages_that_belong_to_nobody() -> None:
    data = bytearray(SAMPLE_DATA + bytes(PAGE_BYTES))
    meta = Meta.decode(SAMPLE_DATA)
    data[:80] = meta._replace(high_water=meta.high_water + 1).encode(0)
    with pytest.raises(BoltError, match="neither used nor free"):
        read(bytes(data))
    freelist = meta.freelist * PAGE_BYTES
    data[freelist + 10 : freelist + 12] = b"\x01\x00"
    data[freelist + 16 : freelist + 24] = struct.pack("<Q", meta.high_water)
    assert examine(bytes(data)) is not None
    data[freelist + 16 : freelist + 24] = struct.pack("<Q", 3)
    with pytest.raises(BoltError, match="freelist is used twice"):
        read(bytes(data))
