"""The values a request is made of, from the socket to the storage and back.

These are plain values without behaviour of their own, so that every layer can use them and none depends on the
HTTP server underneath.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["ANONYMOUS", "Filter", "Handler", "Request", "RequestInfo", "Response", "UserInfo"]


@dataclass(frozen=True, slots=True)
class UserInfo:
    """Who asks (authentication.k8s.io/v1 UserInfo)."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


ANONYMOUS = UserInfo("system:anonymous", groups=("system:unauthenticated",))


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """What a path asks for (k8s.io/apiserver `RequestInfo`).

    For a non-resource path only `path` and `verb` (the lower-case method) are set.
    """

    is_resource_request: bool
    path: str
    verb: str
    api_prefix: str = ""
    api_group: str = ""
    api_version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Request:
    """One HTTP request on its way through the chain.

    Attributes:
        method: upper case.
        path: decoded path, without the query.
        raw_path: the path as it came, percent-encoded.
        query: every parameter with its values in order; decoded.
        headers: names in lower case; the last of several equal names wins, except where HTTP joins them.
        peer_certificate: the client certificate in DER, verified against the client CA, or None.
        read_body: reads the body once, bounded; raises `StatusError` 413 beyond the limit in bytes given.
        disconnected: resolves when the client has gone away.
        info, user: set by their filters.
        impersonator: who really asks, when that is somebody other than `user`.
        warnings: texts for `Warning: 299` headers, in order.
        annotations: audit annotations.
        trace: called with the name of each stage as it is entered; None costs nothing.
        header_list: every header as it came, names in lower case; for the few that may come several times.
    """

    method: str
    path: str
    raw_path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    remote_address: str
    peer_certificate: bytes | None
    read_body: Callable[[int], Awaitable[bytes]]
    disconnected: Callable[[], Awaitable[None]]
    info: RequestInfo = RequestInfo(False, "", "")
    user: UserInfo = ANONYMOUS
    audit_id: str = ""
    received_seconds: float = 0.0
    deadline_seconds: float | None = None
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    trace: Callable[[str], None] | None = None
    header_list: Sequence[tuple[bytes, bytes]] = ()
    impersonator: UserInfo | None = None

    def header_values(self, name: str) -> list[str]:
        """All values of a header, whose name is given in lower case, in order."""
        if name not in self.headers:
            return []
        wanted = name.encode("latin-1")
        return [value.decode("latin-1") for key, value in self.header_list if key == wanted] or [self.headers[name]]

    def parameter(self, name: str) -> str:
        """The first value of a query parameter, or the empty string."""
        values = self.query.get(name)
        return values[0] if values else ""


@dataclass(slots=True, eq=False)
class Response:
    """What goes back: a whole body, or a stream of chunks each of which is sent at once.

    Attributes:
        headers: extra headers; Content-Type is `content_type`, Content-Length is set by the server.
    """

    status: int
    body: bytes | AsyncIterator[bytes]
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)


Handler = Callable[[Request], Awaitable[Response]]
Filter = Callable[[Handler], Handler]
