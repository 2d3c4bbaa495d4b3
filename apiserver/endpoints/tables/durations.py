"""Times and spans as `kubectl get` shows them: `5s`, `3m2s`, `2d4h` (apimachinery `util/duration`)."""

from __future__ import annotations

from datetime import datetime

__all__ = ["UNKNOWN", "Now", "human_duration", "unix_seconds"]

UNKNOWN = "<unknown>"

_MINUTE = 60
_HOUR = 60 * _MINUTE


def unix_seconds(timestamp: str) -> float:
    """An RFC 3339 timestamp as seconds since the epoch."""
    return datetime.fromisoformat(timestamp).timestamp()


def human_duration(seconds: float) -> str:
    """A span with two or three significant figures: the longer it is, the coarser the units.

    Clocks that disagree by less than two seconds make `0s`; a span further below zero is `<invalid>`.
    """
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    if total < 2 * _MINUTE:
        return f"{max(total, 0)}s"
    minutes = total // _MINUTE
    if minutes < 10:
        return _two_units(minutes, "m", total % _MINUTE, "s")
    if minutes < 3 * 60:
        return f"{minutes}m"
    hours = total // _HOUR
    if hours < 8:
        return _two_units(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return _two_units(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    years = days // 365
    return _two_units(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _two_units(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


class Now:
    """The moment a table is made. Objects made together share their timestamps, so each age is worked out once.

    Attributes:
        seconds: since the Unix epoch.
    """

    __slots__ = ("_ages", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ages: dict[str, str] = {}

    def age(self, timestamp: str | None) -> str:
        """How long ago that was, `<unknown>` for no time at all."""
        if not timestamp:
            return UNKNOWN
        age = self._ages.get(timestamp)
        if age is None:
            age = self._ages[timestamp] = human_duration(self.seconds - unix_seconds(timestamp))
        return age
