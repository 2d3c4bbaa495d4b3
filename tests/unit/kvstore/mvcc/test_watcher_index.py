from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from hypothesis import given

from kvstore.mvcc.watcher_index import WatcherIndex, in_range, prefix_end


@dataclass(eq=False)
class Range:
    key: bytes
    end: bytes


@pytest.mark.parametrize(
    ("prefix", "end"),
    [(b"a", b"b"), (b"a\xff", b"b"), (b"/pods/", b"/pods0"), (b"\xff", b"\0"), (b"\xff\xff", b"\0"), (b"\0", b"\1")],
)
def test_prefix_end(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end


names = st.binary(max_size=3).map(lambda data: bytes(b"\0ab\xff"[byte % 4] for byte in data))


@given(
    st.lists(st.tuples(names, st.one_of(names, st.just(b"\0"), st.none())), max_size=12),
    st.lists(names, max_size=12),
    st.lists(st.integers(0, 11), max_size=6),
)
def test_matching_is_in_range(ranges: list[tuple[bytes, bytes | None]], keys: list[bytes], removed: list[int]) -> None:
    """The index finds exactly what comparing every range would; None stands for the range of a prefix."""
    watchers = [Range(key, prefix_end(key) if end is None else end) for key, end in ranges]
    index: WatcherIndex[Range] = WatcherIndex()
    for watcher in watchers:
        index.add(watcher)
    for number in sorted(set(removed), reverse=True):
        if number < len(watchers):
            index.remove(watchers.pop(number))
    assert len(index) == len(watchers)
    for key in keys:
        wanted = [watcher for watcher in watchers if in_range(key, watcher.key, watcher.end)]
        found = index.matching(key)
        assert len(found) == len(wanted)
        assert all(watcher in found for watcher in wanted)
