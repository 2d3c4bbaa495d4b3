"""The compiler of defaults: schema tables in, one closure for each type out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

from apiserver.api.defaults.apps import SPECIAL as APPS
from apiserver.api.defaults.core import SPECIAL as CORE
from apiserver.api.defaults.other import SPECIAL as OTHER
from apiserver.api.defaults.quantities import round_up_to_milli
from apiserver.api.scheme import DefaultRule, Field, Scheme, Type

__all__ = ["SPECIAL", "Apply", "Defaults", "is_simple"]

Apply = Callable[[dict[str, Any]], None]

SPECIAL: Final[Mapping[str, Apply]] = CORE | APPS | OTHER
# "unset", "empty" or "0", perhaps with a remark, perhaps under a feature gate that is on in 1.37.
_SIMPLE_CONDITION: Final = re.compile(r"(unset|empty|0)( \(.*\))?(, gate SELinuxMountReadWriteOncePod)?")


def is_simple(rule: DefaultRule) -> bool:
    """Whether a rule of the tables is applied as it stands: a value for a path, when nothing is there."""
    if rule.value is None or (rule.value == {} and "omitempty" in rule.condition):
        return False  # an empty map that is not printed leaves nothing to write
    return "[" not in rule.path and _condition(rule) != ""


def _condition(rule: DefaultRule) -> str:
    match = _SIMPLE_CONDITION.fullmatch(rule.condition)
    return match.group(1) if match else ""


class Defaults:
    """Default functions of the types of one scheme, compiled on first use."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._functions: dict[str, Apply | None] = {}

    def function(self, type_name: str) -> Apply:
        """The function that fills in the defaults of an object of this type, in place."""
        return self._function(type_name) or _nothing

    def _function(self, type_name: str) -> Apply | None:
        if type_name not in self._functions:
            self._functions[type_name] = None  # what a recursive type (a schema) sees of itself: no type has both
            self._functions[type_name] = self._compile(self._scheme.type(type_name))
        return self._functions[type_name]

    def _compile(self, of: Type) -> Apply | None:
        if of.json_form != "object":
            return None
        children = self._children(of)
        own = list(self._own(of))
        if not own:
            return _for_children(children) if children else None
        return _for_children_then(children, own) if children else _in_turn(own)

    def _children(self, of: Type) -> dict[str, Callable[[Any], None]]:
        children: dict[str, Callable[[Any], None]] = {}
        for name, field in of.by_json_name.items():
            function = self._function(field.type_name) if field.is_message else None
            if function is not None:
                children[name] = _for_each_value(function) if field.is_map else _for_each_or_one(function, field)
            for rule in (*of.default_rules, *self._inlined_rules(of)):
                if rule.path == name and rule.rule == "each quantity rounded up to a multiple of 1m":
                    children[name] = _round_quantities
        return children

    def _own(self, of: Type) -> Iterator[Apply]:
        for inner in (of, *self._inlined(of)):
            if inner.name in SPECIAL:
                yield SPECIAL[inner.name]
            for rule in inner.default_rules:
                if is_simple(rule) and rule.applied_by == "defaults":
                    yield _constant(rule.path, rule.value, when_empty=_condition(rule) != "unset")
        for name, field in of.by_json_name.items():
            if field.default is not None and not _is_omitted_zero(field):
                yield _constant(name, field.default, when_empty=field.go_kind == "value")

    def _inlined(self, of: Type) -> Iterator[Type]:
        for field in of.fields:
            if field.inline and field.is_message:
                yield self._scheme.type(field.type_name)

    def _inlined_rules(self, of: Type) -> Iterator[DefaultRule]:
        for inner in self._inlined(of):
            yield from inner.default_rules


def _nothing(_obj: dict[str, Any]) -> None:
    """The function of a type without defaults."""


def _round_quantities(quantities: dict[str, str]) -> None:
    for name, text in quantities.items():
        quantities[name] = round_up_to_milli(text)


def _is_omitted_zero(field: Field) -> bool:
    """A declared zero for a field that is not printed when zero: nothing to write."""
    return not field.default and field.default != {} and field.go_kind == "value" and field.omitempty == "y"


def _for_children(children: dict[str, Callable[[Any], None]]) -> Apply:
    find = children.get

    def apply(obj: dict[str, Any]) -> None:
        for name, value in obj.items():
            child = find(name)
            if child is not None and value is not None:
                child(value)

    return apply


def _for_children_then(children: dict[str, Callable[[Any], None]], own: list[Apply]) -> Apply:
    find = children.get

    def apply(obj: dict[str, Any]) -> None:
        for name, value in obj.items():
            child = find(name)
            if child is not None and value is not None:
                child(value)
        for function in own:
            function(obj)

    return apply


def _in_turn(own: list[Apply]) -> Apply:
    if len(own) == 1:
        return own[0]

    def apply(obj: dict[str, Any]) -> None:
        for function in own:
            function(obj)

    return apply


def _for_each_or_one(function: Apply, field: Field) -> Callable[[Any], None]:
    if not field.repeated:
        return function

    def apply(items: list[dict[str, Any]]) -> None:
        for item in items:
            function(item)

    return apply


def _for_each_value(function: Apply) -> Callable[[Any], None]:
    def apply(values: dict[str, dict[str, Any]]) -> None:
        for value in values.values():
            function(value)

    return apply


def _constant(path: str, value: Any, *, when_empty: bool) -> Apply:
    """Write `value` at `path` unless something is there; with `when_empty` an empty string or zero is nothing."""
    *parents, name = path.split(".")
    make: Callable[[], Any] = (lambda: deepcopy(value)) if isinstance(value, (dict, list)) else (lambda: value)

    def apply(obj: dict[str, Any]) -> None:
        for parent in parents:
            obj = obj.setdefault(parent, {})
        present = obj.get(name)
        if present is None or (when_empty and not present):
            obj[name] = make()

    return apply
