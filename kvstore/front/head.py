"""What the header block of a request says, checked once and kept.

Clients send the same few blocks again and again. Two caches make use of it: by the block's bytes, for as long as the
compression table they refer to has not changed, and by the decoded fields without the deadline, which alone differs
from call to call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from kvstore.front.hpack_decoder import Field, HPACKDecoder

__all__ = ["HeadReader", "MalformedHead", "RequestHead", "parse_head"]

CACHED_HEADS_MAX = 256

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE = re.compile(rb"[\x00\r\n]|^[ \t]|[ \t]$")
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
_CONNECTION_SPECIFIC = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)  # RFC 9113 section 8.2.2
_TIMEOUT = b"grpc-timeout"


class MalformedHead(Exception):
    """Fields that no HTTP/2 request may have (RFC 9113 sections 8.2 and 8.3)."""


class RequestHead:
    """The parts of a request's fields that anyone asks for. Shared between requests: do not change it.

    Attributes:
        method, path, scheme, authority: the pseudo-header fields; path as bytes, the key of method tables.
        content_type: lower case, without parameters; empty when there is none.
        encoding: `grpc-encoding`; "identity" when there is none.
        is_grpc: whether the content type is `application/grpc`, alone or with a `+` or `;` suffix.
        metadata: every other field by lower-case name; repeated ones joined by commas (RFC 9110 section 5.3), bytes
            that are not UTF-8 as surrogates, `-bin` values still in base64.
    """

    __slots__ = ("authority", "content_type", "encoding", "is_grpc", "metadata", "method", "path", "scheme")

    def __init__(
        self, method: str, path: bytes, scheme: str, authority: str, metadata: Mapping[str, str], content_type: str
    ) -> None:
        self.method = method
        self.path = path
        self.scheme = scheme
        self.authority = authority
        self.metadata = metadata
        self.content_type = content_type
        self.encoding = metadata.get("grpc-encoding", "identity")
        self.is_grpc = content_type == "application/grpc" or content_type.startswith("application/grpc+")


def parse_head(fields: list[Field] | tuple[Field, ...]) -> RequestHead:
    """Check the fields of a request and name them. Raises `MalformedHead`."""
    pseudo: dict[bytes, bytes] = {}
    metadata: dict[str, str] = {}
    for name, value in fields:
        if _BAD_VALUE.search(value):
            raise MalformedHead(f"field {name!r} has a value with forbidden bytes")
        if name[:1] == b":":
            if metadata or name in pseudo or name not in _PSEUDO:
                raise MalformedHead(f"pseudo-header field {name!r} unknown, repeated or out of place")
            pseudo[name] = value
            continue
        if not _NAME.fullmatch(name):
            raise MalformedHead(f"field name {name!r}")
        if name in _CONNECTION_SPECIFIC or (name == b"te" and value != b"trailers"):
            raise MalformedHead(f"connection-specific field {name!r}")
        key, text = name.decode(), value.decode(errors="surrogateescape")
        metadata[key] = f"{metadata[key]},{text}" if key in metadata else text
    method, path, scheme = pseudo.get(b":method"), pseudo.get(b":path"), pseudo.get(b":scheme")
    if not method or not path or not scheme:
        raise MalformedHead("a request needs :method, :scheme and :path")
    authority = pseudo.get(b":authority", b"").decode(errors="surrogateescape") or metadata.get("host", "")
    content_type = metadata.get("content-type", "").partition(";")[0].strip().lower()
    return RequestHead(
        method.decode(errors="surrogateescape"),
        path,
        scheme.decode(errors="surrogateescape"),
        authority,
        MappingProxyType(metadata),
        content_type,
    )


class HeadReader:
    """Header blocks of one connection to `RequestHead`s.

    `read` raises `HPACKError` (the connection is lost) or `MalformedHead` (the request is).
    """

    def __init__(self, list_bytes_max: int) -> None:
        self._decoder = HPACKDecoder(list_bytes_max)
        self._by_block: dict[bytes, tuple[RequestHead, bytes | None]] = {}
        self._by_fields: dict[tuple[Field, ...], RequestHead] = {}

    def read(self, block: bytes) -> tuple[RequestHead, bytes | None]:
        """The head and the value of `grpc-timeout`, if there is one."""
        known = self._by_block.get(block)
        if known is not None:
            return known
        version = self._decoder.table_version
        fields = self.skip(block)
        timeout = None
        # Clients send it last or nearly so; a repeated one is ignored, as by grpc-go.
        for index in range(len(fields) - 1, -1, -1):
            if fields[index][0] == _TIMEOUT:
                timeout = fields.pop(index)[1]
        key = tuple(fields)
        head = self._by_fields.get(key)
        if head is None:
            head = parse_head(key)
            if len(self._by_fields) >= CACHED_HEADS_MAX:
                self._by_fields.clear()
            self._by_fields[key] = head
        found = (head, timeout)
        if self._decoder.table_version == version:
            if len(self._by_block) >= CACHED_HEADS_MAX:
                self._by_block.clear()
            self._by_block[block] = found
        return found

    def skip(self, block: bytes) -> list[Field]:
        """Decode a block that is no request (trailers, or a stream nobody waits for) to keep the table in step."""
        version = self._decoder.table_version
        try:
            return self._decoder.decode(block)
        finally:
            if self._decoder.table_version != version:
                self._by_block.clear()
