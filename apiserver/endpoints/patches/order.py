"""The order of a merged list: the patch's elements in its order, the server's own where they stood among them."""

from __future__ import annotations

from typing import Any

__all__ = ["interleave", "split_by_membership"]


def _identity(element: Any, key: str) -> Any:
    """What tells an element from others: the value of its merge key, or itself. Typed, for `1` is not `True`."""
    value = element.get(key) if key and isinstance(element, dict) else element
    return (type(value), value)


def _positions(order: list[Any], key: str) -> dict[Any, int]:
    positions: dict[Any, int] = {}
    for index, element in enumerate(order):
        positions.setdefault(_identity(element, key), index)
    return positions


def split_by_membership(elements: list[Any], among: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """The elements that occur in `among`, and the others; by merge key, or by value when `key` is empty."""
    known = _positions(among, key)
    inside = [element for element in elements if _identity(element, key) in known]
    outside = [element for element in elements if _identity(element, key) not in known]
    return inside, outside


def interleave(
    patched: list[Any], server_only: list[Any], patch_order: list[Any], server_order: list[Any], key: str
) -> list[Any]:
    """Join two lists into one in which each keeps its order.

    A server-only element goes before the next patched element if both stood in `server_order` and it stood first
    there; otherwise patched elements go first.
    """
    by_patch = _positions(patch_order, key)
    by_server = _positions(server_order, key)
    patched = sorted(patched, key=lambda element: by_patch.get(_identity(element, key), -1))
    server_only = sorted(server_only, key=lambda element: by_server.get(_identity(element, key), -1))
    joined: list[Any] = []
    remaining = iter(patched)
    following = next(remaining, None)
    for element in server_only:
        place = by_server.get(_identity(element, key))
        while following is not None:
            other = by_server.get(_identity(following, key))
            if place is not None and other is not None and place < other:
                break
            joined.append(following)
            following = next(remaining, None)
        joined.append(element)
    if following is not None:
        joined.append(following)
    joined.extend(remaining)
    return joined
