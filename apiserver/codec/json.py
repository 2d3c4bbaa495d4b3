"""Reading JSON: orjson, with Go's error texts and, when asked, the duplicate fields that a strict request reports."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import orjson

from apiserver.codec.errors import DecodeError

__all__ = ["parse_json"]

# As many as sigs.k8s.io/json reports.
_MAX_DUPLICATES: Final = 100

# What the standard library's parser expected -> what Go's says about the character it found instead.
_GO_TEXTS: Final = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Extra data": "after top-level value",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
}


class _Object(dict[str, Any]):
    """An object that remembers which of its keys were given more than once."""

    repeated: tuple[str, ...] = ()


def parse_json(body: bytes, *, strict: bool) -> tuple[Any, list[str]]:
    """(the value, strict decoding errors). The value may be of any JSON type; the last of equal keys wins.

    With `strict`, the second part lists duplicates as `duplicate field "spec.x"`; without, it is empty. Bytes that are
    not UTF-8 read as U+FFFD, as in Go. Raises DecodeError with Go's text and the position.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _second_try(body)
    # What comes out again as it went in, as compact documents do, has lost no field.
    return value, _duplicates(body) if strict and orjson.dumps(value) != body.rstrip() else []


def _second_try(body: bytes) -> Any:
    """Read what orjson refuses but Go takes, or say what is wrong with it."""
    text = body.decode("utf-8", errors="replace")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        # Half a surrogate pair, which Go replaces, and numbers beyond 64 bits.
        halves = json.dumps(value, ensure_ascii=False).encode("utf-16", errors="surrogatepass")
        return orjson.loads(halves.decode("utf-16", errors="replace"))
    except json.JSONDecodeError as error:
        raise DecodeError(_go_text(error)) from None
    except RecursionError:
        raise DecodeError("exceeded max depth") from None
    except ValueError as error:  # a refused constant, or a number of thousands of digits
        raise DecodeError(str(error)) from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"invalid character '{name[0]}' looking for beginning of value")


def _go_text(error: json.JSONDecodeError) -> str:
    """Go's text for a syntax error, and where it is."""
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string"):
        return "unexpected end of JSON input"
    expected = next((text for start, text in _GO_TEXTS.items() if error.msg.startswith(start)), error.msg)
    found = error.doc[error.pos]
    shown = {"'": "'\\''", '"': "'\"'"}.get(found, repr(found))
    return f"invalid character {shown} {expected} (line {error.lineno}, column {error.colno})"


def _duplicates(body: bytes) -> list[str]:
    """The texts for all fields that stand twice in one object."""
    any_repeated = False

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal any_repeated
        obj = _Object(pairs)
        if len(obj) != len(pairs):
            any_repeated = True
            # A key given three times is reported twice, once for each repetition.
            obj.repeated = _repeated(key for key, _ in pairs)
        return obj

    try:
        document = json.loads(body.decode("utf-8", errors="replace"), object_pairs_hook=build)
    except (ValueError, RecursionError):
        return []  # orjson took it, so it is only beyond a limit of the slower parser
    if not any_repeated:
        return []
    found: list[str] = []
    waiting = [("", document)]
    while waiting and len(found) < _MAX_DUPLICATES:
        path, value = waiting.pop()
        if isinstance(value, _Object):
            prefix = f"{path}." if path else ""
            found += [f'duplicate field "{prefix}{key}"' for key in value.repeated]
            waiting += [(f"{prefix}{key}", item) for key, item in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(f"{path}[{index}]", value[index]) for index in range(len(value) - 1, -1, -1)]
    return found[:_MAX_DUPLICATES]


def _repeated(keys: Iterable[str]) -> tuple[str, ...]:
    seen: set[str] = set()
    repeated = []
    for key in keys:
        if key in seen:
            repeated.append(key)
        seen.add(key)
    return tuple(repeated)
