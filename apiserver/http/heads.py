"""Request heads that have been seen before.

A client sends the same headers with every request; only the request line differs. A header block that the HTTP parser
has once read and approved means the same thing every time it arrives byte for byte again, so its meaning is kept and
the parser is skipped: the idea of HPACK's dynamic table, on the receiving side only. Anything out of the ordinary (a
body that is not all there yet, a second request behind the first, `Expect`, chunked bodies, an odd request line) goes
through the parser as always.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Head", "KnownHeads", "header_map"]

_REQUEST_LINE = re.compile(rb"(GET|PUT|POST|PATCH|DELETE) (/[!-~]*) HTTP/1\.1")
_LIST_HEADERS = frozenset({"accept", "accept-encoding", "connection", "x-forwarded-for"})
"""Headers whose value may be split over several lines (RFC 9110, 5.3)."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the headers of a request say.

    Attributes:
        headers: as ASGI wants them: lower-case names, in order.
        map: the same as text, each name once; shared by all requests with this head, so never to be changed.
    """

    headers: list[tuple[bytes, bytes]]
    map: dict[str, str]
    content_length: int


class KnownHeads:
    """Header blocks by their bytes; bounded, forgotten all at once when full."""

    ENTRIES_MAX = 1024
    BLOCK_BYTES_MAX = 4096

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    @classmethod
    def block_of(cls, data: bytes) -> bytes:
        """The header block at the start of `data`, without request line and empty line; empty if not whole."""
        end = data.find(b"\r\n\r\n", 0, cls.BLOCK_BYTES_MAX)
        start = data.find(b"\r\n", 0, end)
        return data[start + 2 : end] if 0 < start < end else b""

    def add(self, block: bytes, headers: list[tuple[bytes, bytes]], mapped: dict[str, str]) -> None:
        """Remember a block that the parser has accepted for an HTTP/1.1 request that keeps its connection."""
        if not block or "transfer-encoding" in mapped or "expect" in mapped or "upgrade" in mapped:
            return
        if len(self._heads) >= self.ENTRIES_MAX:
            self._heads.clear()
        self._heads[block] = Head(headers, mapped, int(mapped.get("content-length", "0")))

    def match(self, data: bytes) -> tuple[str, bytes, Head, bytes] | None:
        """Method, target, head and body, if `data` is exactly one request with a known head."""
        end = data.find(b"\r\n\r\n", 0, self.BLOCK_BYTES_MAX)
        start = data.find(b"\r\n", 0, end)
        if not 0 < start < end:
            return None
        head = self._heads.get(data[start + 2 : end])
        if head is None or len(data) - end - 4 != head.content_length:
            return None
        line = _REQUEST_LINE.fullmatch(data, 0, start)
        if line is None:
            return None
        method, target = line.groups()
        return method.decode(), target, head, data[end + 4 :]


def header_map(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as text, each name once: the last one wins, list headers are joined."""
    result: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1")
        value = raw_value.decode("latin-1")
        if name in result and name in _LIST_HEADERS:
            value = f"{result[name]},{value}"
        result[name] = value
    return result
