"""Which representation a request brings and which one it wants (RFC 9110, sections 8.3 and 12.5.1).

Kubernetes' parameters of a media type: `as`, `v`, `g` ask for a transformed object (a Table, metadata only),
`stream=watch` for watch frames, `pretty=1` for indentation.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

__all__ = ["JSON", "PROTOBUF", "YAML", "MediaType", "content_type", "negotiate"]

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"

# In order of preference: what an absent header or `*/*` gets is the first.
SERVED: Final = (JSON, YAML, PROTOBUF)


@dataclass(frozen=True, slots=True)
class MediaType:
    """The representation agreed on.

    Attributes:
        name: `application/json` or the like, without parameters.
        kind, group, version: what to transform objects to ("Table" in meta.k8s.io v1); empty for objects as they are.
        stream: "watch" when frames were asked for by name.
        pretty: whether JSON should be indented.
        profile: of aggregated discovery ("local", "nopeer"), else empty.
    """

    name: str
    kind: str = ""
    group: str = ""
    version: str = ""
    stream: str = ""
    pretty: bool = False
    profile: str = ""

    @property
    def transform(self) -> tuple[str, str, str] | None:
        """(group, version, kind) asked for with `as`, `g` and `v`; None when none was."""
        found = (self.group, self.version, self.kind)
        return found if any(found) else None


@dataclass(frozen=True, slots=True)
class _Clause:
    type: str
    subtype: str
    quality: float
    parameters: dict[str, str] = field(default_factory=dict)

    def covers(self, name: str) -> bool:
        """Whether it names the media type, or a wildcard that includes it."""
        type_, _, subtype = name.partition("/")
        if self.type == "*":
            return self.subtype == "*"
        return self.type == type_ and self.subtype in (subtype, "*")


def negotiate(
    accept: str, *, transforms: Collection[tuple[str, str, str]] = (), served: tuple[str, ...] = SERVED
) -> MediaType | None:
    """The first clause of an Accept header that can be served, best quality first; None when there is none (406).

    `transforms` are the (group, version, kind) that `as`, `g` and `v` may ask for at this endpoint; a clause that asks
    for another one is passed over, as is one for another stream than watch or for a certain server version.
    """
    if not accept.strip():
        return MediaType(served[0])
    for clause in _clauses(accept):
        for name in served:
            if clause.covers(name):
                agreed = _with_parameters(name, clause.parameters)
                if agreed is not None and (agreed.transform is None or agreed.transform in transforms):
                    return agreed
    return None


def content_type(header: str, *, served: tuple[str, ...] = SERVED) -> str | None:
    """The media type a body is in, without parameters; the first one served when not said; None for others (415)."""
    name = header.partition(";")[0].strip().lower()
    if not name:
        return served[0]
    return name if name in served else None


def _clauses(header: str) -> list[_Clause]:
    """The clauses, best quality first and otherwise in their order; the malformed and those of quality 0 left out."""
    found = []
    for part in header.split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        type_, slash, subtype = name.lower().partition("/")
        if name == "*":
            type_ = subtype = slash = "*"
        if not (type_ and slash and subtype):
            continue
        values = dict(_parameter(text) for text in parameters if "=" in text)
        quality = _quality(values.pop("q", "1"))
        if quality > 0:
            found.append(_Clause(type_, subtype, quality, values))
    # A wildcard yields to what is named, as goautoneg sorts them.
    found.sort(key=lambda clause: (-clause.quality, clause.type == "*", clause.subtype == "*"))
    return found


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')


def _quality(text: str) -> float:
    try:
        return min(float(text), 1.0)
    except ValueError:
        return 1.0


def _with_parameters(name: str, parameters: dict[str, str]) -> MediaType | None:
    """The media type with its parameters; None when one of them cannot be met. Parameters not known are ignored."""
    if parameters.get("stream", "") not in ("", "watch") or parameters.get("sv", ""):
        return None
    return MediaType(
        name,
        kind=parameters.get("as", ""),
        group=parameters.get("g", ""),
        version=parameters.get("v", ""),
        stream=parameters.get("stream", ""),
        pretty=parameters.get("pretty", "") == "1",
        profile=parameters.get("profile", ""),
    )
