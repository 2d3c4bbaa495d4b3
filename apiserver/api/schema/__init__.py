"""The schema tables of the built-in API, and how they are read.

    index.json                      groups, resources, kinds; read once at start-up
    types/<protobuf package>.json   messages and fields of one API group and version; read on first use

The files are made by `hack/update_schema.py` and never edited. A row is an object whose members are named as the
attributes in `apiserver.api.scheme`; members with the attribute's default value are left out. Files are looked up
through the package's loader, so an installed wheel or zip works as well as a checkout.
"""

from __future__ import annotations

import pkgutil
from typing import Any, cast

import orjson

__all__ = ["load_index", "load_package"]


def load_index() -> dict[str, list[Any]]:
    """`groups`, `resources` and `kinds`, as rows."""
    return _load("index.json")


def load_package(package: str) -> dict[str, dict[str, Any]]:
    """Message name -> row, for one protobuf package such as `k8s.io.api.core.v1`.

    Raises LookupError for a package that no table describes.
    """
    try:
        return _load(f"types/{package}.json")
    except OSError:
        raise LookupError(f"no schema tables for protobuf package {package!r}") from None


def _load(name: str) -> dict[str, Any]:
    data = pkgutil.get_data(__name__, name)
    if data is None:  # a loader that keeps no data files
        raise OSError(f"the schema table {name} cannot be read")
    return cast("dict[str, Any]", orjson.loads(data))
