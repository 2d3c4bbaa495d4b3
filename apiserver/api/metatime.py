"""Times and durations as the API writes them.

`metav1.Time` is RFC 3339 in UTC with whole seconds, `metav1.MicroTime` the same with exactly six digits of fraction,
`metav1.Duration` is Go's notation (`1h15m0.5s`). Functions here go between these texts and seconds since the epoch, or
nanoseconds. Nothing reads a clock.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final

__all__ = [
    "ZERO_TIME_SECONDS",
    "TimeError",
    "canonical_micro_time",
    "canonical_time",
    "format_duration",
    "format_micro_time",
    "format_time",
    "parse_duration",
    "parse_micro_time",
    "parse_time",
]

RFC3339: Final = "2006-01-02T15:04:05Z07:00"
RFC3339_MICRO: Final = "2006-01-02T15:04:05.000000Z07:00"

# Go's zero time, 0001-01-01T00:00:00Z, which JSON shows as null.
ZERO_TIME_SECONDS: Final = -62135596800

_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_MAX_ORDINAL: Final = date.max.toordinal()
_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)
_DURATION_PART: Final = re.compile(r"(\d*)(?:\.(\d*))?([a-zµμ]*)", re.ASCII)
_UNIT_NANOSECONDS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


class TimeError(ValueError):
    """The text is no time or duration of the kind wanted; the message reads as Go's does."""


def parse_time(text: str) -> int:
    """Seconds since the epoch of an RFC 3339 time; a fraction is cut off. Raises TimeError."""
    return _parse(text, RFC3339)[0]


def parse_micro_time(text: str) -> tuple[int, int]:
    """(seconds since the epoch, microseconds) of a time with exactly six digits of fraction. Raises TimeError."""
    return _parse(text, RFC3339_MICRO)


@lru_cache(maxsize=4096)
def format_time(seconds: int) -> str:
    """Seconds since the epoch as `2006-01-02T15:04:05Z`; TimeError outside of the years 1 to 9999."""
    days, rest = divmod(seconds, 86400)
    ordinal = _EPOCH_ORDINAL + days
    if not 1 <= ordinal <= _MAX_ORDINAL:
        raise TimeError("Time.MarshalJSON: year outside of range [0,9999]")
    minutes, second = divmod(rest, 60)
    hour, minute = divmod(minutes, 60)
    return f"{date.fromordinal(ordinal).isoformat()}T{hour:02d}:{minute:02d}:{second:02d}Z"


def format_micro_time(seconds: int, microseconds: int) -> str:
    """As `2006-01-02T15:04:05.000000Z`; TimeError outside of the years 1 to 9999."""
    return f"{format_time(seconds)[:-1]}.{microseconds:06d}Z"


@lru_cache(maxsize=4096)
def canonical_time(text: str) -> str | None:
    """A `metav1.Time` as Kubernetes prints it; None for the zero time. Raises TimeError."""
    seconds = parse_time(text)
    return None if seconds == ZERO_TIME_SECONDS else format_time(seconds)


@lru_cache(maxsize=4096)
def canonical_micro_time(text: str) -> str | None:
    """A `metav1.MicroTime` as Kubernetes prints it; None for the zero time. Raises TimeError."""
    seconds, microseconds = parse_micro_time(text)
    if seconds == ZERO_TIME_SECONDS and microseconds == 0:
        return None
    return format_micro_time(seconds, microseconds)


def _parse(text: str, layout: str) -> tuple[int, int]:
    match = _TIME.fullmatch(text)
    if match is None:
        raise TimeError(f'parsing time "{text}" as "{layout}": cannot parse "{text}" as "2006"')
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    if layout == RFC3339_MICRO and (fraction is None or len(fraction) != 6):
        rest = text[19:]
        raise TimeError(f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as ".000000"')
    for name, value, limit in (("hour", hour, 23), ("minute", minute, 59), ("second", second, 59)):
        if value > limit:
            raise TimeError(f'parsing time "{text}": {name} out of range')
    offset = 0
    if sign:
        if int(offset_hours) > 24 or int(offset_minutes) > 59:
            raise TimeError(f'parsing time "{text}": time zone offset hour out of range')
        offset = (int(offset_hours) * 60 + int(offset_minutes)) * (60 if sign == "+" else -60)
    try:
        days = date(year, month, day).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        part = "day" if 1 <= month <= 12 else "month"
        raise TimeError(f'parsing time "{text}": {part} out of range') from None
    micros = int(fraction[:6].ljust(6, "0")) if fraction else 0
    return days * 86400 + hour * 3600 + minute * 60 + second - offset, micros


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration in Go's notation, such as `-1.5h` or `300ms`. Raises TimeError."""
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    if not rest:
        raise TimeError(f'time: invalid duration "{text}"')
    total = 0
    while rest:
        match = _DURATION_PART.match(rest)
        assert match is not None, "every part of the pattern may be empty"
        whole, fraction, unit = match.groups()
        if not whole and not fraction:
            raise TimeError(f'time: invalid duration "{text}"')
        if not unit:
            raise TimeError(f'time: missing unit in duration "{text}"')
        scale = _UNIT_NANOSECONDS.get(unit)
        if scale is None:
            raise TimeError(f'time: unknown unit "{unit}" in duration "{text}"')
        fraction = (fraction or "")[:18]
        total += int(whole or "0") * scale + int(fraction or "0") * scale // 10 ** len(fraction)
        rest = rest[match.end() :]
    if text.startswith("-"):
        total = -total
    if not -(2**63) <= total < 2**63:
        raise TimeError(f'time: invalid duration "{text}"')
    return total


def format_duration(nanoseconds: int) -> str:
    """A duration in Go's notation: `1h15m30.5s`, `1.5ms`, `0s`."""
    sign, amount = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if amount == 0:
        return "0s"
    if amount < 10**9:
        unit, scale = next(
            (unit, scale) for unit, scale in (("ms", 10**6), ("µs", 10**3), ("ns", 1)) if amount >= scale
        )
        return f"{sign}{_with_fraction(amount, scale)}{unit}"
    minutes, rest = divmod(amount, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{_with_fraction(rest, 10**9)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else f"{sign}{text}"


def _with_fraction(amount: int, scale: int) -> str:
    """amount / scale without trailing zeros; scale is a power of ten."""
    whole, rest = divmod(amount, scale)
    if not rest:
        return str(whole)
    return f"{whole}.{rest:0{len(str(scale)) - 1}d}".rstrip("0")
