"""The shape of an admission plugin (k8s.io/apiserver `admission`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from apiserver.api.scheme import Resource
from apiserver.api.status import StatusError, forbidden
from apiserver.request import UserInfo

__all__ = ["AdmissionPlugin", "Attributes", "Operation", "admission_forbidden"]

Object = dict[str, Any]


class Operation(Enum):
    """What is being done to an object."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


@dataclass(slots=True, eq=False)
class Attributes:
    """One operation on one object.

    Attributes:
        kind: (group, version, kind) of `obj`, which for a subresource may differ from the resource's.
        name: as requested; empty for a create that leaves the name to the server.
        obj: the new object; mutating plugins change it in place. None for DELETE.
        old: the present object for UPDATE and DELETE; not to be changed.
        options: CreateOptions, UpdateOptions, PatchOptions or DeleteOptions.
        warn: adds a text for the `Warning` header.
        annotations: audit annotations.
        reinvoked: this is the second round of a mutating chain.
    """

    operation: Operation
    resource: Resource
    kind: tuple[str, str, str]
    namespace: str
    name: str
    obj: Object | None
    old: Object | None
    user: UserInfo
    subresource: str = ""
    options: Object = field(default_factory=dict)
    dry_run: bool = False
    warn: Callable[[str], None] = lambda text: None
    annotations: dict[str, str] = field(default_factory=dict)
    reinvoked: bool = False


class AdmissionPlugin(Protocol):
    """Changes or refuses objects. `admit` may change `attributes.obj`, `validate` may not change anything.

    Both refuse by raising `StatusError`, usually `admission_forbidden(...)`.
    """

    @property
    def name(self) -> str:
        """As in `--enable-admission-plugins`."""

    def handles(self, operation: Operation) -> bool:
        """Whether the plugin wants to see operations of this sort."""

    async def admit(self, attributes: Attributes) -> None:
        """Mutate, and refuse what cannot be mutated into shape."""

    async def validate(self, attributes: Attributes) -> None:
        """Refuse."""


def admission_forbidden(attributes: Attributes, error: str) -> StatusError:
    """403 in the words of admission: an object without a name yet is called by its generateName, or `Unknown`."""
    name = attributes.name
    if not name:
        metadata = (attributes.obj or {}).get("metadata") or {}
        name = metadata.get("name") or metadata.get("generateName") or "Unknown"
    return forbidden(attributes.resource.group, attributes.resource.plural, name, error)
