"""Objects by key, at revisions: the layer between the registry and the key-value store."""

from apiserver.storage.interface import (
    EventType,
    ListOptions,
    ListResult,
    Preconditions,
    Storage,
    StoredObject,
    UpdateFunction,
    Watcher,
    WatchEvent,
    WatchOptions,
)

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
