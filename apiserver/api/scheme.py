"""The registry of API groups, kinds, types and resources that the schema tables describe.

`load_scheme()` reads the index only. A `Type` comes into being, with its `Field`s, when somebody first asks for it, so
that a server that meets pods and config maps never reads the tables of device allocation. Everything here is read-only
after it was built; the attributes hold what the Kubernetes API declares (struct tags, protobuf numbers, OpenAPI
extensions).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from apiserver.api.schema import load_index, load_package

__all__ = [
    "Column",
    "DefaultRule",
    "Field",
    "FieldLabel",
    "Group",
    "GroupVersion",
    "Resource",
    "Scheme",
    "Subresource",
    "Type",
    "UnknownKindError",
    "UnknownTypeError",
    "VersionInfo",
    "load_scheme",
    "parse_api_version",
]

SCALARS: Final = frozenset({"string", "bool", "int32", "int64", "bytes", "double", "any"})


class UnknownKindError(LookupError):
    """No kind of this group, version and name is registered."""


class UnknownTypeError(LookupError):
    """No message of this name is in the tables."""


@dataclass(frozen=True, slots=True)
class GroupVersion:
    """An API group (the core group is the empty string) and a version of it."""

    group: str
    version: str

    @property
    def api_version(self) -> str:
        """As objects carry it: `v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version


def parse_api_version(api_version: str) -> GroupVersion:
    """`apps/v1` or `v1` as a GroupVersion.

    Raises ValueError with Kubernetes' text for more than one slash.
    """
    group, _, version = api_version.rpartition("/")
    if "/" in group:
        raise ValueError(f"unexpected GroupVersion string: {api_version}")
    return GroupVersion(group, version)


@dataclass(slots=True, eq=False)
class Field:
    """One field of a type. For maps and lists `type_name` is the type of the elements."""

    json_name: str = ""  # empty for an inlined field
    proto_name: str = ""
    number: int | None = None  # None: the field exists in JSON only
    type_name: str = ""  # string, bool, int32, int64, bytes, double, any, or a full message name
    repeated: bool = False
    is_map: bool = False
    map_key_type: str = ""
    required: bool = False  # as OpenAPI says
    default: Any = None  # declared default, a JSON value; None when there is none
    enum: tuple[str, ...] = ()  # closed set of values, empty when open
    format: str = ""  # OpenAPI format of the (element's) value
    list_type: str = ""  # atomic, set, map
    list_map_keys: tuple[str, ...] = ()
    map_type: str = ""  # atomic, granular
    patch_strategy: str = ""  # merge, replace, retainKeys, or "merge,retainKeys"
    patch_merge_key: str = ""
    omitempty: str = "y"  # y, n, omitzero
    inline: bool = False  # its fields stand at this level in JSON, but in a message of their own in protobuf
    # value, pointer, slice, map, bytes, slice-wrapper, custom: decides what protobuf writes when it is empty
    go_kind: str = "value"
    markers: tuple[str, ...] = ()  # +k8s: validation tags
    feature_gate: str = ""

    @property
    def map_value_type(self) -> str:
        """The type of a map's values; empty for what is no map."""
        return self.type_name if self.is_map else ""

    @property
    def is_message(self) -> bool:
        """Whether the (element) type is a message rather than a scalar."""
        return self.type_name not in SCALARS


@dataclass(frozen=True, slots=True)
class DefaultRule:
    """A default beyond the declared ones: either a plain `value`, or a `rule` in words that code implements."""

    path: str  # below the type, for example "spec.replicas"
    value: Any = None
    rule: str = ""
    condition: str = ""  # "unset", "empty", or words
    applied_by: str = ""  # defaults (on every decode), conversion, registry (on create)


@dataclass(slots=True, eq=False)
class Type:
    """A message: what its JSON looks like and which fields it has, in the order of the declaration."""

    name: str  # full protobuf name
    fields: tuple[Field, ...]
    by_json_name: dict[str, Field]  # with the fields of inlined types
    # object, or: quantity, time, microtime, duration, int-or-string, raw (any JSON), strings (list of string),
    # schema-or-array, schema-or-bool, schema-or-strings
    json_form: str = "object"
    json_only: bool = False  # has no protobuf form
    map_type: str = ""  # atomic, granular
    markers: tuple[str, ...] = ()
    introduced: str = ""
    deprecated: str = ""
    removed: str = ""
    in_openapi: bool = False
    default_rules: tuple[DefaultRule, ...] = ()

    @property
    def short_name(self) -> str:
        """The message name without its package, which is the name of the Go type."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Subresource:
    """One subresource: its name below the object, the kind it speaks, and what can be done with it."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""  # group and version are empty when they are those of the parent
    version: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the server-side table; `how` says in words where its cell comes from."""

    name: str
    type: str
    format: str = ""
    priority: int = 0
    how: str = ""


@dataclass(frozen=True, slots=True)
class FieldLabel:
    """A label that field selectors may name, and the object's value it stands for."""

    label: str
    path: str
    value_type: str = "string"
    never_matches: bool = False  # accepted, but no object has a value there
    note: str = ""


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version of a group."""

    version: str
    served_by_default: bool


@dataclass(frozen=True, slots=True)
class Group:
    """An API group, with its versions in discovery order."""

    name: str
    versions: tuple[VersionInfo, ...]
    preferred: str  # among all versions; when that one is switched off, the first that is served is preferred


@dataclass(slots=True, eq=False)
class Resource:
    """A resource in one version."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    list_kind: str
    type_name: str
    namespaced: bool
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    verbs: tuple[str, ...]
    subresources: tuple[Subresource, ...]
    storage_prefix: str  # "/registry/configmaps/"; empty for what is not stored
    storage_version: bool  # whether this version is the one written
    storage_group_version: GroupVersion | None  # what objects are converted to before they are stored
    storage_version_hash: str
    field_label_error: str  # what a field selector with another label is answered; LABEL stands for the label
    graceful_deletion: bool
    served_by_default: bool
    introduced: str
    deprecated: str
    removed: str
    _scheme: Scheme
    _row: Mapping[str, Any] = field(repr=False)
    _columns: tuple[Column, ...] | None = field(default=None, repr=False)
    _labels: Mapping[str, FieldLabel] | None = field(default=None, repr=False)

    @property
    def group_version(self) -> GroupVersion:
        """Group and version as one value."""
        return GroupVersion(self.group, self.version)

    @property
    def api_version(self) -> str:
        """As objects of this resource carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def is_virtual(self) -> bool:
        """Whether nothing is ever stored: reviews, bindings, component statuses."""
        return not self.storage_prefix

    @property
    def type(self) -> Type:
        """The schema of its objects."""
        return self._scheme.type(self.type_name)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the server-side table, in order."""
        if self._columns is None:
            self._columns = tuple(Column(**row) for row in self._row.get("columns", ()))
        return self._columns

    @property
    def selectable_fields(self) -> Mapping[str, FieldLabel]:
        """Field label -> where its value is read."""
        if self._labels is None:
            rows = self._row.get("field_labels", ())
            self._labels = MappingProxyType({row["label"]: FieldLabel(**row) for row in rows})
        return self._labels

    def subresource(self, name: str) -> Subresource | None:
        """The subresource of that name."""
        return next((sub for sub in self.subresources if sub.name == name), None)


class Scheme:
    """All built-in groups, kinds, types and resources; see `load_scheme`."""

    def __init__(self, index: Mapping[str, list[Any]]) -> None:
        self._groups = tuple(_group(row) for row in index["groups"])
        self._by_name = {group.name: group for group in self._groups}
        self._types: dict[str, Type] = {}
        self._packages: dict[str, dict[str, dict[str, Any]]] = {}
        self._kinds: dict[tuple[str, str, str], str] = {(g, v, k): name for g, v, k, name in index["kinds"]}
        places = {
            (group.name, info.version): (i, j)
            for i, group in enumerate(self._groups)
            for j, info in enumerate(group.versions)
        }
        resources = [self._resource(row) for row in index["resources"]]
        resources.sort(key=lambda resource: (*places[resource.group, resource.version], resource.plural))
        self._resources = {(r.group, r.version, r.plural): r for r in resources}
        self._by_kind = {(r.group, r.version, r.kind): r for r in resources}

    def groups(self) -> tuple[Group, ...]:
        """Groups in discovery order."""
        return self._groups

    def group(self, name: str) -> Group | None:
        """The group of that name; the core group is the empty string."""
        return self._by_name.get(name)

    def resources(self) -> Iterator[Resource]:
        """Every resource in every version: by group, then version, in discovery order, then by name."""
        return iter(self._resources.values())

    def resource(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource of that name in one version."""
        return self._resources.get((group, version, plural))

    def resource_for_kind(self, group: str, version: str, kind: str) -> Resource | None:
        """The resource whose objects are of this kind; None for kinds that are no resource of their own."""
        return self._by_kind.get((group, version, kind))

    def kinds(self) -> Iterator[tuple[str, str, str]]:
        """(group, version, kind) of everything that can stand at the top of a document, lists and options included."""
        return iter(self._kinds)

    def has_kind(self, group: str, version: str, kind: str) -> bool:
        """Whether `type_of` would find it."""
        return (group, version, kind) in self._kinds

    def type_of(self, group: str, version: str, kind: str) -> Type:
        """The schema of a kind.

        Raises UnknownKindError, with Kubernetes' text, when no such kind is registered.
        """
        name = self._kinds.get((group, version, kind))
        if name is None:
            api_version = GroupVersion(group, version).api_version
            raise UnknownKindError(f'no kind "{kind}" is registered for version "{api_version}"')
        return self.type(name)

    def type(self, name: str) -> Type:
        """The type of a full message name.

        Raises UnknownTypeError.
        """
        found = self._types.get(name)
        if found is None:
            found = self._types[name] = self._build_type(name)
        return found

    def type_names(self, package: str) -> tuple[str, ...]:
        """Full names of all messages of one protobuf package, sorted."""
        return tuple(f"{package}.{message}" for message in sorted(self._package(package)))

    def _resource(self, row: Mapping[str, Any]) -> Resource:
        storage = row.get("storage_group_version")
        return Resource(
            group=row.get("group", ""),
            version=row["version"],
            kind=row["kind"],
            plural=row["plural"],
            singular=row["singular"],
            list_kind=row.get("list_kind", ""),
            type_name=row["type_name"],
            namespaced=row.get("namespaced", False),
            short_names=tuple(row.get("short_names", ())),
            categories=tuple(row.get("categories", ())),
            verbs=tuple(row["verbs"]),
            subresources=tuple(
                Subresource(**{**sub, "verbs": tuple(sub["verbs"])}) for sub in row.get("subresources", ())
            ),
            storage_prefix=row.get("storage_prefix", ""),
            storage_version=row.get("storage_version", False),
            storage_group_version=GroupVersion(*storage) if storage else None,
            storage_version_hash=row.get("storage_version_hash", ""),
            field_label_error=row.get("field_label_error", ""),
            graceful_deletion=row.get("graceful_deletion", False),
            served_by_default=not row.get("not_served_by_default", False),
            introduced=row.get("introduced", ""),
            deprecated=row.get("deprecated", ""),
            removed=row.get("removed", ""),
            _scheme=self,
            _row=row,
        )

    def _package(self, package: str) -> dict[str, dict[str, Any]]:
        table = self._packages.get(package)
        if table is None:
            try:
                table = self._packages[package] = load_package(package)
            except LookupError as error:
                raise UnknownTypeError(str(error)) from None
        return table

    def _build_type(self, name: str) -> Type:
        package, _, message = name.rpartition(".")
        row = self._package(package).get(message)
        if row is None:
            raise UnknownTypeError(f"no message {message} in the schema tables of {package}")
        fields = tuple(_field(values) for values in row.get("fields", ()))
        return Type(
            name=name,
            fields=fields,
            by_json_name=self._flatten(fields),
            json_form=row.get("json_form", "object"),
            json_only=row.get("json_only", False),
            map_type=row.get("map_type", ""),
            markers=tuple(row.get("markers", ())),
            introduced=row.get("introduced", ""),
            deprecated=row.get("deprecated", ""),
            removed=row.get("removed", ""),
            in_openapi=row.get("in_openapi", False),
            default_rules=tuple(DefaultRule(**rule) for rule in row.get("defaults", ())),
        )

    def _flatten(self, fields: tuple[Field, ...]) -> dict[str, Field]:
        names: dict[str, Field] = {}
        for item in fields:
            if item.json_name:
                names[item.json_name] = item
            elif item.inline and item.is_message:
                # A field of the outer type hides one of the same name inside, as Go's embedding rules say.
                names = self.type(item.type_name).by_json_name | names
        return names


def _group(row: Mapping[str, Any]) -> Group:
    versions = tuple(VersionInfo(v["version"], v["served_by_default"]) for v in row["versions"])
    return Group(row["name"], versions, row["preferred"])


def _field(row: dict[str, Any]) -> Field:
    for name in ("enum", "list_map_keys", "markers"):
        if name in row:
            row[name] = tuple(row[name])
    built = Field(**row)
    if not built.proto_name:
        built.proto_name = built.json_name
    return built


def load_scheme() -> Scheme:
    """Read the index of the built-in API; types are read on first use."""
    return Scheme(load_index())
