"""The one seam to storage: objects by key, at revisions.

`Storage` is implemented over `kvstore.client` (`etcd3.py`) and by the watch cache that wraps it (`cacher.py`); both
pass the same conformance suite. The registry sees nothing else.

Rules for every implementation:

* Keys are storage keys without the prefix of the value's owner: `/registry/configmaps/default/a`.
* Objects go in as dicts in the resource's *served* version and come out as `StoredObject`s; conversion to the storage
  version, protobuf and encryption happen inside. A dict handed in belongs to the storage afterwards.
* A `StoredObject` is immutable and shared by all readers; `object_copy()` gives a dict to change.
* One write is one transaction: nothing is read before a create, and an update retries from the value that the failed
  compare returned.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from apiserver.api.scheme import Resource
from apiserver.api.selectors import FieldSelector, LabelSelector

__all__ = [
    "EventType",
    "ListOptions",
    "ListResult",
    "Preconditions",
    "Storage",
    "StoredObject",
    "UpdateFunction",
    "WatchEvent",
    "WatchOptions",
    "Watcher",
]


class StoredObject(Protocol):
    """One revision of one object. Bytes are made at most once for each form and version, and kept."""

    @property
    def key(self) -> str:
        """The storage key."""

    @property
    def revision(self) -> int:
        """mod_revision; `metadata.resourceVersion` of every form below."""

    @property
    def name(self) -> str:
        """metadata.name."""

    @property
    def namespace(self) -> str:
        """metadata.namespace, empty for cluster-scoped kinds."""

    @property
    def labels(self) -> dict[str, str]:
        """metadata.labels; not to be changed."""

    def json(self, resource: Resource) -> bytes:
        """The object as JSON in the version of `resource`, with resourceVersion."""

    def protobuf(self, resource: Resource) -> bytes:
        """The object's protobuf message in that version (without envelope), with resourceVersion."""

    def view(self, resource: Resource) -> dict[str, Any]:
        """The object as a dict, perhaps shared: only to be read."""

    def object_copy(self, resource: Resource) -> dict[str, Any]:
        """A dict of the caller's own."""


class EventType(Enum):
    """What a watch event says."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event.

    Attributes:
        revision: resourceVersion of the event: for DELETED the revision of the deletion.
        stored: the object (for DELETED its last state, carrying the deletion's revision); None for BOOKMARK and ERROR.
        status: for ERROR, the Status to send, after which the watch ends.
        initial_end: on the BOOKMARK that ends the initial events of `sendInitialEvents`.
    """

    type: EventType
    revision: int
    stored: StoredObject | None = None
    status: dict[str, Any] | None = None
    initial_end: bool = False


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Which objects, at which revision (KEP-365, API concepts "Resource versions").

    Attributes:
        resource_version: as given by the client: "" most recent, "0" any, else a decimal revision.
        match: "", "Exact" or "NotOlderThan".
        limit: 0 for no limit.
        continue_token: as given by the client; opaque to callers.
    """

    namespace: str = ""
    resource_version: str = ""
    match: str = ""
    labels: LabelSelector | None = None
    fields: FieldSelector | None = None
    limit: int = 0
    continue_token: str = ""


@dataclass(frozen=True, slots=True)
class ListResult:
    """A list: its items in key order, the revision it is of, and where it goes on."""

    items: Sequence[StoredObject]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What to watch from where.

    Attributes:
        resource_version: "" from now on after synthetic ADDED events of the present state ("Get State and Start at
            Most Recent"), "0" likewise at any revision, else events after that revision.
        send_initial_events: None when not given (KEP-3157).
        bookmarks: allowWatchBookmarks.
        timeout_seconds: when the reader is going to stop the watch, if known; a bookmark is sent shortly before.
    """

    namespace: str = ""
    resource_version: str = ""
    match: str = ""
    labels: LabelSelector | None = None
    fields: FieldSelector | None = None
    send_initial_events: bool | None = None
    bookmarks: bool = False
    timeout_seconds: float | None = None


class Watcher(Protocol):
    """A running watch: a bounded queue between the store and one reader.

    Events of one batch came together and are best written together. A reader so slow that the bound is reached has
    its watch ended, as kube-apiserver does; the client resumes from its last resourceVersion.
    """

    def __aiter__(self) -> AsyncIterator[Sequence[WatchEvent]]:
        """Batches of events, in revision order; ends when the watch does."""

    def stop(self) -> None:
        """End the watch; the iterator finishes. Idempotent."""


@dataclass(frozen=True, slots=True)
class Preconditions:
    """What must hold of the object at the moment of the write, or 409 Conflict."""

    uid: str | None = None
    resource_version: str | None = None


UpdateFunction = Callable[[dict[str, Any], int], dict[str, Any] | None]
"""From the current object (the function's own copy, in the served version, with resourceVersion) and its revision to
the new one; None leaves it as it is. Called again with fresher state after a lost race; may raise `StatusError` to give
up. When the object does not exist and `create` was allowed, it is called with an empty dict and revision 0."""


class Storage(Protocol):
    """Objects by key.

    Methods raise `StatusError`: NotFound, AlreadyExists, Conflict, Expired, Timeout, or a 500 with the store's text.
    """

    async def create(self, resource: Resource, key: str, obj: dict[str, Any], *, ttl_seconds: int = 0) -> StoredObject:
        """Write an object that must not exist. With a ttl the store deletes it afterwards (events)."""

    async def get(self, resource: Resource, key: str, *, resource_version: str = "") -> StoredObject:
        """Read one object: "" the most recent state, "0" any, N not older than N."""

    async def list(self, resource: Resource, options: ListOptions) -> ListResult:
        """Read a consistent list."""

    async def update(
        self,
        resource: Resource,
        key: str,
        change: UpdateFunction,
        *,
        preconditions: Preconditions | None = None,
        create: bool = False,
        ttl_seconds: int | None = None,
    ) -> StoredObject:
        """Read, change, write if nothing came between; again if something did (`GuaranteedUpdate`).

        Writes nothing when `change` returns an equal object. `ttl_seconds` None keeps the present lease.
        """

    async def delete(
        self,
        resource: Resource,
        key: str,
        *,
        preconditions: Preconditions | None = None,
        check: Callable[[StoredObject], None] | None = None,
    ) -> StoredObject:
        """Delete, and return the last state (its revision is that of the deletion). `check` may raise to refuse."""

    async def watch(self, resource: Resource, options: WatchOptions) -> Watcher:
        """Start a watch. Too old a revision raises Expired (410), or gives it as the first ERROR event."""

    async def count(self, resource: Resource) -> int:
        """How many objects the resource has."""

    async def current_revision(self) -> int:
        """The store's revision, at least that of every write acknowledged before."""
