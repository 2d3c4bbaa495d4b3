"""`Warning: 299 - "..."` headers from the texts that a request gathered (k8s.io/apiserver `filters/warning.go`)."""

from __future__ import annotations

from collections.abc import Iterable

from apiserver.api.status import StatusError
from apiserver.endpoints.responses import ErrorWriter
from apiserver.request import Handler, Request, Response

__all__ = ["warning_headers", "with_warnings"]

TOTAL_CHARACTERS_MAX = 4096
"""Beyond so much text in all warnings together, each is cut."""
CUT_CHARACTERS = 256


def with_warnings(handler: Handler, write_error: ErrorWriter) -> Handler:
    """Add the headers, to errors too."""

    async def filtered(request: Request) -> Response:
        try:
            response = await handler(request)
        except StatusError as error:
            if not request.warnings:
                raise
            response = write_error(request, error)
        if request.warnings:
            response.headers.extend(("warning", value) for value in warning_headers(request.warnings))
        return response

    return filtered


def warning_headers(texts: Iterable[str]) -> list[str]:
    """Header values: each text once, those with control characters left out, cut when they are too long together."""
    unique = [text for text in dict.fromkeys(texts) if text and not any(_is_control(char) for char in text)]
    total = 0
    for text in unique:
        total += len(text)
        if total > TOTAL_CHARACTERS_MAX:
            return _cut(unique)
    return [_quoted(text) for text in unique]


def _cut(texts: list[str]) -> list[str]:
    """All of them cut short, and no more once the total is reached."""
    values: list[str] = []
    written = 0
    for text in texts:
        if written >= TOTAL_CHARACTERS_MAX:
            break
        text = text[:CUT_CHARACTERS]
        written += len(text)
        values.append(_quoted(text))
    return values


def _is_control(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'
