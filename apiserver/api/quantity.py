"""Quantities: fixed-point numbers with a suffix, such as `100m`, `1.5Gi` or `12e6`.

The grammar, the canonical form and the rounding are those of apimachinery's `resource.Quantity` (API reference,
"Quantity"): no value is finer than 1n (finer ones are rounded away from zero), BinarySI values are capped at 2^63-1,
and the canonical form has no fraction and the largest suffix that keeps it exact. As there, a short text that already
looks canonical is kept as it was written.

>>> str(Quantity.parse("1.5Gi"))
'1536Mi'
>>> str(Quantity.parse("0.1") + Quantity.parse("1900m"))
'2'
"""

from __future__ import annotations

import re
from functools import lru_cache, total_ordering
from typing import Final

__all__ = [
    "BINARY_SI",
    "DECIMAL_EXPONENT",
    "DECIMAL_SI",
    "MILLI",
    "NANO",
    "Quantity",
    "QuantityError",
    "canonical_quantity",
]

BINARY_SI: Final = "BinarySI"
DECIMAL_SI: Final = "DecimalSI"
DECIMAL_EXPONENT: Final = "DecimalExponent"

NANO: Final = -9
MILLI: Final = -3

_ONE: Final = 10**9  # the value 1, in nanos
_MAX_INT64: Final = 2**63 - 1
_MAX_FAST_DIGITS: Final = 18
# No number anyone means is larger, and the arithmetic would take memory in proportion to the exponent.
_MAX_EXPONENT: Final = 4096

_DECIMAL_SUFFIXES: Final = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_BINARY_SUFFIXES: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_NAMES: Final = {exponent: suffix for suffix, exponent in _DECIMAL_SUFFIXES.items()}
_BINARY_NAMES: Final = {exponent: suffix for suffix, exponent in _BINARY_SUFFIXES.items()}

_QUANTITY: Final = re.compile(r"([+-]?)0*([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT: Final = re.compile(r"[eE]([-+]?[0-9]+)", re.ASCII)

_FORMAT_WRONG: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_SUFFIX_WRONG: Final = "unable to parse quantity's suffix"


class QuantityError(ValueError):
    """The text is no quantity; the message is apimachinery's."""


@total_ordering
class Quantity:
    """An immutable quantity: an exact number of nanos and the format it is printed in."""

    __slots__ = ("_text", "format", "nanos")

    def __init__(self, nanos: int, format: str = DECIMAL_SI, text: str = "") -> None:
        self.nanos = nanos
        self.format = format
        self._text = text

    @classmethod
    def parse(cls, text: str) -> Quantity:
        """Read a quantity; QuantityError when it is none."""
        match = _QUANTITY.fullmatch(text)
        if match is None or not text:
            raise QuantityError(_FORMAT_WRONG)
        sign, whole, fraction, suffix = match.groups(default="")
        base, exponent, format = _interpret(suffix)
        whole = whole or "0"
        digits = int(whole + fraction)
        if base == 10:
            nanos = _shift_up(digits, exponent - len(fraction) + 9)
        else:
            nanos = _shift_up(digits << exponent, 9 - len(fraction))
            nanos = min(nanos, _MAX_INT64 * _ONE)
            if 0 < nanos < _ONE:
                format = DECIMAL_SI
        keep = _is_kept(base, exponent, whole, fraction, digits)
        return cls(-nanos if sign == "-" else nanos, format, text if keep else "")

    @classmethod
    def of(cls, value: int, format: str = DECIMAL_SI) -> Quantity:
        """The integer `value`."""
        return cls(value * _ONE, format)

    @classmethod
    def of_milli(cls, value: int, format: str = DECIMAL_SI) -> Quantity:
        """`value` thousandths."""
        return cls(value * 10**6, format)

    def __str__(self) -> str:
        if not self._text:
            self._text = self._canonical()
        return self._text

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        """Equal values are equal however they are written."""
        return self.nanos == other.nanos if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __add__(self, other: Quantity) -> Quantity:
        """The sum, in the format of the left side, or of the right one when the left is zero."""
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        """The difference, in the format of the left side, or of the right one when the left is zero."""
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nanos, self.format)

    def __mul__(self, factor: int) -> Quantity:
        return Quantity(self.nanos * factor, self.format)

    def compare(self, other: Quantity) -> int:
        """-1, 0 or 1."""
        return (self.nanos > other.nanos) - (self.nanos < other.nanos)

    def sign(self) -> int:
        """-1, 0 or 1."""
        return (self.nanos > 0) - (self.nanos < 0)

    def value(self) -> int:
        """As an integer, rounded away from zero."""
        return self.scaled_value(0)

    def milli_value(self) -> int:
        """In thousandths, rounded away from zero."""
        return self.scaled_value(MILLI)

    def scaled_value(self, scale: int) -> int:
        """In units of 10^scale, rounded away from zero; `scale` is at least NANO."""
        unit = _power_of_ten(scale - NANO)
        amount = -(-abs(self.nanos) // unit)
        return -amount if self.nanos < 0 else amount

    def round_up(self, scale: int) -> Quantity:
        """Rounded away from zero to a multiple of 10^scale; itself when it is one already."""
        rounded = self.scaled_value(scale) * _power_of_ten(scale - NANO)
        return self if rounded == self.nanos else Quantity(rounded, self.format)

    def is_integer(self) -> bool:
        """Whether it has no fraction."""
        return self.nanos % _ONE == 0

    def as_float(self) -> float:
        """The nearest float."""
        return self.nanos / _ONE

    def _canonical(self) -> str:
        if self.nanos == 0:
            return "0"
        if self.format == BINARY_SI and abs(self.nanos) >= 1024 * _ONE and self.is_integer():
            return _binary(self.nanos // _ONE)
        return _decimal(self.nanos, with_exponent=self.format == DECIMAL_EXPONENT)


def _power_of_ten(exponent: int) -> int:
    """10^exponent for an exponent that is not negative."""
    return int(10**exponent)


def _interpret(suffix: str) -> tuple[int, int, str]:
    """(base, exponent, format) of a suffix."""
    if suffix in _DECIMAL_SUFFIXES:
        return 10, _DECIMAL_SUFFIXES[suffix], DECIMAL_SI
    if suffix in _BINARY_SUFFIXES:
        return 2, _BINARY_SUFFIXES[suffix], BINARY_SI
    match = _EXPONENT.fullmatch(suffix)
    if match is None or len(match[1]) > 6 or int(match[1]) > _MAX_EXPONENT:
        raise QuantityError(_SUFFIX_WRONG)
    return 10, int(match[1]), DECIMAL_EXPONENT


def _shift_up(digits: int, places: int) -> int:
    """digits * 10^places, rounded up."""
    if places >= 0:
        return digits * _power_of_ten(places)
    if -places > len(str(digits)):
        return 1 if digits else 0
    return -(-digits // _power_of_ten(-places))


def _is_kept(base: int, exponent: int, whole: str, fraction: str, digits: int) -> bool:
    """Whether apimachinery's quick scanner would take the text as canonical and print it again as it came."""
    if base == 2:
        quick = not fraction and 15 - len(whole) - exponent * 3 // 10 - 1 >= 0
        return quick and digits << exponent <= _MAX_INT64 and digits & 7 != 0
    scale = exponent - len(fraction)
    if len(whole) + len(fraction) > _MAX_FAST_DIGITS or scale < NANO:
        return False
    return scale % 3 == 0 and not (whole + fraction).endswith("000") and whole[0] != "0"


def _binary(value: int) -> str:
    """An integer with the largest binary suffix that divides it."""
    exponent = 0
    while value % 1024 == 0 and exponent < 60:
        value //= 1024
        exponent += 10
    return f"{value}{_BINARY_NAMES[exponent]}" if exponent else str(value)


def _decimal(nanos: int, *, with_exponent: bool) -> str:
    """A number of nanos with the largest exponent, a multiple of three, that keeps it whole."""
    exponent = NANO
    while nanos % 1000 == 0 and (with_exponent or exponent < 18):
        nanos //= 1000
        exponent += 3
    if with_exponent:
        return f"{nanos}e{exponent}" if exponent else str(nanos)
    return f"{nanos}{_DECIMAL_NAMES[exponent]}"


@lru_cache(maxsize=4096)
def canonical_quantity(text: str) -> str:
    """The text Kubernetes prints for a quantity given as a JSON string or as the text of a JSON number.

    Raises QuantityError. Results are remembered: the same few quantities occur in all objects of a cluster.
    """
    return str(Quantity.parse(text.strip()))
