"""Reading and writing YAML as Kubernetes does: through the JSON data model, with YAML 1.1's words.

`yes`, `on` and `y` are true; timestamps and `1:30` are strings; numbers with a leading zero are octal; keys become
strings. What aliases stand for is copied, within a budget, so that no small document unfolds into a large one. The
document is built from parser events with a stack of our own: no nesting can exhaust the interpreter's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, cast

import yaml

from apiserver.codec.errors import DecodeError

__all__ = ["dump_yaml", "parse_yaml"]

# libyaml's parser and emitter where PyYAML was built with it.
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BaseDumper: Final[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_MAX_DEPTH: Final = 1000
_TOO_DEEP: Final = f"exceeded max depth of {_MAX_DEPTH}"
# How newer parsers of PyYAML say that they have reached a limit of their own, which is no higher.
_LIBYAML_TOO_DEEP: Final = "exceeded maximum nesting depth"
# Nodes that aliases may add; the largest objects have some ten thousands.
_MAX_ALIASED_NODES: Final = 100_000
# Lines never break.
_WIDTH: Final = 1 << 30

_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_INTEGER: Final = re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_SPECIAL_FLOAT: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)
_TAG: Final = "tag:yaml.org,2002:"


def parse_yaml(body: bytes, *, strict: bool) -> tuple[Any, list[str]]:
    """(the first document as a JSON value, strict decoding errors); no document is None. The last of equal keys wins.

    With `strict`, the second part has one text about all duplicate keys. Raises DecodeError with the line.
    """
    builder = _Builder()
    try:
        loader = _Loader(body)
        try:
            while not builder.done and loader.check_event():
                builder.add(loader.get_event())
        finally:
            loader.dispose()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DecodeError(f"error converting YAML to JSON: yaml: {_problem(error)}") from None
    problems = []
    if strict and builder.duplicates:
        lines = "\n".join(f"  line {line}: key {key!r} already set in map" for line, key in builder.duplicates)
        problems.append("error converting YAML to JSON: yaml: unmarshal errors:\n" + lines.replace("'", '"'))
    return builder.value, problems


def _problem(error: Exception) -> str:
    """The position and the problem of a syntax error, on one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem == _LIBYAML_TOO_DEEP:
        return _TOO_DEEP
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem or error.context}"
    return " ".join(str(error).split())


class _Builder:
    """Puts a document together from parser events."""

    def __init__(self) -> None:
        self.value: Any = None
        self.done = False
        self.duplicates: list[tuple[int, str]] = []
        # Open containers: the container, and for a mapping the key that waits for its value.
        self._stack: list[_Open] = []
        self._anchors: dict[str, Any] = {}
        self._aliased = 0

    def add(self, event: Any) -> None:
        """Take the next event."""
        if isinstance(event, yaml.ScalarEvent):
            self._put(_scalar(event), event)
        elif isinstance(event, yaml.AliasEvent):
            self._put(self._copy(event), event)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(self._stack) >= _MAX_DEPTH:
                raise DecodeError(f"error converting YAML to JSON: yaml: {_TOO_DEEP}")
            self._stack.append(_Open(event))
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = self._stack.pop()
            value = closed.merged()
            self._put(value, closed.event)
        elif isinstance(event, yaml.DocumentEndEvent):
            self.done = True

    def _put(self, value: Any, event: Any) -> None:
        """A finished value goes into the container around it."""
        if event.anchor and not isinstance(event, yaml.AliasEvent):
            self._anchors[event.anchor] = value
        if not self._stack:
            self.value = value
            return
        key = self._stack[-1].put(value, event)
        if key is not None:
            self.duplicates.append((event.start_mark.line + 1, key))

    def _copy(self, event: Any) -> Any:
        """What an alias stands for, as a copy of its own."""
        name = event.anchor
        if any(open_.event.anchor == name for open_ in self._stack):
            raise DecodeError(f"error converting YAML to JSON: yaml: anchor '{name}' value contains itself")
        if name not in self._anchors:
            raise DecodeError(f"error converting YAML to JSON: yaml: unknown anchor '{name}' referenced")
        return self._copied(self._anchors[name])

    def _copied(self, value: Any) -> Any:
        self._aliased += 1
        if self._aliased > _MAX_ALIASED_NODES:
            raise DecodeError("error converting YAML to JSON: yaml: document contains excessive aliasing")
        if isinstance(value, dict):
            return {key: self._copied(item) for key, item in value.items()}
        return [self._copied(item) for item in value] if isinstance(value, list) else value


class _Open:
    """A collection whose end has not come yet."""

    def __init__(self, event: Any) -> None:
        self.event = event
        self._value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._key: str | None = None
        self._merges: list[Any] = []
        self._merging = False

    def put(self, value: Any, event: Any) -> str | None:
        """Add an element, or a key or its value. Returns a key that was there before."""
        if isinstance(self._value, list):
            self._value.append(value)
        elif self._merging:
            self._merging = False
            self._merges += value if isinstance(value, list) else [value]
        elif self._key is None:
            if value == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
                self._merging = True
            else:
                self._key = _key(value)
        else:
            key, self._key = self._key, None
            repeated = key in self._value
            self._value[key] = value
            return key if repeated else None
        return None

    def merged(self) -> Any:
        """The finished collection; keys of its own go before those of `<<`."""
        for merge in self._merges:
            if not isinstance(merge, dict):
                raise DecodeError("error converting YAML to JSON: yaml: map merge requires map or sequence of maps")
            for key, value in merge.items():
                self._value.setdefault(key, value)
        return self._value


def _key(value: Any) -> str:
    """A mapping's key as JSON has it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    kind = "null" if value is None else type(value).__name__
    raise DecodeError(f"error converting YAML to JSON: unsupported map key of type {kind}")


def _scalar(event: Any) -> Any:
    """The JSON value of a scalar."""
    text = cast("str", event.value)
    tag = event.tag
    if tag in (None, "!"):
        return resolve(text) if event.implicit[0] else text
    if tag == f"{_TAG}str" or tag == f"{_TAG}timestamp" or not tag.startswith(_TAG):
        return text
    if tag == f"{_TAG}binary":
        raise DecodeError("error converting YAML to JSON: yaml: !!binary values are not supported")
    value = resolve(text)
    if tag == f"{_TAG}float" and type(value) is int:
        return value
    wanted = {f"{_TAG}bool": bool, f"{_TAG}int": int, f"{_TAG}float": float, f"{_TAG}null": type(None)}.get(tag)
    if wanted is None or type(value) is not wanted:
        short = tag.replace(_TAG, "!!")
        raise DecodeError(f"error converting YAML to JSON: yaml: cannot decode !!str `{text}` as a {short}")
    return value


def resolve(text: str) -> Any:
    """What a plain scalar without a tag stands for."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        number = _integer(text.replace("_", ""))
        if -(2**63) <= number < 2**64:
            return number
    if _FLOAT.fullmatch(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            return text
        return int(value) if value.is_integer() and abs(value) < 2**63 else value
    if _SPECIAL_FLOAT.fullmatch(text):
        raise DecodeError(f"error converting YAML to JSON: json: unsupported value: {text}")
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567"
    number = int(digits, 8 if octal else 0)
    return -number if text.startswith("-") else number


class _Dumper(_BaseDumper):  # type: ignore[misc]  # the base is chosen at run time
    """Block style without anchors; strings quoted as go-yaml quotes them."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write what is shared out in full."""
        return True


def _represent_string(dumper: Any, text: str) -> Any:
    style = None
    if "\n" in text:
        style = "|"
    elif not _stays_string(text):
        style = '"'
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


def _stays_string(text: str) -> bool:
    """Whether a reader takes the plain text for a string; old readers included, who know times and base 60."""
    try:
        return isinstance(resolve(text), str) and not (text[0].isdigit() and (":" in text or text.count("-") == 2))
    except DecodeError:
        return False


_Dumper.add_representer(str, _represent_string)


def dump_yaml(value: Any) -> bytes:
    """A JSON value as YAML, keys sorted, as `kubectl -o yaml` shows it."""
    dump = cast("Callable[..., str]", yaml.dump)
    text = dump(value, Dumper=_Dumper, default_flow_style=False, sort_keys=True, allow_unicode=True, width=_WIDTH)
    return text.encode()
