"""Label selectors: equality- and set-based requirements on `metadata.labels`.

The grammar and the error texts are those of apimachinery `labels/selector.go` (API concepts, "Label selectors"):

    selector    = [ requirement { "," requirement } ]
    requirement = [ "!" ] key | key ( "=" | "==" | "!=" | ">" | "<" ) value | key ( "in" | "notin" ) "(" values ")"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from apiserver.api.field_errors import FieldError, field_invalid
from apiserver.api.label_format import label_key_problems, label_value_problems
from apiserver.api.status import StatusError

__all__ = [
    "LabelRequirement",
    "LabelSelector",
    "SelectorError",
    "label_selector_from_object",
    "label_selector_from_set",
    "parse_label_selector",
]

_BINARY_OPERATORS: Final = ("in", "notin", "=", "==", "!=", "gt", "lt")
_OPERATOR_OF_TOKEN: Final = {
    "in": "in",
    "notin": "notin",
    "=": "=",
    "==": "==",
    "!=": "!=",
    ">": "gt",
    "<": "lt",
}
_OPERATOR_OF_EXPRESSION: Final = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
_WHITESPACE: Final = " \t\r\n"
_TOKEN: Final = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^=!(),<> \t\r\n]+)")
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class SelectorError(StatusError):
    """A selector that cannot be understood: 400 BadRequest with the parser's text."""

    def __init__(self, message: str) -> None:
        super().__init__(400, "BadRequest", message)


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One requirement on one label.

    Attributes:
        operator: "=", "==", "!=", "in", "notin", "exists", "!" (does not exist), "gt" or "lt".
        values: none for "exists" and "!", one or more for "in" and "notin", else exactly one.
    """

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels satisfy the requirement."""
        value = labels.get(self.key)
        match self.operator:
            case "=" | "==" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        number = _parse_int64(value) if value is not None else None
        bound = _parse_int64(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if self.operator == "gt" else number < bound

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        sign = {"gt": ">", "lt": "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All of its requirements must hold.

    Attributes:
        requirements: sorted by key.
        nothing: matches no labels at all, which is what an absent `metav1.LabelSelector` means.
    """

    requirements: tuple[LabelRequirement, ...] = ()
    nothing: bool = False

    @property
    def empty(self) -> bool:
        """Whether it lets everything pass."""
        return not self.requirements and not self.nothing

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        if self.nothing:
            return False
        return all(requirement.matches(labels) for requirement in self.requirements)

    def matcher(self) -> Callable[[Mapping[str, str]], bool]:
        """`matches` as a function made for these requirements, for asking it of very many objects."""
        if self.nothing or len(self.requirements) != 1:
            return self.matches
        (requirement,) = self.requirements
        key, values = requirement.key, requirement.values
        if requirement.operator in ("=", "==") or (requirement.operator == "in" and len(values) == 1):
            value = values[0]
            return lambda labels: labels.get(key) == value
        return requirement.matches

    def exact(self, key: str) -> str | None:
        """The one value the selector requires of a label, or None when it leaves a choice."""
        for requirement in self.requirements:
            if requirement.key == key:
                single = requirement.operator in ("=", "==", "in") and len(requirement.values) == 1
                return requirement.values[0] if single else None
        return None

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


def parse_label_selector(text: str) -> LabelSelector:
    """Read the string form.

    Raises `SelectorError`.
    """
    return _selector(_Parser(text).parse())


def label_selector_from_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """A `metav1.LabelSelector`: None selects nothing, an empty one everything.

    Raises `SelectorError`.
    """
    if selector is None:
        return LabelSelector(nothing=True)
    labels: Mapping[str, str] = selector.get("matchLabels") or {}
    requirements = [_requirement(key, "=", (value,)) for key, value in labels.items()]
    for expression in selector.get("matchExpressions") or ():
        operator = _OPERATOR_OF_EXPRESSION.get(expression.get("operator", ""))
        if operator is None:
            raise SelectorError(f'"{expression.get("operator", "")}" is not a valid label selector operator')
        requirements.append(_requirement(expression.get("key", ""), operator, tuple(expression.get("values") or ())))
    return _selector(requirements)


def label_selector_from_set(labels: Mapping[str, str] | None) -> LabelSelector:
    """Exactly these labels, as in `Service.spec.selector`; none at all selects everything. Nothing is validated."""
    return _selector(LabelRequirement(key, "=", (value,)) for key, value in (labels or {}).items())


def _selector(requirements: Iterable[LabelRequirement]) -> LabelSelector:
    return LabelSelector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


def _parse_int64(text: str) -> int | None:
    """As strconv.ParseInt(text, 10, 64): None for what is no integer or does not fit."""
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if _INT64_MIN <= number <= _INT64_MAX else None


def _requirement(key: str, operator: str, values: tuple[str, ...]) -> LabelRequirement:
    """Check a requirement as labels.NewRequirement does."""
    errors = []
    if problems := label_key_problems(key):
        errors.append(field_invalid("key", key, "; ".join(problems)))
    errors += _count_errors(operator, values)
    for position, value in enumerate(values):
        if problems := label_value_problems(value):
            errors.append(field_invalid(f"values[{position}][{key}]", value, "; ".join(problems)))
    if errors:
        raise SelectorError(_aggregate(errors))
    return LabelRequirement(key, operator, values)


def _count_errors(operator: str, values: tuple[str, ...]) -> list[FieldError]:
    listed = list(values)
    match operator:
        case "in" | "notin":
            if not values:
                return [field_invalid("values", listed, "for 'in', 'notin' operators, values set can't be empty")]
        case "=" | "==" | "!=":
            if len(values) != 1:
                return [field_invalid("values", listed, "exact-match compatibility requires one single value")]
        case "exists" | "!":
            if values:
                return [field_invalid("values", listed, "values set must be empty for exists and does not exist")]
        case _:
            return [
                field_invalid(f"values[{position}]", value, "for 'Gt', 'Lt' operators, the value must be an integer")
                for position, value in enumerate(values)
                if _parse_int64(value) is None
            ]
    return []


def _aggregate(errors: list[FieldError]) -> str:
    texts = list(dict.fromkeys(map(str, errors)))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _tokens(text: str) -> list[str]:
    """Words and signs in order; the empty string stands for the end. A NUL ends the text, as in Kubernetes' lexer."""
    text = text.partition("\0")[0].rstrip(_WHITESPACE)
    return [*_TOKEN.findall(text), ""]


def _is_word(word: str) -> bool:
    return word != "" and word[0] not in "=!(),<>"


class _Parser:
    """Recursive descent over the tokens; `in` and `notin` are operators only where an operator may stand."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._position = 0

    def _peek(self) -> str:
        return self._tokens[self._position]

    def _next(self) -> str:
        word = self._tokens[self._position]
        self._position = min(self._position + 1, len(self._tokens) - 1)
        return word

    def parse(self) -> list[LabelRequirement]:
        """All requirements, in the order of the text."""
        requirements: list[LabelRequirement] = []
        while True:
            word = self._peek()
            if word == "":
                return requirements
            if not _is_word(word) and word != "!":
                raise SelectorError(f"found '{word}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self._requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error.message}") from None
            word = self._next()
            if word == "":
                return requirements
            if word != ",":
                raise SelectorError(f"found '{word}', expected: ',' or 'end of string'")
            following = self._peek()
            if not _is_word(following) and following != "!":
                raise SelectorError(f"found '{following}', expected: identifier after ','")

    def _requirement(self) -> LabelRequirement:
        word = self._next()
        negated = word == "!"
        if negated:
            word = self._next()
        if not _is_word(word):
            raise SelectorError(f"found '{word}', expected: identifier")
        if problems := label_key_problems(word):
            raise SelectorError(str(field_invalid("<nil>", word, "; ".join(problems))))
        if negated:
            return _requirement(word, "!", ())
        if self._peek() in ("", ","):
            return _requirement(word, "exists", ())
        sign = self._next()
        operator = _OPERATOR_OF_TOKEN.get(sign)
        if operator is None:
            raise SelectorError(f"found '{sign}', expected: {', '.join(_BINARY_OPERATORS)}")
        values = self._value_set() if operator in ("in", "notin") else {self._exact_value()}
        return _requirement(word, operator, tuple(sorted(values)))

    def _exact_value(self) -> str:
        if self._peek() in ("", ","):
            return ""
        word = self._next()
        if not _is_word(word):
            raise SelectorError(f"found '{word}', expected: identifier")
        return word

    def _value_set(self) -> set[str]:
        word = self._next()
        if word != "(":
            raise SelectorError(f"found '{word}' expected: '('")
        word = self._peek()
        if word == ")":
            self._next()
            return {""}
        if not _is_word(word) and word != ",":
            raise SelectorError(f"found '{word}', expected: ',', ')' or identifier")
        return self._value_list()

    def _value_list(self) -> set[str]:
        """`a,b)`; nothing between two commas, or between a comma and a parenthesis, is the empty value."""
        values: set[str] = set()
        while True:
            word = self._next()
            following = self._peek()
            if _is_word(word):
                values.add(word)
                if following not in (",", ")"):
                    raise SelectorError(f"found '{following}', expected: ',' or ')'")
            elif word == ",":
                if not values or following in (",", ")"):
                    values.add("")
            else:
                raise SelectorError(f"found '{word}', expected: ',', or identifier")
            if following == ")":
                self._next()
                return values
