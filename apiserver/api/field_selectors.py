"""Field selectors: `=`, `==` and `!=` on the few fields that a kind declares selectable.

Grammar, escaping and error texts are those of apimachinery `fields/selector.go`: the terms are separated by commas, and
a backslash in a value stands before a backslash, a comma or an equals sign that is meant literally. Which labels a kind
knows is in the schema tables (`Resource.selectable_fields`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from apiserver.api.label_selectors import SelectorError
from apiserver.api.scheme import FieldLabel, Resource

__all__ = [
    "FieldRequirement",
    "FieldSelector",
    "convert_field_selector",
    "escape_field_value",
    "field_getter",
    "parse_field_selector",
]

_OPERATORS: Final = ("!=", "==", "=")
_ESCAPED: Final = "\\,="
_EVENT_SOURCE_PATHS: Final = ("source.component", "deprecatedSource.component")


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One term: the field's value is (`=`) or is not (`!=`) `value`."""

    field: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{escape_field_value(self.value)}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All of its requirements must hold."""

    requirements: tuple[FieldRequirement, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it lets everything pass."""
        return not self.requirements

    def matches(self, getter: Callable[[str], str]) -> bool:
        """Whether an object is selected; `getter` gives the value of a field label, empty when there is none."""
        return all((getter(term.field) == term.value) == (term.operator == "=") for term in self.requirements)

    def exact(self, field: str) -> str | None:
        """The value the selector requires of a field, or None when it does not."""
        for term in self.requirements:
            if term.field == field and term.operator == "=":
                return term.value
        return None

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


def escape_field_value(value: str) -> str:
    """A value as it is written in a selector."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def parse_field_selector(text: str) -> FieldSelector:
    """Read the string form; field labels are not looked at (`convert_field_selector` does that).

    Raises `SelectorError`.
    """
    requirements = []
    for part in sorted(_split_terms(text)):
        if not part:
            continue
        term = _split_term(part)
        if term is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        field, operator, value = term
        requirements.append(FieldRequirement(field, operator, _unescape(value)))
    return FieldSelector(tuple(requirements))


def convert_field_selector(selector: FieldSelector, resource: Resource) -> FieldSelector:
    """Check the labels against those of the resource, and replace aliases (`spec.host`) by what they stand for.

    Raises `SelectorError` with the kind's own text for a label it does not know.
    """
    known = resource.selectable_fields
    terms = []
    for term in selector.requirements:
        label = known.get(term.field)
        if label is None:
            raise SelectorError(_unknown_label(resource.field_label_error, term.field))
        alias = label.path != term.field and label.path in known
        terms.append(FieldRequirement(label.path, term.operator, term.value) if alias else term)
    return FieldSelector(tuple(terms))


def field_getter(resource: Resource, view: Mapping[str, Any]) -> Callable[[str], str]:
    """What `FieldSelector.matches` asks, for one object given as a dict in the version of `resource`."""
    known = resource.selectable_fields

    def get(field: str) -> str:
        label = known.get(field)
        return _read(label, view) if label is not None else ""

    return get


def _read(label: FieldLabel, view: Mapping[str, Any]) -> str:
    if label.never_matches:
        return ""
    value: Any = view
    for step in label.path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is not None and value != "":
        return str(value)
    if label.value_type == "bool":
        return "false"
    if label.value_type == "int":
        return "0"
    if label.path in _EVENT_SOURCE_PATHS:
        # The reporting controller took the place of the source (Event ToSelectableFields).
        return str(view.get("reportingComponent") or view.get("reportingController") or "")
    return ""


def _unknown_label(text: str, label: str) -> str:
    quoted = json.dumps(label, ensure_ascii=False)
    if '"LABEL"' in text:
        return text.replace('"LABEL"', quoted)
    return text.replace("LABEL", label)


def _split_terms(text: str) -> list[str]:
    """The parts between commas that no backslash escapes; the backslashes stay."""
    terms = []
    start = 0
    escaped = False
    for position, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            terms.append(text[start:position])
            start = position + 1
    terms.append(text[start:])
    return terms


def _split_term(term: str) -> tuple[str, str, str] | None:
    for position in range(len(term)):
        for operator in _OPERATORS:
            if term.startswith(operator, position):
                kind = "!=" if operator == "!=" else "="
                return term[:position], kind, term[position + len(operator) :]
    return None


def _unescape(value: str) -> str:
    literal = []
    escaped = False
    for char in value:
        if escaped:
            if char not in _ESCAPED:
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{char}")
            literal.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in ",=":
            # The number is how kube-apiserver prints the character.
            raise SelectorError(f"invalid field selector: unescaped character in value: {ord(char)}")
        else:
            literal.append(char)
    if escaped:
        raise SelectorError("invalid field selector: invalid escape sequence: \\")
    return "".join(literal)
