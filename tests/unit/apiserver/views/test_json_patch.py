from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.api.status import StatusError
from apiserver.endpoints.patches import apply_json_patch, decode_json_patch
from apiserver.endpoints.patches.json_patch import MAXIMUM_OPERATIONS

UNPROCESSABLE = "the server rejected our request due to an error in our request"


def op(kind: str, path: str, **members: Any) -> dict[str, Any]:
    return {"op": kind, "path": path, **members}


@pytest.mark.parametrize(
    ("document", "operations", "want"),
    [
        # RFC 6902, appendix A.
        ({"foo": "bar"}, [op("add", "/baz", value="qux")], {"foo": "bar", "baz": "qux"}),
        ({"foo": ["bar", "baz"]}, [op("add", "/foo/1", value="qux")], {"foo": ["bar", "qux", "baz"]}),
        ({"baz": "qux", "foo": "bar"}, [op("remove", "/baz")], {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, [op("remove", "/foo/1")], {"foo": ["bar", "baz"]}),
        ({"baz": "qux"}, [op("replace", "/baz", value="boo")], {"baz": "boo"}),
        (
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
            [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
            {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
        ),
        ({"foo": ["a", "b", "c", "d"]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}], {"foo": list("acdb")}),
        ({"baz": "qux", "foo": ["a", 2, "c"]}, [op("test", "/baz", value="qux"), op("test", "/foo/1", value=2)], None),
        ({"foo": "bar"}, [op("add", "/child", value={"grandchild": {}})], {"foo": "bar", "child": {"grandchild": {}}}),
        ({"foo": "bar"}, [op("add", "/baz", value="qux", xyz=123)], {"foo": "bar", "baz": "qux"}),
        ({"/": 9, "~1": 10}, [op("test", "/~01", value=10), op("test", "/~1", value=9)], None),
        ({"foo": ["bar"]}, [op("add", "/foo/-", value=["abc", "def"])], {"foo": ["bar", ["abc", "def"]]}),
        # What Kubernetes adds.
        ({"a": [1, 2, 3]}, [op("remove", "/a/-1")], {"a": [1, 2]}),
        ({"a": [1, 2]}, [op("add", "/a/-1", value=3)], {"a": [1, 2, 3]}),
        ({}, [op("replace", "/a", value=1)], {"a": 1}),
        ({}, [op("test", "/a", value=None), op("add", "/a")], {"a": None}),
        ({"a": 1}, [op("replace", "", value={"b": 2})], {"b": 2}),
        ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}, op("remove", "/a/b")], {"a": {}, "c": {"b": 1}}),
        ({"a": {"b": 1}}, [op("test", "", value={"a": {"b": 1}})], None),
        (
            {"metadata": {"annotations": {"example.com/a~b": "x"}}},
            [op("remove", "/metadata/annotations/example.com~1a~0b")],
            {"metadata": {"annotations": {}}},
        ),
    ],
)
def test_applies(document: Any, operations: list[dict[str, Any]], want: Any) -> None:
    before = copy.deepcopy(document)
    assert apply_json_patch(document, operations) == (before if want is None else want)


@pytest.mark.parametrize(
    ("document", "operation"),
    [
        ({"foo": "bar"}, op("add", "/baz/bat", value="qux")),
        ({"baz": "qux"}, op("test", "/baz", value="bar")),
        ({"a": 1}, op("test", "/a", value=1.0)),
        ({"a": True}, op("test", "/a", value=1)),
        ({"/": 9, "~1": 10}, op("test", "/~01", value="10")),
        ({}, op("remove", "/a")),
        ({"a": [1]}, op("remove", "/a/1")),
        ({"a": [1]}, op("remove", "/a/-2")),
        ({"a": [1]}, op("remove", "/a/x")),
        ({"a": [1]}, op("remove", "/a/9999999999999999999999999")),
        ({"a": [1]}, op("add", "/a/2", value=1)),
        ({"a": [1]}, op("replace", "/a/1", value=1)),
        ({"a": "text"}, op("add", "/a/b/c", value=1)),
        ({"a": 1}, op("add", "a", value=1)),
        ({"a": 1}, op("replace", "", value=1)),
        ({"a": 1}, {"op": "move", "path": "/b"}),
        ({"a": 1}, {"op": "move", "from": "/c", "path": "/b"}),
        ({"a": 1}, {"op": "copy", "from": "/c/d", "path": "/b"}),
        ({"a": 1}, {"op": "add", "value": 1}),
        ({"a": 1}, {"op": "spam", "path": "/a"}),
        ({"a": 1}, {"path": "/a"}),
        ({"a": 1}, {"op": ["add"], "path": "/a"}),
    ],
)
def test_refuses_what_does_not_apply(document: Any, operation: dict[str, Any]) -> None:
    with pytest.raises(StatusError) as caught:
        apply_json_patch(document, [operation])
    assert (caught.value.code, caught.value.reason, str(caught.value)) == (422, "Invalid", UNPROCESSABLE)


def test_bounds_what_copies_add_up_to() -> None:
    double = {"op": "copy", "from": "/a", "path": "/a/-"}
    with pytest.raises(StatusError) as caught:
        apply_json_patch({"a": ["x" * 1000]}, [double] * 100)
    assert caught.value.code == 422


@pytest.mark.parametrize(
    ("patch", "strict", "message"),
    [
        (
            {"op": "add"},
            True,
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ),
        ({"op": "add"}, False, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        ([1], True, "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp"),
        (
            [{"op": 1}],
            True,
            "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
        ),
    ],
)
def test_refuses_what_is_no_patch(patch: Any, strict: bool, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        decode_json_patch(patch, strict=strict)
    assert (caught.value.code, str(caught.value)) == (400, message)


def test_reports_unknown_members() -> None:
    patch = [op("add", "/a", value=1), op("remove", "/a", valeu=1)]
    assert decode_json_patch(patch, strict=True) == (patch, ['json patch unknown field "[1].valeu"'])
    assert decode_json_patch(patch, strict=False) == (patch, [])


def test_bounds_the_number_of_operations() -> None:
    decode_json_patch([op("test", "/a")] * MAXIMUM_OPERATIONS, strict=True)
    with pytest.raises(StatusError) as caught:
        decode_json_patch([op("test", "/a")] * (MAXIMUM_OPERATIONS + 1), strict=False)
    assert (caught.value.code, str(caught.value)) == (
        413,
        "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001",
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "~/"]), inner, max_size=3),
    max_leaves=10,
)
POINTERS = st.lists(st.sampled_from(["a", "b", "~0~1", "0", "1", "-", "-1"]), max_size=3).map(
    lambda tokens: "".join("/" + token for token in tokens)
)
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": POINTERS, "from": POINTERS},
    optional={"value": JSON},
)


@given(st.dictionaries(st.sampled_from(["a", "b"]), JSON), st.lists(OPERATIONS, max_size=5))
def test_applies_or_refuses_and_leaves_the_patch_alone(document: Any, operations: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(operations)
    again = copy.deepcopy(document)
    assert outcome(document, operations) == outcome(again, operations)
    assert operations == before


def outcome(document: Any, operations: list[dict[str, Any]]) -> Any:
    try:
        return apply_json_patch(document, operations)
    except StatusError as error:
        return error.code, str(error)
