"""Cron schedules: five fields, or a descriptor such as `@daily`, as the CronJob controller's parser reads them."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["schedule_problem", "time_zone_problem"]

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Lowest and highest value, and names for values from the lowest.
_FIELDS: Final[tuple[tuple[int, int, tuple[str, ...]], ...]] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
_DESCRIPTORS: Final = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_is_duration = re.compile(
    r"[+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))*"
).fullmatch
_is_zone_part = re.compile(r"[A-Za-z.\-_0-9+]{1,14}").fullmatch


def schedule_problem(schedule: str) -> str:
    """What is wrong with a schedule; empty when nothing is."""
    text = schedule
    if text.startswith(("TZ=", "CRON_TZ=")):
        _, space, text = text.partition(" ")
        if not space:
            return f"provided bad location {schedule.partition('=')[2]}: unknown time zone"
        text = text.strip()
    if text.startswith("@"):
        return _descriptor_problem(text)
    parts = text.split()
    if len(parts) != len(_FIELDS):
        shown = " ".join(parts)
        return f"expected exactly 5 fields, found {len(parts)}: [{shown}]"
    for part, (low, high, names) in zip(parts, _FIELDS, strict=True):
        problem = next(filter(None, (_range_problem(item, low, high, names) for item in part.split(","))), "")
        if problem:
            return problem
    return ""


def _descriptor_problem(text: str) -> str:
    if text in _DESCRIPTORS:
        return ""
    if text.startswith("@every "):
        duration = text.removeprefix("@every ")
        return "" if _is_duration(duration) else f'failed to parse duration {text}: time: invalid duration "{duration}"'
    return f"unrecognized descriptor: {text}"


def _range_problem(text: str, low: int, high: int, names: tuple[str, ...]) -> str:
    """One item of a list: `number`, `number-number`, `*`, each perhaps with `/step`."""
    span, slash, step = text.partition("/")
    if "/" in step:
        return f"too many slashes: {text}"
    first, dash, last = span.partition("-")
    if first in ("*", "?"):
        start, end = low, high
    else:
        number, problem = _number(first, low, names)
        if problem:
            return problem
        start = end = number
        if "-" in last:
            return f"too many hyphens: {text}"
        if dash:
            end, problem = _number(last, low, names)
            if problem:
                return problem
        elif slash:
            end = high
    if slash:
        number, problem = _number(step, 0, ())
        if problem:
            return problem
        if number == 0:
            return f"step of range should be a positive number: {text}"
    return _bounds_problem(text, start, end, low, high)


def _bounds_problem(text: str, start: int, end: int, low: int, high: int) -> str:
    if start < low:
        return f"beginning of range ({start}) below minimum ({low}): {text}"
    if end > high:
        return f"end of range ({end}) above maximum ({high}): {text}"
    if start > end:
        return f"beginning of range ({start}) beyond end of range ({end}): {text}"
    return ""


def _number(text: str, low: int, names: tuple[str, ...]) -> tuple[int, str]:
    lowered = text.lower()
    if lowered in names:
        return names.index(lowered) + low, ""
    if text.isascii() and text.isdigit():
        return int(text), ""
    if re.fullmatch(r"-\d+", text):
        return 0, f"negative number ({text}) not allowed: {text}"
    return 0, f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'


def time_zone_problem(zone: str, known: frozenset[str]) -> str:
    """What is wrong with a time zone's name; empty when nothing is.

    Args:
        known: names of the IANA database.
    """
    if not zone:
        return "timeZone must be nil or non-empty string"
    for part in zone.split("/"):
        if part in (".", "..") or part.startswith("-") or not _is_zone_part(part):
            return f"unknown time zone {zone}"
    if zone.lower() == "local":
        return "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
    return "" if zone in known else f"unknown time zone {zone}"
