"""Reading JSON and YAML, writing YAML."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.codec import DecodeError
from apiserver.codec.json import parse_json
from apiserver.codec.yaml_documents import dump_yaml, parse_yaml, resolve


def test_duplicates_are_reported_when_asked() -> None:
    body = b'{"a":1,"a":2,"b":{"c":[{"x":1},{"x":1,"x":2,"x":3}]}}'
    value = {"a": 2, "b": {"c": [{"x": 1}, {"x": 3}]}}
    texts = ['duplicate field "a"', 'duplicate field "b.c[1].x"', 'duplicate field "b.c[1].x"']
    assert parse_json(body, strict=True) == (value, texts)
    assert parse_json(body, strict=False) == (value, [])
    assert parse_json(b' { "a" : "b:\\":" } ', strict=True) == ({"a": 'b:":'}, [])


def test_duplicates_have_a_limit() -> None:
    body = b"{" + b",".join([b'"a":1'] * 1000) + b"}"
    assert len(parse_json(body, strict=True)[1]) == 100


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "unexpected end of JSON input"),
        (b'{"a":1', "unexpected end of JSON input"),
        (b'{"a":"b', "unexpected end of JSON input"),
        (b"x", "invalid character 'x' looking for beginning of value (line 1, column 1)"),
        (b'{"a" 1}', "invalid character '1' after object key (line 1, column 6)"),
        (b'{"a":1 "b":2}', "invalid character '\"' after object key:value pair (line 1, column 8)"),
        (b"{a:1}", "invalid character 'a' looking for beginning of object key string (line 1, column 2)"),
        (b'{"a":1}}', "invalid character '}' after top-level value (line 1, column 8)"),
        (b'{\n"a":tru}', "invalid character 't' looking for beginning of value (line 2, column 5)"),
        (b'{"a":NaN}', "invalid character 'N' looking for beginning of value"),
        (b"[" * 100_000, "exceeded max depth"),
    ],
)
def test_json_errors(body: bytes, message: str) -> None:
    with pytest.raises(DecodeError) as error:
        parse_json(body, strict=True)
    assert str(error.value) == message


def test_json_that_go_takes() -> None:
    assert parse_json(b'"\xff"', strict=True)[0] == "\ufffd"
    assert parse_json(b'"\\ud800"', strict=True)[0] == "\ufffd"
    assert parse_json(b"123456789012345678901234567890", strict=True)[0] == 1.2345678901234568e29


@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    for parse in (parse_json, parse_yaml):
        try:
            parse(body, strict=True)
        except DecodeError:
            continue


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: yes", True),
        ("a: on", True),
        ("a: y", True),
        ("a: N", False),
        ("a: ~", None),
        ("a:", None),
        ("a: 0777", 511),
        ("a: 0o17", 15),
        ("a: 0x1F", 31),
        ("a: 0b11", 3),
        ("a: -12", -12),
        ("a: 1_000", 1000),
        ("a: 1.0", 1),
        ("a: 1.5", 1.5),
        ("a: 1e3", 1000),
        ("a: 089", 89),
        ("a: 1:30", "1:30"),
        ("a: 2001-01-01", "2001-01-01"),
        ("a: 2001-01-01T00:00:00Z", "2001-01-01T00:00:00Z"),
        ("a: 1.2.3", "1.2.3"),
        ("a: +", "+"),
        ("a: 'yes'", "yes"),
        ('a: "1"', "1"),
        ("a: !!str 1", "1"),
        ("a: !!int 1", 1),
        ("a: !!float 1", 1),
        ("a: !custom x", "x"),
        ("a: 18446744073709551615", 18446744073709551615),
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("a: [1, {b: c}]", [1, {"b": "c"}]),
        ("x: &x {k: 1}\na: *x", {"k": 1}),
        ("x: &x {k: 1, l: 2}\na: {<<: *x, l: 3}", {"k": 1, "l": 3}),
        ("x: &x {k: 1}\ny: &y {l: 2}\na: {<<: [*x, *y]}", {"k": 1, "l": 2}),
    ],
)
def test_yaml_values(text: str, value: Any) -> None:
    parsed, problems = parse_yaml(text.encode(), strict=True)
    assert problems == []
    assert parsed["a"] == value
    assert type(parsed["a"]) is type(value)


def test_yaml_keys_become_strings() -> None:
    assert parse_yaml(b"{1: a, true: b, 1.5: c}", strict=True)[0] == {"1": "a", "true": "b", "1.5": "c"}


def test_yaml_first_document() -> None:
    assert parse_yaml(b"a: 1\n---\nb: 2\n", strict=True) == ({"a": 1}, [])
    assert parse_yaml(b"", strict=True) == (None, [])


def test_yaml_duplicates() -> None:
    value, problems = parse_yaml(b"a: 1\nb: {c: 1, c: 2}\na: 3\n", strict=True)
    assert value == {"a": 3, "b": {"c": 2}}
    assert problems == [
        "error converting YAML to JSON: yaml: unmarshal errors:\n"
        '  line 2: key "c" already set in map\n'
        '  line 3: key "a" already set in map'
    ]
    assert parse_yaml(b"a: 1\na: 3\n", strict=False)[1] == []


BOMB = b"a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"a: [1", "did not find expected"),
        (b"a:\n\t- b", "line 2: found character that cannot start any token"),
        (b"a: *b", "unknown anchor 'b' referenced"),
        (b"&a [*a]", "anchor 'a' value contains itself"),
        (b"[" * 5000, "exceeded max depth of 1000"),
        (BOMB, "document contains excessive aliasing"),
        (b"a: .inf", "json: unsupported value: .inf"),
        (b"? [a]\n: b", "unsupported map key of type list"),
        (b"~: a", "unsupported map key of type null"),
        (b"a: !!binary aGk=", "!!binary"),
        (b"a: !!int x", "cannot decode !!str `x` as a !!int"),
        (b"a: {<<: 1}", "map merge requires map or sequence of maps"),
        (b"\x00", "control characters are not allowed"),
    ],
)
def test_yaml_errors(body: bytes, message: str) -> None:
    with pytest.raises(DecodeError) as error:
        parse_yaml(body, strict=True)
    assert message in str(error.value)


def test_aliases_are_copies() -> None:
    value = parse_yaml(b"a: &a {x: 1}\nb: *a\n", strict=True)[0]
    assert value["a"] is not value["b"]


def test_dump_yaml() -> None:
    obj = {
        "b": [{"y": "yes", "n": None}],
        "a": "1",
        "text": "x\ny\n",
        "empty": {},
        "none": [],
        "time": "2024-01-01T00:00:00Z",
    }
    assert dump_yaml(obj).decode() == (
        'a: "1"\nb:\n- "n": null\n  "y": "yes"\nempty: {}\nnone: []\ntext: |\n  x\n  y\ntime: "2024-01-01T00:00:00Z"\n'
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_yaml_reads_what_it_wrote(value: Any) -> None:
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:  # half a surrogate pair
        return
    assert parse_yaml(dump_yaml(value), strict=True)[0] == value


@given(st.text(min_size=1, max_size=10))
def test_plain_scalars_have_a_meaning(text: str) -> None:
    try:
        assert isinstance(resolve(text), str | int | float | bool | None)
    except DecodeError:
        assert text.lstrip("+-").startswith(".")
