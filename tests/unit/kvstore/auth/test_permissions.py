"""Unions of ranges: a table, and every range over a small alphabet against sets of keys."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.auth import KeyUnion, is_valid_range, permissions_of
from kvstore.etcdpb import auth_pb2

READ, WRITE, READWRITE = auth_pb2.Permission.READ, auth_pb2.Permission.WRITE, auth_pb2.Permission.READWRITE


@pytest.mark.parametrize(
    ("granted", "asked", "permitted"),
    [
        ([("a", "")], ("a", ""), True),
        ([("a", "")], ("b", ""), False),
        ([("a", "")], ("a", "a\0"), True),
        ([("a", "")], ("a", "b"), False),
        ([("a", "")], ("a", "\0"), False),  # reading one key is not reading all that follow
        ([("a", "")], ("a\0", ""), False),
        ([("a", ""), ("a\0", "")], ("a", "a\0\0"), True),
        ([("a", "c")], ("a", "c"), True),
        ([("a", "c")], ("a", "c\0"), False),
        ([("a", "c")], ("c", ""), False),
        ([("a", "c")], ("b", "b"), True),
        ([("a", "c")], ("b", "a"), True),
        ([("a", "c")], ("c", "a"), False),
        ([("a", "c"), ("c", "e")], ("b", "d"), True),
        ([("c", "e"), ("a", "c")], ("a", "e"), True),
        ([("a", "c"), ("d", "e")], ("a", "e"), False),
        ([("a", "d"), ("b", "c")], ("a", "d"), True),
        ([("a", "d"), ("b", "f"), ("e", "g")], ("a", "g"), True),
        ([("a", "\0")], ("z", "\0"), True),
        ([("b", "\0")], ("a", "\0"), False),
        ([("b", "\0"), ("b", "c"), ("d", "")], ("b", "zz"), True),
        ([("\0", "\0")], ("\0", "\0"), True),
        ([("\0", "\0")], ("x", ""), True),
        ([("b", "\0"), ("a", "b")], ("a", "\0"), True),
        ([("b", "a"), ("", "z")], ("b", ""), False),  # no ranges at all, which nobody can grant
        ([], ("a", ""), False),
    ],
)
def test_a_range_lies_wholly_in_the_union(
    granted: list[tuple[str, str]], asked: tuple[str, str], permitted: bool
) -> None:
    union = KeyUnion([(key.encode(), end.encode()) for key, end in granted])
    assert union.covers(asked[0].encode(), asked[1].encode()) is permitted


KEYS = [bytes(key) for length in (1, 2) for key in itertools.product(b"\0ab", repeat=length)]
ranges = st.tuples(st.sampled_from(KEYS), st.sampled_from([b"", *KEYS]))
# Whatever lies between two keys of the alphabet is between two of these.
SAMPLES = sorted({key + tail for key in KEYS for tail in (b"", b"\0", b"\0\0", b"\0b", b"\xff")})


def keys_in(key: bytes, end: bytes) -> set[bytes]:
    if not end:
        return {key}
    return {sample for sample in SAMPLES if sample >= key and (end == b"\0" or sample < end)}


@given(st.lists(ranges, max_size=6), ranges)
def test_the_union_is_that_of_the_sets(granted: list[tuple[bytes, bytes]], asked: tuple[bytes, bytes]) -> None:
    granted = [interval for interval in granted if is_valid_range(*interval)]
    key, end = asked
    if not is_valid_range(key, end):
        return
    held: set[bytes] = set().union(*(keys_in(*interval) for interval in granted))
    if end == b"\0" and not any(interval[1] == b"\0" for interval in granted):
        permitted = False  # there is always a key beyond the samples
    else:
        permitted = keys_in(key, end) <= held
    assert KeyUnion(granted).covers(key, end) is permitted


@pytest.mark.parametrize(
    ("key", "end", "valid"),
    [
        (b"a", b"", True),
        (b"a", b"b", True),
        (b"a", b"\0", True),
        (b"\0", b"\0", True),
        (b"", b"", False),
        (b"", b"\0", False),
        (b"a", b"a", False),
        (b"b", b"a", False),
    ],
)
def test_which_ranges_may_be_granted(key: bytes, end: bytes, valid: bool) -> None:
    assert is_valid_range(key, end) is valid


def test_reading_and_writing_are_apart() -> None:
    held = permissions_of(
        [
            auth_pb2.Permission(permType=READ, key=b"r"),
            auth_pb2.Permission(permType=WRITE, key=b"w"),
            auth_pb2.Permission(permType=READWRITE, key=b"x"),
        ]
    )
    assert [held.read.covers(key, b"") for key in (b"r", b"w", b"x")] == [True, False, True]
    assert [held.write.covers(key, b"") for key in (b"r", b"w", b"x")] == [False, True, True]
