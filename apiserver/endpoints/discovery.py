"""Discovery: which groups, versions and resources there are, at `/api`, `/apis` and below.

Clients ask in one of two ways: for `/apis/GROUP/VERSION` one by one, or for everything below `/api` or `/apis` in one
document (KEP-3352, `apidiscovery.k8s.io/v2`), which they choose through the Accept header and poll by its ETag. Both
are made from the same list of versions: the built-in ones that are enabled, and those of custom resources, which
providers name. Documents are made when first asked for and kept until `invalidate()`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from apiserver.api.scheme import Resource, Scheme, Subresource
from apiserver.api.status import not_acceptable
from apiserver.codec.negotiate import JSON, negotiate
from apiserver.endpoints.documents import Document
from apiserver.request import Request, Response

__all__ = ["APIResource", "APISubresource", "APIVersion", "Discovery", "Provider"]

_AGGREGATED = ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList")
_AGGREGATED_TYPE = "{};g={};v={};as={}".format(JSON, *_AGGREGATED)


@dataclass(frozen=True, slots=True)
class APISubresource:
    """A subresource; group and version are empty when its kind is of the group version it is served in."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class APIResource:
    """A resource as discovery shows it; group and version as in `APISubresource`."""

    plural: str
    singular: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[APISubresource, ...] = ()
    storage_version_hash: str = ""
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class APIVersion:
    """A version of a group, with its resources in order."""

    group: str
    version: str
    resources: tuple[APIResource, ...]
    freshness: str = "Current"

    @property
    def group_version(self) -> str:
        """`apps/v1`, or `v1` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version


Provider = Callable[[], Iterable[APIVersion]]


class Discovery:
    """Serves the discovery documents.

    Args:
        enabled: whether a built-in resource is served (`--runtime-config`).
        server_address: host and port clients are told to use.
        providers: further group versions, asked anew after each `invalidate()`.
    """

    def __init__(
        self,
        scheme: Scheme,
        enabled: Callable[[Resource], bool],
        *,
        server_address: str = "",
        providers: Sequence[Provider] = (),
    ) -> None:
        self._built_in = _built_in_versions(scheme, enabled)
        self._server_address = server_address
        self._providers = list(providers)
        self._versions: dict[str, list[APIVersion]] | None = None
        self._documents: dict[tuple[str, ...], Document | None] = {}

    def add_provider(self, provider: Provider) -> None:
        """Ask this one too."""
        self._providers.append(provider)
        self.invalidate()

    def invalidate(self) -> None:
        """Make the documents anew, for what a provider names has changed."""
        self._versions = None
        self._documents.clear()

    def serves(self, group: str, version: str) -> bool:
        """Whether any resource of this version is served."""
        return any(item.version == version for item in self.groups().get(group, ()))

    def groups(self) -> dict[str, list[APIVersion]]:
        """Group name -> versions, preferred first; groups in discovery order."""
        if self._versions is None:
            self._versions = _merge(self._built_in, [item for provider in self._providers for item in provider()])
        return self._versions

    def paths(self) -> list[str]:
        """The paths that answer."""
        paths = ["/api", "/apis"]
        for group, versions in self.groups().items():
            prefix = f"/apis/{group}" if group else "/api"
            paths += [prefix, *(f"{prefix}/{item.version}" for item in versions)]
        return sorted(set(paths))

    def respond(self, request: Request) -> Response | None:
        """The document at the request's path, or None when there is none.

        Raises:
            StatusError: 406 when the client accepts nothing that there is.
        """
        parts = tuple(part for part in request.path.split("/") if part)
        if len(parts) == 1 and _prefers_aggregated(request.headers.get("accept", "")):
            document = self._document((*parts, "", "aggregated"))
            return None if document is None else document.respond(request, content_type=_AGGREGATED_TYPE, tagged=True)
        document = self._document(parts)
        return None if document is None else document.respond(request)

    def _document(self, key: tuple[str, ...]) -> Document | None:
        if key not in self._documents:
            value = self._value(key)
            if value is None:
                return None  # not kept: anybody can ask for any path
            self._documents[key] = Document.of(value)
        return self._documents[key]

    def _value(self, key: tuple[str, ...]) -> dict[str, Any] | None:
        match key:
            case ("api" | "apis" as root, "", "aggregated"):
                return self._aggregated(core=root == "api")
            case ("api",):
                return self._legacy_root()
            case ("api", version):
                return self._resource_list("", version)
            case ("apis",):
                return self._group_list()
            case ("apis", group):
                versions = self.groups().get(group)
                return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)} if versions else None
            case ("apis", group, version):
                return self._resource_list(group, version)
        return None

    def _legacy_root(self) -> dict[str, Any]:
        address = {"clientCIDR": "0.0.0.0/0", "serverAddress": self._server_address}
        versions = [item.version for item in self.groups().get("", ())]
        return {"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": [address]}

    def _group_list(self) -> dict[str, Any]:
        groups = [_group(name, versions) for name, versions in self.groups().items() if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _resource_list(self, group: str, version: str) -> dict[str, Any] | None:
        for item in self.groups().get(group, ()):
            if item.version == version:
                # The core group's list has no apiVersion; clients of release 1.1 would have stumbled over it.
                head = {"kind": "APIResourceList"} | ({"apiVersion": "v1"} if group else {})
                return {**head, "groupVersion": item.group_version, "resources": _legacy_resources(item)}
        return None

    def _aggregated(self, *, core: bool) -> dict[str, Any]:
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": [
                {
                    "metadata": {"name": name} if name else {},
                    "versions": [_aggregated_version(item) for item in versions],
                }
                for name, versions in self.groups().items()
                if (name == "") == core
            ],
        }


def _prefers_aggregated(accept: str) -> bool:
    """Whether the first clause that can be met asks for the aggregated form.

    Raises:
        StatusError: 406 when none can be met.
    """
    agreed = negotiate(accept, transforms=(_AGGREGATED,), served=(JSON,))
    if agreed is None:
        raise not_acceptable([JSON])
    return agreed.transform is not None


def _subresource(sub: Subresource) -> APISubresource:
    return APISubresource(sub.name, sub.kind, sub.verbs, sub.group, sub.version)


def _built_in_versions(scheme: Scheme, enabled: Callable[[Resource], bool]) -> list[APIVersion]:
    found: dict[tuple[str, str], list[APIResource]] = {}
    for item in scheme.resources():
        if enabled(item):
            resource = APIResource(
                item.plural,
                item.singular,
                item.kind,
                item.namespaced,
                item.verbs,
                item.short_names,
                item.categories,
                tuple(map(_subresource, item.subresources)),
                item.storage_version_hash,
            )
            found.setdefault((item.group, item.version), []).append(resource)
    ordered = [(group.name, info.version) for group in scheme.groups() for info in group.versions]
    return [APIVersion(*key, tuple(found[key])) for key in ordered if key in found]


def _merge(built_in: Iterable[APIVersion], provided: Iterable[APIVersion]) -> dict[str, list[APIVersion]]:
    """Built-in groups in their order, then the others by name with their versions in order of maturity."""
    groups: dict[str, list[APIVersion]] = {}
    for item in built_in:
        groups.setdefault(item.group, []).append(item)
    for item in sorted(provided, key=lambda item: (item.group, _maturity(item.version))):
        if all(known.version != item.version for known in groups.get(item.group, ())):
            groups.setdefault(item.group, []).append(item)
    return groups


_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")


def _maturity(version: str) -> tuple[int, int, int, str]:
    """Sorts v2 before v1 before v1beta2 before v1alpha1, and all these before other names."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return 3, 0, 0, version
    major, stage, minor = match.groups()
    return {None: 0, "beta": 1, "alpha": 2}[stage], -int(major), -int(minor or 0), version


def _group(name: str, versions: Sequence[APIVersion]) -> dict[str, Any]:
    forms = [{"groupVersion": item.group_version, "version": item.version} for item in versions]
    return {"name": name, "versions": forms, "preferredVersion": forms[0]}


def _legacy_resources(item: APIVersion) -> list[dict[str, Any]]:
    rows = []
    for resource in item.resources:
        rows.append(
            {
                "name": resource.plural,
                "singularName": resource.singular,
                "namespaced": resource.namespaced,
                **_foreign(resource),
                "kind": resource.kind,
                "verbs": resource.verbs,
                **_present("shortNames", resource.short_names),
                **_present("categories", resource.categories),
                **_present("storageVersionHash", resource.storage_version_hash),
            }
        )
        rows += [
            {
                "name": f"{resource.plural}/{sub.name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                **_foreign(sub),
                "kind": sub.kind,
                "verbs": sub.verbs,
            }
            for sub in resource.subresources
        ]
    return sorted(rows, key=lambda row: str(row["name"]))


def _foreign(item: APIResource | APISubresource) -> dict[str, str]:
    return _present("group", item.group) | _present("version", item.version)


def _present(name: str, value: Any) -> dict[str, Any]:
    return {name: value} if value else {}


def _aggregated_version(item: APIVersion) -> dict[str, Any]:
    return {
        "version": item.version,
        "resources": [_aggregated_resource(resource) for resource in item.resources],
        "freshness": item.freshness,
    }


def _response_kind(item: APIResource | APISubresource) -> dict[str, str]:
    return {"group": item.group, "version": item.version, "kind": item.kind}


def _aggregated_resource(resource: APIResource) -> dict[str, Any]:
    subresources = [
        {"subresource": sub.name, "responseKind": _response_kind(sub), "verbs": sub.verbs}
        for sub in sorted(resource.subresources, key=lambda sub: sub.name)
    ]
    return {
        "resource": resource.plural,
        "responseKind": _response_kind(resource),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": resource.verbs,
        **_present("shortNames", resource.short_names),
        **_present("categories", resource.categories),
        **_present("subresources", subresources),
    }
