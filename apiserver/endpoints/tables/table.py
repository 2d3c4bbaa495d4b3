"""Objects as a `meta.k8s.io/v1` Table: what `kubectl get` asks for (API concepts, "Receiving resources as Tables").

A table goes straight to bytes: cells are worked out from the objects' views, and an embedded object is the JSON that
the watch cache keeps of it anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any

import orjson

from apiserver.api.scheme import Column, Resource
from apiserver.api.status import bad_request
from apiserver.endpoints.tables.cells import Object, Printer
from apiserver.endpoints.tables.durations import Now
from apiserver.endpoints.tables.printers import printer_for

__all__ = ["IncludeObject", "Row", "TableOptions", "list_table", "object_table", "parse_include_object"]


class IncludeObject(Enum):
    """What a row carries of its object."""

    NONE = "None"
    METADATA = "Metadata"
    OBJECT = "Object"


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How a table is asked for.

    Attributes:
        version: of `meta.k8s.io`, v1 or v1beta1.
        with_columns: False leaves the column definitions out, as for all events of a watch but the first.
        printer: instead of the built-in one of the kind; custom resources bring theirs, with its columns.
    """

    include: IncludeObject = IncludeObject.METADATA
    version: str = "v1"
    with_columns: bool = True
    printer: Printer | None = None

    def without_columns(self) -> TableOptions:
        """The same, for what follows the first table of a watch."""
        return replace(self, with_columns=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One object to show: its view, and its JSON where whole objects are included."""

    view: Object
    json: bytes | None = None


def parse_include_object(text: str) -> IncludeObject:
    """The query parameter `includeObject`; empty means Metadata.

    Raises:
        StatusError: 400 for another value.
    """
    if not text:
        return IncludeObject.METADATA
    try:
        return IncludeObject(text)
    except ValueError:
        reason = "must be 'Metadata', 'Object', 'None', or empty"
        value = orjson.dumps(text).decode()
        raise bad_request(
            f"Unable to convert to Table as requested: includeObject: Invalid value: {value}: {reason}"
        ) from None


def list_table(
    resource: Resource,
    rows: Sequence[Row],
    options: TableOptions,
    *,
    now_seconds: float,
    metadata: Mapping[str, Any],
) -> bytes:
    """A list as a table.

    Args:
        metadata: the list's: resourceVersion, and continue and remainingItemCount when there is more.
        now_seconds: since the Unix epoch, for ages.
    """
    printer = options.printer or printer_for(resource.group, resource.kind)
    if printer.sort_key is not None:
        sort_key = printer.sort_key
        rows = sorted(rows, key=lambda row: sort_key(row.view))
    if printer.for_list is not None:
        printer = replace(printer, cells=printer.for_list([row.view for row in rows]))
    return _table(resource, printer, rows, options, Now(now_seconds), metadata)


def object_table(resource: Resource, row: Row, options: TableOptions, *, now_seconds: float) -> bytes:
    """One object as a table of one row: the answer to get, create and the like, and the object of a watch event.

    An object of another kind than the resource's, as subresources have, is shown as its own kind is.
    """
    printer = options.printer or _printer_of(resource, row.view)
    version = row.view["metadata"].get("resourceVersion", "")
    metadata = {"resourceVersion": version} if version else {}
    return _table(resource, printer, [row], options, Now(now_seconds), metadata)


def _printer_of(resource: Resource, view: Object) -> Printer:
    kind = view.get("kind", resource.kind)
    if kind == resource.kind:
        return printer_for(resource.group, kind)
    return printer_for(view.get("apiVersion", "").rpartition("/")[0], kind)


def _table(
    resource: Resource,
    printer: Printer,
    rows: Sequence[Row],
    options: TableOptions,
    now: Now,
    metadata: Mapping[str, Any],
) -> bytes:
    api_version = f"meta.k8s.io/{options.version}"
    columns: Any = None
    if options.with_columns:
        columns = orjson.Fragment(_column_definitions(resource.kind, printer.columns or resource.columns))
    table = {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": [_row(printer, row, options.include, api_version, now) for row in rows],
    }
    return orjson.dumps(table)


def _row(printer: Printer, row: Row, include: IncludeObject, api_version: str, now: Now) -> dict[str, Any]:
    view = row.view
    shown: dict[str, Any] = {"cells": printer.cells(view, now)}
    if printer.conditions is not None:
        conditions = printer.conditions(view)
        if conditions:
            shown["conditions"] = conditions
    if include is IncludeObject.METADATA:
        shown["object"] = {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": view["metadata"]}
    elif include is IncludeObject.NONE:
        shown["object"] = None
    else:
        shown["object"] = view if row.json is None else orjson.Fragment(row.json)
    return shown


_DESCRIPTIONS = {
    ("", "Name"): "Name of the object; unique among the objects of its kind in its namespace.",
    ("", "Age"): "Time since the object was created.",
    ("", "Created At"): "When the object was created, RFC 3339 in UTC.",
    ("", "Containers"): "Names of the containers in the pod template.",
    ("", "Images"): "Images of the containers in the pod template.",
    ("", "Selector"): "Label selector of the pods it is about.",
    ("Pod", "Ready"): "How many of the pod's containers are ready, of how many.",
    ("Pod", "Status"): "State of the pod and its containers in one word.",
    ("Pod", "Restarts"): "How often containers of the pod were restarted, and when last.",
}


@lru_cache(maxsize=512)
def _column_definitions(kind: str, columns: tuple[Column, ...]) -> bytes:
    definitions = [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": _description(kind, column),
            "priority": column.priority,
        }
        for column in columns
    ]
    return orjson.dumps(definitions)


def _description(kind: str, column: Column) -> str:
    known = _DESCRIPTIONS.get((kind, column.name)) or _DESCRIPTIONS.get(("", column.name))
    return known or column.how.removeprefix("integer cell: ").removeprefix("string cell: ")
