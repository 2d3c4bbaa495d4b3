"""Strategies whose rules are functions of `api.validation`; most kinds need nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from apiserver.api.field_errors import FieldError
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.strategy import Strategy

__all__ = ["Check", "CheckedStrategy", "Checks", "StatusCheck", "Warnings", "checked"]

Check = Callable[[list[FieldError], Object, Object | None], object]
"""Appends what is wrong with a new object, or with a changed one when the old one is given."""

StatusCheck = Callable[[list[FieldError], Object, Object], object]
"""Appends what is wrong with a changed status."""

Warnings = Callable[[Object, Object | None], list[str]]
"""Texts for Warning headers, of a create or of an update."""


@dataclass(frozen=True, slots=True)
class Checks:
    """Functions that know the rules of one kind; None where there are none."""

    obj: Check | None = None
    status: StatusCheck | None = None
    warnings: Warnings | None = None


class CheckedStrategy(Strategy):
    """The base strategy with the functions of one kind."""

    checks: ClassVar[Checks] = Checks()

    def check(self, context: OperationContext, obj: Object, old: Object | None) -> list[FieldError]:
        """The kind's own rules."""
        errors: list[FieldError] = []
        if self.checks.obj is not None:
            self.checks.obj(errors, obj, old)
        return errors

    def check_status(self, context: OperationContext, obj: Object, old: Object) -> list[FieldError]:
        """The kind's own rules of a change of status."""
        errors: list[FieldError] = []
        if self.checks.status is not None:
            self.checks.status(errors, obj, old)
        return errors

    def warnings_on_create(self, context: OperationContext, obj: Object) -> list[str]:
        """What is allowed but hardly meant."""
        return self.checks.warnings(obj, None) if self.checks.warnings is not None else []

    def warnings_on_update(self, context: OperationContext, obj: Object, old: Object) -> list[str]:
        """Likewise of a change."""
        return self.checks.warnings(obj, old) if self.checks.warnings is not None else []


def checked(
    obj: Check | None = None, status: StatusCheck | None = None, warnings: Warnings | None = None
) -> type[Strategy]:
    """The strategy of a kind that is special in its rules alone."""
    return type("CheckedStrategy", (CheckedStrategy,), {"checks": Checks(obj, status, warnings)})
