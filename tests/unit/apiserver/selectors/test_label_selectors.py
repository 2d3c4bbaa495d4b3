"""Label selectors: what is selected, how it is printed, and the words of every refusal."""

import pytest

from apiserver.api.selectors import (
    SelectorError,
    label_selector_from_object,
    label_selector_from_set,
    parse_label_selector,
)

_KEY_HINT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
    " (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
    " '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


@pytest.mark.parametrize(
    ("text", "labels", "selected"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a=b", {"a": "c"}, False),
        ("a=b", {}, False),
        ("a==b", {"a": "b"}, True),
        ("a!=b", {"a": "b"}, False),
        ("a!=b", {}, True),
        ("a=", {"a": ""}, True),
        ("a=", {}, False),
        ("a", {"a": ""}, True),
        ("a", {}, False),
        ("!a", {}, True),
        ("! a", {"a": "1"}, False),
        ("a in (x,y)", {"a": "y"}, True),
        ("a in (x,y)", {"a": "z"}, False),
        ("a in ()", {"a": ""}, True),
        ("a in (,x)", {"a": ""}, True),
        ("a notin (x)", {}, True),
        ("a notin (x)", {"a": "x"}, False),
        ("in in (in)", {"in": "in"}, True),
        ("a>5", {"a": "6"}, True),
        ("a>5", {"a": "5"}, False),
        ("a>5", {"a": "x"}, False),
        ("a<5", {"a": "-1"}, True),
        ("a<5", {}, False),
        ("a=b,c!=d, e", {"a": "b", "e": "1"}, True),
        ("a=b,c!=d,e", {"a": "b", "c": "d", "e": "1"}, False),
        ("example.com/role = web", {"example.com/role": "web"}, True),
    ],
)
def test_matches(text, labels, selected):
    assert parse_label_selector(text).matches(labels) is selected


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", ""),
        ("b=1,a=2", "a=2,b=1"),
        ("a == b", "a==b"),
        ("a!=b", "a!=b"),
        (" a ", "a"),
        ("!a", "!a"),
        ("a in (z,y,z)", "a in (y,z)"),
        ("a notin (,)", "a notin ()"),
        ("a in (x,,y)", "a in (,x,y)"),
        ("a>1", "a>1"),
        ("a<1", "a<1"),
        ("a=\nb", "a=b"),
        ("a=b\0,c", "a=b"),
    ],
)
def test_printed_form(text, printed):
    assert str(parse_label_selector(text)) == printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a=b,", "found '', expected: identifier after ','"),
        ("a=b,,c", "found ',', expected: identifier after ','"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a==!b", "unable to parse requirement: found '!', expected: identifier"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b,", "unable to parse requirement: found '', expected: ',', or identifier"),
        ("a in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
        ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
        ("a@", f'unable to parse requirement: <nil>: Invalid value: "a@": name part {_KEY_HINT}'),
        (
            "/a",
            'unable to parse requirement: <nil>: Invalid value: "/a": prefix part must be non-empty',
        ),
        (
            "a/b/c",
            f'unable to parse requirement: <nil>: Invalid value: "a/b/c": a valid label key {_KEY_HINT}'
            " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        ),
        (
            "a>x",
            'unable to parse requirement: values[0]: Invalid value: "x": '
            "for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        (
            "a=" + "x" * 64,
            f'unable to parse requirement: values[0][a]: Invalid value: "{"x" * 64}": must be no more than 63 bytes',
        ),
    ],
)
def test_refusals(text, message):
    with pytest.raises(SelectorError) as refused:
        parse_label_selector(text)
    assert refused.value.message == message
    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [("a=b", "a", "b"), ("a in (b)", "a", "b"), ("a in (b,c)", "a", None), ("a!=b", "a", None), ("c=d", "a", None)],
)
def test_exact(text, key, value):
    assert parse_label_selector(text).exact(key) == value


def test_from_object():
    selector = label_selector_from_object(
        {
            "matchLabels": {"b": "1"},
            "matchExpressions": [
                {"key": "a", "operator": "In", "values": ["y", "x"]},
                {"key": "c", "operator": "Exists"},
                {"key": "d", "operator": "DoesNotExist"},
                {"key": "e", "operator": "NotIn", "values": ["z"]},
            ],
        }
    )
    assert str(selector) == "a in (x,y),b=1,c,!d,e notin (z)"
    assert selector.matches({"a": "x", "b": "1", "c": ""})


def test_from_object_edges():
    assert label_selector_from_object(None).nothing
    assert not label_selector_from_object(None).matches({})
    assert label_selector_from_object({}).empty
    assert label_selector_from_set(None).matches({"a": "b"})
    assert not label_selector_from_set({"a": "b"}).matches({})


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"key": "a", "operator": "Near"}, '"Near" is not a valid label selector operator'),
        (
            {"key": "a", "operator": "In"},
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
        ),
        (
            {"key": "a", "operator": "Exists", "values": ["b"]},
            'values: Invalid value: ["b"]: values set must be empty for exists and does not exist',
        ),
    ],
)
def test_from_object_refusals(expression, message):
    with pytest.raises(SelectorError) as refused:
        label_selector_from_object({"matchExpressions": [expression]})
    assert refused.value.message == message
