from __future__ import annotations

from array import array

import pytest

from kvstore.mvcc.key_index import FROM_KEY, Record, TreeIndex, compact_history, find_record
from kvstore.mvcc.revision import Revision, decode_revision, encode_revision, is_tombstone


def worked_example() -> array[int]:
    """The history in the module's docstring, made by the index itself."""
    index = TreeIndex()
    index.put(b"foo", 1, 0)
    index.put(b"foo", 2, 0)
    index.tombstone(b"foo", 3, 0)
    index.put(b"foo", 4, 0)
    index.tombstone(b"foo", 5, 0)
    index._check()
    return index._tree[b"foo"]


def records(history: array[int]) -> list[tuple[int, ...]]:
    return [tuple(history[i : i + 4]) for i in range(0, len(history), 4)]


def test_worked_example() -> None:
    history = worked_example()
    assert records(history) == [(1, 0, 1, 1), (2, 0, 1, 2), (3, 0, 0, 0), (4, 0, 4, 1), (5, 0, 0, 0)]
    assert [find_record(history, at) for at in range(7)] == [-1 * 4 + 4 * at if at else -4 for at in range(6)] + [16]


@pytest.mark.parametrize(
    ("at", "kept"),
    [
        (0, [(1, 0, 1, 1), (2, 0, 1, 2), (3, 0, 0, 0), (4, 0, 4, 1), (5, 0, 0, 0)]),
        (1, [(1, 0, 1, 1), (2, 0, 1, 2), (3, 0, 0, 0), (4, 0, 4, 1), (5, 0, 0, 0)]),
        (2, [(2, 0, 1, 2), (3, 0, 0, 0), (4, 0, 4, 1), (5, 0, 0, 0)]),
        (3, [(3, 0, 0, 0), (4, 0, 4, 1), (5, 0, 0, 0)]),
        (4, [(4, 0, 4, 1), (5, 0, 0, 0)]),
        (5, [(5, 0, 0, 0)]),
        (6, []),
    ],
)
def test_worked_example_compacted(at: int, kept: list[tuple[int, ...]]) -> None:
    history = worked_example()
    before = records(history)
    dropped = compact_history(history, at)
    assert records(history) == kept
    assert [(main, sub) for main, sub, _ in dropped] == [row[:2] for row in before[: len(before) - len(kept)]]
    assert [tombstone for main, _, tombstone in dropped] == [main in (3, 5) for main, _, _ in dropped]


def test_compaction_leaves_the_index_sound_and_readable() -> None:
    index = TreeIndex()
    for main, key in enumerate((b"a", b"b", b"a", b"c", b"a"), 2):
        index.put(key, main, 0)
    index.tombstone(b"c", 7, 0)
    index.put(b"d", 8, 0)
    assert list(index.compact(7, 2)) == [[encode_revision(2, 0), encode_revision(4, 0), encode_revision(5, 0)]]
    index._check()
    assert index.get(b"a", 8) == Record(b"a", 6, 0, 2, 3)
    assert len(index) == 4, "the tombstone at the compact revision stays"
    assert list(index.compact(8, 2)) == [[encode_revision(7, 0) + b"t"]]
    index._check()
    assert len(index) == 3
    assert list(index.compact(9, 2)) == []


def test_count_needs_no_scan_now_and_one_in_the_past() -> None:
    index = TreeIndex()
    for main in range(2, 102):
        index.put(b"k%02d" % (main - 2), main, 0)
    index.tombstone(b"k50", 102, 0)
    assert index.count(b"k", FROM_KEY, 102) == 99
    assert index.count(b"k10", b"k60", 102) == 49
    assert index.count(b"k10", b"k60", 101) == 50
    assert index.count(b"k10", b"k60", 30) == 19
    assert index.count(b"k60", b"k10", 102) == 0
    assert index.count(b"k50", b"", 102) == 0
    assert index.count(b"k50", b"", 101) == 1
    assert len(index.revisions(b"k10", b"k60", 102, 5)) == 5


def test_changes_since() -> None:
    index = TreeIndex()
    index.put(b"a", 2, 0)
    index.put(b"b", 2, 1)
    index.tombstone(b"a", 3, 0)
    index.put(b"c", 4, 0)
    assert index.changes_since(b"a", b"c", 2) == [(2, 0, False), (2, 1, False), (3, 0, True)]
    assert index.changes_since(b"a", b"", 3) == [(3, 0, True)]
    assert index.changes_since(b"x", b"", 1) == []
    assert index.changes_since(b"a", FROM_KEY, 4) == [(4, 0, False)]


def test_revision_bytes_sort_like_history() -> None:
    history = [Revision(1, 0), Revision(1, 1), Revision(1, 256), Revision(2, 0), Revision(300, 0), Revision(1 << 40, 3)]
    stored = [encode_revision(*revision) for revision in history]
    assert sorted(stored) == stored
    assert [decode_revision(data) for data in stored] == history
    assert not any(map(is_tombstone, stored))
    tombstone = stored[3] + b"t"
    assert is_tombstone(tombstone)
    assert decode_revision(tombstone) == Revision(2, 0)
    assert stored[3] < tombstone < stored[4]


@pytest.mark.parametrize("data", [b"", b"x" * 17, encode_revision(1, 0) + b"x", encode_revision(1, 0)[:-1]])
def test_what_is_no_revision(data: bytes) -> None:
    with pytest.raises(ValueError, match="revision"):
        decode_revision(data)


def test_a_history_costs_what_the_docstring_says() -> None:
    index = TreeIndex()
    index.put(b"k", 2, 0)
    assert index._tree[b"k"].__sizeof__() <= 112
