"""CEL expressions over the claims of a token, or over the user made of them (k8s.io/apiserver `authentication/cel`).

By cel-expr-python, the C++ runtime that Google keeps, since it has a type checker: what is wrong with an expression is
found when the configuration is read and not when the first user comes. Where Kubernetes types the user's fields, they
are checked on use here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

__all__ = ["EvaluationError", "Expression", "ExpressionError", "selects"]

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')


class ExpressionError(ValueError):
    """An expression that cannot be compiled, or has the wrong type."""


class EvaluationError(Exception):
    """An expression that has no value for these claims."""


class Expression:
    """One compiled expression.

    Args:
        variable: its only variable, `claims` or `user`: a map from strings to anything.
        boolean: whether it must be true or false.

    Raises:
        ExpressionError: the text says what is wrong where.
    """

    def __init__(self, text: str, variable: str, *, boolean: bool = False) -> None:
        self.text = text
        self._variable = variable
        try:
            self._compiled = _environment(variable).compile(text)
        except RuntimeError as error:
            raise ExpressionError(f"compilation failed: {_readable(str(error))}") from None
        if boolean and self._compiled.return_type() != cel.Type.BOOL:
            raise ExpressionError("must evaluate to bool")

    def value(self, of: Mapping[str, Any]) -> Any:
        """The value, as plain Python. Raises EvaluationError."""
        try:
            result = self._compiled.eval(data={self._variable: of})
        except (RuntimeError, TypeError, ValueError) as error:
            raise EvaluationError(_readable(str(error))) from None
        if result.type() == cel.Type.ERROR:
            raise EvaluationError(_readable(str(result.value())))
        return result.plain_value()

    def strings(self, of: Mapping[str, Any]) -> tuple[str, ...]:
        """The value as strings: one, a list of them, or none at all; empty ones are left out.

        Raises:
            EvaluationError: there is no value, or one of another type.
        """
        value = self.value(of)
        if value is None:
            return ()
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
            raise EvaluationError("expression must return a string or a list of strings")
        return tuple(item for item in values if item)


_ENVIRONMENTS: dict[str, Any] = {}


def _environment(variable: str) -> Any:
    environment = _ENVIRONMENTS.get(variable)
    if environment is None:
        types = {variable: cel.Type.Map(cel.Type.STRING, cel.Type.DYN)}
        extensions = [ext_strings.ExtStrings(), ext_optional.ExtOptional()]
        environment = _ENVIRONMENTS[variable] = cel.NewEnv(variables=types, extensions=extensions)
    return environment


def _readable(text: str) -> str:
    text = text.removeprefix("INVALID_ARGUMENT: ").removeprefix("NOT_FOUND: ")
    return text.removesuffix(" [INVALID_ARGUMENT]").strip()


def selects(text: str, variable: str, field: str) -> bool:
    """Whether an expression reads `variable.field` or `variable.?field`."""
    without_strings = _STRING.sub('""', text)
    return re.search(rf"(?<![\w.]){variable}\s*\.\s*\??\s*{field}(?!\w)", without_strings) is not None
