"""JSONPath in Kubernetes' dialect, for the printer columns of custom resources (k8s.io/client-go `util/jsonpath`).

Understood are members (`.spec.size`, `['a.b']`, `.metadata.annotations.example\\.com/x`), indices and slices (`[0]`,
`[-1]`, `[1:3]`), unions (`[0,2]`), wildcards (`.*`, `[*]`), descent (`..name`) and filters (`[?(@.type=="Ready")]`,
`[?(@.name)]`). A path is compiled once into steps, each a function from a value to the values below it; what a
document does not have is no error and finds nothing.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["JSONPath", "JSONPathError"]

_Step = Callable[[Any], Iterable[Any]]


class JSONPathError(ValueError):
    """A path that cannot be read; the text says why and where."""


class JSONPath:
    """A compiled path.

    Raises:
        JSONPathError: the text is no path.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        parser = _Parser(text)
        self._steps = parser.steps(until="")

    def find(self, document: Any) -> list[Any]:
        """The values the path leads to, in document order."""
        return _walk(self._steps, document)


def _walk(steps: Iterable[_Step], value: Any) -> list[Any]:
    values = [value]
    for step in steps:
        values = [found for item in values for found in step(item)]
    return values


def _member(name: str) -> _Step:
    def step(value: Any) -> Iterable[Any]:
        return (value[name],) if isinstance(value, dict) and name in value else ()

    return step


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _descend(value: Any) -> Iterator[Any]:
    """The value and everything below it."""
    yield value
    for child in _children(value):
        yield from _descend(child)


def _index(index: int) -> _Step:
    def step(value: Any) -> Iterable[Any]:
        return (value[index],) if isinstance(value, list) and -len(value) <= index < len(value) else ()

    return step


def _slice(part: slice) -> _Step:
    def step(value: Any) -> Iterable[Any]:
        return value[part] if isinstance(value, list) else ()

    return step


def _union(parts: list[_Step]) -> _Step:
    def step(value: Any) -> Iterable[Any]:
        return [found for part in parts for found in part(value)]

    return step


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def _filter(left: Callable[[Any], list[Any]], comparison: str, right: Callable[[Any], list[Any]] | None) -> _Step:
    def holds(item: Any) -> bool:
        found = left(item)
        if right is None:
            return bool(found)
        others = right(item)
        if not found or not others:
            return False
        try:
            return bool(_COMPARISONS[comparison](found[0], others[0]))
        except TypeError:  # values of different types have no order
            return False

    def step(value: Any) -> Iterable[Any]:
        return [item for item in _children(value) if holds(item)]

    return step


_NAME = re.compile(r"(?:\\.|[^\s.\[\],()\\$@{}=!<>'\"])+")
_QUOTED = re.compile(r"'((?:\\.|[^'\\])*)'|\"((?:\\.|[^\"\\])*)\"")
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?")
_SLICE = re.compile(r"(-?\d{1,18})?:(-?\d{1,18})?(?::(-?\d{1,18}))?")
_COMPARISON = re.compile(r"==|!=|<=|>=|<|>")
_SPACE = re.compile(r"\s*")


class _Parser:
    """Reads a path from left to right."""

    def __init__(self, text: str) -> None:
        text = text.strip()
        self._text = text[1:-1] if text.startswith("{") and text.endswith("}") else text
        self._position = 0

    def steps(self, *, until: str) -> list[_Step]:
        """Steps up to a character of `until`, which is not consumed, or to the end."""
        found: list[_Step] = []
        while self._position < len(self._text) and self._text[self._position] not in until:
            if self._take("$") or self._take("@"):
                continue
            if self._take(".."):
                found.append(_descend)
                if self._peek() not in ("[", ""):
                    found.append(self._named())
            elif self._take("."):
                if self._peek() not in ("[", ""):
                    found.append(self._named())
            elif self._take("["):
                found.append(self._bracket())
            elif not found:
                found.append(self._named())
            else:
                raise self._error("unexpected character")
        return found

    def _peek(self) -> str:
        return self._text[self._position : self._position + 1]

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._position):
            return False
        self._position += len(token)
        return True

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._position)
        if match is not None:
            self._position = match.end()
        return match

    def _error(self, problem: str) -> JSONPathError:
        return JSONPathError(f"{problem} at position {self._position} of {self._text!r}")

    def _named(self) -> _Step:
        if self._take("*"):
            return _children
        match = self._match(_NAME)
        if match is None:
            raise self._error("expected a name")
        return _member(_unescape(match[0]))

    def _bracket(self) -> _Step:
        """What is in brackets, up to and with the closing one."""
        if self._take("?("):
            step = self._condition()
            if not self._take(")]"):
                raise self._error("unterminated filter")
            return step
        parts = [self._element()]
        while self._take(","):
            parts.append(self._element())
        if not self._take("]"):
            raise self._error("unterminated array")
        return parts[0] if len(parts) == 1 else _union(parts)

    def _element(self) -> _Step:
        self._match(_SPACE)
        try:
            if self._take("*"):
                return _children
            quoted = self._match(_QUOTED)
            if quoted is not None:
                return _member(_unquote(quoted))
            bounds = self._match(_SLICE)
            if bounds is not None:
                start, stop, stride = (None if bound is None else int(bound) for bound in bounds.groups())
                if stride is not None and stride <= 0:
                    raise self._error("step must be >= 0")
                return _slice(slice(start, stop, stride))
            number = self._match(_NUMBER)
            if number is None or "." in number[0]:
                raise self._error("invalid array index")
            return _index(int(number[0]))
        finally:
            self._match(_SPACE)

    def _condition(self) -> _Step:
        left = self._operand(until=" \t=!<>)")
        self._match(_SPACE)
        comparison = self._match(_COMPARISON)
        if comparison is None:
            return _filter(left, "", None)
        self._match(_SPACE)
        right = self._operand(until=" \t)")
        self._match(_SPACE)
        return _filter(left, comparison[0], right)

    def _operand(self, *, until: str) -> Callable[[Any], list[Any]]:
        """A path or a literal, as a function of the item that is looked at."""
        self._match(_SPACE)
        if self._peek() in ("@", "$"):
            steps = self.steps(until=until)
            return lambda item: _walk(steps, item)
        quoted = self._match(_QUOTED)
        if quoted is not None:
            text = _unquote(quoted)
            return lambda item: [text]
        number = self._match(_NUMBER)
        if number is not None:
            value = float(number[0]) if "." in number[0] else int(number[0])
            return lambda item: [value]
        for word, flag in (("true", True), ("false", False)):
            if self._take(word):
                return _constant(flag)
        raise self._error("expected a value")


def _constant(value: Any) -> Callable[[Any], list[Any]]:
    return lambda item: [value]


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _unquote(match: re.Match[str]) -> str:
    return _unescape(match[1] if match[1] is not None else match[2])
