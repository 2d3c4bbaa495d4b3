"""Server-side printing: the tables behind `kubectl get`, and objects reduced to their metadata.

The columns of a kind are in the schema tables; how its cells come about is one function for each kind, in the module
of its API group. `printers.py` puts them into one table. Adding a kind means adding a function there and nothing else.
"""

from __future__ import annotations

from apiserver.endpoints.tables.cells import Printer
from apiserver.endpoints.tables.custom import custom_printer
from apiserver.endpoints.tables.jsonpath import JSONPath, JSONPathError
from apiserver.endpoints.tables.partial import partial_object_metadata, partial_object_metadata_list
from apiserver.endpoints.tables.table import (
    IncludeObject,
    Row,
    TableOptions,
    list_table,
    object_table,
    parse_include_object,
)

__all__ = [
    "IncludeObject",
    "JSONPath",
    "JSONPathError",
    "Printer",
    "Row",
    "TableOptions",
    "custom_printer",
    "list_table",
    "object_table",
    "parse_include_object",
    "partial_object_metadata",
    "partial_object_metadata_list",
]
