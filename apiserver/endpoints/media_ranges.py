"""Accept headers of endpoints that serve documents rather than objects: discovery and OpenAPI (RFC 9110, 12.5.1)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MediaRange", "parse_accept"]


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One clause of an Accept header.

    Attributes:
        type, subtype: in lower case; `*` stands for any.
        parameters: all but `q`.
        quality: 0 to 1.
    """

    type: str
    subtype: str
    parameters: dict[str, str]
    quality: float = 1.0

    def matches(self, media_type: str) -> bool:
        """Whether the clause covers a media type such as `application/json`, parameters aside."""
        kind, _, subtype = media_type.partition("/")
        if self.type == "*":
            return self.subtype == "*"
        return self.type == kind and self.subtype in ("*", subtype)


def parse_accept(header: str) -> list[MediaRange]:
    """The clauses, most wanted first: by quality, then the more specific, then as they stand.

    Malformed ones are skipped.
    """
    ranges = [clause for text in header.split(",") if (clause := _clause(text)) is not None]
    return sorted(ranges, key=lambda clause: (-clause.quality, clause.type == "*", clause.subtype == "*"))


def _clause(text: str) -> MediaRange | None:
    media_type, *members = (part.strip() for part in text.split(";"))
    kind, _, subtype = media_type.lower().partition("/")
    if media_type == "*":
        subtype = "*"
    if not kind or not subtype:
        return None
    parameters = {}
    quality = 1.0
    for member in members:
        name, _, value = member.partition("=")
        name, value = name.strip(), value.strip().strip('"')
        if name == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 1.0
        elif name:
            parameters[name] = value
    return MediaRange(kind, subtype, parameters, quality)
