"""Index lists of indexed jobs: `0-3,5,7` (`pkg/apis/batch/validation` `validateIndexesFormat`)."""

from __future__ import annotations

from apiserver.api.field_errors import field_invalid
from apiserver.api.validation.common import Errors

__all__ = ["check_indexes"]


class _IndexError(ValueError):
    """The text is no list of indexes; the message is kube-apiserver's."""


def check_indexes(errors: Errors, path: str, name: str, text: str, completions: int) -> int:
    """How many indexes a list names; 0 when it cannot be read."""
    try:
        return _count(text, completions)
    except _IndexError as error:
        errors.append(field_invalid(path, text, f"error parsing {name}: {error}"))
        return 0


def _count(text: str, completions: int) -> int:
    if not text:
        return 0
    last, total = -1, 0
    for interval in text.split(","):
        first, final = _interval(interval, completions)
        if last >= first:
            raise _IndexError(f"non-increasing order, previous: {last}, current: {first}")
        total += final - first + 1
        last = final
    return total


def _interval(text: str, completions: int) -> tuple[int, int]:
    parts = text.split("-")
    if len(parts) > 2:
        raise _IndexError(
            f'the fragment "{text}" violates the requirement that an index interval can have at most two parts'
            " separated by '-'"
        )
    numbers = [_index(part, completions) for part in parts]
    if len(numbers) == 2 and numbers[0] >= numbers[1]:
        raise _IndexError(f"non-increasing order, previous: {numbers[0]}, current: {numbers[1]}")
    return numbers[0], numbers[-1]


def _index(text: str, completions: int) -> int:
    if not text.isascii() or not text.isdigit():
        raise _IndexError(f'cannot convert string to integer for index: "{text}"')
    if int(text) >= completions:
        raise _IndexError(f'too large index: "{text}"')
    return int(text)
