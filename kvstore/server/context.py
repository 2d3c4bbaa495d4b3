"""What a service may ask about a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["CallContext", "wants_leader"]


class CallContext(Protocol):
    """The call as its front knows it; `kvstore.front` and the in-process client each have one."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """Header fields by lower-case name."""

    @property
    def trusted(self) -> bool:
        """Whether the call comes from inside the process, where nobody is asked who they are."""

    @property
    def peer_certificate(self) -> Mapping[str, Any] | None:
        """The verified client certificate in the form of `ssl.SSLSocket.getpeercert()`, or None."""


def wants_leader(context: CallContext) -> bool:
    """Whether the client would rather be refused than served by a member without a leader."""
    return context.metadata.get("hasleader") == "true"
