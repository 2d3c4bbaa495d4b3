from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.endpoints.tables import JSONPath, JSONPathError, custom_printer
from apiserver.endpoints.tables.durations import Now, unix_seconds

DOCUMENT: dict[str, Any] = {
    "metadata": {"name": "x", "annotations": {"example.com/key": "v", "a b": "spaced"}},
    "spec": {"size": 3, "items": [{"n": "a", "p": 1}, {"n": "b", "p": 2}, {"n": "c", "p": 3}], "flag": True},
    "status": {
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}],
        "replicas": 0,
    },
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.size", [3]),
        ("{.spec.size}", [3]),
        ("$.spec.size", [3]),
        ("spec.size", [3]),
        (".spec['size']", [3]),
        ('.spec["size"]', [3]),
        (r".metadata.annotations.example\.com/key", ["v"]),
        (".metadata.annotations['example.com/key']", ["v"]),
        (".metadata.annotations['a b']", ["spaced"]),
        (".spec.items[0].n", ["a"]),
        (".spec.items[-1].n", ["c"]),
        (".spec.items[0:2].n", ["a", "b"]),
        (".spec.items[:].n", ["a", "b", "c"]),
        (".spec.items[::2].n", ["a", "c"]),
        (".spec.items[0,2].n", ["a", "c"]),
        (".spec.items[0]['n','p']", ["a", 1]),
        (".spec.items[*].p", [1, 2, 3]),
        (".spec.items.*.p", [1, 2, 3]),
        ("..p", [1, 2, 3]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type == 'Synced')].status", ["False"]),
        ('.status.conditions[?(@.type!="Ready")].type', ["Synced"]),
        (".spec.items[?(@.p>1)].n", ["b", "c"]),
        (".spec.items[?(@.p<=1)].n", ["a"]),
        (".spec.items[?(@.q)].n", []),
        (".spec.items[?(@.n)].n", ["a", "b", "c"]),
        (".spec.items[?(@.n<3)].n", []),
        (".spec.missing", []),
        (".spec.size.deeper", []),
        (".spec.items[9]", []),
        (".status.replicas", [0]),
    ],
)
def test_paths(path: str, found: list[Any]) -> None:
    assert JSONPath(path).find(DOCUMENT) == found


@pytest.mark.parametrize(
    "path", [".spec[", ".spec[0", ".spec[x]", ".a[?(@.b==)]", ".a[?(@.b", ".a]", ".a[0:2:0]", "..", "a b"]
)
def test_what_is_no_path(path: str) -> None:
    if path == "..":
        assert JSONPath(path).find({}) == [{}]
        return
    with pytest.raises(JSONPathError, match="at position"):
        JSONPath(path)


@given(st.text(alphabet=".[]*'\"@$?()=<>!ab01:,- \\{}", max_size=14))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        path = JSONPath(text)
    except JSONPathError:
        return
    assert isinstance(path.find(DOCUMENT), list)


def test_cells_of_custom_resources() -> None:
    definitions = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "description": "how big", "priority": 1},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Flag", "type": "boolean", "jsonPath": ".spec.flag"},
        {"name": "Text", "type": "string", "jsonPath": ".spec.flag"},
        {"name": "Items", "type": "string", "jsonPath": ".spec.items[0]"},
        {"name": "Ratio", "type": "number", "jsonPath": ".spec.size"},
        {"name": "Wrong", "type": "integer", "jsonPath": ".metadata.name"},
        {"name": "None", "type": "string", "jsonPath": ".spec.none"},
        {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp", "format": "date-time"},
        {"name": "Never", "type": "date", "jsonPath": ".metadata.name"},
    ]
    obj = {**DOCUMENT, "metadata": {**DOCUMENT["metadata"], "creationTimestamp": "2026-01-09T23:55:00Z"}}
    printer = custom_printer(definitions)
    now = Now(unix_seconds("2026-01-10T00:00:00Z"))
    assert printer.cells(obj, now) == [
        "x",
        3,
        "True",
        True,
        "true",
        '{"n":"a","p":1}',
        3.0,
        None,
        None,
        "5m",
        "<invalid>",
    ]
    assert [(column.name, column.type, column.priority) for column in printer.columns[:2]] == [
        ("Name", "string", 0),
        ("Size", "integer", 1),
    ]


def test_without_columns_the_age_is_shown() -> None:
    printer = custom_printer(None)
    now = Now(unix_seconds("2026-01-10T00:00:00Z"))
    assert [column.name for column in printer.columns] == ["Name", "Age"]
    assert printer.cells({"metadata": {"name": "x", "creationTimestamp": "2026-01-09T23:59:00Z"}}, now) == ["x", "60s"]
