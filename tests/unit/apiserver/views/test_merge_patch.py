from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.api.status import StatusError
from apiserver.endpoints.patches import apply_merge_patch, decode_merge_patch
from apiserver.endpoints.patches.values import same


@pytest.mark.parametrize(
    ("document", "patch", "want"),
    [
        # RFC 7386, appendix A.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        # Kubernetes' library also looks into arrays, unless they replace an object.
        ({}, {"a": [{"b": None}, None]}, {"a": [{}, None]}),
        ({"a": {}}, {"a": [{"b": None}]}, {"a": [{"b": None}]}),
    ],
)
def test_merges(document: Any, patch: Any, want: Any) -> None:
    assert apply_merge_patch(document, patch) == want


@pytest.mark.parametrize(
    ("patch", "strict", "message"),
    [
        (
            [],
            True,
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        ("x", False, "Invalid JSON Patch"),
        (None, True, "Invalid JSON Patch"),
    ],
)
def test_refuses_what_is_no_object(patch: Any, strict: bool, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        decode_merge_patch(patch, strict=strict)
    assert (caught.value.code, str(caught.value)) == (400, message)


# Documents without nulls, for a merge patch cannot set one.
DOCUMENTS = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), DOCUMENTS, max_size=4)


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The smallest merge patch from one document to the other."""
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for name, value in after.items():
        old = before.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            inner = difference(old, value)
            if inner:
                patch[name] = inner
        elif name not in before or not same(old, value):
            patch[name] = value
    return patch


@given(OBJECTS, OBJECTS)
def test_a_difference_applied_gives_the_other_document(before: dict[str, Any], after: dict[str, Any]) -> None:
    patch = difference(before, after)
    kept = copy.deepcopy(patch)
    result = apply_merge_patch(copy.deepcopy(before), patch)
    assert same(result, after)
    assert same(patch, kept)
    assert same(apply_merge_patch(result, patch), after)
