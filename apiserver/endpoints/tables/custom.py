"""Printers of custom resources, from `additionalPrinterColumns` (k8s.io/apiextensions-apiserver `tableconvertor`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from apiserver.api.scheme import Column
from apiserver.endpoints.tables.cells import Object, Printer
from apiserver.endpoints.tables.durations import Now
from apiserver.endpoints.tables.jsonpath import JSONPath

__all__ = ["custom_printer"]

_NAME_COLUMN = Column("Name", "string", "name", how="metadata.name")
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def custom_printer(definitions: Iterable[Mapping[str, Any]] | None) -> Printer:
    """The printer for a version's `additionalPrinterColumns`; without any, name and age are shown.

    Raises:
        JSONPathError: a `jsonPath` that cannot be read.
    """
    shown = list(definitions or [_AGE])
    columns = [
        Column(
            definition["name"],
            definition["type"],
            definition.get("format", ""),
            definition.get("priority", 0),
            definition.get("description", ""),
        )
        for definition in shown
    ]
    paths = [(definition["type"], JSONPath(definition["jsonPath"])) for definition in shown]

    def cells(obj: Object, now: Now) -> list[Any]:
        row: list[Any] = [obj["metadata"].get("name", "")]
        for kind, path in paths:
            found = path.find(obj)
            row.append(_cell(kind, found[0], now) if found else None)
        return row

    return Printer(cells, columns=(_NAME_COLUMN, *columns))


def _cell(kind: str, value: Any, now: Now) -> Any:
    """A value as a cell of that type; None where the type does not fit."""
    if kind == "string":
        return _text(value)
    if kind == "date":
        return _age(value, now)
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if kind == "integer":
        return int(value)
    return float(value) if kind == "number" else None


def _text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def _age(value: Any, now: Now) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        return now.age(value)
    except ValueError:
        return "<invalid>"
