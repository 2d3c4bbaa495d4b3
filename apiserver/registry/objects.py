"""Copies of objects."""

from __future__ import annotations

import orjson

from apiserver.registry.interface import Object

__all__ = ["copy_object"]


def copy_object(obj: Object) -> Object:
    """A deep copy. By way of JSON, which for these dicts takes a tenth of the time of `copy.deepcopy`."""
    copy: Object = orjson.loads(orjson.dumps(obj))
    return copy
