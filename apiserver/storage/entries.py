"""Stored objects in memory: one revision each, its bytes made when first asked for and then kept.

An `Entry` holds the bytes of the store (opened, if they were sealed). JSON and protobuf of each served version are made
from them once and shared by every get, list and watch. The decoded dict, which takes ten times the memory, is kept
only for the entries used last (`RecentObjects`).
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Protocol

import orjson

from apiserver.api.scheme import Resource
from apiserver.api.status import StatusError, internal_error
from apiserver.storage.keys import namespace_of, object_name
from apiserver.storage.wire import is_protobuf, message_with_revision, stored_api_version, stored_labels, stored_string

__all__ = ["CorruptEntry", "Entry", "Family", "ObjectCodec", "RecentObjects", "set_resource_version"]

RECENT_OBJECTS_MAX: Final = 2048

_NO_LABELS: Final[dict[str, str]] = {}
# What stands before resourceVersion in the JSON of ObjectMeta.
_BEFORE_RESOURCE_VERSION: Final = frozenset({"name", "generateName", "namespace", "selfLink", "uid"})


class ObjectCodec(Protocol):
    """What the storage needs of the codec.

    Dicts are canonical: keys in declaration order, apiVersion and kind present.
    """

    def encode(self, resource: Resource, obj: dict[str, Any]) -> bytes:
        """The bytes to store, in the storage version of the resource; `obj` is left as it is."""

    def decode(self, data: bytes) -> dict[str, Any]:
        """Stored bytes as a dict of the caller's own, in the version they are stored in.

        Raises `StatusError` 500 or ValueError for bytes that are no object.
        """

    def convert(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        """`obj`, which is left as it is, in the version of `resource`; the result may share parts with it."""

    def message(self, resource: Resource, obj: dict[str, Any]) -> bytes:
        """The protobuf message, without envelope, of a dict in the version of `resource`."""


class RecentObjects:
    """Bounds how many entries hold on to their decoded dict: the oldest one lets go."""

    __slots__ = ("_entries", "_limit")

    def __init__(self, limit: int = RECENT_OBJECTS_MAX) -> None:
        self._limit = limit
        self._entries: deque[Entry] = deque()

    def add(self, entry: Entry) -> None:
        """`entry` has just got a dict."""
        self._entries.append(entry)
        if len(self._entries) > self._limit:
            self._entries.popleft().forget_object()


class Family:
    """What the entries of one storage prefix have in common."""

    __slots__ = ("codec", "namespaced", "prefix", "recent")

    def __init__(self, prefix: str, namespaced: bool, codec: ObjectCodec, recent: RecentObjects) -> None:
        self.prefix = prefix
        self.namespaced = namespaced
        self.codec = codec
        self.recent = recent


def set_resource_version(obj: dict[str, Any], revision: int) -> None:
    """Put `metadata.resourceVersion` where the API prints it."""
    metadata = obj["metadata"]
    version = str(revision)
    if "resourceVersion" in metadata:
        metadata["resourceVersion"] = version
        return
    ordered: dict[str, Any] = {name: value for name, value in metadata.items() if name in _BEFORE_RESOURCE_VERSION}
    ordered["resourceVersion"] = version
    ordered.update(metadata)
    ordered["resourceVersion"] = version
    obj["metadata"] = ordered


class Entry:
    """One revision of one object (`StoredObject`).

    Attributes:
        key: storage key.
        revision: mod_revision.
        data: the value in the store, opened.
        lease: lease id, 0 for none.
        stale: the value should be sealed again with another provider.
    """

    __slots__ = (
        "_family",
        "_json",
        "_json_resource",
        "_labels",
        "_more",
        "_object",
        "data",
        "key",
        "lease",
        "revision",
        "stale",
    )

    def __init__(
        self,
        family: Family,
        key: str,
        revision: int,
        data: bytes,
        *,
        lease: int = 0,
        stale: bool = False,
        obj: dict[str, Any] | None = None,
    ) -> None:
        self._family = family
        self.key = key
        self.revision = revision
        self.data = data
        self.lease = lease
        self.stale = stale
        self._json: bytes | None = None
        self._json_resource: Resource | None = None
        self._more: dict[tuple[Resource, str], bytes] | None = None
        self._labels: dict[str, str] | None = None
        self._object = obj
        if obj is not None:
            family.recent.add(self)

    def __repr__(self) -> str:
        return f"Entry({self.key!r}, revision={self.revision})"

    @property
    def problem(self) -> StatusError | None:
        """Why the value cannot be read, if it cannot."""
        return None

    @property
    def name(self) -> str:
        """metadata.name."""
        return object_name(self.key)

    @property
    def namespace(self) -> str:
        """metadata.namespace."""
        return namespace_of(self.key, self._family.prefix) if self._family.namespaced else ""

    @property
    def labels(self) -> dict[str, str]:
        """metadata.labels; not to be changed."""
        labels = self._labels
        if labels is None:
            labels = self._labels = self._read_labels() or _NO_LABELS
        return labels

    def has_json(self, resource: Resource) -> bool:
        """Whether `json` has only to be handed out."""
        return self._json_resource is resource

    def json(self, resource: Resource) -> bytes:
        """See `StoredObject.json`."""
        if self._json_resource is resource and self._json is not None:
            return self._json
        if self._json is None:
            self._json = _dump(self.view(resource))
            self._json_resource = resource
            return self._json
        return self._other_form(resource, "json")

    def protobuf(self, resource: Resource) -> bytes:
        """See `StoredObject.protobuf`."""
        return self._other_form(resource, "protobuf")

    def view(self, resource: Resource) -> dict[str, Any]:
        """See `StoredObject.view`."""
        obj = self._object
        if obj is None:
            obj = self._decode()
        if obj["apiVersion"] != resource.api_version or obj["kind"] != resource.kind:
            return self._family.codec.convert(resource, obj)
        return obj

    def stored_string(self, field_numbers: tuple[int, ...]) -> str | None:
        """A string of the stored message, read without decoding; None when the object is not stored as protobuf."""
        if not is_protobuf(self.data):
            return None
        try:
            return stored_string(self.data, field_numbers)
        except ValueError as error:
            raise internal_error(f"unable to decode key {self.key!r}: {error}") from error

    def object_copy(self, resource: Resource) -> dict[str, Any]:
        """See `StoredObject.object_copy`."""
        copy: dict[str, Any] = orjson.loads(self.json(resource))
        return copy

    def commit(self, revision: int) -> None:
        """The write this entry was made for has got its revision. Idempotent."""
        assert self.revision in (0, revision), (self.revision, revision)
        if self.revision == 0:
            self.revision = revision
            if self._object is not None:
                set_resource_version(self._object, revision)

    def at_revision(self, revision: int) -> Entry:
        """The same state as the last one of an object deleted at `revision`."""
        obj = self._object
        if obj is not None:
            obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(revision)}}
        entry = Entry(self._family, self.key, revision, self.data, lease=self.lease, obj=obj)
        entry._labels = self._labels
        return entry

    def forget_object(self) -> None:
        """Give the decoded dict back; it is made again when needed."""
        self._object = None

    def _decode(self) -> dict[str, Any]:
        assert self.revision > 0, "an entry is decoded only after its write was committed"
        try:
            obj = self._family.codec.decode(self.data)
        except ValueError as error:
            raise internal_error(f"unable to decode key {self.key!r}: {error}") from error
        set_resource_version(obj, self.revision)
        self._object = obj
        self._family.recent.add(self)
        return obj

    def _read_labels(self) -> dict[str, str]:
        if self._object is None and is_protobuf(self.data):
            try:
                return stored_labels(self.data)
            except ValueError as error:
                raise internal_error(f"unable to decode key {self.key!r}: {error}") from error
        obj = self._object or self._decode()
        return obj["metadata"].get("labels") or {}

    def _other_form(self, resource: Resource, form: str) -> bytes:
        more = self._more
        if more is None:
            more = self._more = {}
        data = more.get((resource, form))
        if data is None:
            data = _dump(self.view(resource)) if form == "json" else self._message(resource)
            more[resource, form] = data
        return data

    def _message(self, resource: Resource) -> bytes:
        if is_protobuf(self.data) and stored_api_version(self.data) == resource.api_version:
            try:
                return message_with_revision(self.data, self.revision)
            except ValueError as error:
                raise internal_error(f"unable to decode key {self.key!r}: {error}") from error
        return self._family.codec.message(resource, self.view(resource))


def _dump(obj: dict[str, Any]) -> bytes:
    """JSON to keep: orjson's own bytes stay as large as its buffer was, several times the text of a small object."""
    return memoryview(orjson.dumps(obj)).tobytes()


class CorruptEntry(Entry):
    """A value that cannot be opened: it has a key and a revision, and every look inside raises why.

    Attributes:
        sealed: the value as it is in the store; opening it may succeed later, when a key or a KMS has come back.
    """

    __slots__ = ("_problem", "sealed")

    def __init__(
        self, family: Family, key: str, revision: int, problem: StatusError, *, sealed: bytes = b"", lease: int = 0
    ) -> None:
        super().__init__(family, key, revision, b"", lease=lease)
        self.sealed = sealed
        self._problem = problem

    @property
    def problem(self) -> StatusError:
        """See `Entry.problem`."""
        return self._problem

    def stored_string(self, field_numbers: tuple[int, ...]) -> str | None:
        """Raises."""
        raise self._problem

    def json(self, resource: Resource) -> bytes:
        """Raises."""
        raise self._problem

    def protobuf(self, resource: Resource) -> bytes:
        """Raises."""
        raise self._problem

    def view(self, resource: Resource) -> dict[str, Any]:
        """Raises."""
        raise self._problem

    def at_revision(self, revision: int) -> Entry:
        """See `Entry.at_revision`."""
        return CorruptEntry(self._family, self.key, revision, self._problem)

    def _decode(self) -> dict[str, Any]:
        raise self._problem

    def _read_labels(self) -> dict[str, str]:
        raise self._problem
