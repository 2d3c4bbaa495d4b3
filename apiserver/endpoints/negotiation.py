"""The form of an answer, from the Accept header and what goes with it (k8s.io/apiserver `handlers/negotiation`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from apiserver.api.status import not_acceptable, unsupported_media_type
from apiserver.codec.negotiate import JSON, PROTOBUF, SERVED, YAML, MediaType, content_type
from apiserver.codec.negotiate import negotiate as negotiate_accept
from apiserver.request import Request

__all__ = [
    "JSON",
    "PROTOBUF",
    "YAML",
    "Media",
    "negotiate",
    "negotiate_error",
    "negotiate_input",
    "negotiate_stream",
]

_META: Final = [("meta.k8s.io", version) for version in ("v1", "v1beta1")]
_TABLES: Final = frozenset((group, version, "Table") for group, version in _META)
_PARTIAL: Final = frozenset(
    (group, version, kind)
    for group, version in _META
    for kind in ("PartialObjectMetadata", "PartialObjectMetadataList")
)
_PEOPLE: Final = ("curl", "Wget", "Mozilla/5.0")
"""User agents behind which somebody reads what they get."""
_STREAMED: Final = (JSON, PROTOBUF)
_KNOWN_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class Media:
    """What was agreed on.

    Attributes:
        format: JSON, YAML or PROTOBUF; also the Content-Type.
        convert: ("Table", "v1") and the like: what objects are to be turned into, in which version of meta.k8s.io.
    """

    format: str
    convert: tuple[str, str] | None = None
    pretty: bool = False

    @property
    def content_type(self) -> str:
        """Of an answer that is no stream."""
        return self.format

    @property
    def stream_content_type(self) -> str:
        """Of a watch."""
        return self.format if self.format == JSON else f"{self.format};stream=watch"


_Key = tuple[str, str]
_objects: dict[_Key, Media | None] = {}
_errors: dict[_Key, Media | None] = {}


def negotiate(request: Request) -> Media:
    """The form of an object or a list; raises 406."""
    media = _remembered(_objects, request, _negotiate_object)
    if media is None:
        raise not_acceptable(SERVED)
    return _asked_pretty(media, request) if "pretty" in request.query else media


def negotiate_stream(request: Request) -> Media:
    """The form of a watch, which YAML has none of; raises 406."""
    media = _remembered(_objects, request, _negotiate_object)
    if media is None or media.format == YAML:
        raise not_acceptable([f"{name};stream=watch" for name in _STREAMED])
    return media


def negotiate_error(request: Request) -> Media:
    """The form of a Status: JSON if what was asked for cannot be."""
    media = _remembered(_errors, request, _negotiate_plain) or Media(JSON)
    return _asked_pretty(media, request) if "pretty" in request.query else media


def negotiate_input(request: Request) -> str:
    """The format of the body: JSON, YAML or PROTOBUF; raises 415."""
    found = content_type(request.headers.get("content-type", ""))
    if found is None:
        raise unsupported_media_type(SERVED)
    return found


def _remembered(known: dict[_Key, Media | None], request: Request, find: Callable[[str], Media | None]) -> Media | None:
    """Clients send the same headers over and over."""
    headers = request.headers
    key = (headers.get("accept", ""), headers.get("user-agent", ""))
    try:
        return known[key]
    except KeyError:
        if len(known) >= _KNOWN_MAX:
            known.clear()
        media = find(key[0])
        if media is not None and media.format == JSON and key[1].startswith(_PEOPLE):
            media = replace(media, pretty=True)
        known[key] = media
        return media


def _negotiate_object(accept: str) -> Media | None:
    agreed = negotiate_accept(accept, transforms=_TABLES | _PARTIAL)
    if agreed is not None and agreed.name == PROTOBUF and agreed.kind == "Table":  # has no protobuf form
        agreed = negotiate_accept(accept, transforms=_TABLES | _PARTIAL, served=(JSON, YAML)) or negotiate_accept(
            accept, transforms=_PARTIAL
        )
    return _media(agreed)


def _negotiate_plain(accept: str) -> Media | None:
    return _media(negotiate_accept(accept))


def _media(agreed: MediaType | None) -> Media | None:
    if agreed is None:
        return None
    return Media(agreed.name, (agreed.kind, agreed.version) if agreed.kind else None, agreed.pretty)


def _asked_pretty(media: Media, request: Request) -> Media:
    """What the `pretty` parameter says."""
    wanted = request.parameter("pretty").lower()
    if media.format != JSON or not wanted:
        return media
    return replace(media, pretty=wanted in ("1", "t", "true"))
