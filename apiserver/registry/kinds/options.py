"""What an operator may decide about kinds, and what the registry lends to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from apiserver.request import UserInfo

__all__ = ["DEFAULT_NODE_PORTS", "DEFAULT_SERVICE_CIDR", "KindOptions", "ObjectWriter", "RightsGuard"]

DEFAULT_SERVICE_CIDR: Final = "10.0.0.0/24"
DEFAULT_NODE_PORTS: Final = (30000, 32767)
DEFAULT_EVENT_TTL_SECONDS: Final = 3600


class ObjectWriter(Protocol):
    """Writes of objects that belong to another object, by the server itself: no admission, no user.

    Methods raise `StatusError`, above all AlreadyExists: a create is what decides between two servers.
    """

    async def create(self, group: str, version: str, resource: str, obj: dict[str, Any]) -> dict[str, Any]:
        """Store a new object; its metadata is completed as for any create."""

    async def delete(self, group: str, version: str, resource: str, namespace: str, name: str) -> None:
        """Delete an object at once; one that is not there is fine."""


class RightsGuard(Protocol):
    """Watches over roles and bindings."""

    async def check(
        self, user: UserInfo, resource: str, namespace: str, obj: dict[str, Any], old: dict[str, Any] | None
    ) -> None:
        """Raise `StatusError` when the write would give away rights that the user does not have."""


@dataclass(slots=True)
class KindOptions:
    """Options of kinds.

    Attributes:
        service_cidrs: --service-cluster-ip-range: one range, or one of each family (dual-stack), primary first.
        node_ports: --service-node-port-range: the first and the last port.
        event_ttl_seconds: --event-ttl.
        writer: where the IPAddress of a service is stored; None keeps allocations in the services alone, which is
            enough for a single server.
        guard: asked before roles and bindings are written; None lets everybody write any.
    """

    service_cidrs: tuple[str, ...] = (DEFAULT_SERVICE_CIDR,)
    node_ports: tuple[int, int] = DEFAULT_NODE_PORTS
    event_ttl_seconds: int = DEFAULT_EVENT_TTL_SECONDS
    writer: ObjectWriter | None = None
    guard: RightsGuard | None = None
