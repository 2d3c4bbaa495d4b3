"""When two values mean the same (apimachinery `equality.Semantic`)."""

from __future__ import annotations

from typing import Any

from apiserver.api.quantity import Quantity, QuantityError
from apiserver.api.scheme import Field, Scheme

__all__ = ["semantic_equal"]


def semantic_equal(scheme: Scheme, field: Field, one: Any, other: Any) -> bool:
    """Whether two values of a field are equal: no list is an empty list, and `1000m` is `1`.

    A message that is given but empty still differs from one that is not given.
    """
    if one == other:
        return True
    if field.repeated or field.is_map:
        if not one and not other:
            return True
        if not one or not other or len(one) != len(other):
            return False
        if field.is_map:
            return all(name in other and _element_equal(scheme, field, one[name], other[name]) for name in one)
        return all(_element_equal(scheme, field, left, right) for left, right in zip(one, other, strict=True))
    if one is None or other is None:
        return False
    return _element_equal(scheme, field, one, other)


def _element_equal(scheme: Scheme, field: Field, one: Any, other: Any) -> bool:
    if one == other:
        return True
    if not field.is_message:
        return False
    of = scheme.type(field.type_name)
    if of.json_form == "quantity":
        return _quantities_equal(one, other)
    if of.json_form != "object" or not isinstance(one, dict) or not isinstance(other, dict):
        return False
    fields = of.by_json_name
    return all(
        name in fields and semantic_equal(scheme, fields[name], one.get(name), other.get(name)) for name in one | other
    )


def _quantities_equal(one: Any, other: Any) -> bool:
    try:
        return Quantity.parse(str(one)) == Quantity.parse(str(other))
    except QuantityError:
        return False
