"""Figures beside their targets, the same way in every benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure.

    Attributes:
        target: what to reach, such as ">= 3000" or "<= 1.0", in the same unit; None where there is none.
        ok: whether it was reached; worked out from the target when None.
    """

    name: str
    value: float
    unit: str
    target: str | None = None
    ok: bool | None = None

    def reached(self) -> bool | None:
        """Whether the target was reached; None without one."""
        if self.ok is not None or self.target is None:
            return self.ok
        relation, _, bound = self.target.partition(" ")
        return self.value >= float(bound) if relation in (">=", "≥") else self.value <= float(bound)


def format_value(value: float) -> str:
    """Three significant digits, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_rows(rows: Iterable[Row]) -> None:
    """A table for people."""
    for row in rows:
        verdict = {None: "", True: "reached", False: "MISSED"}[row.reached()]
        value = f"{format_value(row.value)} {row.unit}"
        print(f"{row.name:<58} {value:>16}   {row.target or '':>10}  {verdict}".rstrip(), flush=True)
