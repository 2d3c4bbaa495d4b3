"""JSON documents that change rarely and are asked for often: kept as bytes, with an entity tag.

Shared by discovery and OpenAPI, whose clients poll with `If-None-Match` (RFC 9110, 13.1.2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from apiserver.codec.negotiate import JSON
from apiserver.request import Handler, Request, Response

__all__ = ["Document", "document_handler", "wants_pretty"]

# What people read answers with; kube-apiserver indents for them unasked.
_HUMAN_AGENTS = ("curl", "Wget", "Mozilla/5.0")
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def wants_pretty(request: Request) -> bool:
    """Whether to indent: by the query parameter `pretty`, else by the User-Agent."""
    pretty = request.parameter("pretty")
    if pretty:
        return pretty not in _FALSE
    return request.headers.get("user-agent", "").startswith(_HUMAN_AGENTS)


@dataclass(frozen=True, slots=True)
class Document:
    """A document as JSON, or in another form.

    Attributes:
        body: JSON is compact, with the newline at the end that Go's encoder writes.
        tag: SHA-512 of the document in upper-case hexadecimal.
    """

    body: bytes
    tag: str

    @classmethod
    def of(cls, value: Any) -> Document:
        """Encode a value."""
        return cls.of_bytes(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))

    @classmethod
    def of_bytes(cls, body: bytes) -> Document:
        """A document that is encoded already, in whichever form."""
        return cls(body, hashlib.sha512(body).hexdigest().upper())

    def respond(self, request: Request, *, content_type: str = JSON, tagged: bool = False) -> Response:
        """The whole document; `tagged` adds the ETag, and makes it 304 when the client has it already."""
        headers = [("ETag", f'"{self.tag}"'), ("Vary", "Accept"), ("Cache-Control", "public")] if tagged else []
        if tagged and self.is_cached_by(request):
            return Response(304, b"", content_type, headers)
        body = orjson.dumps(orjson.loads(self.body), option=orjson.OPT_INDENT_2) if wants_pretty(request) else self.body
        return Response(200, body, content_type, headers)

    def is_cached_by(self, request: Request) -> bool:
        """Whether the request names the document's tag in `If-None-Match`."""
        return self.tag in _tags(request.headers.get("if-none-match", ""))


def _tags(header: str) -> Sequence[str]:
    return [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]


def document_handler(respond: Callable[[Request], Response | None]) -> Handler:
    """A handler that serves what `respond` finds: 404 for None, 405 for anything but GET and HEAD."""

    async def handler(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return _plain(405, b"405: Method Not Allowed")
        return respond(request) or _plain(404, b"404 page not found\n")

    return handler


def _plain(status: int, text: bytes) -> Response:
    return Response(status, text, "text/plain; charset=utf-8", [("x-content-type-options", "nosniff")])
